"""Gated linear units and adaptive pooling beside PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's custom)

from zoo.layers import AdaptiveAveragePooling, GatedLinearUnit

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (5, 7), (14, 28), (6, 64)])
def test_adaptive_pooling(rows: int, columns: int) -> None:
    x = RNG.normal(size=(2, rows, columns, 3)).astype(np.float32)
    wanted = F.adaptive_avg_pool2d(torch.tensor(np.moveaxis(x, -1, 1)), 4)
    found = AdaptiveAveragePooling(4)(x)
    assert found.shape == (2, 4, 4, 3)
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), wanted, atol=1e-6)


def test_gated_linear_units() -> None:
    x = RNG.normal(size=(2, 5, 5, 6)).astype(np.float32)
    layer = GatedLinearUnit()
    np.testing.assert_allclose(layer(x), F.glu(torch.tensor(x)), atol=1e-6)
    assert layer.compute_output_shape((None, 5, 5, 6)) == (None, 5, 5, 3)
