"""Wrong images and labels are refused in one sentence, whichever replica sees them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM, Case
from tests.support.replicas import replicated


def test_wrong_images_are_refused(case: Case, images: np.ndarray) -> None:
    model = case.create()
    model.compile()
    with pytest.raises(ValueError, match="uint8.*Divide by 255"):
        model.fit(*case.data((images * 255).astype(np.uint8)), verbose=0)
    with pytest.raises(ValueError, match=r"\(8, 4, 1\).*image_shape=\(8, 8, 1\)"):
        model.fit(*case.data(images[:, :, :4]), verbose=0)


def test_images_of_another_size(images: np.ndarray) -> None:
    """In one sentence, from a data set too, whose step is a graph."""
    model = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, network="mlp")
    model.compile()
    small = images[:, :, :4]
    sentence = (
        "Images have shape (8, 4, 1), but the model was created with image_shape=(8, 8, 1). "
        "Resize the images, or create a model of their shape."
    )
    batches = tf.data.Dataset.from_tensor_slices(small).batch(20)
    for data, loop in [
        (small, model.fit),
        (batches, model.fit),
        (batches, model.evaluate),
        (small, model.train_on_batch),
    ]:
        verbose = {} if loop == model.train_on_batch else {"verbose": 0}
        with pytest.raises(ValueError, match="Images have shape") as error:
            loop(data, **verbose)
        assert str(error.value) == sentence


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_wrong_data_on_one_replica(replicas: int, images: np.ndarray) -> None:
    """An error says what one replica has seen: pixels or a label of another's share."""
    labels = np.arange(60) % 3
    with replicated(replicas).scope():
        model = zoo.create("cvae", IMAGE_SHAPE, LATENT_DIM, network="mlp", num_classes=3)
        model.compile(keras.optimizers.SGD(0.01))
    for kind, message in [("pixels", "to 255; expected"), ("label", "label 7: expected a class")]:
        x, y = images.copy(), labels.copy()
        if kind == "pixels":
            x[23] = 255.0
        else:
            y[1] = 7
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(24)
        with pytest.raises(ValueError, match=message):
            model.fit(data, shuffle=False, verbose=0)
        with pytest.raises(ValueError, match=message):
            model.evaluate(data, verbose=0)
    pixels = np.full((24, *IMAGE_SHAPE), 37, np.float32)
    with pytest.raises(ValueError, match="Divide by 255"):
        model.predict(tf.data.Dataset.from_tensors(((pixels, labels[:24]),)), verbose=0)
