"""β-TCVAE: a weight on the total correlation of the latents (arXiv 1802.04942)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import losses
from zoo.core.registry import register_model
from zoo.core.replicas import on_global_batch
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from zoo.io.types import Tensor

TERMS = ("mutual_information", "total_correlation", "dimension_wise_kl")


@register_model("beta_tc_vae")
class BetaTCVAE(BaseVAE):
    """β-TCVAE (arXiv 1802.04942, eq. 4), with the weights α = γ = 1 of the paper's experiments.

    The loss is distortion + I(x; z) + β TC(z) + Σ KL(q(z_j) ‖ p(z_j)). With β = 1 it is the loss of
    a VAE. Minibatch-weighted sampling estimates the three terms from single draws z, on the batch
    of all replicas; if a batch is computed in parts, on each part. The terms depend on the size of
    the batch, and may be negative: compare them only between batches of one size. Their sum, which
    is logged as `rate`, is exactly log q(z | x) − log p(z).

    Args:
        beta: β, at least 0. The default is the paper's 6.
        dataset_size: N, number of training images. It adds (β − 1)(latent_dim − 1) log N to the
            loss, and constants to the terms. No gradient depends on it.
        **kwargs: Further arguments of `BaseVAE`, but `free_bits`.

    Raises:
        ValueError: If `beta` < 0 or `dataset_size` < 1.

    Example:
        >>> import zoo
        >>> model = zoo.create("beta_tc_vae", (8, 8, 1), 2, network="mlp", dataset_size=16)
        >>> model.weights_of_terms
        {'mutual_information': 1.0, 'total_correlation': 6.0, 'dimension_wise_kl': 1.0}
    """

    log_names: tuple[str, ...] = ("loss", "distortion", "rate", *TERMS)

    def __init__(self, *, beta: float = 6.0, dataset_size: int = 60_000, **kwargs: Any) -> None:
        if beta < 0 or dataset_size < 1:
            msg = f"beta={beta}, dataset_size={dataset_size}: expected at least 0, and at least 1."
            raise ValueError(msg)
        self.beta, self.dataset_size = float(beta), int(dataset_size)
        super().__init__(**kwargs)

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1, β and 1."""
        return dict(zip(TERMS, (1.0, self.beta, 1.0), strict=True))

    def regularization_terms(
        self,
        outputs: dict[str, Any],
        batch: dict[str, Any],  # noqa: ARG002  (the hook's signature)
    ) -> dict[str, Any]:
        """The three terms, and their sum."""

        def estimate(latents: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
            return losses.total_correlation_terms(latents, mean, log_variance, self.dataset_size)

        posterior = (outputs[name] for name in ("latents", "mean", "log_variance"))
        terms = on_global_batch(estimate, *posterior)
        return {**dict(zip(TERMS, terms, strict=True)), "rate": sum(terms)}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        options = {"beta": self.beta, "dataset_size": self.dataset_size}
        return {**super().get_config(), **options}
