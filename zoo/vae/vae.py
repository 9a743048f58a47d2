"""VAE, by default with an optimal-σ Gaussian decoder (arXiv 1312.6114, arXiv 2006.13202)."""

from __future__ import annotations

from zoo.core.registry import register_model
from zoo.vae.base import BaseVAE


@register_model("vae")
class VAE(BaseVAE):
    """Variational autoencoder (arXiv 1312.6114): the loss is the negative evidence lower bound.

    The arguments are those of `BaseVAE`. With the default `likelihood="gaussian"` the decoder has
    the variance that is optimal for each training batch (arXiv 2006.13202).

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> images = np.random.default_rng(0).random((16, 8, 8, 1))
        >>> sorted(model.fit(images, batch_size=8, verbose=0).history)
        ['distortion', 'loss', 'rate']
    """
