"""VAE, by default with an optimal-σ Gaussian decoder (arXiv 1312.6114, arXiv 2006.13202)."""

from __future__ import annotations

from zoo.core.registry import register_model
from zoo.vae.base import BaseVAE


@register_model("vae")
class VAE(BaseVAE):
    """Variational autoencoder (arXiv 1312.6114): the loss is the negative evidence lower bound.

    Takes the arguments of `BaseVAE`. `likelihood="gaussian"`, the default, has the decoder variance
    that is optimal for each training batch (arXiv 2006.13202).
    """
