"""Perceptual path length, where it is known: images that are a linear function of the latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import metrics
from zoo.evaluation import streams
from zoo.evaluation.path_length import EPSILON, path_length
from zoo.evaluation.protocols import parse
from zoo.evaluation.streams import images_function
from zoo.metrics import vgg


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sum(np.square(a.astype(np.float64) - b), axis=(1, 2, 3))


@pytest.mark.parametrize("name", ["ppl1k_zend", "ppl1k_zfull"])
def test_on_a_sphere_a_path_is_as_long_as_its_angle(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For images x = z: |z(t + ε) − z(t)|² / ε² is d ω², ω the angle between the ends."""
    model: Any = zoo.create("vae", (1, 4, 1), 4, network="mlp")

    def draw(latents: Any) -> Any:
        return tf.reshape(latents, [-1, 1, 4, 1])

    monkeypatch.setattr(model, "images_from_latents", draw)
    monkeypatch.setattr("zoo.evaluation.path_length.EPSILON", 0.01)  # float32 rounds 1e-4 away
    found = path_length(model, parse(name), _squared)
    first, last = np.split(model.sample_latents(2000, 0).astype(np.float64), 2)
    cosines = np.sum(first * last, 1) / np.linalg.norm(first, axis=1) / np.linalg.norm(last, axis=1)
    wanted, _ = metrics.perceptual_path_length(4.0 * np.arccos(cosines) ** 2, 1.0)
    assert found == pytest.approx(wanted, rel=1e-3)


@pytest.mark.slow
def test_in_w_a_path_is_straight() -> None:
    """The images at the ends are those of the latents, and ε further those of w + ε (w' − w)."""
    keras.utils.set_random_seed(0)
    gan: Any = zoo.create("stylegan2", (8, 8, 1), 2, network="style-8")
    seen = []

    def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        seen.append((a, b))
        return _squared(a, b)

    value = path_length(gan, parse("ppl1k_wend"), distance)
    first, last = np.split(gan.sample_latents(2000, 0), 2)
    images, moved = (np.concatenate(each)[:100] for each in zip(*seen, strict=True))
    np.testing.assert_allclose(images, images_function(gan, "ema")(first[:100]), atol=1e-5)
    mapping, synthesis = (gan.ema_generator.get_layer(n) for n in ("mapping", "synthesis"))
    start, end = mapping(first[:100]), mapping(last[:100])
    np.testing.assert_allclose(moved, synthesis(start + EPSILON * (end - start)), atol=1e-5)
    assert value > 0.0


def test_models_without_the_space() -> None:
    with pytest.raises(ValueError, match=r"this vae has no space w. Take ppl2_zend"):
        path_length(zoo.create("vae", (8, 8, 1), 2, network="mlp"), parse("ppl2_wend"))
    vamp = zoo.create("vamp_prior", (8, 8, 1), 2, network="mlp")
    with pytest.raises(ValueError, match="needs a Gaussian prior"):
        path_length(vamp, parse("ppl2_zend"))


@pytest.mark.slow
def test_what_lpips_needs_is_known_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    monkeypatch.setattr(vgg, "URL", "http://127.0.0.1:9/vgg16.pth")
    monkeypatch.setattr(streams, "seen_in_samples", lambda *_, **__: pytest.fail("it measures"))
    for side, error, message in (
        (8, ValueError, "LPIPS needs 16 pixels"),
        (16, ConnectionError, "save it as .*vgg16.pth"),
    ):
        vae = zoo.create("vae", (side, side, 1), 2, network="mlp")
        images = np.zeros((20, side, side, 1), np.float32)
        with pytest.raises(error, match=message):
            zoo.evaluate(vae, images, metrics=["is10", "ppl1k_zend"])
