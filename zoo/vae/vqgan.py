"""VQGAN: codes on a grid, with a perceptual loss and a discriminator (arXiv 2012.09841)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from zoo.core.registry import register_model
from zoo.networks import autoencoder_kl
from zoo.vae._grid import GridVAE
from zoo.vae._quantized import QuantizedVAE

if TYPE_CHECKING:
    import keras

    from zoo.core.model import EndpointSpec


@register_model("vqgan")
class VQGAN(GridVAE, QuantizedVAE):
    """VQ-VAE with the networks of latent diffusion and the losses of VQGAN (arXiv 2012.09841).

    The loss is −log p(x | z_q) − log p(codes) + ‖sg[z_e(x)] − e‖² + β ‖z_e(x) − sg[e]‖² + n v d(x,
    x̃) + λ w A (eq. 4 to 7): what `QuantizedVAE` has, with the perceptual and the adversarial term
    of `PatchLossVAE`.

    `encode` and `decode` speak codes, of images of every size that f = 2^(levels − 1) divides.
    `generate` draws images of `image_shape`, whose codes the prior knows.

    Departures from the paper: the prior is the PixelCNN of `vq_vae`, trained at the same time, and
    no transformer; all terms are sums in nats, not means, so that a quantizer's count positions ·
    latent_dim / pixels times as much beside the rest; attention is in the middle of the networks
    alone; the losses differ as `PatchLossVAE` says; and networks and codebook are small by default.
    The paper's have `channels=(128, 128, 256, 256, 512)`,
    `blocks=2`, `groups=32`, `latent_dim=256` and `num_codes=1024`.

    Args:
        latent_dim: Dimensions of the vector of a code.
        num_codes: K, at least 2. With "fsq" it is the product of the levels; leave it out.
        quantizer: "straight_through" as in the paper, "ema", "fsq" or "residual", as in
            `QuantizedVAE`.
        perceptual_weight: v, at least 0; 0 for no perceptual loss.
        discriminator_weight: w, at least 0; 0 for no discriminator.
        likelihood: By default "laplace_linear", whose mean is the decoder's value: the absolute
            error of eq. 2's reconstruction loss in the authors' code, with a scale that is learned.
        **kwargs: Further arguments of `GridVAE`, `PatchLossVAE`, `QuantizedVAE` and `BaseVAE`, but
            `encoder`, `decoder`, `free_bits`, `transfer` and `num_classes`.

    Raises:
        ValueError: If an option is out of range, or this model does not have it; f does not divide
            a side of the image; or images are too small for the discriminator.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> options = {"channels": (8, 16), "groups": 4, "num_codes": 4, "prior_width": 8}
        >>> small = {"perceptual_weight": 0.0, "discriminator_layers": 1, "discriminator_width": 4}
        >>> model = zoo.create("vqgan", (8, 8, 1), 3, **options, **small)
        >>> codes = model.encode(np.zeros((5, 12, 8, 1)))
        >>> codes.shape, model.decode(codes).shape, model.noise_dim
        (TensorShape([5, 6, 4]), TensorShape([5, 12, 8, 1]), 16)
    """

    default_codes: ClassVar[int] = 256

    def __init__(
        self,
        *,
        num_codes: int = 256,
        quantizer: str = "straight_through",
        perceptual_weight: float = 1.0,
        discriminator_weight: float = 0.8,
        likelihood: str = "laplace_linear",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_codes=num_codes, quantizer=quantizer, perceptual_weight=perceptual_weight,
            discriminator_weight=discriminator_weight, likelihood=likelihood, **kwargs,
        )  # fmt: skip

    @property
    def grid(self) -> tuple[int, int]:
        """(height, width) of the codes of an image of `image_shape`."""
        return autoencoder_kl.grid_shape(self.image_shape, self.channels)

    def new_encoder(self, *args: Any, **options: Any) -> keras.Model:
        """From images to features."""
        return super().new_encoder(*args, moments=False, **options)

    def endpoints(self) -> dict[str, EndpointSpec]:
        """As in `QuantizedVAE`, but of images of every size; `generate` is of one size."""
        given = super().endpoints()
        pixels = (None, None, self.image_shape[2])
        image, codes = {"image": pixels}, {"codes": (None, None, *self.code_shape[2:])}
        again = {"reconstruction": pixels}
        return {
            **given,
            "encode": given["encode"]._replace(inputs=image, outputs=codes),
            "decode": given["decode"]._replace(inputs=codes, outputs=image),
            "reconstruct": given["reconstruct"]._replace(inputs=image, outputs=again),
        }
