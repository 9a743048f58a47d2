"""The aggregate posterior q(z) = E_x q(z | x): its moments, and a mixture fitted to it.

If a VAE's q(z) differs from its prior, draws from the prior fall where the decoder was not trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

    from zoo.vae.base import BaseVAE

BATCH = 500


def posteriors(
    vae: BaseVAE, images: np.ndarray, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, float64 [n, latent_dim] each, of the latents of images.

    Args:
        vae: A VAE that has a latent code.
        images: float32 [n, height, width, channels] in [0, 1].
        labels: The classes of the images, int32 [n], for a conditional model.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.sampling.posterior import posteriors
        >>> images = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> means, deviations = posteriors(vae, images)
        >>> means.shape, deviations.shape
        ((30, 2), (30, 2))
    """
    given = (images,) if labels is None else (images, labels)
    rows = (slice(i, i + BATCH) for i in range(0, len(images), BATCH))
    parts = [vae.latent_code(*(x[some] for x in given)) for some in rows]
    means, deviations = (np.concatenate(part) for part in zip(*parts, strict=True))
    return means.astype(np.float64), deviations.astype(np.float64)


def aggregate_moments(
    vae: BaseVAE, images: np.ndarray, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and covariance [d, d] of q(z): m = E[μ], S = Cov(μ) + E[diag σ²].

    Args:
        vae: A VAE that has a latent code.
        images: float32 [n, height, width, channels] in [0, 1], n ≥ 2.
        labels: The classes of the images, int32 [n], for a conditional model.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.sampling.posterior import aggregate_moments
        >>> images = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> mean, covariance = aggregate_moments(vae, images)
        >>> mean.shape, covariance.shape
        ((2,), (2, 2))
    """
    means, deviations = posteriors(vae, images, labels)
    covariance = np.atleast_2d(np.cov(means, rowvar=False, bias=True))
    return means.mean(axis=0), covariance + np.diag(np.square(deviations).mean(axis=0))


def fit_mixture(
    vae: BaseVAE,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    components: int = 10,
    seed: int = 0,
) -> GaussianMixture:
    """A Gaussian mixture fitted to draws from q(z), one per image (arXiv 1903.12436).

    Args:
        vae: A VAE that has a latent code.
        images: float32 [n, height, width, channels] in [0, 1], n ≥ `components`.
        labels: The classes of the images, int32 [n], for a conditional model.
        components: Number of Gaussians, each of full covariance.
        seed: Seed of the draws and of the fit.

    Returns:
        The scikit-learn mixture, which `draw` takes.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.sampling.posterior import fit_mixture
        >>> images = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> fit_mixture(vae, images, components=2).means_.shape
        (2, 2)
    """
    from sklearn.mixture import GaussianMixture  # noqa: PLC0415  (exports import this package too)

    means, deviations = posteriors(vae, images, labels)
    noise = np.random.default_rng(seed).normal(size=means.shape)
    mixture = GaussianMixture(components, random_state=seed, reg_covar=1e-4)
    return mixture.fit(means + deviations * noise)


def draw(mixture: GaussianMixture, n: int, seed: int = 0) -> np.ndarray:
    """Draws latents, float32 [n, latent_dim], from a mixture: the same seed gives the same ones.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.sampling.posterior import draw, fit_mixture
        >>> images = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> draw(fit_mixture(vae, images, components=2), 5, seed=0).shape
        (5, 2)
    """
    mixture.random_state = seed
    latents: Any = mixture.sample(n)[0]  # ordered by component
    return np.random.default_rng(seed).permutation(latents).astype(np.float32)
