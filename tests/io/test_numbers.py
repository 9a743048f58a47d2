"""Whole numbers and seeds that a user gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoo.io.numbers import check_seed, check_whole


@pytest.mark.parametrize("value", [None, "3", 2.0, True, 0, -1, float("nan"), []])
def test_what_is_no_whole_number_of_at_least_1(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^n=.*: expected a whole number of at least 1\.$"):
        check_whole("n", value)


@pytest.mark.parametrize("value", [None, "3", 2.0, True, -1, 2**32])
def test_what_is_no_seed(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^seed=.*: expected a whole number from 0 to 4294967295"):
        check_seed(value)


def test_what_is_one() -> None:
    for value in (1, np.int64(1)):
        check_whole("n", value)
        check_seed(value)
    check_whole("n", 2, 2)
    check_seed(2**32 - 1)
    np.random.RandomState(2**32 - 1)  # the largest that it takes
