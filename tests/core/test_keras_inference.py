"""Images and labels of inference and evaluation: converted, or refused with a remedy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE
from tests.support.keras_loops import (
    IMAGES,
    LABELS,
    compiled_model,
)
from zoo.evaluation import measure


@pytest.mark.parametrize(
    "name",
    [
        "vae",
        "bigan",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("cvae", "vq_vae", "ladder_vae", "vdvae")
        ),
    ],
)
def test_images_of_inference(name: str) -> None:
    """uint8 are divided by 255; what is out of range is refused."""
    model = compiled_model(name)
    labels = (LABELS,) if name == "cvae" else ()
    pixels = np.round(IMAGES * 255).astype(np.uint8)
    floats = pixels.astype(np.float32) / np.float32(255)

    def functions() -> Any:
        yield lambda x: model.reconstruct(x, *labels)
        yield lambda x: model.encode(x, *labels)[0]
        if name != "bigan":
            yield lambda x: model.predict([x, *labels] if labels else x, verbose=0)
            yield lambda x: model.predict_on_batch([x, *labels] if labels else x)
            yield lambda x: model.log_weights(
                x, np.zeros((2, 24, model.noise_dim), np.float32), *labels
            )

    for function in functions():
        wanted = np.asarray(function(floats))
        np.testing.assert_allclose(function(pixels), wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(function(tf.constant(pixels)), wanted, rtol=1e-5, atol=1e-6)
        with pytest.raises(ValueError, match="Divide by 255"):
            function(IMAGES * 255)
        with pytest.raises(ValueError, match=r"\(x \+ 1\) / 2"):
            function(tf.constant(IMAGES * 2 - 1))
        with pytest.raises(ValueError, match="int64"):
            function(pixels.astype(np.int64))
        with pytest.raises(ValueError, match="have shape .* but the model was created with"):
            function(IMAGES[:, :4])


def test_discriminate_takes_the_same_images() -> None:
    model = compiled_model("dcgan")
    pixels = np.round(IMAGES * 255).astype(np.uint8)
    wanted = model.discriminate(pixels.astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(model.discriminate(pixels), wanted, rtol=1e-6)
    with pytest.raises(ValueError, match="Divide by 255"):
        model.discriminate(IMAGES * 255)


def test_codes_are_inferred_of_the_same_images() -> None:
    model = zoo.create("infogan", IMAGE_SHAPE, 14, network="mlp")
    pixels = np.round(IMAGES * 255).astype(np.uint8)
    wanted, *_ = model.infer_codes(pixels.astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(model.infer_codes(pixels)[0], wanted, rtol=1e-5)
    with pytest.raises(ValueError, match="Divide by 255"):
        model.infer_codes(IMAGES * 255)


def test_gradients_with_respect_to_images_remain() -> None:
    model = compiled_model()
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        mean, _ = model.encode(images)
    assert np.abs(tape.gradient(mean, images)).max() > 0


@pytest.mark.parametrize("labels", [LABELS + 1, LABELS + 0.5, np.eye(3)[LABELS]])
def test_labels_of_inference(labels: np.ndarray) -> None:
    model = compiled_model("cvae")
    for function in (
        lambda: model.predict([IMAGES, labels], verbose=0),
        lambda: model.encode(IMAGES, labels),
        lambda: model.generate(24, labels=labels),
    ):
        with pytest.raises(ValueError, match=r"expected (a class|a whole number|\[n\])"):
            function()
    exact = model.predict([IMAGES, LABELS.astype(np.float32)], verbose=0)
    np.testing.assert_allclose(exact, model.predict([IMAGES, LABELS], verbose=0))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (IMAGES * 255, "Divide by 255"),
        (IMAGES * 2 - 1, r"\(x \+ 1\) / 2"),
        ((IMAGES * 255).astype(np.int32), "int32"),
    ],
)
def test_the_evaluation_of_wrong_images(source: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match="samples=0: expected a whole number of at least 2"):
        measure.evaluate(compiled_model(), IMAGES, samples=0)
    with pytest.raises(ValueError, match=message):
        measure.evaluate(compiled_model(), source, extractor="none", importance_samples=1)
