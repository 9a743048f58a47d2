"""How like reconstructions are to their images, and how unlike samples are to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from zoo import metrics
from zoo.evaluation import streams
from zoo.metrics.similarity import WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zoo.core.model import ZooModel
    from zoo.evaluation.streams import Batch
    from zoo.vae.base import BaseVAE

DIVERSE = 1000  # samples whose diversity is measured, at most


def reconstruction_metrics(
    model: BaseVAE, images: np.ndarray | Iterable[Batch], *, perceptual: bool = False
) -> dict[str, float]:
    """How like a VAE's reconstructions are to their images.

    Args:
        model: A VAE.
        images: float32 [n, height, width, channels] in [0, 1]; or batches, which for a conditional
            model have labels.
        perceptual: Whether to measure the perceptual distance, at about 20 images/s on a CPU core.

    Returns:
        Means over images: `psnr` in decibels; `ssim`, unless they are smaller than its window of 11
        pixels; and `perceptual_distance`, if it is asked for.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.evaluation.perceptual import reconstruction_metrics
        >>> images = np.random.default_rng(0).random((30, 16, 16, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (16, 16, 1), 2, network="mlp")
        >>> sorted(reconstruction_metrics(vae, images))
        ['psnr', 'ssim']
    """
    reconstructions = Reconstructions(model, perceptual=perceptual)
    for _ in reconstructions.seeing(streams.batches_of(images)):
        pass
    return reconstructions.means()


class Reconstructions:
    """Gathers the `reconstruction_metrics` of batches that something else is measured on too.

    Args:
        model: A VAE.
        perceptual: Whether to measure the perceptual distance.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.evaluation import streams
        >>> from zoo.evaluation.perceptual import Reconstructions
        >>> vae = zoo.create("vae", (16, 16, 1), 2, network="mlp")
        >>> reconstructions = Reconstructions(vae)
        >>> batches = streams.of_arrays(np.zeros((300, 16, 16, 1), np.float32))
        >>> sum(len(batch.images) for batch in reconstructions.seeing(batches))
        300
        >>> sorted(reconstructions.means())
        ['psnr', 'ssim']
    """

    def __init__(self, model: BaseVAE, *, perceptual: bool = False) -> None:
        self._metrics = {"psnr": metrics.psnr, "ssim": metrics.ssim}
        if min(model.image_shape[:2]) < WINDOW:
            del self._metrics["ssim"]
        if perceptual:
            self._metrics["perceptual_distance"] = metrics.perceptual_distance
        self._reconstruct = tf.function(model.reconstruct, reduce_retracing=True)
        self._values: dict[str, list[np.ndarray]] = {name: [] for name in self._metrics}

    def seeing(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches, each once its reconstructions were measured."""
        for batch in batches:
            given = (tf.constant(x) for x in batch if x is not None)
            reconstructed = np.clip(self._reconstruct(*given), 0.0, 1.0)
            for name, metric in self._metrics.items():
                self._values[name].append(metric(batch.images, reconstructed))
            yield batch

    def means(self) -> dict[str, float]:
        """The mean of each metric over all images."""
        return {name: float(np.mean(np.concatenate(x))) for name, x in self._values.items()}


def diversity_metrics(
    model: ZooModel,
    latents: np.ndarray,
    seed: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, float]:
    """How unlike samples are to each other.

    Args:
        model: A model of the zoo.
        latents: The latents to generate from, float32 [n, latent_dim].
        seed: Seed of the labels of a conditional model. Pairs are of any two classes.
        progress: Is told how many samples were compared, and how many there will be.

    Returns:
        `perceptual_diversity`: the `zoo.metrics.perceptual_diversity` of the first 1,000 samples;
        nothing if there is one sample.

    Example:
        >>> import zoo
        >>> from zoo.evaluation.perceptual import diversity_metrics
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> list(diversity_metrics(vae, vae.sample_latents(2, seed=0), seed=0))
        ['perceptual_diversity']
    """
    n = min(len(latents), DIVERSE) // 2 * 2  # an even number: batches are even too
    labels = model.sample_labels(len(latents), seed)
    batches = streams.samples(model, latents[:n], None if labels is None else labels[:n])
    distances = [
        metrics.perceptual_distance(batch.images[::2], batch.images[1::2])
        for batch in streams.watched(batches, n, progress)
    ]
    return {"perceptual_diversity": float(np.mean(np.concatenate(distances)))} if n else {}
