"""Feature extractors: images to vectors in which distances mean something."""

from __future__ import annotations

from dataclasses import dataclass
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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoo.io.types import Tensor

CLASSIFIERS = Path(__file__).parent / "classifiers"
BATCH = 500


@dataclass(frozen=True)
class FeatureExtractor:
    """A named map from images to features.

    Attributes:
        name: Goes with every figure computed from it: figures of two extractors do not compare.
        dim: Features an image.
        image_shape: (height, width, channels) it takes; None takes any.
        network: Maps float32 images in [0, 1] to float32 [batch, dim].
        classify: Maps them to class probabilities [batch, classes], for classifiers.

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
                f"{self.image_shape}. Choose another extractor of {', '.join(list_extractors())}; "
                "or none, which measures only what a VAE needs no features for."
            )
            raise ValueError(msg)
        low, high = images.min(), images.max()
        if not (low >= 0.0 and high <= 1.0):  # this way NaN fails too
            msg = f"Images must be finite and in [0, 1]; these reach from {low} to {high}."
            raise ValueError(msg)
        starts = range(0, len(images), BATCH)
        return np.concatenate([np.asarray(network(images[i : i + BATCH])) for i in starts])


def list_extractors() -> list[str]:
    """Names that `load_extractor` knows.

    Example:
        >>> from zoo import metrics
        >>> "inception_v3" in metrics.list_extractors()
        True
    """
    return sorted(_factories)


def register_extractor(name: str, factory: Callable[[], FeatureExtractor]) -> None:
    """Makes an extractor of yours known; `factory` is called when it is first used.

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


def load_extractor(name: str) -> FeatureExtractor:
    """Loads an extractor.

    Raises:
        ValueError: If the name is unknown, or the extractor's weights are not those published.
        ConnectionError: If its weights must be downloaded and cannot.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> features = metrics.load_extractor("fashion_mnist_classifier")
        >>> features(np.zeros((2, 28, 28, 1))).shape
        (2, 64)
    """
    if name not in _factories:
        msg = f"Unknown extractor {name!r}. {suggestion(name, list_extractors())}"
        raise ValueError(msg)
    return _factories[name]()


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
    """The classifier that `benchmarks/train_classifier.py` trained, inside this package."""
    folder = CLASSIFIERS / "fashion_mnist"
    card = read_json(folder / "config.json", schemas.CLASSIFIER)
    weights = folder / "model.weights.h5"
    actual = sha256(weights)
    if actual != card["sha256"]:
        msg = f"{weights} has sha256 {actual}, but {card['sha256']} was published. Reinstall."
        raise ValueError(msg)
    network = classifier(card["image_shape"], card["classes"])
    network.load_weights(weights)
    run = tf.function(lambda x: network(x, training=False), reduce_retracing=True)
    return FeatureExtractor(
        name="fashion_mnist_classifier",
        dim=64,
        image_shape=tuple(card["image_shape"]),
        network=lambda x: run(x)[0],
        classify=lambda x: tf.nn.softmax(run(x)[1]),
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
            "choose another extractor: fashion_mnist_classifier for grey images of 28 × 28, or "
            "none, which measures only what a VAE needs no features for."
        )
        raise ConnectionError(msg) from error
    finally:
        keras.config.set_image_data_format(outside)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
    def run(images: Tensor) -> Any:
        images = tf.image.resize(images, (299, 299), antialias=True)
        return network(images * 2.0 - 1.0, training=False)

    def run_in_colour(images: np.ndarray) -> Any:
        if images.shape[-1] not in (1, 3):
            msg = f"Images of {images.shape[-1]} channels: the extractor inception_v3 takes 1 or 3."
            raise ValueError(msg)
        return run(np.broadcast_to(images, (*images.shape[:-1], 3)))

    return FeatureExtractor("inception_v3", 2048, None, run_in_colour)


_factories: dict[str, Callable[[], FeatureExtractor]] = {
    "fashion_mnist_classifier": _fashion_mnist_classifier,
    "inception_v3": _inception_v3,
}
