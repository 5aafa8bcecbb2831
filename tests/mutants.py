"""Stores that break one rule of the time model each, to prove that the tests would notice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

Mutant = Callable[[], AbstractContextManager[None]]

MUTANTS: list[Mutant] = []
