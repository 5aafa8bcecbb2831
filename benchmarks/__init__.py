"""Benchmarks: side by side, in rounds that take turns, as medians with their spread.

``python -m benchmarks [NAME ...] [--rounds N] [--json FILE] [--page FILE]``, from a checkout. They run on the real
histories where those lie beside the checkout, else on a generated one; PostgreSQL takes part where the tests would find
a server (``tests/postgres.py``).
"""
