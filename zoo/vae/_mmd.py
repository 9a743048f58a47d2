"""The base of VAEs that match aggregate posterior and prior by maximum mean discrepancy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import losses
from zoo.core.replicas import on_global_batch
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.io.types import Tensor


class MMDVAE(BaseVAE):
    """A VAE with a further term `mmd`: the discrepancy between latents and draws from the prior.

    The term is an unbiased estimate of MMD² over the batch of all replicas. A subclass gives the
    kernel and the weights of the terms. The arguments are those of `BaseVAE`.
    """

    log_names: tuple[str, ...] = ("loss", "distortion", "rate", "mmd")

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """The kernel between latents [n, latent_dim] and [m, latent_dim], float32 [n, m]."""
        raise NotImplementedError

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """As in `BaseVAE`, and draws from the prior."""
        return {**super().batch_noise(draw), "prior_latents": draw("prior", [self.latent_dim])}

    def regularization_terms(
        self, outputs: dict[str, Any], batch: dict[str, Any]
    ) -> dict[str, Any]:
        """The rate, and the share of each example in the MMD²."""

        def discrepancy(latents: Tensor, prior_latents: Tensor) -> Tensor:
            return losses.maximum_mean_discrepancy(latents, prior_latents, self.kernel)

        mmd = on_global_batch(discrepancy, outputs["latents"], batch["prior_latents"])
        return {**super().regularization_terms(outputs, batch), "mmd": mmd}
