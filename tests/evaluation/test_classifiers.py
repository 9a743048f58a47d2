"""Classifiers of labelled data: learn what can be learned, and test a conditional model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import metrics
from zoo.evaluation import classifiers, streams
from zoo.evaluation.protocols import parse
from zoo.evaluation.scores import Scores

RNG = np.random.default_rng(0)
N = 2600
LABELS = np.arange(N) % 2
PIXELS = RNG.integers(0, 120, (N, 8, 8, 1)).astype(np.uint8)
PIXELS[LABELS == 0, :4] += 120  # bright above: the same when it is flipped
PIXELS[LABELS == 1, 4:] += 120
IMAGES = zoo.data.Images(PIXELS, LABELS)


@pytest.mark.slow
def test_it_learns_and_is_an_extractor(tmp_path: Path) -> None:
    folder = tmp_path / "judge"
    np.savez(
        tmp_path / "halves.npz",
        x_train=PIXELS[:2560], y_train=LABELS[:2560], x_test=PIXELS[2560:], y_test=LABELS[2560:],
    )  # fmt: skip
    found = classifiers.train_classifier(tmp_path / "halves.npz", folder, epochs=10, verbose=0)
    extractor = zoo.metrics.load_extractor(str(folder))
    right = extractor.predict(PIXELS[2560:] / np.float32(255)).argmax(axis=1) == LABELS[2560:]
    assert found == pytest.approx(right.mean())
    assert found > 0.9
    assert extractor.title == f"classifier {extractor.digest[:16]}"
    weights = folder / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="train the classifier anew"):
        zoo.metrics.load_extractor(str(folder))


class _Halves:
    """A conditional model that is right: it draws images of the data."""

    def __init__(self, shuffled: bool) -> None:
        keras.utils.set_random_seed(0)
        self.model: Any = zoo.create("cvae", (8, 8, 1), 2, network="mlp", num_classes=2)
        self.shuffled = shuffled
        self.model.images_from_latents = self.draw

    def draw(self, latents: Any, labels: Any) -> Any:
        labels = 1 - labels if self.shuffled else labels
        above = tf.cast(tf.range(8)[None, :, None, None] < 4, tf.float32)
        bright = tf.where(labels[:, None, None, None] == 0, above, 1.0 - above)
        noise = 0.4 * tf.sigmoid(latents[:, :1, None, None])
        return tf.broadcast_to(0.45 * bright + noise, [tf.shape(latents)[0], 8, 8, 1])


@pytest.mark.slow
@pytest.mark.parametrize(("shuffled", "low", "high"), [(False, 0.9, 1.0), (True, 0.0, 0.1)])
def test_classification_accuracy_score(shuffled: bool, low: float, high: float) -> None:
    """Near 1 for samples of the right classes, near 0 for those of the wrong ones."""
    model = _Halves(shuffled).model
    flat = metrics.FeatureExtractor("flat", 64, None, lambda x: np.asarray(x).reshape(-1, 64))
    score = Scores(model, IMAGES, [parse("cas4k_test")], flat).measure()["cas4k_test"]
    assert low <= score <= high


@pytest.mark.slow
def test_accuracy_is_the_share_that_is_right() -> None:
    images, labels = PIXELS[:60] / np.float32(255), LABELS[:60]
    network = classifiers.fit(zoo.data.Images(images, labels), 2, epochs=1)
    wanted = np.mean(np.argmax(network(images, training=False)[1], axis=1) == labels)
    found = classifiers.accuracy(network, streams.of_arrays(images, labels))
    assert found == pytest.approx(wanted)
