"""Whole numbers that a user gives."""

from __future__ import annotations

from numbers import Integral
from typing import Any

SEEDS = 2**32  # NumPy's and Keras's generators take seeds below it


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """Checks that an argument is a whole number, and not too small.

    Args:
        name: Its name.
        value: The argument; NumPy's integers are whole numbers too.
        least: The least that it may be.

    Raises:
        ValueError: If it is none, or less than that.

    Example:
        >>> from zoo.io.numbers import check_whole
        >>> check_whole("samples", 2.5)
        Traceback (most recent call last):
        ValueError: samples=2.5: expected a whole number of at least 1.
    """
    if not _is_whole(value) or value < least:
        msg = f"{name}={value!r}: expected a whole number of at least {least}."
        raise ValueError(msg)


def check_seed(seed: Any) -> None:
    """Checks that an argument is a seed that every generator of random numbers takes.

    Raises:
        ValueError: If it is no whole number from 0 to 2³² − 1.

    Example:
        >>> from zoo.io.numbers import check_seed
        >>> check_seed(-1)
        Traceback (most recent call last):
        ValueError: seed=-1: expected a whole number from 0 to 4294967295.
    """
    if not _is_whole(seed) or not 0 <= seed < SEEDS:
        msg = f"seed={seed!r}: expected a whole number from 0 to {SEEDS - 1}."
        raise ValueError(msg)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
