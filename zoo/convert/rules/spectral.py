"""Spectral normalisation (arXiv 1802.05957): layers with their kernels as they are used."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from keras import layers

from zoo.layers import SpectralConv2D, SpectralDense

if TYPE_CHECKING:
    from zoo.convert.blocks import Block, Network

UNWRAP = "unwrap spectral norm"
PLAIN = {SpectralDense: layers.Dense, SpectralConv2D: layers.Conv2D}


def unwrap_spectral_norm(network: Network) -> Network:
    """The plain layers that compute what spectrally normalised ones do in inference.

    Keras's wrapper assigns the normalised kernel in every training call and uses what is stored
    otherwise: dividing again would be wrong. The layers of `zoo.layers` store W and use W / σ(W).
    """
    for block in network:
        if block.layer is layers.SpectralNormalization:
            network = network.replaced(_within(block))
        elif block.layer in PLAIN:
            network = network.replaced(_divided(block))
    return network


def _within(block: Block) -> Block:
    inner = layers.deserialize(block.config["layer"])
    config = inner.get_config()
    config.pop("name", None)
    arrays = {key: value for key, value in block.arrays.items() if key != "vector_u"}
    new = replace(block, layer=type(inner), config=config, kwargs={})
    return new if block.shares else new.with_arrays(arrays, UNWRAP)


def _divided(block: Block) -> Block:
    new = replace(block, layer=PLAIN[block.layer])
    if block.shares:
        return new
    arrays = dict(block.arrays)
    u = arrays.pop("u")
    # σ = vᵀ W u with v = W u / ‖W u‖
    norm = np.linalg.norm(arrays["kernel"].reshape(-1, len(u)) @ u)
    return new.with_arrays({**arrays, "kernel": arrays["kernel"] / norm}, UNWRAP)
