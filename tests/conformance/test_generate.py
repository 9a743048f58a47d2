"""Images of a seed are the same, however many are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cases import Case


def test_generate(distinct: Case) -> None:
    model = distinct.create()
    first = model.generate(5, seed=3)
    np.testing.assert_array_equal(model.generate(5, seed=3), first)
    assert np.abs(model.generate(5, seed=4) - first).max() > 0
    assert np.abs(model.generate(5) - model.generate(5)).max() > 0
    # 300 images take more than one internal batch
    latents = model.sample_latents(300, seed=3)
    labels = model.sample_labels(300, seed=3)
    last = model.generate_from(latents[-2:], None if labels is None else labels[-2:])
    np.testing.assert_allclose(model.generate(300, seed=3)[-2:], last, atol=1e-6)
    with pytest.raises(ValueError, match="n=0"):
        model.generate(0)
    dim = model.noise_dim
    with pytest.raises(ValueError, match=rf"shape \(2, {dim + 1}\).*\[n, {dim}\]"):
        model.generate_from(np.zeros((2, dim + 1)))
