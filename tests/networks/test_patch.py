"""The discriminator of patches computes what PyTorch's layers do."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.networks import shake
from tests.support.torch_networks import largest_difference
from tests.support.torch_patch import patches
from zoo.networks import patch

SHAPE = (13, 16, 3)


@pytest.mark.parametrize("normalization", ["batch", "none", "spectral"])
def test_logits_and_gradients_are_pytorchs(normalization: str) -> None:
    network = shake(patch.discriminator(SHAPE, width=4, layer_count=2, normalization=normalization))
    assert network.output_shape[1:3] == patch.map_shape(SHAPE, 2) == (1, 2)
    images = np.random.default_rng(0).random((3, *SHAPE), np.float32)
    differences = largest_difference(
        network, lambda w, x: [patches(w, x, 2, normalization)], [images], training=True
    )
    assert max(differences) < 2e-5


def test_the_size_of_the_authors() -> None:
    """2.769 M, as pix2pix prints for its pairs of images; channels stay at 8 times the first."""
    network = patch.discriminator((24, 24, 6))
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == 2_768_705
    deep = patch.discriminator((96, 96, 1), width=1, layer_count=5, normalization="none")
    assert [deep.get_layer(f"conv_{i}").filters for i in range(6)] == [1, 2, 4, 8, 8, 8]


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="needs sides of at least 24 .* 23 × 64. Take fewer"):
        patch.discriminator((23, 64, 3))
    with pytest.raises(ValueError, match="discriminator_width=0, discriminator_layers=3: expected"):
        patch.discriminator((24, 24, 3), width=0)
    with pytest.raises(ValueError, match="normalization='layer': expected 'batch', 'none' or"):
        patch.discriminator((24, 24, 3), normalization="layer")
