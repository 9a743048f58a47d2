"""Upsampling and transposed convolutions, and those of one pixel."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from tests.support.networks import FLOAT32, assert_equal, draws, kinds, rms, stack
from zoo.convert import rules
from zoo.convert.building import build
from zoo.convert.reading import read


@pytest.mark.parametrize("use_bias", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("size", "kernel"), [(2, 3), (2, 1), (2, 5), (3, 3), ((2, 3), (3, 1))], ids=str
)
@pytest.mark.parametrize("shape", [(4, 4, 2), (5, 3, 2), (1, 1, 2)], ids=str)
def test_upsampled_convolutions(
    shape: tuple[int, ...], size: object, kernel: object, use_bias: bool
) -> None:
    conv = layers.Conv2D(
        3, kernel, padding="same", use_bias=use_bias, activation="tanh", name="conv"
    )
    model = stack(shape, layers.UpSampling2D(size), conv)
    found = rules.upsample_conv_to_conv_transpose(read(model))
    assert kinds(found) == ["InputLayer", "Conv2DTranspose"]
    assert found["conv"].origins["kernel"].rules == ("upsample + conv → conv transpose",)
    assert_equal(found, model)
    back = rules.conv_transpose_to_upsample_conv(read(build(found)), ["conv"])
    assert kinds(back) == ["InputLayer", "UpSampling2D", "Conv2D"]
    assert back["conv"].config["kernel_size"] == conv.kernel_size
    np.testing.assert_allclose(back["conv"].arrays["kernel"], conv.kernel, atol=1e-6)
    assert rms(np.asarray(build(back)(draws(model)) - model(draws(model)))) <= FLOAT32


def up_shared() -> keras.Model:
    inputs = keras.Input((4, 4, 2))
    x = layers.UpSampling2D(2)(inputs)
    return keras.Model(
        inputs, layers.Add()([layers.Conv2D(2, 3, padding="same", name="conv")(x), x])
    )


UNMERGEABLE: dict[str, tuple[Callable[[], keras.Model], str]] = {
    "bilinear": (
        lambda: stack(
            (4, 4, 2),
            layers.UpSampling2D(2, interpolation="bilinear"),
            layers.Conv2D(3, 3, padding="same", name="conv"),
        ),
        "interpolation bilinear; expected nearest",
    ),
    "valid": (
        lambda: stack((4, 4, 2), layers.UpSampling2D(2), layers.Conv2D(3, 3, name="conv")),
        "padding valid; expected same",
    ),
    "strided": (
        lambda: stack(
            (4, 4, 2), layers.UpSampling2D(2), layers.Conv2D(3, 3, 2, padding="same", name="conv")
        ),
        r"strides \(2, 2\)",
    ),
    "even kernel": (
        lambda: stack(
            (4, 4, 2), layers.UpSampling2D(2), layers.Conv2D(3, 4, padding="same", name="conv")
        ),
        "odd kernel sides",
    ),
    "shared upsampling": (up_shared, "follows None"),
    "no upsampling": (
        lambda: stack((4, 4, 2), layers.Conv2D(3, 3, padding="same", name="conv")),
        "follows InputLayer; expected UpSampling2D",
    ),
}


@pytest.mark.parametrize(("make", "reason"), UNMERGEABLE.values(), ids=UNMERGEABLE.keys())
def test_other_upsamplings_stay(make: Callable[[], keras.Model], reason: str) -> None:
    network = read(make())
    assert rules.upsample_conv_to_conv_transpose(network) is network
    with pytest.raises(ValueError, match=reason):
        rules.upsample_conv_to_conv_transpose(network, ["conv"])


def test_most_transposed_convolutions_are_no_upsampled_ones() -> None:
    model = stack(
        (4, 4, 2),
        layers.Conv2DTranspose(3, 4, 2, padding="same", name="four"),
        layers.Conv2DTranspose(3, 3, 2, padding="same", name="three"),
    )
    network = read(model)
    found = rules.conv_transpose_to_upsample_conv(network)
    assert kinds(found) == kinds(network)
    assert len(found.notes) == 2
    with pytest.raises(ValueError, match="'four': its kernel is no upsampled .* residual 0"):
        rules.conv_transpose_to_upsample_conv(network, ["four"])
    with pytest.raises(ValueError, match="'three' has kernel side − stride"):
        rules.conv_transpose_to_upsample_conv(network, ["three"])
    with pytest.raises(ValueError, match="No blocks"):
        rules.conv_transpose_to_upsample_conv(network, ["nowhere"])


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kernel", [4, (3, 5)], ids=str)
@pytest.mark.parametrize("flat", [True, False])
def test_a_transposed_convolution_of_one_pixel(kernel: object, use_bias: bool, flat: bool) -> None:
    shape = (5,) if flat else (1, 1, 5)
    before = [layers.Reshape((1, 1, 5))] if flat else []
    conv = layers.Conv2DTranspose(3, kernel, use_bias=use_bias, activation="relu", name="first")
    model = stack(shape, *before, conv, layers.Conv2D(2, 3, padding="same"))
    found = rules.unit_conv_transpose_to_dense(read(model))
    assert kinds(found) == ["InputLayer", "Dense", "Reshape", "Conv2D"]
    assert found["first"].shape[-1] == build(found).get_layer("first").units
    assert_equal(found, model)


def test_a_transposed_convolution_of_one_pixel_of_a_matrix() -> None:
    model = stack((5, 1), layers.Reshape((1, 1, 5)), layers.Conv2DTranspose(3, 4))
    found = rules.unit_conv_transpose_to_dense(read(model))
    assert kinds(found) == ["InputLayer", "Reshape", "Dense", "Reshape"]
    assert_equal(found, model)


def test_other_transposed_convolutions_of_one_pixel_stay() -> None:
    model = stack((1, 1, 5), layers.Conv2DTranspose(3, 2, 4, name="gaps"))
    found = rules.unit_conv_transpose_to_dense(read(model))
    assert kinds(found) == ["InputLayer", "Conv2DTranspose"]
    assert "gaps: not made a Dense" in found.notes[0]
    larger = read(stack((2, 2, 5), layers.Conv2DTranspose(3, 4)))
    assert rules.unit_conv_transpose_to_dense(larger) is larger
