"""WAE-MMD: Wasserstein autoencoder with an MMD penalty (arXiv 1711.01558)."""

from __future__ import annotations

from typing import Any

from zoo import losses
from zoo.core.registry import register_model
from zoo.vae._mmd import MMDVAE


@register_model("wae_mmd")
class WAEMMD(MMDVAE):
    """WAE-MMD (arXiv 1711.01558, algorithm 2), with the inverse multiquadratics kernel.

    The loss is distortion + λ MMD²(q(z), p(z)). The MMD² is an unbiased estimate, which may be
    negative, between the latents of the batch of all replicas and as many draws of the prior; in a
    batch computed in parts, of the parts.

    The encoder is Gaussian, which the paper allows; its experiments have the special case σ = 0.
    As no rate is in the loss, σ shrinks as the decoder asks: `rate` is logged, and grows, and the
    ELBO of an evaluation is no measure of the model.

    Args:
        lambda_mmd: λ, at least 0, in nats. The paper weighs a squared error ‖x − G(z)‖² on [0, 1]
            against λ MMD², with λ = 10 for MNIST. In nats the error counts 1 / (2σ²) times, with
            the decoder's σ², and so must λ: 10 becomes 500 at σ² = 0.01, about that of a decoder
            that has learned MNIST; with a fixed λ, matching counts for more earlier on.
        **kwargs: Further arguments of `BaseVAE`, but `free_bits`.

    Raises:
        ValueError: If `lambda_mmd` < 0.
    """

    def __init__(self, *, lambda_mmd: float = 500.0, **kwargs: Any) -> None:
        if lambda_mmd < 0:
            msg = f"lambda_mmd={lambda_mmd}: expected at least 0, such as 500."
            raise ValueError(msg)
        self.lambda_mmd = float(lambda_mmd)
        super().__init__(**kwargs)

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """λ on the MMD²; the rate has none."""
        return {"mmd": self.lambda_mmd}

    def kernel(self, x: Any, y: Any) -> Any:
        """The inverse multiquadratics kernel of [n, latent_dim] and [m, latent_dim]: [n, m]."""
        return losses.inverse_multiquadratic_kernel(x, y)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "lambda_mmd": self.lambda_mmd}
