"""The values of protocols: samples stream past an extractor once for each number of them."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import data, metrics
from zoo.evaluation import classifiers, references, streams
from zoo.evaluation.needs import (
    IS_SPLITS,
    NEED_FEATURES,
    NEED_PROBABILITIES,
    OTHER_FEATURES,
    check_enough,
    check_needs,
)
from zoo.evaluation.path_length import check_distance, path_length
from zoo.metrics import GaussianStatistics
from zoo.metrics.features import quantise
from zoo.sampling import standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from zoo.core.model import ZooModel
    from zoo.evaluation.protocols import Protocol
    from zoo.evaluation.streams import Seen
    from zoo.metrics import FeatureExtractor

KID_SUBSET = 1000  # features of each of 100 subsets (torch-fidelity, StyleGAN's code)
CAS_EPOCHS = 15  # of the classifier that learns from samples


@dataclass
class Collected:
    """What was kept of a stream.

    Attributes:
        statistics: Number, mean and covariance of the features.
        features: float32 [n, dim], if they were to be held.
        probabilities: float32 [n, classes], if the stream had them.
        labels: int32 [n], if the stream had them.

    Example:
        >>> from zoo.evaluation.scores import Collected
        >>> from zoo.metrics import GaussianStatistics
        >>> Collected(GaussianStatistics.empty(4)).features is None
        True
    """

    statistics: GaussianStatistics
    features: Any = None
    probabilities: Any = None
    labels: Any = None


def collect(parts: Iterable[Seen], extractor: FeatureExtractor, *, hold: bool) -> Collected:
    """Keeps of a stream what its metrics need; the features themselves only if `hold`.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.scores import collect
        >>> from zoo.evaluation.streams import Seen
        >>> from zoo import metrics
        >>> mean = metrics.FeatureExtractor("mean", 1, None, lambda x: x.mean(axis=(1, 2)))
        >>> parts = [Seen(np.ones((3, 1), np.float32)), Seen(np.zeros((2, 1), np.float32))]
        >>> kept = collect(parts, mean, hold=True)
        >>> kept.features.shape, kept.statistics.count
        ((5, 1), 5)
    """
    kept = Collected(GaussianStatistics.empty(extractor.dim, extractor.title))
    held: dict[str, list[np.ndarray]] = {"features": [], "probabilities": [], "labels": []}
    for part in parts:
        kept.statistics.add(part.features)
        for name, arrays in held.items():
            array = getattr(part, name)
            if array is not None and (hold or name != "features"):
                arrays.append(array)
    for name, arrays in held.items():
        setattr(kept, name, np.concatenate(arrays) if arrays else None)
    return kept


class Scores:
    """Measures protocols of one model on one source; what they share is computed once.

    Args:
        model: The model.
        source: Data for `zoo.data.load`.
        protocols: What to measure. They differ in nothing but metric, samples, split and k.
        extractor: Their extractor, loaded; None if none of them has features of it.
        reference: Statistics to compare with in place of those of a split.
        progress: Is told of images: "real images" or "samples", how many were judged, and how many
            there will be.

    Raises:
        ValueError: If the model or the extractor lacks what a protocol needs; it is named.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo import metrics
        >>> from zoo.evaluation.protocols import parse_all
        >>> from zoo.evaluation.scores import Scores
        >>> mean = metrics.FeatureExtractor("mean", 1, None, lambda x: x.mean(axis=(1, 2)))
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> images = np.random.default_rng(0).random((30, 8, 8, 1))
        >>> sorted(Scores(vae, images, parse_all(["fid20_test", "pr20_test"]), mean).measure())
        ['fid20_test', 'pr20_test_precision', 'pr20_test_recall']
    """

    def __init__(
        self,
        model: ZooModel,
        source: Any,
        protocols: Sequence[Protocol],
        extractor: FeatureExtractor | None,
        reference: GaussianStatistics | None = None,
        progress: Callable[[str, int, int], None] = lambda *_: None,
    ) -> None:
        self.model = model
        self.source = source
        self.protocols = list(protocols)
        self.extractor: Any = extractor
        self.reference = reference
        self.progress = progress
        for protocol in self.protocols:
            check_needs(model, protocol, extractor, given=reference is not None)
        self._statistics: dict[str, GaussianStatistics] = {}
        self._held: dict[str, Collected] = {}

    def prepare(self) -> None:
        """Computes what is known before any sample, and warns of figures that will be biased.

        Raises:
            ValueError: If the data or the extractor do not fit, or there are too few images.
            ConnectionError: If the network of path lengths cannot be downloaded.
        """
        for protocol in self.protocols:
            if protocol.metric == "ppl":
                check_distance(self.model)
            if protocol.metric in NEED_FEATURES:  # first: they have the statistics too
                real = self.held(protocol)
                count, classes = len(real.features), self.model.num_classes
                check_enough(protocol, count, real.labels, classes, "real images")
        for protocol in self.protocols:
            if protocol.metric == "fid":
                compared = self.statistics(protocol)
                self._check_reference(compared)
                numbers = [(compared.count, protocol.samples)]
                warn_of_bias(protocol.name, numbers, [compared], protocol.seed)
            if protocol.metric == "ifid":
                self._warn_of_few_of_a_class(protocol)

    def measure(self) -> dict[str, float]:
        """The values of all protocols by name.

        Raises:
            ValueError: As `prepare`; or if an image is not finite.
        """
        values: dict[str, float] = {}
        together = [protocol for protocol in self.protocols if protocol.metric in VALUES]
        for n in dict.fromkeys(protocol.samples for protocol in together):
            group = [protocol for protocol in together if protocol.samples == n]
            fake = self._samples(n, group)
            for protocol in group:
                measured = VALUES[protocol.metric](self, protocol, fake)
                values |= dict(zip(protocol.directions, measured, strict=True))
        for protocol in self.protocols:
            if protocol.metric == "cas":
                values[protocol.name] = self._classification_accuracy(protocol)
            if protocol.metric == "ppl":
                with sampling(self.model, protocol.truncation):
                    values[protocol.name] = path_length(self.model, protocol)
        return {name: values[name] for each in self.protocols for name in each.directions}

    def statistics(self, protocol: Protocol) -> GaussianStatistics:
        """What the samples of a protocol are compared with: of its split, or the given ones."""
        if self.reference is not None:
            return self.reference
        split = str(protocol.split)
        if split not in self._statistics:
            self._statistics[split] = (
                self._held[split].statistics
                if split in self._held
                else references.statistics(
                    self.source, split, self.model.image_shape, self.extractor, self.progress
                )
            )
        return self._statistics[split]

    def held(self, protocol: Protocol) -> Collected:
        """The features of the real images of a protocol's split."""
        split = str(protocol.split)
        if split not in self._held:
            images = data.open(self.source, split=split, image_shape=self.model.image_shape)
            batches = streams.real(images, split, None, labels=bool(self.model.num_classes))
            parts = streams.seen(batches, self.extractor)
            parts = streams.watched(parts, len(images), partial(self.progress, "real images"))
            self._held[split] = collect(parts, self.extractor, hold=True)
        return self._held[split]

    def _samples(self, n: int, group: Sequence[Protocol]) -> Collected:
        """What is kept of n samples."""
        seed, kinds = group[0].seed, {protocol.metric for protocol in group}
        with sampling(self.model, group[0].truncation):
            parts = streams.seen_in_samples(
                self.model,
                self.model.sample_latents(n, seed),
                self.model.sample_labels(n, seed),
                self.extractor,
                weights=group[0].weights,
                classify=bool(kinds & set(NEED_PROBABILITIES)),
            )
            parts = streams.watched(parts, n, partial(self.progress, "samples"))
            return collect(parts, self.extractor, hold=bool(kinds & set(NEED_FEATURES)))

    def record(self, protocol: Protocol) -> dict[str, Any]:
        """What a figure was measured with, for JSON: the protocol with its defaults filled in."""
        split, other = protocol.split, protocol.metric in OTHER_FEATURES
        images = None
        if split is not None and self.reference is not None:
            images = self.reference.count
        elif split in self._held or split in self._statistics:
            images = self.statistics(protocol).count
        return {
            **protocol.record(),
            "extractor": OTHER_FEATURES[protocol.metric] if other else self.extractor.name,
            "resize": None if other else self.extractor.resize,
            "weights": protocol.weights if streams.has_average(self.model) else "raw",
            "truncation": getattr(self.model, "truncation", None)
            if protocol.truncation is None
            else protocol.truncation,
            "images": images,
            **({} if protocol.weights == "raw" else standing.entry(self.model)),
        }

    def _warn_of_few_of_a_class(self, protocol: Protocol) -> None:
        real, classes = self.held(protocol), range(self.model.num_classes)
        labels: Any = self.model.sample_labels(protocol.samples, protocol.seed)
        counts = [np.bincount(each, minlength=len(classes)) for each in (real.labels, labels)]
        numbers = [(int(n), int(samples)) for n, samples in zip(*counts, strict=True)]
        each = (GaussianStatistics.of(real.features[real.labels == label]) for label in classes)
        warn_of_bias(protocol.name, numbers, each, protocol.seed)

    def _check_reference(self, real: GaussianStatistics) -> None:
        known = real.extractor or self.extractor.title  # other programs' files do not say it
        if len(real.mean) != self.extractor.dim or known != self.extractor.title:
            msg = (
                f"The reference is of {len(real.mean)} features of {real.extractor or 'unknown'}, "
                f"and the extractor {self.extractor.title} has {self.extractor.dim}. Give the "
                "extractor that the reference was computed with."
            )
            raise ValueError(msg)

    def _classification_accuracy(self, protocol: Protocol) -> float:
        """Trains a classifier on samples, and tests it on real images (arXiv 1905.10887).

        The samples are held as bytes: they are a training set.
        """
        model, n, seed = self.model, protocol.samples, protocol.seed
        with sampling(model, protocol.truncation):
            latents, labels = model.sample_latents(n, seed), model.sample_labels(n, seed)
            batches = streams.samples(model, latents, labels, weights=protocol.weights)
            pixels = np.concatenate([quantise(batch.images) for batch in batches])
        network = classifiers.fit(
            data.Images(pixels, labels), model.num_classes, epochs=CAS_EPOCHS, seed=seed
        )
        real = streams.real(self.source, str(protocol.split), model.image_shape, labels=True)
        return classifiers.accuracy(network, real)


@contextmanager
def sampling(model: Any, truncation: float | None) -> Iterator[None]:
    """Samples with a truncation ψ in the meantime; None leaves the model's own.

    Example:
        >>> import zoo
        >>> from zoo.evaluation.scores import sampling
        >>> model = zoo.create("stylegan2", (8, 8, 1), 2, network="style-8")
        >>> with sampling(model, 0.5):
        ...     model.truncation
        0.5
        >>> model.truncation
        1.0
    """
    if truncation is None:
        yield
        return
    before = model.truncation
    model.truncation = truncation
    try:
        yield
    finally:
        model.truncation = before


def _frechet(scores: Scores, protocol: Protocol, fake: Collected) -> tuple[float, ...]:
    return (metrics.frechet_distance_of(scores.statistics(protocol), fake.statistics),)


def _kernel(scores: Scores, protocol: Protocol, fake: Collected) -> tuple[float, ...]:
    """Over 100 subsets of 1,000 features, as published; of all features if there are fewer."""
    real = scores.held(protocol).features
    size = min(KID_SUBSET, len(real), len(fake.features))
    if size < KID_SUBSET:
        return (metrics.kernel_distance(real, fake.features),)
    seed = protocol.seed
    return (
        metrics.kernel_distance_over_subsets(real, fake.features, subset_size=size, seed=seed)[0],
    )


def _inception_score(scores: Scores, protocol: Protocol, fake: Collected) -> tuple[float, ...]:
    """The mean over ten parts, as published."""
    del scores, protocol
    return (metrics.inception_score(fake.probabilities, IS_SPLITS)[0],)


def _precision_recall(scores: Scores, protocol: Protocol, fake: Collected) -> tuple[float, ...]:
    real, k = scores.held(protocol).features, int(protocol.neighbours or 0)
    return metrics.precision_recall(real, fake.features, k=k)


def _density_coverage(scores: Scores, protocol: Protocol, fake: Collected) -> tuple[float, ...]:
    real, k = scores.held(protocol).features, int(protocol.neighbours or 0)
    return metrics.density_coverage(real, fake.features, k=k)


def _class_accuracy(scores: Scores, protocol: Protocol, fake: Collected) -> tuple[float, ...]:
    del scores, protocol
    return (class_accuracy(fake),)


def _intra_class(scores: Scores, protocol: Protocol, fake: Collected) -> tuple[float, ...]:
    """The mean over classes of the distance within each (arXiv 1802.05637, section 5)."""
    real, distances = scores.held(protocol), []
    for label in range(scores.model.num_classes):
        pair = [part.features[part.labels == label] for part in (real, fake)]
        distances.append(metrics.frechet_distance(*pair))
    return (float(np.mean(distances)),)


# From what was kept of the samples to the values, in the order of `Protocol.directions`.
VALUES: dict[str, Callable[[Scores, Protocol, Collected], tuple[float, ...]]] = {
    "fid": _frechet,
    "kid": _kernel,
    "is": _inception_score,
    "pr": _precision_recall,
    "dc": _density_coverage,
    "ifid": _intra_class,
    "accuracy": _class_accuracy,
}


def class_accuracy(fake: Collected) -> float:
    """The share of samples that the extractor puts into the class they were made for.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.scores import Collected, class_accuracy
        >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
        >>> class_accuracy(Collected(None, None, probabilities, np.array([0, 0])))
        0.5
    """
    return float(np.mean(np.argmax(fake.probabilities, axis=1) == fake.labels))


def warn_of_bias(
    name: str,
    numbers: Sequence[tuple[int | None, int]],
    real: Iterable[GaussianStatistics],
    seed: int,
) -> None:
    """Says how large the figure of a perfect model is, if there are not more samples than features.

    Args:
        name: Name of the metric: a Fréchet distance, or the mean of several.
        numbers: For each distance, the numbers of real images, if it is known, and of samples.
        real: For each distance, the statistics of the real images. One is held at a time.
        seed: Seed of the samples.

    Example:
        >>> import warnings
        >>> import numpy as np
        >>> from zoo import metrics
        >>> from zoo.evaluation.scores import warn_of_bias
        >>> real = metrics.GaussianStatistics.of(np.random.default_rng(0).normal(size=(99, 8)))
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warn_of_bias("fid8_test", [(99, 8)], [real], seed=0)
        ...
        >>> str(caught[0].message)[:36]
        'fid8_test: 8 samples for 8 features.'
    """
    fewer = [samples if n is None else min(n, samples) for n, samples in numbers]
    few, biases = min(fewer), []
    for statistics, n in zip(real, fewer, strict=True):
        dim = len(statistics.mean)
        if few > dim:
            return
        biases.append(metrics.frechet_bias(statistics, n, seed))
    which = "samples" if few in {samples for _, samples in numbers} else "real images"
    of_a_class = " of a class" if len(biases) > 1 else ""
    warnings.warn(
        f"{name}: {few} {which}{of_a_class} for {dim} features. The figure is biased upwards: a "
        f"perfect model would have about {np.mean(biases):.3g}. Take more, or compare only figures "
        "of the same number.",
        stacklevel=2,
    )
