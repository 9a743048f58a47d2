"""Features of images in batches, real and generated: one batch of images is held at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from zoo import data
from zoo.core.replicas import is_multi_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from zoo.core.model import ZooModel
    from zoo.metrics import FeatureExtractor

BATCH = 250  # images per batch; on several replicas, of each


class Batch(NamedTuple):
    """Some images.

    Attributes:
        images: float32 [batch, height, width, channels] in [0, 1].
        labels: int32 [batch], or None.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.streams import Batch
        >>> Batch(np.zeros((3, 8, 8, 1))).labels is None
        True
    """

    images: np.ndarray
    labels: np.ndarray | None = None


class Seen(NamedTuple):
    """What an extractor sees in a batch of images.

    Attributes:
        features: float32 [batch, dim].
        probabilities: Class probabilities, float32 [batch, classes], or None.
        labels: int32 [batch], or None.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.streams import Seen
        >>> Seen(np.zeros((3, 4))).features.shape
        (3, 4)
    """

    features: np.ndarray
    probabilities: np.ndarray | None = None
    labels: np.ndarray | None = None


Part = TypeVar("Part", Batch, Seen)


def real(
    source: Any, split: str, image_shape: Sequence[int] | None, *, labels: bool = False
) -> Iterator[Batch]:
    """The images of a split, in order, 250 per batch; the last batch may be smaller.

    Args:
        source: Data for `zoo.data.load`.
        split: Name of the split.
        image_shape: (height, width, channels) to convert to; None keeps the source's.
        labels: Whether to give the labels too.

    Raises:
        ValueError: If labels are asked for and absent, or an image cannot be read; it is named.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation import streams
        >>> batches = streams.real(np.zeros((300, 8, 8, 1)), "test", None)
        >>> [len(batch.images) for batch in batches]
        [250, 50]
    """
    images = data.open(source, split=split, image_shape=image_shape)
    batches = data.load(images, split=split, batch_size=BATCH, labels=labels)
    with data.named_faults(images):
        for each in batches.as_numpy_iterator():
            yield Batch(*each) if labels else Batch(each)


def labelled(model: ZooModel, source: Any, split: str) -> Iterable[Batch]:
    """The images of a split that have a model's shape; for a conditional model with their labels.

    Raises:
        ValueError: If labels are needed and absent, or are of other classes than the model's.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.evaluation import streams
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> [batch.labels for batch in streams.labelled(vae, np.zeros((9, 8, 8, 1)), "test")]
        [None]
    """
    if not model.num_classes:
        return real(source, split, None)
    batches = real(source, split, None, labels=True)
    return (
        batch._replace(labels=model.checked_labels(batch.labels, len(batch.images)))
        for batch in batches
    )


def of_arrays(images: np.ndarray, labels: np.ndarray | None = None) -> Iterator[Batch]:
    """Arrays in batches of 250.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation import streams
        >>> [len(batch.images) for batch in streams.of_arrays(np.zeros((300, 8, 8, 1)))]
        [250, 50]
    """
    for i in range(0, len(images), BATCH):
        yield Batch(images[i : i + BATCH], None if labels is None else labels[i : i + BATCH])


def batches_of(
    images: np.ndarray | Iterable[Batch], labels: np.ndarray | None = None
) -> Iterable[Batch]:
    """Batches as they are, or those of arrays.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.streams import batches_of
        >>> [len(batch.images) for batch in batches_of(np.zeros((3, 8, 8, 1)))]
        [3]
    """
    return of_arrays(images, labels) if isinstance(images, np.ndarray) else images


def seen(
    batches: Iterable[Batch], extractor: FeatureExtractor, *, classify: bool = False
) -> Iterator[Seen]:
    """What an extractor sees in each batch; with `classify`, the class probabilities too.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> from zoo.evaluation import streams
        >>> mean = metrics.FeatureExtractor("mean", 1, None, lambda x: x.mean(axis=(1, 2)))
        >>> batches = streams.of_arrays(np.zeros((300, 8, 8, 1)))
        >>> [part.features.shape for part in streams.seen(batches, mean)]
        [(250, 1), (50, 1)]
    """
    for batch in batches:
        yield _look(extractor, batch, classify)


def seen_in_samples(
    model: ZooModel,
    latents: np.ndarray,
    labels: np.ndarray | None,
    extractor: FeatureExtractor,
    *,
    weights: str = "ema",
    classify: bool = False,
) -> Iterator[Seen]:
    """What an extractor sees in images of latents.

    The replicas of the model's strategy share the latents: each makes its images and looks at them.
    Every worker gets the features of all.

    Args:
        model: The model.
        latents: float32 [n, noise_dim].
        labels: The classes for a conditional model, int32 [n].
        extractor: Maps images to features.
        weights: "ema" for the averaged generator, where there is one; "raw" for the trained one.
        classify: Whether to give the class probabilities too.

    Yields:
        Features of up to 250 images per replica, in the order of the latents.

    Example:
        >>> import zoo
        >>> from zoo import metrics
        >>> from zoo.evaluation import streams
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> mean = metrics.FeatureExtractor("mean", 1, None, lambda x: x.mean(axis=(1, 2)))
        >>> parts = streams.seen_in_samples(vae, vae.sample_latents(300, seed=0), None, mean)
        >>> [part.features.shape for part in parts]
        [(250, 1), (50, 1)]
    """
    draw = tf.function(images_function(model, weights), reduce_retracing=True)
    strategy = model.distribute_strategy
    at_once = BATCH * strategy.num_replicas_in_sync
    for start in range(0, len(latents), at_once):
        rows = slice(start, start + at_once)
        given = [latents[rows]] if labels is None else [latents[rows], labels[rows]]
        shares = _generated(strategy, draw, given)
        parts = _look_at_all(strategy, extractor, shares, classify)
        yield _together(strategy, parts, len(given[0]))


def watched(parts: Iterable[Part], n: int, progress: Callable[[int, int], None]) -> Iterator[Part]:
    """The parts of n images; once one is used, `progress` is told how many images were, and n.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.streams import Seen, watched
        >>> parts = [Seen(np.ones((3, 1))), Seen(np.ones((2, 1)))]
        >>> len(list(watched(parts, 5, lambda done, of: print(f"{done} of {of}"))))
        0 of 5
        3 of 5
        5 of 5
        2
    """
    done = 0
    progress(done, n)
    for part in parts:
        yield part
        done += len(part[0])
        progress(done, n)


def samples(
    model: ZooModel, latents: np.ndarray, labels: np.ndarray | None, *, weights: str = "ema"
) -> Iterator[Batch]:
    """Images of latents, 250 per batch, on one device; arguments as for `seen_in_samples`.

    Example:
        >>> import zoo
        >>> from zoo.evaluation import streams
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> batches = streams.samples(vae, vae.sample_latents(300, seed=0), None)
        >>> [len(batch.images) for batch in batches]
        [250, 50]
    """
    draw = tf.function(images_function(model, weights), reduce_retracing=True)
    for i in range(0, len(latents), BATCH):
        rows = slice(i, i + BATCH)
        given = [latents[rows]] if labels is None else [latents[rows], labels[rows]]
        yield Batch(np.asarray(draw(*given)), None if labels is None else labels[rows])


def images_function(model: ZooModel, weights: str) -> Callable[..., Any]:
    """The function from latents (and labels) to images, with the averaged or the trained weights.

    Example:
        >>> import zoo
        >>> from zoo.evaluation.streams import images_function
        >>> gan = zoo.create("dcgan", (8, 8, 1), 2, network="mlp", ema=0.9)
        >>> images_function(gan, "raw")(gan.sample_latents(3, seed=0)).shape
        TensorShape([3, 8, 8, 1])
    """
    if weights == "ema" or not has_average(model):
        return model.images_from_latents
    return partial(model.drawn_by, model.generator)


def has_average(model: Any) -> bool:
    """Whether a model draws its samples from an average of its weights.

    Example:
        >>> import zoo
        >>> from zoo.evaluation.streams import has_average
        >>> has_average(zoo.create("vae", (8, 8, 1), 2, network="mlp"))
        False
    """
    return getattr(model, "ema_generator", None) is not None


def _generated(strategy: tf.distribute.Strategy, draw: Any, given: list[np.ndarray]) -> list[Batch]:
    """Images of latents and labels: a batch for each replica of this worker, all of one size."""
    replicas, n = strategy.num_replicas_in_sync, len(given[0])
    size = -(-n // replicas)
    shares: list[list[np.ndarray]] = []

    def share(replica: int) -> list[np.ndarray]:
        rows = np.minimum(np.arange(replica * size, (replica + 1) * size), n - 1)
        shares.append([x[rows] for x in given])
        return shares[-1]

    if replicas == 1:
        images = [draw(*share(0))]
    else:
        values = strategy.experimental_distribute_values_from_function
        # One value per call: TensorFlow takes no list here.
        inputs = [
            values(lambda context, i=i: tf.constant(share(context.replica_id_in_sync_group)[i]))
            for i in range(len(given))
        ]
        shares = shares[: len(shares) // len(given)]
        images = strategy.experimental_local_results(strategy.run(draw, args=inputs))
    return [
        Batch(np.asarray(part), rows[1] if len(rows) > 1 else None)
        for part, rows in zip(images, shares, strict=True)
    ]


def _look_at_all(
    strategy: tf.distribute.Strategy,
    extractor: FeatureExtractor,
    shares: list[Batch],
    classify: bool,  # noqa: FBT001
) -> list[Seen]:
    """What is seen in each share, on the device that made it."""
    if len(shares) == 1:
        return [_look(extractor, shares[0], classify)]

    def look(device: str, share: Batch) -> Seen:
        with tf.device(device):
            return _look(extractor, share, classify)

    with ThreadPoolExecutor(len(shares)) as threads:
        return list(threads.map(look, strategy.extended.worker_devices, shares))


def _look(extractor: FeatureExtractor, batch: Batch, classify: bool) -> Seen:  # noqa: FBT001
    probabilities = extractor.predict(batch.images) if classify else None
    return Seen(extractor(batch.images), probabilities, batch.labels)


def _together(strategy: tf.distribute.Strategy, parts: list[Seen], n: int) -> Seen:
    """The first n rows of what all replicas of all workers have seen."""

    def whole(field: str) -> Any:
        arrays = [getattr(part, field) for part in parts]
        if arrays[0] is None:
            return None
        if not is_multi_worker(strategy):
            return np.concatenate(arrays)[:n]
        local = iter(arrays)
        values = strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant(next(local))
        )
        return np.asarray(strategy.gather(values, axis=0))[:n]

    return Seen(*(whole(field) for field in Seen._fields))
