"""The table of rules lists them all, and the comparison of networks can fail."""

from __future__ import annotations

import inspect

import pytest
from keras import layers

from tests.support.networks import assert_equal, stack
from zoo.convert import rules
from zoo.convert.reading import read


def test_the_table_lists_every_rule() -> None:
    found = {
        name
        for name, function in vars(rules).items()
        if inspect.isfunction(function)
        and [*inspect.signature(function).parameters][:1] == ["network"]
        and inspect.signature(function).return_annotation == "Network"
    }
    assert found == set(rules.RULES)
    assert len({rule.name for rule in rules.RULES.values()}) == len(rules.RULES)


def test_the_comparison_can_fail() -> None:
    model = stack((5,), layers.Dense(4, name="first"), layers.ReLU())
    network = read(model)
    assert_equal(network, model)
    kernel = network["first"].arrays["kernel"].copy()
    kernel[1, 2] += 1e-4
    first = network["first"].with_arrays({**network["first"].arrays, "kernel": kernel}, "test")
    with pytest.raises(AssertionError):
        assert_equal(network.replaced(first), model)
