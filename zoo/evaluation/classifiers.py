"""Small classifiers of labelled images: for features of a data set's own, and to test samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from zoo import data
from zoo.evaluation import streams
from zoo.io import schemas
from zoo.io.files import SCRATCH, replacing, sha256
from zoo.io.records import read_json, write_json
from zoo.metrics.features import classifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zoo.data import Records
    from zoo.evaluation.streams import Batch
    from zoo.io.types import Tensor

BATCH = 128


def train_classifier(
    source: Any,
    out: str | Path,
    *,
    epochs: int = 15,
    seed: int = 0,
    image_shape: Sequence[int] | None = None,
    verbose: int | str = "auto",
) -> float:
    """Trains a classifier whose features judge samples, as the one in the package was made.

    The test images choose nothing: the last epoch is kept.

    Args:
        source: Labelled data for `zoo.data.load`; the split `train` trains it.
        out: The folder, which `load_extractor` and `--extractor` take.
        epochs: Epochs to train.
        seed: Seed of the weights and of the order of the data.
        image_shape: (height, width, channels) to convert to; None keeps the source's.
        verbose: As in `fit`.

    Returns:
        The accuracy on the split `test`.

    Raises:
        ValueError: If the data have no labels or fewer than two classes, or a number is out of
            range.
        FileExistsError: If the folder holds something else than a classifier.
        OSError: If the folder cannot be written.

    Example:
        >>> import numpy as np, zoo
        >>> pixels = np.random.default_rng(0).integers(0, 255, (40, 8, 8, 1)).astype("uint8")
        >>> labels = np.arange(40) % 2
        >>> splits = {"x_train": pixels, "y_train": labels, "x_test": pixels, "y_test": labels}
        >>> np.savez("two.npz", **splits)
        >>> accuracy = zoo.evaluation.train_classifier("two.npz", "two", epochs=1, verbose=0)
        >>> zoo.metrics.load_extractor("two").dim
        64
    """
    out = Path(out)
    if epochs < 1:
        msg = f"epochs={epochs}: expected at least 1."
        raise ValueError(msg)
    _check_out(out)
    images = data.cached(data.open(source, split="train", image_shape=image_shape))
    if images.number_of_classes() < 2:
        msg = (
            f"{data.source_name(source)} has no labels of two or more classes, which a classifier "
            "learns. Take labelled data."
        )
        raise ValueError(msg)
    shape = images.shape
    network = fit(images, images.number_of_classes(), epochs=epochs, seed=seed, verbose=verbose)
    test_accuracy = accuracy(network, streams.real(source, "test", shape, labels=True))
    name = data.source_name(source)
    size = "" if image_shape is None else f" --image-size {shape[0]}"
    with replacing(out / "model.weights.h5") as path:
        network.save_weights(path)
        digest = sha256(path)
    card = {
        "image_shape": shape,
        "classes": images.number_of_classes(),
        "test_accuracy": test_accuracy,
        "data": name,
        "command": f"zoo train-classifier {name}{size} --epochs {epochs} --seed {seed}",
        "sha256": digest,
    }
    write_json(out / "config.json", card)
    return test_accuracy


def _check_out(out: Path) -> None:
    """Refuses to write a classifier over anything else, such as a preset, which has weights too."""
    if not out.exists():
        return
    if out.is_dir():
        names = {each.name for each in out.iterdir() if SCRATCH not in each.name}
        if names <= {"model.weights.h5"}:  # killed before it had its config.json
            return
    try:
        read_json(out / "config.json", schemas.CLASSIFIER)
    except (OSError, ValueError) as error:
        msg = f"{out} is there already, and holds no classifier. Choose another folder."
        raise FileExistsError(msg) from error


def fit(
    images: Records, classes: int, *, epochs: int, seed: int = 0, verbose: int | str = 0
) -> keras.Model:
    """Trains the `zoo.metrics.features.classifier` with AdamW on flipped and shifted images.

    Args:
        images: Labelled images.
        classes: Their number of classes.
        epochs: Epochs to train; the rate falls to 0 over them.
        seed: Seed of the weights and of the order of the data.
        verbose: As in `fit`.

    Returns:
        The network, whose outputs are features [batch, 64] and logits [batch, classes].

    Example:
        >>> import numpy as np, zoo
        >>> from zoo.evaluation import classifiers
        >>> images = zoo.data.Images(np.zeros((8, 8, 8, 1), np.float32), np.arange(8) % 2)
        >>> network = classifiers.fit(images, 2, epochs=1)
        >>> network(np.zeros((3, 8, 8, 1)))[1].shape
        TensorShape([3, 2])
    """
    keras.utils.set_random_seed(seed)
    batch_size = min(BATCH, len(images))
    stream, steps = data.training_stream(images, batch_size=batch_size, labels=True, seed=seed)
    network = classifier(images.shape, classes)
    model = keras.Model(network.inputs, network.outputs[1])
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, epochs * steps)
    model.compile(
        keras.optimizers.AdamW(schedule, weight_decay=1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        stream.map(lambda pixels, labels: (_augment(pixels), labels)),
        steps_per_epoch=steps,
        epochs=epochs,
        shuffle=False,  # the stream is
        verbose=verbose,
    )
    return network


def accuracy(network: keras.Model, batches: Iterable[Batch]) -> float:
    """The share of images that a network of `fit` puts into their class.

    Example:
        >>> import numpy as np, zoo
        >>> from zoo.evaluation import classifiers, streams
        >>> pixels, labels = np.zeros((8, 8, 8, 1), np.float32), np.arange(8) % 2
        >>> network = classifiers.fit(zoo.data.Images(pixels, labels), 2, epochs=1)
        >>> classifiers.accuracy(network, streams.of_arrays(pixels, labels))
        0.5
    """
    right = total = 0
    for batch in batches:
        logits = network(tf.constant(batch.images), training=False)[1]
        right += int(np.sum(np.argmax(logits, axis=1) == batch.labels))
        total += len(batch.images)
    return right / total


def _augment(images: Tensor) -> Tensor:
    """Flips each image left to right by chance, and shifts all by the same up to 2 pixels.

    Not `zoo.data.augment`, which shifts each by itself: the classifier in the package was trained
    like this, and figures over classifiers of one recipe compare.
    """
    images = tf.image.random_flip_left_right(images, seed=0)
    padded = tf.pad(images, [[0, 0], [2, 2], [2, 2], [0, 0]])
    return tf.image.random_crop(padded, tf.shape(images), seed=0)
