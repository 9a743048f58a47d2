"""WGAN-GP: Wasserstein GAN with a gradient penalty (arXiv 1704.00028)."""

from __future__ import annotations

from typing import Any, ClassVar

from zoo.core.registry import register_model
from zoo.gan.gan import GAN


@register_model("wgan_gp")
class WGANGP(GAN):
    """Wasserstein GAN with a gradient penalty (arXiv 1704.00028, algorithm 1).

    The penalty is measured on pixels in [0, 1], where distances are half those of [−1, 1]: a
    gradient of norm 1 here is one of norm 1/2 there.

    Args:
        loss: f(G(z)) − f(x) for the critic, −f(G(z)) for the generator (algorithm 1).
        regularizer: (‖∇f(x̂)‖₂ − 1)² (eq. 3), with λ = 10.
        n_critic: Critic updates per generator update; see `BaseGAN` on batch sizes.
        **kwargs: Further arguments of `GAN`.

    Example:
        >>> import zoo
        >>> model = zoo.create("wgan_gp", (8, 8, 1), 2, network="mlp")
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    default_batch_size: ClassVar[int] = 64
    learning_rate: ClassVar[float] = 1e-4
    betas: ClassVar[tuple[float, float]] = (0.0, 0.9)

    def __init__(
        self,
        *,
        loss: str = "wasserstein",
        regularizer: str | None = "gradient_penalty",
        n_critic: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(loss=loss, regularizer=regularizer, n_critic=n_critic, **kwargs)
