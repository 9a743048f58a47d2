"""Spectral normalisation: Keras stores the kernel already divided by its spectral norm."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from keras import layers

if TYPE_CHECKING:
    from zoo.convert.blocks import Network

UNWRAP = "unwrap spectral norm"


def unwrap_spectral_norm(network: Network) -> Network:
    """The layers within SpectralNormalization, with their kernels as they are.

    Keras's wrapper (arXiv 1802.05957) assigns the normalised kernel in every training call and
    uses what is stored otherwise: dividing again would be wrong.
    """
    for block in network:
        if block.layer is not layers.SpectralNormalization:
            continue
        inner = layers.deserialize(block.config["layer"])
        config = inner.get_config()
        config.pop("name", None)
        arrays = {key: value for key, value in block.arrays.items() if key != "vector_u"}
        new = replace(block, layer=type(inner), config=config, kwargs={})
        if not block.shares:
            new = new.with_arrays(arrays, UNWRAP)
        network = network.replaced(new)
    return network
