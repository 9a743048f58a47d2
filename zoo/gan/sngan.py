"""SNGAN: hinge loss and spectral normalisation (arXiv 1802.05957)."""

from __future__ import annotations

from typing import Any, ClassVar

from zoo.core.registry import register_model
from zoo.gan.gan import GAN


@register_model("sngan")
class SNGAN(GAN):
    """The GAN whose discriminator is 1-Lipschitz layer by layer (arXiv 1802.05957, eq. 8, 16, 17).

    The setting is that of the authors' code for their residual networks on CIFAR-10: hinge loss,
    Adam at 2e-4 with β = (0, 0.9), five discriminator updates for one of the generator, 64 images
    each. There the generator's update has 128 images and the rate falls to 0; here neither.

    Args:
        loss: max(0, 1 − D(x)) + max(0, 1 + D(G(z))) for the discriminator, −D(G(z)) for the
            generator (eq. 16 and 17).
        network: The paper's networks of table 3; its tables 2 and 5 are like `"conv"`.
        normalization: Divides every kernel of the discriminator by its spectral norm.
        n_critic: Discriminator updates per generator update; see `BaseGAN` on batch sizes.
        **kwargs: Further arguments of `GAN`.

    Example:
        >>> import zoo
        >>> model = zoo.create("sngan", (8, 8, 1), 2, network="mlp")
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    default_batch_size: ClassVar[int] = 64
    betas: ClassVar[tuple[float, float]] = (0.0, 0.9)

    def __init__(
        self,
        *,
        loss: str = "hinge",
        network: str = "resnet",
        normalization: str | None = "spectral",
        n_critic: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            loss=loss, network=network, normalization=normalization, n_critic=n_critic, **kwargs
        )
