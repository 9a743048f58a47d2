"""The training images that a model's samples are most like, and whether it copies them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo import data, metrics
from zoo.core.model import check_model
from zoo.data.floats import as_floats
from zoo.evaluation import streams
from zoo.evaluation.extractors import needed_extractor
from zoo.io.numbers import check_seed, check_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from zoo.core.model import ZooModel
    from zoo.metrics import FeatureExtractor


class Neighbours(NamedTuple):
    """What `nearest_training_images` found.

    Attributes:
        samples: The samples shown, nearest to a training image first, float32 [shown, height,
            width, channels] in [0, 1].
        neighbours: The training images nearest to each, float32 [shown, k, height, width,
            channels].
        distances: From each sample to its k nearest training images, float64 [samples, k].
        memorization_score: As `zoo.metrics.memorization_score`.
        extractor: Name of the network whose features were compared, and of its resizing.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.neighbours import Neighbours
        >>> samples, near = np.zeros((2, 8, 8, 1)), np.ones((2, 3, 8, 8, 1))
        >>> nearest = Neighbours(samples, near, np.ones((2, 3)), 0.5, "pixels")
        >>> nearest.sheet().mean(axis=(1, 2, 3))
        array([0., 1., 1., 1., 0., 1., 1., 1.])
    """

    samples: np.ndarray
    neighbours: np.ndarray
    distances: np.ndarray
    memorization_score: float
    extractor: str

    def sheet(self) -> np.ndarray:
        """Each sample and then its neighbours, float32 [shown · (k + 1), height, width, channels].

        For `zoo.io.pictures.save_grid` with k + 1 columns.
        """
        rows = np.concatenate([self.samples[:, None], self.neighbours], axis=1)
        return rows.reshape(-1, *rows.shape[2:])


def nearest_training_images(
    model: ZooModel,
    source: Any,
    *,
    samples: int = 1000,
    shown: int = 16,
    k: int = 4,
    split: str = "test",
    extractor: str | None = None,
    extractor_weights: str | Path | None = None,
    resize: str | None = None,
    seed: int = 0,
) -> Neighbours:
    """The nearest training images of samples, in the features of an extractor.

    The training split streams by; of its features a batch is held.

    Args:
        model: A model of the zoo.
        source: The data that the model was trained on, for `zoo.data.load`.
        samples: Samples to draw.
        shown: How many of them to return with their neighbours: those nearest to a training image.
        k: Neighbours of each.
        split: Images that the model has not seen, which the score compares with; at most as many
            as there are samples, evenly over the split.
        extractor: One of `zoo.metrics.list_extractors()`; default: the one made for the data, else
            "efficientnet_lite0".
        extractor_weights: File of the extractor's weights, in place of a download.
        resize: How images are brought to the extractor's size; default: its own way.
        seed: Seed of the samples.

    Returns:
        The neighbours and the score.

    Raises:
        ValueError: If the data do not fit the model, or a number is out of range.
        ConnectionError: If the extractor's weights must be downloaded and cannot.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> images = np.random.default_rng(0).random((50, 28, 28, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (28, 28, 1), 2, network="mlp")
        >>> nearest = zoo.evaluation.nearest_training_images(
        ...     vae, images, samples=20, shown=3, k=2, extractor="fashion_mnist_classifier"
        ... )
        >>> nearest.sheet().shape
        (9, 28, 28, 1)
    """
    check_model(model)
    for name, value in (("samples", samples), ("shown", shown), ("k", k)):
        check_whole(name, value)
    check_seed(seed)
    features = needed_extractor(
        source, extractor, model.image_shape, what="Neighbours", weights=extractor_weights,
        resize=resize,
    )  # fmt: skip
    held_out = data.open(source, split=split, image_shape=model.image_shape)
    rows = np.unique(np.linspace(0, len(held_out) - 1, samples).round().astype(np.int64))
    tests = as_floats(held_out.take(rows))
    labels = model.sample_labels(samples, seed)
    latents = model.sample_latents(samples, seed)
    drawn = _stacked(streams.seen_in_samples(model, latents, labels, features))
    unseen = _stacked(streams.seen(streams.of_arrays(tests), features))
    distances, numbers = metrics.nearest_neighbours(
        np.concatenate([drawn, unseen]), _training(source, model, features), k
    )
    of_samples, of_tests = distances[:samples, 0], distances[samples:, 0]
    nearest = np.argsort(of_samples, kind="stable")[:shown]
    chosen = None if labels is None else labels[nearest]
    pictures = [batch.images for batch in streams.samples(model, latents[nearest], chosen)]
    return Neighbours(
        samples=np.concatenate(pictures),
        neighbours=_images(source, model, numbers[nearest]),
        distances=distances[:samples],
        memorization_score=metrics.memorization_score(of_samples, of_tests),
        extractor=features.title if features.resize else features.name,
    )


def _training(source: Any, model: ZooModel, features: FeatureExtractor) -> Iterator[np.ndarray]:
    for part in streams.seen(streams.real(source, "train", model.image_shape), features):
        yield part.features


def _stacked(parts: Iterator[streams.Seen]) -> np.ndarray:
    return np.concatenate([part.features for part in parts])


def _images(source: Any, model: ZooModel, numbers: np.ndarray) -> np.ndarray:
    """The training images of numbers [shown, k]."""
    images = data.open(source, split="train", image_shape=model.image_shape)
    return as_floats(images.take(numbers.reshape(-1))).reshape(*numbers.shape, *model.image_shape)
