"""Standing statistics: what BatchNorm takes from batches of the prior, averaged over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from export import export_model, read_export, verify
from zoo import metrics
from zoo.core.replicated_step import named_seed
from zoo.evaluation.protocols import parse
from zoo.evaluation.scores import Scores
from zoo.layers import ConditionalBatchNormalization
from zoo.sampling.standing import entry

SIZE = 16


def _generator(*, classes: int = 0) -> keras.Model:
    """Two BatchNorms, the second of what the first puts out."""
    latents = keras.Input((3,))
    x = keras.layers.Dense(5, name="first")(latents)
    x = keras.layers.BatchNormalization(name="norm_1")(x)
    x = keras.layers.Dense(64, activation="tanh", name="second")(x)
    if not classes:
        x = keras.layers.BatchNormalization(name="norm_2")(x)
        inputs = latents
    else:
        labels = keras.Input((), dtype="int32")
        x = ConditionalBatchNormalization(classes, name="norm_2")(x, labels)
        inputs = [latents, labels]
    x = keras.layers.Activation("sigmoid")(x)
    return keras.Model(inputs, keras.layers.Reshape((8, 8, 1))(x))


def _gan(**options: Any) -> Any:
    """With statistics that no batch has, and an average that is not the trained generator."""
    keras.utils.set_random_seed(0)
    options = {"network": "mlp", "generator": _generator(), **options}
    model = zoo.create("gan", (8, 8, 1), 3, **options)
    for weight in model.sampling_generator.weights:
        weight.assign(weight + 0.1)
    return model


def _draw(n: int, seed: int) -> np.ndarray:
    return tf.random.stateless_normal([n, 3], named_seed(seed, "standing_generate")).numpy()


@pytest.mark.parametrize("ema", [None, 0.9])
def test_they_are_the_means_of_the_batches_statistics(ema: float | None) -> None:
    """By NumPy: each BatchNorm normalises by its batch, and the next one sees that."""
    model = _gan(ema=ema)
    generator = model.sampling_generator
    trained = [w.numpy() for w in model.generator.weights]
    dense = {
        name: [w.numpy() for w in generator.get_layer(name).weights] for name in ("first", "second")
    }
    gamma, beta = (w.numpy() for w in generator.get_layer("norm_1").weights[:2])
    zoo.standing_statistics(model, 3, batch_size=SIZE, seed=5)
    wanted: dict[str, list[Any]] = {"norm_1": [], "norm_2": []}
    for latents in np.split(_draw(3 * SIZE, 5).astype(np.float64), 3):
        x = latents @ dense["first"][0] + dense["first"][1]
        mean, variance = x.mean(0), x.var(0)
        wanted["norm_1"].append((mean, variance))
        x = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
        x = np.tanh(x @ dense["second"][0] + dense["second"][1])
        wanted["norm_2"].append((x.mean(0), x.var(0)))
    for name, moments in wanted.items():
        found = [w.numpy() for w in generator.get_layer(name).weights[2:]]
        np.testing.assert_allclose(found, np.mean(moments, axis=0), rtol=1e-4, atol=1e-6)
    if ema:
        for found, before in zip(model.generator.weights, trained, strict=True):
            np.testing.assert_array_equal(found.numpy(), before)


@pytest.mark.slow
def test_they_follow_the_seed_and_not_what_was_there() -> None:
    model = _gan(generator=_generator(classes=2), num_classes=2, ema=0.9)
    norm = model.sampling_generator.get_layer("norm_2").normalize
    zoo.standing_statistics(model, 2, batch_size=SIZE)
    first = norm.moving_variance.numpy()
    zoo.standing_statistics(model, 2, batch_size=SIZE, seed=1)
    assert np.abs(norm.moving_variance.numpy() - first).max() > 1e-4
    zoo.standing_statistics(model, 2, batch_size=SIZE)
    np.testing.assert_array_equal(norm.moving_variance.numpy(), first)
    assert not model.sampling_generator.trainable
    assert entry(model) == {
        "standing_statistics": {"batches": 2, "batch_size": SIZE, "seed": 0},
    }
    model.step.assign_add(1)  # after training they are no longer what was computed
    assert entry(model) == {}


@pytest.mark.slow
def test_an_export_says_so_and_is_verified_with_them(tmp_path: Path) -> None:
    """Against the model as it was, which keeps its own statistics."""
    model, other = _gan(ema=0.9), _gan(ema=0.9)
    before = model.generate(4, seed=0)
    zoo.standing_statistics(model, 3, batch_size=SIZE)
    options = {"functions": ["generate"], "warmup": False}
    path = export_model(model, tmp_path / "gan", **options)
    recorded = {"batches": 3, "batch_size": SIZE, "seed": 0}
    assert read_export(path)["standing_statistics"] == recorded
    report = verify(path, other)
    assert report.passed, report.problems
    np.testing.assert_array_equal(other.generate(4, seed=0), before)
    assert entry(other) == {}
    plain = export_model(other, tmp_path / "plain", verify=False, **options)
    assert "standing_statistics" not in read_export(plain)


def test_figures_of_the_averaged_generator_say_so(images: np.ndarray) -> None:
    model = _gan(ema=0.9)
    mean = metrics.FeatureExtractor("mean", 1, None, lambda x: x.mean(axis=(1, 2)))
    protocols = [parse("fid20_test", weights=weights) for weights in ("ema", "raw")]
    scores = Scores(model, images, protocols, mean, None, lambda *_: None)
    zoo.standing_statistics(model, 2, batch_size=SIZE)
    averaged, raw = (scores.record(protocol) for protocol in protocols)
    assert averaged["standing_statistics"]["batches"] == 2
    assert "standing_statistics" not in raw


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("vae", {}, "A vae is no GAN"),
        ("dcgan", {}, "generator of this dcgan has no BatchNorm: there are no statistics"),
        ("dcgan", {"batches": 0}, "batches=0: expected a whole number of at least 1"),
        ("dcgan", {"batches": 2.5}, "batches=2.5: expected a whole number"),
        ("dcgan", {"batch_size": 1}, "batch_size=1: expected a whole number of at least 2"),
    ],
)
def test_what_has_none(model: str, arguments: dict[str, Any], message: str) -> None:
    made = zoo.create(model, (8, 8, 1), 3, network="mlp")
    with pytest.raises(ValueError, match=message):
        zoo.standing_statistics(made, **arguments)
