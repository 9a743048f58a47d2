"""R3GAN: relativistic pairs with R1 and R2 penalties (arXiv 2501.05441)."""

from __future__ import annotations

from typing import Any, ClassVar

from zoo.core.registry import register_model
from zoo.gan.gan import GAN


@register_model("r3gan")
class R3GAN(GAN):
    """The GAN of arXiv 2501.05441: a loss on pairs, two penalties, and no tricks.

    Adam has no momentum; β₂ = 0.99 is where the authors' code ends. Their networks, ResNeXts
    without normalisation, are `zoo.networks.r3gan`. Departures: by default the networks are
    `resnet`, with BatchNorm in the generator only, as saved models have them. The code lets the
    learning rate, γ and β₂ change in training; here they stay.

    Args:
        loss: softplus(D(G(z)) − D(x)) for the discriminator, softplus(D(x) − D(G(z))) for the
            generator, each fake paired with a real image (section 2).
        regularizer: ½ γ ‖∇D‖² at real and at fake images. By default γ = 0.25, which on [−1, 1]
            is 1; there the authors' code starts with 0.05 (CIFAR-10) to 150 (FFHQ at 256 × 256).
        network: `"r3gan"` for the paper's networks, perhaps with a width, such as `"r3gan-64"`.
        ema: Decay of the averaged generator.
        **kwargs: Further arguments of `GAN`.

    Example:
        >>> import zoo
        >>> model = zoo.create("r3gan", (8, 8, 1), 2, network="mlp")
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    betas: ClassVar[tuple[float, float]] = (0.0, 0.99)

    def __init__(
        self,
        *,
        loss: str = "relativistic",
        regularizer: str | None = "r1_r2",
        network: str = "resnet",
        ema: float | None = 0.999,
        **kwargs: Any,
    ) -> None:
        super().__init__(loss=loss, regularizer=regularizer, network=network, ema=ema, **kwargs)
