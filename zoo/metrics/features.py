"""Feature extractors: images to vectors in which distances mean something."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from zoo.io import schemas
from zoo.io.files import sha256
from zoo.io.names import suggestion
from zoo.io.records import read_json
from zoo.metrics.efficientnet_lite import HEAD, pretrained_efficientnet_lite0, resized
from zoo.metrics.inception import FEATURES, SIZE, load_inception
from zoo.metrics.resizing import RESIZES, check_resize, in_colour

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoo.io.types import Tensor

CLASSIFIERS = Path(__file__).parent / "classifiers"
LARGE_BATCH = 50  # for images of 224 × 224 or more


@dataclass(frozen=True)
class FeatureExtractor:
    """A named map from images to features.

    Attributes:
        name: Goes with every figure computed from it: figures of two extractors do not compare.
        dim: Features per image.
        image_shape: (height, width, channels) it takes; None takes any.
        network: Maps float32 images in [0, 1], uint8 ones if `quantised`, to float32 [batch, dim].
        classify: Maps them to class probabilities [batch, classes], for classifiers.
        resize: Name of the resizing that goes before the network and belongs to the figures as the
            extractor's name does; None if images are taken as they are, or in one way only.
        quantised: Whether images are first rounded to the 256 grey levels of a picture file.
        batch_size: Images that the network takes at a time.
        digest: SHA-256 of the weights, where the name does not say which they are: of a folder that
            `zoo train-classifier` wrote.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> mean = metrics.FeatureExtractor("mean", 1, None, lambda x: x.mean(axis=(1, 2)))
        >>> mean(np.ones((5, 8, 8, 1))).shape
        (5, 1)
    """

    name: str
    dim: int
    image_shape: tuple[int, int, int] | None
    network: Callable[[Any], Any]
    classify: Callable[[Any], Any] | None = None
    resize: str | None = None
    quantised: bool = False
    batch_size: int = 500
    digest: str | None = None

    @property
    def title(self) -> str:
        """What tells it from others: two extractors of one title give figures that compare."""
        name = self.name if self.digest is None else f"classifier {self.digest[:16]}"
        return name if self.resize is None else f"{name} ({self.resize})"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features float32 [n, dim] of images [n, height, width, channels] in [0, 1].

        Raises:
            ValueError: If the images have another shape than the extractor takes, there are none,
                or they are not finite in [0, 1].
        """
        return self._run(self.network, images)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities float32 [n, classes] of images.

        Raises:
            ValueError: If this is no classifier, or as for a call.
        """
        if self.classify is None:
            msg = f"The extractor {self.name} has no classes."
            raise ValueError(msg)
        return self._run(self.classify, images)

    def _run(self, network: Callable[[Any], Any], images: np.ndarray) -> np.ndarray:
        images = np.asarray(images, np.float32)
        if images.ndim != 4 or len(images) == 0:
            msg = (
                f"An array of shape {images.shape} holds no images [n, height, width, channels], "
                "n ≥ 1."
            )
            raise ValueError(msg)
        if self.image_shape not in (None, images.shape[1:]):
            msg = (
                f"Images of shape {images.shape[1:]}: the extractor {self.name} takes "
                f"{self.image_shape}. Choose another of {', '.join(list_extractors())}."
            )
            raise ValueError(msg)
        low, high = images.min(), images.max()
        if not (low >= 0.0 and high <= 1.0):  # this way NaN fails too
            msg = f"Images must be finite and in [0, 1]; these reach from {low} to {high}."
            raise ValueError(msg)
        if self.quantised:
            images = quantise(images)
        size = self.batch_size
        starts = range(0, len(images), size)
        return np.concatenate([np.asarray(network(images[i : i + size])) for i in starts])


def quantise(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1] as the uint8 that a picture file holds. Halves are rounded to even.

    Example:
        >>> from zoo.metrics.features import quantise
        >>> quantise(np.array([0.0, 0.5, 1.0])).tolist()
        [0, 128, 255]
    """
    return np.rint(images * np.float32(255.0)).astype(np.uint8)


def list_extractors() -> list[str]:
    """Names that `load_extractor` knows.

    Example:
        >>> from zoo import metrics
        >>> "inception_v3" in metrics.list_extractors()
        True
    """
    return sorted(_factories)


def is_built_in(name: str) -> bool:
    """Whether an extractor is of this package, so that its name says which network it is.

    Example:
        >>> from zoo import metrics
        >>> metrics.is_built_in("fashion_mnist_classifier")
        True
    """
    return name in _BUILT_IN


def register_extractor(name: str, factory: Callable[..., FeatureExtractor]) -> None:
    """Makes an extractor of yours known.

    Args:
        name: Its name for `load_extractor`.
        factory: Makes it. If it has an argument `weights` or `resize`, it gets that of
            `load_extractor`, if one is given.

    Raises:
        ValueError: If the name is taken.

    Example:
        >>> from zoo import metrics
        >>> def pixels():
        ...     flatten = lambda images: images.reshape(-1, 64)
        ...     return metrics.FeatureExtractor("pixels", 64, (8, 8, 1), flatten)
        ...
        >>> metrics.register_extractor("pixels", pixels)
        >>> metrics.load_extractor("pixels").dim
        64
    """
    if name in _factories:
        msg = f"The extractor name {name!r} is taken."
        raise ValueError(msg)
    _factories[name] = factory


def load_extractor(
    name: str, *, weights: str | Path | None = None, resize: str | None = None
) -> FeatureExtractor:
    """Loads an extractor.

    Args:
        name: One of `list_extractors()`, or a folder that `zoo train-classifier` wrote.
        weights: File of the weights, in place of a download, for extractors that have one.
        resize: How images are brought to the network's size, for extractors that have a choice.

    Raises:
        ValueError: If the name is unknown, the extractor has no such choice, or its weights are not
            those published.
        ConnectionError: If its weights must be downloaded and cannot.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> features = metrics.load_extractor("fashion_mnist_classifier")
        >>> features(np.zeros((2, 28, 28, 1))).shape
        (2, 64)
    """
    if not isinstance(name, str | os.PathLike):
        msg = f"extractor={name!r}: expected a name, such as 'efficientnet_lite0', or a folder."
        raise ValueError(msg)  # noqa: TRY004  (as every wrong value of it)
    if name and name not in _factories and (Path(name) / "config.json").is_file():
        factory: Callable[..., FeatureExtractor] = lambda: _of_folder(Path(name))  # noqa: E731
    elif name in _factories:
        factory = _factories[name]
    else:
        msg = (
            f"Unknown extractor {name!r}. {suggestion(str(name), list_extractors())} A folder that "
            "`zoo train-classifier` wrote is one too."
        )
        raise ValueError(msg)
    choices = {"weights": weights, "resize": resize}
    given = {key: value for key, value in choices.items() if value is not None}
    for key, value in given.items():
        if key not in inspect.signature(factory).parameters:
            msg = f"{key}={str(value)!r}: the extractor {name} has no choice of it. Leave it out."
            raise ValueError(msg)
    return factory(**given)


def classifier(image_shape: Sequence[int], classes: int) -> keras.Model:
    """A small convolutional classifier with two outputs: features [batch, 64] and class logits.

    The features are the hidden layer before its ReLU: smooth, and closer to Gaussian than after.
    All is float32, whatever the global policy: the figures of a model trained in half precision
    must compare with others.
    """
    float32 = {"dtype": "float32"}
    last = {"data_format": "channels_last"}  # whatever keras.json says
    images = keras.Input(tuple(image_shape), name="image", **float32)
    x = images
    for i, (width, strides) in enumerate([(32, 1), (32, 2), (64, 1), (64, 2), (128, 1)]):
        x = layers.Conv2D(
            width, 3, strides, padding="same", use_bias=False, name=f"conv_{i}", **float32, **last
        )(x)
        x = layers.BatchNormalization(name=f"batch_norm_{i}", **float32)(x)
        x = layers.ReLU(name=f"relu_{i}", **float32)(x)
    x = layers.GlobalAveragePooling2D(name="pool", **float32, **last)(x)
    features = layers.Dense(64, name="features", **float32)(x)
    x = layers.ReLU(name="relu", **float32)(features)
    x = layers.Dropout(0.3, name="dropout", **float32)(x)
    return keras.Model(images, [features, layers.Dense(classes, name="logits", **float32)(x)])


def _fashion_mnist_classifier() -> FeatureExtractor:
    """The classifier that `zoo train-classifier fashion_mnist` trained, inside this package."""
    classifier = _of_folder(CLASSIFIERS / "fashion_mnist")
    return replace(classifier, name="fashion_mnist_classifier", digest=None)


def _of_folder(folder: Path) -> FeatureExtractor:
    """The classifier of a folder that `zoo train-classifier` wrote."""
    card = read_json(folder / "config.json", schemas.CLASSIFIER)
    weights = folder / "model.weights.h5"
    actual = sha256(weights)
    if actual != card["sha256"]:
        msg = (
            f"{weights} has sha256 {actual}, but config.json says {card['sha256']}. Reinstall the "
            "package, or train the classifier anew."
        )
        raise ValueError(msg)
    network = classifier(card["image_shape"], card["classes"])
    network.load_weights(weights)
    run = tf.function(lambda x: network(x, training=False), reduce_retracing=True)
    return FeatureExtractor(
        name=str(folder),
        dim=64,
        image_shape=tuple(card["image_shape"]),
        network=lambda x: run(x)[0],
        classify=lambda x: tf.nn.softmax(run(x)[1]),
        digest=actual,
    )


def _efficientnet_lite0() -> FeatureExtractor:
    """ImageNet's EfficientNet-Lite0, inside this package: pooled last layer, at 224 × 224."""
    network = pretrained_efficientnet_lite0()

    # Without branches in Python, and so traced twice as fast as with autograph.
    signature = [tf.TensorSpec([None, None, None, 3], tf.float32)]

    @tf.function(input_signature=signature, autograph=False)
    def run(images: Tensor) -> Any:
        outputs = network(resized(images), training=False)
        return outputs["features"], tf.nn.softmax(outputs["logits"])

    def run_in_colour(images: np.ndarray) -> Any:
        return run(in_colour(images, "the extractor efficientnet_lite0"))

    return FeatureExtractor(
        name="efficientnet_lite0",
        dim=HEAD,
        image_shape=None,
        network=lambda images: run_in_colour(images)[0],
        classify=lambda images: run_in_colour(images)[1],
        batch_size=LARGE_BATCH,
    )


def _inception_v3() -> FeatureExtractor:
    """Keras's ImageNet Inception v3, average-pooled, at 299 × 299; grey images as equal channels.

    Not the TF-Slim network of published FIDs: its figures compare among themselves only.
    """
    outside = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        network = keras.applications.InceptionV3(include_top=False, pooling="avg")
    except Exception as error:  # Keras raises bare Exception where the download fails
        msg = (
            f"Inception's weights cannot be downloaded ({error}). Connect to the network; or "
            "choose another extractor: efficientnet_lite0, which comes with this package and takes "
            "any images, or fashion_mnist_classifier for grey images of 28 × 28."
        )
        raise ConnectionError(msg) from error
    finally:
        keras.config.set_image_data_format(outside)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
    def run(images: Tensor) -> Any:
        images = tf.image.resize(images, (299, 299), antialias=True)
        return network(images * 2.0 - 1.0, training=False)

    def run_in_colour(images: np.ndarray) -> Any:
        return run(in_colour(images, "the extractor inception_v3"))

    return FeatureExtractor("inception_v3", 2048, None, run_in_colour, batch_size=LARGE_BATCH)


def _inception_fid(
    weights: str | Path | None = None, resize: str = "tf1-bilinear"
) -> FeatureExtractor:
    """The network of published FIDs, with weights that are downloaded once."""
    check_resize(resize)
    return inception_features(load_inception(weights), resize)


def inception_features(network: keras.Model, resize: str) -> FeatureExtractor:
    """The extractor that a network of `zoo.metrics.inception` makes, behind a resizing."""
    # pytorch-fid scales to [-1, 1]; the others do as TensorFlow's released graph does.
    middle = 127.5 if resize == "pytorch-bilinear" else 128.0

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32)])
    def run(images: Tensor) -> Any:
        return network((images - middle) / middle, training=False)

    def outputs(images: np.ndarray) -> Any:
        return run(RESIZES[resize](in_colour(images, "the extractor inception_fid"), SIZE))

    return FeatureExtractor(
        name="inception_fid",
        dim=FEATURES,
        image_shape=None,
        network=lambda images: outputs(images)[0],
        classify=lambda images: tf.nn.softmax(outputs(images)[1]),
        resize=resize,
        quantised=True,
        batch_size=LARGE_BATCH,
    )


_factories: dict[str, Callable[..., FeatureExtractor]] = {
    "efficientnet_lite0": _efficientnet_lite0,
    "fashion_mnist_classifier": _fashion_mnist_classifier,
    "inception_fid": _inception_fid,
    "inception_v3": _inception_v3,
}
_BUILT_IN = frozenset(_factories)
