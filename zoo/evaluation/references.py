"""Statistics of real images, which are computed once and kept under ZOO_HOME."""

from __future__ import annotations

import hashlib
import json
import warnings
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from zoo import data
from zoo.evaluation import streams
from zoo.io.cache import home
from zoo.metrics import GaussianStatistics, is_built_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from zoo.metrics import FeatureExtractor

REFERENCES = "references"  # folder under ZOO_HOME


def statistics(
    source: Any,
    split: str,
    image_shape: Sequence[int] | None,
    extractor: FeatureExtractor,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> GaussianStatistics:
    """Mean and covariance of the features of a split.

    They are kept under `ZOO_HOME/references`, by what the images are, the extractor and its
    resizing. One process computes them, and others wait for it. Where nothing can be written, a
    warning says so. An extractor of the user's own is
    known by its name alone, which may mean another network tomorrow: its statistics are not kept.

    Args:
        source: Data for `zoo.data.load`.
        split: Name of the split.
        image_shape: (height, width, channels) to convert to; None keeps the source's.
        extractor: Maps images to features.
        progress: Is told of "real images": how many were seen, and how many there are.

    Returns:
        The statistics of all images of the split.

    Raises:
        ValueError: If there are fewer than two images, or the extractor does not take them.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> from zoo.evaluation import references
        >>> mean = metrics.FeatureExtractor("mean", 1, None, lambda x: x.mean(axis=(1, 2)))
        >>> images = np.random.default_rng(0).random((30, 8, 8, 1))
        >>> references.statistics(images, "test", None, mean).count
        30
    """
    images = data.cached(data.open(source, split=split, image_shape=image_shape))
    place = _place(images, data.source_name(source), extractor)
    if place is None:
        return _compute(images, split, extractor, progress)
    with _locked(place):
        statistics = _kept(place)
        if statistics is None:
            statistics = _compute(images, split, extractor, progress)
            try:
                statistics.save(place)
            except OSError as error:
                msg = f"{error} The statistics of the real images are not kept. Set ZOO_HOME."
                warnings.warn(msg, stacklevel=2)
    return statistics


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Keeps other processes from a file, where a lock can be written."""
    lock = FileLock(place.with_suffix(".lock"))
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _kept(place: Path) -> GaussianStatistics | None:
    """The statistics in a file; None if there is no such file, or it is damaged."""
    if place.is_file():
        with suppress(ValueError):
            return GaussianStatistics.load(place)
    return None


def _compute(
    images: data.Records,
    split: str,
    extractor: FeatureExtractor,
    progress: Callable[[str, int, int], None],
) -> GaussianStatistics:
    statistics = GaussianStatistics.empty(extractor.dim, extractor.title)
    parts = streams.seen(streams.real(images, split, None), extractor)
    for part in streams.watched(parts, len(images), partial(progress, "real images")):
        statistics.add(part.features)
    return statistics


def _place(images: data.Records, source: str, extractor: FeatureExtractor) -> Path | None:
    """The file of the statistics; None if nothing tells the extractor from others."""
    if extractor.digest is None and not is_built_in(extractor.name):
        return None
    fingerprint = data.fingerprint(images, labels=False)
    marks = {"images": fingerprint, "extractor": extractor.title}
    if "index" in fingerprint:  # names and sizes of files, which another folder may have too
        marks["source"] = source
    digest = hashlib.sha256(json.dumps(marks, sort_keys=True).encode()).hexdigest()
    kind = "classifier" if extractor.digest else extractor.name
    return home() / REFERENCES / f"{kind}-{digest[:32]}.npz"
