"""R3GAN's networks beside a computation in PyTorch from arXiv 2501.05441 and its published code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's custom)

from tests.support.small_networks import CLASSES, LABELS, random_images, random_latents, shake
from tests.support.torch_networks import Weights, channels_first, largest_difference
from zoo import losses
from zoo.networks import r3gan

# Of the largest number in an array. Up to 24 layers, each with float32 sums of up to 288 terms; a
# kernel's gradient sums thousands of pixels in either library's own order. Found: 7e-7 and 4e-6.
OF_OUTPUTS, OF_GRADIENTS = 2e-6, 1e-5


def _filter(side: int) -> torch.Tensor:
    taps = torch.tensor(np.convolve([1.0, 2.0, 1.0], [1.0, 1.0]), dtype=torch.float32)
    kernel = torch.outer(taps, taps)
    return (kernel / kernel.sum())[None, None].expand(side, 1, 4, 4)


def _up(x: torch.Tensor) -> torch.Tensor:
    side = x.shape[1]
    return F.conv_transpose2d(x, 4.0 * _filter(side), stride=2, padding=1, groups=side)


def _down(x: torch.Tensor) -> torch.Tensor:
    side = x.shape[1]
    return F.conv2d(x, _filter(side), stride=2, padding=1, groups=side)


def _block(w: Weights, x: torch.Tensor, name: str) -> torch.Tensor:
    y = F.leaky_relu(w.conv(x, f"{name}_expand"), 0.2)
    groups = y.shape[1] // w[f"{name}_grouped/kernel"].shape[2]
    y = F.leaky_relu(w.conv(y, f"{name}_grouped", padding=1, groups=groups), 0.2)
    return x + w.conv(y, f"{name}_project")


def _maybe(w: Weights, x: torch.Tensor, name: str) -> torch.Tensor:
    return w.conv(x, name) if f"{name}/kernel" in w else x


def _generator(stages: int) -> Any:
    def computed(w: Weights, z: torch.Tensor, label: Any = None) -> list[torch.Tensor]:
        if label is not None:
            rows = F.one_hot(label.long(), CLASSES).float()
            z = torch.cat([z, w.dense(rows, "embedding")], dim=1)
        basis = w["basis/image"].permute(2, 0, 1)
        x = basis[None] * w.dense(z, "project")[:, :, None, None]
        for stage in reversed(range(stages + 1)):
            if stage < stages:
                x = _up(_maybe(w, x, f"block_{stage}_up"))
            for i in range(2):
                x = _block(w, x, f"block_{stage}_{i}")
        return [(torch.tanh(w.conv(x, "logits")) + 1.0) / 2.0]

    return computed


def _discriminator(stages: int) -> Any:
    def computed(w: Weights, image: torch.Tensor, label: Any = None) -> list[torch.Tensor]:
        x = w.conv(2.0 * image - 1.0, "from_rgb")
        for stage in range(stages + 1):
            for i in range(2):
                x = _block(w, x, f"block_{stage}_{i}")
            if stage < stages:
                x = _maybe(w, _down(x), f"block_{stage}_down")
        x = (x * w["basis/kernel"][..., 0].permute(2, 0, 1)).sum(dim=(2, 3))
        if label is None:
            return [w.dense(x, "logit")]
        rows = F.one_hot(label.long(), CLASSES).float()
        return [(w.dense(x, "projected") * w.dense(rows, "embedding")).sum(1, keepdim=True)]

    return computed


@pytest.mark.parametrize(
    ("shape", "stages", "classes"),
    [
        ((8, 8, 1), 1, CLASSES),
        pytest.param((16, 16, 1), 2, 0, marks=pytest.mark.slow),
        pytest.param((32, 48, 3), 3, CLASSES, marks=pytest.mark.slow),
        pytest.param((64, 64, 3), 4, 0, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_networks_are_pytorchs(shape: tuple[int, ...], stages: int, classes: int) -> None:
    options = {"width": 16 if classes else 32, "num_classes": classes}
    labels = [LABELS] if classes else []
    for model, computed, x in (
        (r3gan.generator(shape, 5, **options), _generator(stages), random_latents()),
        (
            r3gan.discriminator(shape, **options),
            _discriminator(stages),
            random_images(shape),
        ),
    ):
        _shaken(model)
        of_outputs, of_gradients = largest_difference(model, computed, [x, *labels])
        print(f"{model.name} {shape}: {of_outputs:.1e} {of_gradients:.1e}")
        assert of_outputs < OF_OUTPUTS
        # Beyond 48 pixels one of many leaky ReLUs may be within rounding of its kink.
        assert shape[0] > 48 or of_gradients < OF_GRADIENTS


def test_the_gradient_of_a_gradient_is_pytorchs() -> None:
    """That of ½ ‖∇D‖², which both penalties need."""
    model = _shaken(r3gan.discriminator((8, 8, 1), width=16))
    x = random_images()
    images = torch.tensor(channels_first(x), requires_grad=True)
    weights = Weights(model)
    (slope,) = torch.autograd.grad(
        _discriminator(1)(weights, images)[0].sum(), images, create_graph=True
    )
    (0.5 * (slope**2).sum()).backward()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(0.5 * losses.squared_gradient_norm(model, tf.constant(x)))
    names = ("block_0_0_grouped", "block_1_1_expand", "from_rgb")
    slopes = tape.gradient(total, [model.get_layer(name).kernel.value for name in names])
    for name, found in zip(names, slopes, strict=True):
        wanted = weights[f"{name}/kernel"].grad.numpy()
        np.testing.assert_allclose(found, wanted, atol=OF_GRADIENTS * np.abs(wanted).max())


def test_it_starts_as_fix_up() -> None:
    """Blocks are the identity at first; inner kernels have He's variance times L^(-1/2)."""
    model = r3gan.generator((16, 16, 1), 5, width=256)
    assert not np.any(model.get_layer("block_0_1_project").kernel)
    kernel = np.asarray(model.get_layer("block_1_0_grouped").kernel)
    assert kernel.shape == (3, 3, 16, 512)
    blocks = 2 * 3
    wanted = math.sqrt(2.0 / (1.0 + 0.2**2)) * blocks**-0.25 / math.sqrt(9 * 16)
    # Of 73,728 weights the deviation is known to 1 / √(2 · 73,728), 0.26 %; five times that
    np.testing.assert_allclose(kernel.std(), wanted, rtol=0.013)
    assert (
        sum(1 for layer in model.layers if hasattr(layer, "bias") and layer.bias is not None) == 12
    )


@pytest.mark.slow
def test_channels_are_the_papers() -> None:
    """The authors' setting for FFHQ at 256 pixels: 768 up to 32, 96 at 256, groups of 16."""
    model = r3gan.generator((256, 256, 3), 64)
    widths = [model.get_layer(f"block_{stage}_1_sum").output.shape[-1] for stage in range(7)]
    assert widths == [96, 192, 384, 768, 768, 768, 768]
    groups = [model.get_layer(f"block_{stage}_0_grouped").groups for stage in range(7)]
    assert groups == [12, 24, 48, 96, 96, 96, 96]


def test_it_has_no_normalisation() -> None:
    with pytest.raises(ValueError, match="normalization='batch': the r3gan network has none. Take"):
        r3gan.discriminator((8, 8, 1), "batch")


def _shaken(model: Any) -> Any:
    """Weights that let signals keep their size, whatever the depth; `shake` is for shallow ones."""
    shake(model)
    for layer in model.layers:
        for weight in layer.weights:
            fan_in = math.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 1
            weight.assign(weight / math.sqrt(0.1 * max(fan_in, 10)))
    return model
