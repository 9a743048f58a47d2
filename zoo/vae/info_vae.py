"""InfoVAE (MMD-VAE): the aggregate posterior meets the prior in MMD (arXiv 1706.02262)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import losses
from zoo.registry import register_model
from zoo.training.replicas import on_global_batch
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable


@register_model("info_vae")
class InfoVAE(BaseVAE):
    """InfoVAE with the maximum mean discrepancy (arXiv 1706.02262, eq. 6).

    The loss is distortion + (1 − α) KL(q(z | x) ‖ p(z)) + (α + λ − 1) MMD²(q(z), p(z)), with a
    Gaussian kernel. The MMD² is an unbiased estimate, which may be negative, between the latents of
    the batch of all replicas and as many draws of the prior; in a batch computed in parts, of the
    parts. α = 1, λ = 1 is the MMD-VAE of the authors' code.

    Args:
        alpha: α, at most 1: how little the rate counts.
        lambda_mmd: λ, with α + λ ≥ 1. The default is ours: an MMD² of 0.1 then weighs as much as
            the distortion of a small image, as the paper advises to choose λ.
        **kwargs: Further arguments of `BaseVAE`.

    Raises:
        ValueError: If a term of the loss would have a negative weight.
    """

    log_names: tuple[str, ...] = ("loss", "distortion", "rate", "mmd")

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

    def draws(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """As in `BaseVAE`, and draws of the prior."""
        return {**super().draws(draw), "prior_latents": draw("prior", [self.latent_dim])}

    def regularizer(
        self, mean: Any, log_variance: Any, latents: Any, batch: dict[str, Any]
    ) -> dict[str, Any]:
        """The rate, and each example's share of the MMD²."""

        def discrepancy(latents: Any, prior_latents: Any) -> Any:
            return losses.maximum_mean_discrepancy(latents, prior_latents, losses.gaussian_kernel)

        found = super().regularizer(mean, log_variance, latents, batch)
        return {**found, "mmd": on_global_batch(discrepancy, latents, batch["prior_latents"])}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        options = {"alpha": self.alpha, "lambda_mmd": self.lambda_mmd}
        return {**super().get_config(), **options}
