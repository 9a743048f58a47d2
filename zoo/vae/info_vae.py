"""InfoVAE (MMD-VAE): the aggregate posterior meets the prior in MMD (arXiv 1706.02262)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import losses
from zoo.core.registry import register_model
from zoo.vae._mmd import MMDVAE

if TYPE_CHECKING:
    from zoo.io.types import Tensor


@register_model("info_vae")
class InfoVAE(MMDVAE):
    """InfoVAE with the maximum mean discrepancy (arXiv 1706.02262, eq. 6).

    The loss is distortion + (1 − α) KL(q(z | x) ‖ p(z)) + (α + λ − 1) MMD²(q(z), p(z)), with a
    Gaussian kernel. The MMD² is an unbiased estimate, which may be negative. It compares the
    latents of the batch of all replicas with as many draws from the prior; if a batch is computed
    in parts, it compares within each part. With α = 1 and λ = 1 it is the MMD-VAE of the authors'
    code.

    Args:
        alpha: α, at most 1. The larger it is, the less the rate counts.
        lambda_mmd: λ, with α + λ ≥ 1. The default is ours: an MMD² of 0.1 then weighs as much as
            the distortion of a small image. The paper advises to choose λ this way.
        **kwargs: Further arguments of `BaseVAE`.

    Raises:
        ValueError: If a term of the loss would have a negative weight.

    Example:
        >>> import zoo
        >>> model = zoo.create("info_vae", (8, 8, 1), 2, network="mlp", lambda_mmd=10.0)
        >>> model.weights_of_terms
        {'rate': 1.0, 'mmd': 9.0}
    """

    def __init__(self, *, alpha: float = 0.0, lambda_mmd: float = 1000.0, **kwargs: Any) -> None:
        if alpha > 1 or alpha + lambda_mmd < 1:
            msg = (
                f"alpha={alpha}, lambda_mmd={lambda_mmd}: expected alpha ≤ 1 and "
                "alpha + lambda_mmd ≥ 1, so that no term has a negative weight."
            )
            raise ValueError(msg)
        self.alpha, self.lambda_mmd = float(alpha), float(lambda_mmd)
        super().__init__(**kwargs)

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 − α and α + λ − 1."""
        return {"rate": 1.0 - self.alpha, "mmd": self.alpha + self.lambda_mmd - 1.0}

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """The Gaussian kernel of [n, latent_dim] and [m, latent_dim]: [n, m]."""
        return losses.gaussian_kernel(x, y)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        options = {"alpha": self.alpha, "lambda_mmd": self.lambda_mmd}
        return {**super().get_config(), **options}
