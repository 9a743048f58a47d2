"""Grouped convolutions beside Keras's and PyTorch's."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's custom)

from zoo.layers import GroupedConv2D

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_value_and_gradients_are_kerass_and_pytorchs(groups: int) -> None:
    x = RNG.normal(size=(2, 7, 6, 12)).astype(np.float32)
    options = {"padding": "same", "data_format": "channels_last"}
    layer = GroupedConv2D(18, 3, groups, bias_initializer="random_normal", **options)
    theirs = keras.layers.Conv2D(18, 3, groups=groups, **options)
    for each in (layer, theirs):
        each.build(x.shape)
    theirs.set_weights(layer.get_weights())
    images = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(images)
        y = layer(images)
        total = tf.reduce_sum(y**2)
    # float32 sums of up to 108 terms near 1
    np.testing.assert_allclose(y, theirs(images), atol=1e-5)
    slopes = tape.gradient(total, [images, layer.kernel.value, layer.bias.value])

    x_torch = torch.tensor(np.moveaxis(x, -1, 1), requires_grad=True)
    kernel = torch.tensor(layer.kernel.numpy(), requires_grad=True)
    bias = torch.tensor(layer.bias.numpy(), requires_grad=True)
    y_torch = F.conv2d(x_torch, kernel.permute(3, 2, 0, 1), bias, padding=1, groups=groups)
    (y_torch**2).sum().backward()
    np.testing.assert_allclose(np.moveaxis(y, -1, 1), y_torch.detach(), atol=1e-5)
    np.testing.assert_allclose(np.moveaxis(slopes[0], -1, 1), x_torch.grad, atol=1e-4)
    for found, wanted in zip(slopes[1:], (kernel.grad, bias.grad), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_it_is_loaded_as_it_was() -> None:
    layer = GroupedConv2D(6, 3, 2, padding="same")
    again = GroupedConv2D.from_config(layer.get_config())
    assert (again.groups, again.filters, again.data_format) == (2, 6, "channels_last")


def test_channels_that_the_groups_do_not_divide() -> None:
    with pytest.raises(ValueError, match="divisible by the number of groups"):
        GroupedConv2D(6, 3, 2).build((None, 8, 8, 5))
