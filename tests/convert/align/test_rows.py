"""Every tensor is in the rows once."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from tests.support.alignments import X, stack
from zoo.convert.align import align
from zoo.convert.reading import read


@pytest.mark.parametrize("mode", ["exact", "partial"])
def test_every_tensor_is_in_the_rows_once(mode: str) -> None:
    def norm() -> layers.Layer:
        return layers.BatchNormalization(name="norm")

    def model(*norms: layers.Layer, seed: int = 0) -> keras.Model:
        return stack(
            layers.Dense(18, name="p"), layers.Reshape((3, 3, 2)), *norms,
            layers.Conv2D(2, 3, name="c"), seed=seed,
        )  # fmt: skip

    for ours, theirs in [(model(), model(norm())), (model(norm()), model(norm()))]:
        source, target = read(ours), read(theirs)
        # As a rule would: one array computed from two, and a tensor that is in no block any more.
        changed = {key: 2 * array for key, array in source["c"].arrays.items()}
        conv = source["c"].with_arrays(changed, "a rule", source["p"])
        rewritten = source.replaced(conv)
        mapping = align(rewritten, target, mode=mode, latents=X, original=source)
        targets = [row.target for row in mapping.rows if row.target]
        assert targets == [f"{b.name}/{key}" for b in target for key in b.arrays]
        assert set(mapping.arrays) == set(targets)
        unused = [row.source for row in mapping.rows if row.status == "UNUSED"]
        assert len(unused) == len(set(unused))
        rows = {row.target: row for row in mapping.rows}
        assert rows["c/kernel"].source == "c/kernel · p/{kernel, bias}"
        assert (rows["c/kernel"].status, rows["c/kernel"].rule) == ("TRANSFORMED", "a rule")
        assert rows["p/kernel"].status == "COPIED"
        assert rows["p/kernel"].source_shape == rows["p/kernel"].shape == (5, 18)
        assert not unused
    without = source.without("norm")
    mapping = align(without, target, mode="partial", original=source)
    unused = [row.source for row in mapping.rows if row.status == "UNUSED"]
    assert unused == [f"norm/{key}" for key in source["norm"].arrays]
    assert all(row.shape == (2,) for row in mapping.rows if row.status == "UNUSED")
