"""What a step takes: images and labels, checked within a graph as far as that goes."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from zoo.core.replicas import on_each_replica
from zoo.data import checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.core.running_means import RunningMeans
    from zoo.io.types import Tensor


# What TensorFlow says of images whose shape only the running graph knows.
_OTHER_SHAPE = re.compile(r"Shape of tensor .*(\[.*\]) is not compatible with .*shape (\[.*\])")


class DataError(ValueError):
    """Images or labels of a shape or type that the model does not take."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """Within it a `DataError` from a graph keeps its words: autograph adds a traceback to them.

    A shape that only the running graph could see becomes one too.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        shapes = _OTHER_SHAPE.search(error.message)
        if shapes is None:
            raise
        msg = (
            f"A batch of images has shape {shapes[1]}, but the model was created for {shapes[2]}. "
            "Resize the images, or create a model of their shape."
        )
        raise DataError(msg) from None
    except ValueError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, DataError):
            cause = cause.__context__
        if cause is None:
            raise
        raise DataError(str(cause)) from None


class CheckedBatches(keras.Model):
    """The images and labels that a model takes, and the error where they are others."""

    model_name: ClassVar[str]
    image_shape: tuple[int, ...]
    num_classes: int
    running_means: RunningMeans

    def batch_of(self, data: Any) -> dict[str, Any]:
        """The batch of a step: `images`, and int32 `labels` [batch] for a conditional model.

        Data are x, (x,) or (x, y). A model without classes ignores y. Values out of range are noted
        in the running means for `check_data`, because not every graph (XLA, replicas, workers) can
        raise an error.

        Raises:
            ValueError: If images are not floating point, or of another shape than `image_shape`;
                labels are needed and absent, or not one number per image; or there are weights.
        """
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        if weights is not None:
            raise DataError(no_weights("sample_weight or class_weight", self))
        images = self._floating_images(images)
        if not images.shape[1:].is_fully_defined():  # of a generator's data set
            images = tf.ensure_shape(images, [None, *self.image_shape])
        batch = {"images": tf.cast(images, tf.float32)}
        wrong = tf.zeros([0], tf.float64)
        if self.num_classes:
            labels = self._numbers(labels, tf.shape(images)[0])
            sound = (labels >= 0) & (labels < self.num_classes) & (labels == tf.floor(labels))
            wrong = tf.where(sound, tf.zeros_like(labels), labels)
            batch["labels"] = tf.cast(tf.where(sound, labels, tf.zeros_like(labels)), tf.int32)
        self._note_data(batch["images"], wrong)
        return batch

    def _checked_images(self, images: Tensor) -> Any:
        """Images as a tensor, [batch, *image_shape]."""
        if isinstance(images, (list, tuple, dict)):
            msg = (
                f"Images are a {type(images).__name__}; expected one array [batch, height, width, "
                "channels]. Pass fit(images, labels), or a data set of images or of such pairs."
            )
            raise DataError(msg)
        images = tf.convert_to_tensor(images)
        if not images.shape[1:].is_compatible_with(self.image_shape):
            msg = (
                f"Images have shape {tuple(images.shape[1:])}, but the model was created with "
                f"image_shape={self.image_shape}. Resize the images, or create a model of their "
                "shape."
            )
            raise DataError(msg)
        return images

    def _floating_images(self, images: Tensor) -> Any:
        """Images to train on, as a tensor. Integers are refused: their range is not known."""
        images = self._checked_images(images)
        if not images.dtype.is_floating:
            remedy = "Give x.astype('float32')." if images.dtype.is_bool else "Divide by 255."
            msg = f"Images are {images.dtype.name}; expected float32 in [0, 1]. {remedy}"
            raise DataError(msg)
        return images

    def images_of(self, images: Tensor) -> Any:
        """Images as a float32 tensor in [0, 1], for `encode` and similar methods.

        Args:
            images: [batch, height, width, channels]: floats in [0, 1], uint8 from 0 to 255, or
                bools. Within a graph their values are not checked.

        Raises:
            ValueError: If they have another shape or dtype, or values out of range.
        """
        if isinstance(images, keras.KerasTensor):
            return images
        if tf.executing_eagerly():
            array = checked.checked_pixels(images, "The images")
            images = images if isinstance(images, tf.Tensor) else array  # a tensor has a gradient
        images = self.inference_images(images)
        if not (images.dtype.is_floating or images.dtype in (tf.uint8, tf.bool)):
            msg = f"Images are {images.dtype.name}; expected float32 in [0, 1], or uint8 in 0..255."
            raise ValueError(msg)
        pixels = tf.cast(images, tf.float32)
        return pixels / 255.0 if images.dtype == tf.uint8 else pixels

    def inference_images(self, images: Tensor) -> Any:
        """Images for `encode` and similar methods as a tensor, of the shape that they are to have.

        Raises:
            ValueError: If they have another shape than `image_shape`.
        """
        return self._checked_images(images)

    def _numbers(self, labels: Tensor, batch: Any) -> Any:
        """Labels as float64 [batch], which holds every int32, and fractions that are no class."""
        tensor = None if labels is None else tf.convert_to_tensor(labels)
        if tensor is None or tensor.dtype == tf.string:
            msg = (
                f"{self.model_name} has num_classes={self.num_classes}: expected integer labels "
                f"with the images, got {'none' if tensor is None else 'text'}. Pass fit(images, "
                "labels), or a data set of pairs."
            )
            raise DataError(msg)
        shape = tensor.shape
        if shape.rank is not None and (shape.rank != 1 and tuple(shape[1:]) != (1,)):
            msg = (
                f"Labels have shape {tuple(shape)}; expected [batch], one class number per image. "
                + checked.ONE_HOT
            )
            raise DataError(msg)
        numbers = tf.cast(tensor, tf.float64)
        if shape.rank is not None:
            return tf.reshape(numbers, [-1])
        # The rank is not known in this graph. A row of several numbers is no class.
        columns = tf.reshape(numbers, [batch, -1])
        return tf.where(tf.shape(columns)[1] == 1, columns[:, 0], tf.constant(np.nan, tf.float64))

    def checked_labels(self, labels: Tensor, n: int) -> np.ndarray:
        """One label for each of `n` images, int32 [n], of one for all or one each.

        Raises:
            ValueError: If one is no class, their number is another, they are missing, or the model
                takes none.
        """
        if not self.num_classes:
            msg = f"labels={labels}: {self.model_name} was created without num_classes."
            raise ValueError(msg)
        if labels is None:
            msg = f"{self.model_name} has {self.num_classes} classes: expected labels, int [n]."
            raise ValueError(msg)
        labels = np.reshape(labels, 1) if np.ndim(labels) == 0 else labels
        classes = checked.checked_labels(labels, self.num_classes, "The labels")
        if len(classes) not in (1, n):
            msg = f"labels of shape {classes.shape}: expected one for all, or [{n}]."
            raise ValueError(msg)
        return np.broadcast_to(classes, n)

    # Values, which a graph can only note

    def _note_data(self, images: Tensor, wrong_labels: Any) -> None:
        none = tf.zeros([1], tf.float64)
        ranges = tf.stack([*_range(images), *_range(tf.concat([none, wrong_labels], axis=0))])
        low, high, *labels = tf.unstack(on_each_replica(ranges), axis=1)
        (low, _), (_, high) = _range(low), _range(high)
        tolerance = checked.TOLERANCE
        sound = (low >= -tolerance) & (high <= 1.0 + tolerance)
        pixels = tf.where(sound, tf.zeros([2], tf.float64), tf.stack([low, high]))
        labels = [_range(labels[0])[0], _range(labels[1])[1]]
        self.running_means.note_data(tf.concat([pixels, tf.stack(labels)], axis=0))
        if tf.executing_eagerly() and tf.distribute.get_strategy().num_replicas_in_sync == 1:
            self.check_data()

    def check_data(self) -> None:
        """Checks the batches of the steps since its last call, or since the means were reset.

        `fit`, `evaluate`, `train_on_batch` and `test_on_batch` call it.

        Raises:
            ValueError: If there were pixels outside of [0, 1] or NaN, or labels that are no
                classes.
        """
        wrong = self.running_means.wrong_data.numpy()
        if not wrong.any():
            return
        self.running_means.wrong_data.assign(tf.zeros_like(wrong))
        pixels, labels = wrong[:2], wrong[2:]
        if np.isnan(pixels).any():
            msg = "The images of a batch have NaN values. Remove those images."
            raise ValueError(msg)
        checked.checked_pixels(pixels, "The images of a batch")  # raises where they are the fault
        label = labels[1] or labels[0]
        label = int(label) if np.isfinite(label) and label == int(label) else label
        remedy = f" {checked.ONE_HOT}" if np.isnan(label) else ""
        msg = (
            f"A batch has label {label}: expected a class from 0 to {self.num_classes - 1}, one "
            f"number per image.{remedy}"
        )
        raise ValueError(msg)

    def check_inputs(self, inputs: Tensor) -> None:
        """Raises ValueError where the input of `call` has values that the model does not take."""
        if self.num_classes:
            x, *labels = inputs if isinstance(inputs, (list, tuple)) else (inputs,)
            self.checked_labels(labels[0] if labels else None, len(x))


def _range(values: Any) -> tuple[Any, Any]:
    """Smallest and largest value, scalar float64, both NaN if there is one."""
    # XLA's minimum and maximum pass over NaN. A sum does not.
    spoiled = tf.math.is_nan(tf.reduce_sum(values))
    ends = tf.cast(tf.stack([tf.reduce_min(values), tf.reduce_max(values)]), tf.float64)
    low, high = tf.unstack(tf.where(spoiled, tf.constant(np.nan, tf.float64), ends))
    return low, high


def no_weights(argument: str, model: CheckedBatches) -> str:
    """The error for a model that is given weights of examples."""
    return (
        f"{argument}: the losses of a {model.model_name} are means over images that count alike. "
        "Repeat or leave out images in the data instead."
    )
