"""Partial mode pairs what fits and says what does not."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tests.support.alignments import chain, stack
from zoo.convert.align import Alignment, align
from zoo.convert.reading import read
from zoo.convert.writing import commit, variables


def _partial(source: keras.Model, target: keras.Model, **options: object) -> tuple[Alignment, dict]:
    before = {path: np.asarray(v).copy() for path, v in variables(target).items()}
    mapping = align(read(source), read(target), mode="partial", **options)
    commit(target, mapping.arrays)
    for path, variable in variables(target).items():
        kept = mapping.arrays[path] is None
        np.testing.assert_array_equal(variable, before[path] if kept else mapping.arrays[path])
    return mapping, {row.target or row.source: row for row in mapping.rows}


def test_sizes_that_differ_are_sliced() -> None:
    source = stack(layers.Dense(4, name="in"), layers.ReLU(), layers.Dense(3, name="out"))
    target = stack(layers.Dense(6, name="in"), layers.ReLU(), layers.Dense(3, name="out"), seed=1)
    own = np.asarray(target.get_layer("in").kernel).copy()
    found, rows = _partial(source, target)
    kernel = np.asarray(target.get_layer("in").kernel)
    np.testing.assert_array_equal(kernel[:, :4], source.get_layer("in").kernel)
    np.testing.assert_array_equal(kernel[:, 4:], own[:, 4:])
    assert rows["in/kernel"].status == rows["out/kernel"].status == "SLICED"
    assert (rows["in/kernel"].shape, rows["in/kernel"].source_shape) == ((5, 6), (5, 4))
    assert rows["out/bias"].status == "COPIED"
    assert not found.complete


def test_other_kinds_keep_their_values() -> None:
    source = stack(layers.Dense(8, name="a"), layers.Dense(4, name="b"))
    target = stack(
        layers.Dense(8, name="x"), layers.Reshape((2, 2, 2)), layers.Conv2D(4, 1, name="y"), seed=1
    )
    found, rows = _partial(source, target)
    assert found.arrays["y/kernel"] is None
    assert rows["y/kernel"].status == rows["y/bias"].status == "MISMATCH"
    assert (rows["y/kernel"].source, rows["y/kernel"].source_shape) == ("b/kernel", (8, 4))
    assert rows["x/kernel"].status == "COPIED"
    assert "UNUSED" not in {row.status for row in found.rows}


def test_common_ends_are_paired_and_the_rest_is_new() -> None:
    found, rows = _partial(chain(5, 7, 3), chain(5, 7, 9, 7, 3, seed=1), mapping={"d1": "d1"})
    assert found.pairs == {"d0": "d0", "d1": "d1", "d4": "d2"}
    assert rows["d2/kernel"].status == "REINITIALISED"
    found, rows = _partial(chain(5, 7, 8, 3), chain(5, 7, 3, seed=1), mapping={"d3": "d2"})
    assert found.pairs == {"d0": "d0", "d1": "d1", "d2": "d3"}
    assert found.rows[-1].status == found.rows[-2].status == "UNUSED"
    assert [row.source for row in found.rows[-2:]] == ["d2/kernel", "d2/bias"]


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ((5, 5, 5, 3), (5, 5, 3), "'d0' could take the weights of any of d0, d1, d2"),
        ((6, 3), (8, 6, 3), "'d0' could give its weights to any of d0, d1"),
        ((4, 6, 8), (5, 7), "'d0' could take the weights of any of d0, d1, d2"),
    ],
)
def test_partial_mode_does_not_guess(ours: tuple, theirs: tuple, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        align(read(chain(*ours)), read(chain(*theirs)), mode="partial")


def test_a_norm_without_a_partner_keeps_its_values() -> None:
    def norm(name: str) -> layers.Layer:
        return layers.BatchNormalization(name=name)

    source = stack(layers.Dense(4, name="a"), norm("n"), layers.Dense(3, name="b"))
    target = stack(layers.Dense(4, name="a"), layers.Dense(3, name="b"), norm("m"), seed=1)
    _, rows = _partial(source, target)
    assert rows["m/gamma"].status == "REINITIALISED"
    assert rows["n/gamma"].status == "UNUSED"
    assert rows["b/kernel"].status == "COPIED"
