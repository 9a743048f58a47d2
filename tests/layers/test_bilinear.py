"""Bilinear resizing against PyTorch's and TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import BilinearResize


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(2, 5), (7, 10), (16, 9)])
def test_upsampling_is_pytorchs(size: tuple[int, int], *, align_corners: bool) -> None:
    """Its gradient too. A single pixel fills the whole of an axis."""
    import torch
    from torch.nn.functional import interpolate

    x, weights = drawn(2, 1, 5, 3), drawn(2, *size, 3)
    images = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(images)
        ours = BilinearResize(*size, align_corners=align_corners)(images)
        loss = tf.reduce_sum(weights * ours)
    theirs = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    wanted = interpolate(theirs, size, mode="bilinear", align_corners=align_corners)
    wanted = wanted.permute(0, 2, 3, 1)
    (torch.tensor(weights) * wanted).sum().backward()
    np.testing.assert_allclose(ours, wanted.detach(), atol=1e-5)
    gradient = theirs.grad.permute(0, 2, 3, 1)
    np.testing.assert_allclose(tape.gradient(loss, images), gradient, atol=1e-5)


@pytest.mark.parametrize("size", [(3, 4), (7, 5), (12, 20)])
def test_shrinking_averages_as_tensorflow_does(size: tuple[int, int]) -> None:
    x = drawn(2, 7, 9, 3)
    wanted = tf.image.resize(x, size, antialias=True)
    np.testing.assert_allclose(BilinearResize(*size)(x), wanted, atol=1e-5)
