"""WGAN: Wasserstein GAN with weight clipping (arXiv 1701.07875)."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from zoo.core.registry import register_model
from zoo.gan.gan import GAN


@register_model("wgan")
class WGAN(GAN):
    """Wasserstein GAN whose critic is Lipschitz by its weights' bounds (arXiv 1701.07875).

    The defaults are those of algorithm 1. The critic has BatchNorm as in the authors' code, whose
    gains and biases are clipped too: without, the small weights of a deep critic let its gradients
    vanish (arXiv 1704.00028, section 3). Nothing here is on one example's gradient, which BatchNorm
    would mix.

    Args:
        loss: f(G(z)) − f(x) for the critic, −f(G(z)) for the generator.
        clip_weights: c: weights are clipped to [−c, c] after each update of the critic.
        n_critic: Critic updates per generator update; see `BaseGAN` on batch sizes.
        **kwargs: Further arguments of `GAN`.

    Example:
        >>> import zoo
        >>> model = zoo.create("wgan", (8, 8, 1), 2, network="mlp")
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    default_batch_size: ClassVar[int] = 64
    learning_rate: ClassVar[float] = 5e-5

    def __init__(
        self,
        *,
        loss: str = "wasserstein",
        clip_weights: float | None = 0.01,
        n_critic: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(loss=loss, clip_weights=clip_weights, n_critic=n_critic, **kwargs)

    def default_optimizer(self, name: str) -> keras.optimizers.Optimizer:
        """RMSProp, for momentum destabilises the critic (section 4), with PyTorch's constants."""
        # PyTorch adds 1e-8 to the root of what Keras adds ε to.
        return keras.optimizers.RMSprop(self.rate_of(name), rho=0.99, epsilon=1e-16)
