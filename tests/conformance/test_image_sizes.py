"""Models make images of every size and shape that their network takes."""

from __future__ import annotations

import numpy as np
import pytest

import zoo
from tests.cases import LATENT_DIM, Case


@pytest.mark.parametrize(
    "size", [28, *(pytest.param(n, marks=pytest.mark.slow) for n in (32, 48, 64)), 96]
)
@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_conv_makes_every_size(name: str, size: int, channels: int) -> None:
    model = zoo.create(name, (size, size, channels), 4)
    drawn = model.generate(2, seed=0)
    assert drawn.shape == (2, size, size, channels)
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0.0
    assert drawn.max() <= 1.0


def test_rectangular_images(case: Case) -> None:
    model = zoo.create(case.name, (8, 12, 3), LATENT_DIM, **case.options)
    assert model.generate(1).shape == (1, 8, 12, 3)
