"""WAE-MMD: Wasserstein autoencoder with an MMD penalty (arXiv 1711.01558)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import losses
from zoo.core.registry import register_model
from zoo.vae._mmd import MMDVAE

if TYPE_CHECKING:
    from zoo.io.types import Tensor


@register_model("wae_mmd")
class WAEMMD(MMDVAE):
    """WAE-MMD (arXiv 1711.01558, algorithm 2), with the inverse multiquadratics kernel.

    The loss is distortion + λ MMD²(q(z), p(z)). The MMD² is an unbiased estimate, which may be
    negative. It compares the latents of the batch of all replicas with as many draws from the
    prior; if a batch is computed in parts, it compares within each part.

    The encoder is Gaussian. The paper allows it; its experiments have the special case σ = 0. The
    loss has no rate, so σ shrinks as the decoder likes it: `rate` is logged and grows, and the ELBO
    of an evaluation does not measure the model.

    Args:
        lambda_mmd: λ, at least 0, in nats. The paper weighs a squared error ‖x − G(z)‖² on [0, 1]
            against λ MMD², with λ = 10 for MNIST. In nats the error counts 1 / (2σ²) times, with
            the decoder's σ², so λ must too: 10 becomes 500 at σ² = 0.01, about the σ² of a decoder
            that has learned MNIST. Before that, when σ² is larger, the MMD² counts for more.
        **kwargs: Further arguments of `BaseVAE`, but `free_bits`.

    Raises:
        ValueError: If `lambda_mmd` < 0.

    Example:
        >>> import zoo
        >>> model = zoo.create("wae_mmd", (8, 8, 1), 2, network="mlp", lambda_mmd=10.0)
        >>> model.weights_of_terms
        {'mmd': 10.0}
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

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """The inverse multiquadratics kernel of [n, latent_dim] and [m, latent_dim]: [n, m]."""
        return losses.inverse_multiquadratic_kernel(x, y)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "lambda_mmd": self.lambda_mmd}
