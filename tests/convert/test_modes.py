"""Partial conversion and distillation state what they did."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import zoo
from tests.support.conversions import (
    LATENT,
    SHAPE,
    assert_complete,
    assert_unchanged,
    make_decoder,
    make_stack,
    make_vae,
    paths_of,
    values_of,
)
from tests.support.networks import shake
from zoo import convert
from zoo.convert import distillation, sources


def test_partial_mode_states_what_it_did() -> None:
    """The source has another last kernel size: the first layer is copied, the last is not."""
    generator = make_stack(
        layers.Dense(64), layers.Reshape((4, 4, 4)), layers.ReLU(),
        layers.Conv2DTranspose(1, 2, 2, padding="same", activation="sigmoid"),
    )  # fmt: skip
    vae = make_vae(make_decoder((8, 4)))
    before = values_of(vae)
    with pytest.raises(ValueError, match="(?s)finds no partner.*mode='partial'"):
        convert.gan_to_vae(generator, vae)
    assert_unchanged(vae, before)
    _, report = convert.gan_to_vae(generator, vae, mode="partial")
    statuses = [row.status for row in report.rows if row.target.startswith("decoder/")]
    assert statuses == ["COPIED", "COPIED", "SLICED", "COPIED"]
    assert report.coverage == pytest.approx((4 * 64 + 64 + 4 * 4 + 1) / (4 * 64 + 64 + 16 * 4 + 1))
    assert report.equivalence == "approximate"
    assert not report.equality.passed
    drawn = vae.generate_from(sources.normal_draws(50, LATENT, 0))
    off = np.abs(drawn - np.asarray(generator(sources.normal_draws(50, LATENT, 0)))).max()
    assert off == pytest.approx(report.equality.max_error, rel=0.5)


@keras.saving.register_keras_serializable("tests")
class BlackBox(keras.Model):
    """A generator that cannot be read, of images in [−1, 1]."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = layers.Dense(16, activation="relu")
        self.pixels = layers.Dense(64)

    def call(self, x: Any) -> Any:
        return tf.tanh(tf.reshape(self.pixels(self.hidden(x)), (-1, *SHAPE)))


def _black_box() -> keras.Model:
    model = BlackBox()
    model(np.zeros((1, LATENT), np.float32))
    shake(model)
    return model


@pytest.mark.slow
def test_distillation_of_what_cannot_be_read() -> None:
    black = _black_box()
    with pytest.raises(ValueError, match="BlackBox.*cannot be read.*mode='distill'"):
        convert.gan_to_vae(black)
    keras.utils.set_random_seed(0)
    vae = zoo.create("vae", SHAPE, LATENT, network="mlp")
    encoder = values_of(vae.encoder)
    z = sources.normal_draws(200, LATENT, 5)
    wanted = (np.asarray(black(z)) + 1) / 2
    before = np.mean((vae.generate_from(z) - wanted) ** 2)
    _, report = convert.gan_to_vae(black, vae, mode="distill", distill_steps=100)
    after = np.mean((vae.generate_from(z) - wanted) ** 2)
    assert after < 0.05 * before
    assert report.equality.rms_error == pytest.approx(np.sqrt(after), rel=0.3)
    assert (report.mode, report.equivalence, report.coverage) == ("distill", "approximate", 0.0)
    assert_unchanged(vae.encoder, encoder)
    targets = paths_of(vae.decoder, "decoder") | paths_of(vae.encoder, "encoder")
    assert_complete(report, targets, {f"generator/{w.path}" for w in black.weights})


@pytest.mark.slow
def test_distillation_into_a_new_vae_of_an_unusual_end() -> None:
    """A generator that can be read, but whose end is no decoder's."""
    generator = make_stack(layers.Dense(64), layers.Reshape(SHAPE), layers.ReLU(max_value=1.0))
    with pytest.raises(ValueError, match=r"ends in .*ReLU.*expected"):
        convert.gan_to_vae(generator)
    found = [
        convert.gan_to_vae(generator, mode="distill", network="mlp", distill_steps=n)[1]
        for n in (1, 60)
    ]
    assert found[1].equality.rms_error < 0.5 * found[0].equality.rms_error
    bright = make_stack(layers.Dense(64), layers.Reshape(SHAPE), layers.Rescaling(9.0))
    with pytest.raises(ValueError, match=r"draws .* to .*; expected images in \[0, 1\] or"):
        convert.gan_to_vae(bright, mode="distill")


@pytest.mark.slow
def test_distillation_is_repeatable() -> None:
    generator = make_stack(layers.Dense(64), layers.Reshape(SHAPE), layers.Activation("sigmoid"))
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        decoder = make_decoder()
        distillation.distill(generator, decoder, LATENT, steps=5, seed=1)
        found.append(decoder.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
