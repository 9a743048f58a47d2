"""What metrics need of the model, the extractor and the numbers of images: refused before any."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.evaluation.extractors import ANY_IMAGES, needed_extractor_name
from zoo.evaluation.path_length import check_space
from zoo.evaluation.protocols import parse_all
from zoo.io.numbers import check_seed, check_whole
from zoo.metrics import load_extractor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from zoo.core.model import ZooModel
    from zoo.evaluation.protocols import Protocol
    from zoo.metrics import FeatureExtractor

TAKE_STATISTICS = ("fid",)  # in place of a split
NEED_FEATURES = ("kid", "pr", "dc", "ifid")  # themselves, not their sums alone
NEED_PROBABILITIES = ("is", "accuracy")  # of classes
NEED_CLASSES = ("ifid", "accuracy", "cas")  # conditional models
OTHER_FEATURES = {"ppl": "lpips (vgg16)", "cas": "a classifier trained on the samples"}
IS_SPLITS = 10
FEWEST = 6  # images: density and coverage look for the fifth neighbour of each


def features_compared(
    protocols: Iterable[Protocol], source: Any, extractor: str | None, image_shape: Any
) -> list[str]:
    """The names of the networks whose features are compared, each once.

    Args:
        protocols: What is measured.
        source: Data for `zoo.data.load`.
        extractor: As for `zoo.evaluate`.
        image_shape: (height, width, channels) of the images that will be compared.

    Raises:
        ValueError: If a protocol needs an extractor and none is asked for.

    Example:
        >>> from zoo.evaluation.needs import features_compared
        >>> from zoo.evaluation.protocols import parse_all
        >>> protocols = parse_all(["fid5k_test", "is5k", "ppl2_zend"])
        >>> features_compared(protocols, "emoji", None, (64, 64, 3))
        ['efficientnet_lite0', 'lpips (vgg16)']
    """
    names = [
        OTHER_FEATURES.get(each.metric)
        or needed_extractor_name(source, extractor, image_shape, what=each.name)
        for each in protocols
    ]
    return list(dict.fromkeys(names))


def in_words(metrics: Sequence[str], source: Any, extractor: str | None, image_shape: Any) -> str:
    """What is measured, and the networks whose features are compared; arguments as above.

    Raises:
        ValueError: If a name is unknown, or needs an extractor and none is asked for.

    Example:
        >>> from zoo.evaluation.needs import in_words
        >>> in_words(["fid5k_test", "is5k"], "emoji", None, (64, 64, 3))
        'fid5k_test, is5k (features: efficientnet_lite0)'
    """
    seen = features_compared(parse_all(metrics), source, extractor, image_shape)
    return f"{', '.join(metrics)} (features: {', '.join(seen)})"


def check_needs(
    model: Any, protocol: Protocol, extractor: FeatureExtractor | None, *, given: bool
) -> None:
    """Refuses a protocol for which the model, the extractor or the reference lacks something.

    Args:
        model: A model of the zoo.
        protocol: What is to be measured.
        extractor: The extractor, loaded; None where the protocol has features of its own.
        given: Whether statistics are given in place of a split.

    Raises:
        ValueError: If something is missing; it is named.

    Example:
        >>> import zoo
        >>> from zoo.evaluation.needs import check_needs
        >>> from zoo.evaluation.protocols import parse
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> check_needs(vae, parse("ppl2_zend"), None, given=False)
    """
    name, metric = protocol.name, protocol.metric
    if metric == "ppl":
        check_space(model, protocol)
    if metric in NEED_CLASSES and not model.num_classes:
        msg = (
            f"{name} is measured of conditional models, and this {model.model_name} has no "
            "classes. Leave it out."
        )
        raise ValueError(msg)
    if extractor is not None:
        _check_classifier(model, protocol, extractor)
    if given and metric not in TAKE_STATISTICS and protocol.split is not None:
        msg = (
            f"{name} needs the images of a split: a reference holds only the mean and covariance "
            "of their features, for fid. Leave the reference out, or this metric."
        )
        raise ValueError(msg)
    if protocol.truncation is not None and not hasattr(model, "truncation"):
        msg = (
            f"truncation={protocol.truncation}: a {model.model_name} has none; a stylegan2 and "
            "a biggan have one. Leave it out."
        )
        raise ValueError(msg)
    if protocol.truncation is not None:  # the model says whether it is in range
        own = model.truncation
        model.truncation = protocol.truncation
        model.truncation = own
    labels = model.sample_labels(protocol.samples, protocol.seed) if metric == "ifid" else None
    check_enough(protocol, protocol.samples, labels, model.num_classes, "samples")


def check_enough(protocol: Protocol, count: int, labels: Any, classes: int, what: str) -> None:
    """Refuses fewer images than a protocol can be measured with.

    Args:
        protocol: What is to be measured.
        count: Number of images.
        labels: Their classes, int [count], for a distance within classes.
        classes: Number of classes of the model.
        what: "samples" or "real images".

    Raises:
        ValueError: If there are too few; the number that is needed is named.

    Example:
        >>> from zoo.evaluation.needs import check_enough
        >>> from zoo.evaluation.protocols import parse
        >>> check_enough(parse("pr1k3_test"), 3, None, 0, "real images")
        Traceback (most recent call last):
        ValueError: pr1k3_test: 3 real images; expected at least 4. Take more.
    """
    if protocol.metric == "ifid":
        counts = np.bincount(labels, minlength=classes)[:classes]
        if counts.min() < 2:
            msg = (
                f"{protocol.name}: class {counts.argmin()} has {counts.min()} of {count} {what}; "
                "expected at least 2 of each class. Take more."
            )
            raise ValueError(msg)
    least = IS_SPLITS if protocol.metric == "is" else 1 + (protocol.neighbours or 1)
    if count < least:
        msg = f"{protocol.name}: {count} {what}; expected at least {least}. Take more."
        raise ValueError(msg)


def _check_classifier(model: Any, protocol: Protocol, extractor: FeatureExtractor) -> None:
    name, metric = protocol.name, protocol.metric
    if metric in NEED_PROBABILITIES and extractor.classify is None:
        msg = (
            f"{name} needs class probabilities, and the extractor {extractor.name} has none. "
            "Choose a classifier; `zoo train-classifier` makes one for labelled data."
        )
        raise ValueError(msg)
    if metric == "accuracy":
        known = extractor.predict(np.zeros((1, *model.image_shape), np.float32)).shape[1]
        if known != model.num_classes:
            msg = (
                f"{name}: the extractor {extractor.name} knows {known} classes, and the model has "
                f"{model.num_classes}. Choose a classifier of the data; `zoo train-classifier` "
                "makes one."
            )
            raise ValueError(msg)


def why_no_distances(
    extractor: str, image_shape: Sequence[int], images: int, samples: int
) -> str | None:
    """Why samples cannot be compared with images, in a sentence; None if they can.

    Args:
        extractor: Name of the extractor.
        image_shape: (height, width, channels) of both.
        images: Number of real images.
        samples: Number of samples.

    Example:
        >>> from zoo.evaluation.needs import why_no_distances
        >>> why_no_distances("efficientnet_lite0", (8, 8, 3), images=5, samples=100)
        '5 images and 100 samples: distances need 6 of each.'
    """
    if extractor == ANY_IMAGES and image_shape[-1] not in (1, 3):
        return f"images of {image_shape[-1]} channels: {extractor} takes 1 or 3."
    if min(images, samples) < FEWEST:
        return f"{images} images and {samples} samples: distances need {FEWEST} of each."
    return None


def extractor_of_samples(
    model: ZooModel,
    name: str | None,
    *,
    images: int,
    samples: int,
    extractor_weights: str | Path | None = None,
    resize: str | None = None,
) -> tuple[FeatureExtractor | None, dict[str, Any]]:
    """The extractor that an evaluation without names compares samples in, loaded.

    Args:
        model: The model.
        name: Name of the extractor; None for none.
        images: Number of real images.
        samples: Number of samples.
        extractor_weights: File of its weights, in place of a download.
        resize: How images are brought to its size; default: its own way.

    Returns:
        The extractor, or None if the samples are not measured; and what the protocol says of it.

    Raises:
        ValueError: If the extractor offers no such choice, or nothing of a GAN can be measured.
        ConnectionError: If its weights must be downloaded and cannot.

    Example:
        >>> import zoo
        >>> from zoo.evaluation.needs import extractor_of_samples
        >>> vae = zoo.create("vae", (28, 28, 1), 2, network="mlp")
        >>> name = "fashion_mnist_classifier"
        >>> extractor_of_samples(vae, name, images=9, samples=9)[1]
        {'extractor': 'fashion_mnist_classifier'}
    """
    if name is None:
        for key, value in (("extractor_weights", extractor_weights), ("resize", resize)):
            if value is not None:
                msg = f"{key}={str(value)!r}: no extractor compares the samples. Leave it out."
                raise ValueError(msg)
        return None, {"extractor": None}
    reason = why_no_distances(name, model.image_shape, images, samples)
    if reason is None:
        loaded = load_extractor(name, weights=extractor_weights, resize=resize)
        resized = {} if loaded.resize is None else {"resize": loaded.resize}
        return loaded, {"extractor": name, **resized}
    if model.family == "gan":
        msg = f"A {model.model_name} is measured by its samples alone, and there are {reason}"
        raise ValueError(msg)
    warnings.warn(f"The samples are not measured: {reason}", stacklevel=3)
    return None, {"extractor": None, "not_measured": {"samples": reason}}


def check_unnamed(
    samples: int | None, importance_samples: int, seed: int, protocol: dict[str, Any]
) -> None:
    """Checks the arguments of an evaluation that names no metrics.

    Raises:
        ValueError: If a number is out of range, or an argument is for named metrics alone.

    Example:
        >>> from zoo.evaluation.needs import check_unnamed
        >>> check_unnamed(0, 50, 0, {})
        Traceback (most recent call last):
        ValueError: samples=0: expected a whole number of at least 2.
    """
    if samples is not None:
        check_whole("samples", samples, 2)
    check_whole("importance_samples", importance_samples)
    check_seed(seed)
    if protocol:
        msg = f"{', '.join(protocol)}: expected with metrics=, such as metrics=['fid10k_test']."
        raise ValueError(msg)


def check_alone(**given: Any) -> None:
    """Checks the arguments of an evaluation that names its metrics.

    Raises:
        ValueError: If one does not go along with `metrics`.

    Example:
        >>> from zoo.evaluation.needs import check_alone
        >>> check_alone(split="test", samples=None)
    """
    default = {"split": "test", "sampler": "prior"}
    named = [
        name
        for name, value in given.items()
        if value is not None and (name not in default or value != default[name])
    ]
    if named:
        msg = (
            f"{', '.join(named)}: not with metrics=. Names of metrics say the samples and the "
            "split, as fid10k_test does, and the latents are draws of the prior. Leave it out."
        )
        raise ValueError(msg)
