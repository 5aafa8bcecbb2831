"""Benchmarks: side by side, in rounds that take turns, as medians with their spread.

``python -m benchmarks [NAME ...] [--rounds N] [--json FILE] [--page FILE]``, from a checkout, and ``python -m
benchmarks compare OLD.json NEW.json``. They run on a seeded history (``churn.py``), whose longest forms are made once
and kept (``built.py``), and on real histories where those lie beside the checkout; PostgreSQL takes part where the
tests would find a server (``tests/postgres.py``), and what peerstore is compared with where it is installed.
"""
