"""VQ-VAE: discrete codes on a grid, with a PixelCNN prior (arXiv 1711.00937)."""

from __future__ import annotations

from typing import Any

from zoo.core.contracts import LOGITS
from zoo.core.network_tools import check_network
from zoo.core.registry import register_model
from zoo.networks.grid import grid_shape
from zoo.vae._options import logits_shape
from zoo.vae._quantized import QuantizedVAE


@register_model("vq_vae")
class VQVAE(QuantizedVAE):
    """VQ-VAE (arXiv 1711.00937) with the codebook of its appendix A.1.

    The loss is −log p(x | z_q(x)) − log p(codes) + β ‖z_e(x) − sg[e]‖². Its first and last terms
    are those of eq. 3. Exponential averages of the codebook stand for the second term of eq. 3;
    codes that no image takes are moved onto features of the batch. The posterior is deterministic,
    so the first two terms are the negative evidence lower bound in nats, with the rate
    −log p(codes).

    The rate has a gradient only for the prior, a gated PixelCNN. Departure from the paper: the
    prior is trained at the same time. The paper trains it afterwards, and has a uniform one before,
    whose rate is the constant positions · log K (section 3.2). Autoencoder and codebook are not
    affected.

    The latents are one N(0, 1) number per position, which is a uniform number in disguise: Φ(ε) and
    the inverse distribution function of the prior give the code of the position. So images are a
    function of latents, but a piecewise constant one. It takes as many steps through the PixelCNN
    as there are positions.

    Args:
        latent_dim: Dimensions of the vector of a code. The image gives the positions of the
            grid, and with them `noise_dim`.
        num_codes: K, at least 2. The paper's 512 is for larger images.
        commitment: β, at least 0. Distortion is in nats here: a squared error counts 1 / (2σ²)
            times, so the commitment counts less beside it as σ² falls. The paper finds the same
            results from 0.1 to 2.0, for features can change their scale.
        decay: γ of eq. 6 and 7, in [0, 1).
        quantizer: "ema" as here, "straight_through" (eq. 3 as it stands), "fsq" or "residual", as
            in `QuantizedVAE`.
        network: "grid", or another width, such as the paper's "grid-256".
        encoder: `keras.Model` from images to features [batch, height / 4, width / 4, latent_dim].
        decoder: `keras.Model` from such features to image logits.
        **kwargs: Further arguments of `QuantizedVAE` and `BaseVAE`, but `free_bits`, `transfer` and
            `num_classes`.

    Raises:
        ValueError: If an option is out of range, or this model does not have it; a side of the
            image is less than 8 or not divisible by 4; or a network has the wrong shapes.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> model = zoo.create("vq_vae", (8, 8, 1), 3, network="grid-8", num_codes=4, prior_width=8)
        >>> codes = model.encode(np.zeros((5, 8, 8, 1)))
        >>> codes.shape, model.decode(codes).shape
        (TensorShape([5, 2, 2]), TensorShape([5, 8, 8, 1]))
    """

    def __init__(self, *, network: str = "grid", **kwargs: Any) -> None:
        super().__init__(network=network, **kwargs)

    @property
    def grid(self) -> tuple[int, int]:
        """(height, width) of the grid of codes."""
        return grid_shape(self.image_shape)

    def check_networks(self) -> None:
        """Raises ValueError if a network is not what the model needs."""
        features = (*self.grid, self.latent_dim)
        check_network(self.encoder, "encoder", self.image_shape, [features])
        check_network(self.decoder, "decoder", features, [logits_shape(self)], values=[LOGITS])
