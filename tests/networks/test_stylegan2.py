"""StyleGAN2's networks against the paper's equations, written in PyTorch."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's custom)

from zoo import networks
from zoo.convert.writing import variables
from zoo.networks import stylegan2

RNG = np.random.default_rng(0)
TAPS = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
SIDE, SIZE = 16, 6  # of images, of styles


def _randomized(network: keras.Model) -> keras.Model:
    """With biases and strengths of noise that are not 0."""
    for weight in network.trainable_variables:
        if weight.name in ("bias", "strength"):
            weight.assign(weight + 0.3 * RNG.standard_normal(weight.shape))
    return network


def _in_torch(network: keras.Model) -> dict[str, torch.Tensor]:
    arrays = {path: np.asarray(v) for path, v in variables(network).items()}
    return {p: torch.tensor(a, requires_grad=True) for p, a in arrays.items()}


def _activation(x: Any) -> Any:
    return math.sqrt(2.0) * F.leaky_relu(x, 0.2)


def _filtered(x: Any, before: int, after: int, gain: float = 1.0) -> Any:
    channels = x.shape[1]
    kernel = (gain * TAPS).expand(channels, 1, 4, 4)
    return F.conv2d(F.pad(x, (before, after, before, after)), kernel, groups=channels)


def _spread(x: Any) -> Any:
    """A zero behind each pixel."""
    n, channels, rows, columns = x.shape
    wide = torch.zeros(n, channels, rows, 2, columns, 2)
    wide[:, :, :, 0, :, 0] = x
    return wide.reshape(n, channels, 2 * rows, 2 * columns)


def _modulated(p: Any, name: str, x: Any, w: Any, *, up: bool = False, rgb: bool = False) -> Any:
    """Eq. 1 to 3: one convolution for each example, in groups."""
    kernel, bias = p[f"{name}/kernel"], p[f"{name}/bias"]
    a = p[f"{name}_affine/kernel"]
    s = w @ a / math.sqrt(a.shape[0]) + p[f"{name}_affine/bias"]
    size, _, fan_in, out = kernel.shape
    weights = kernel.permute(3, 2, 0, 1)[None] / math.sqrt(size * size * fan_in)
    weights = weights * s[:, None, :, None, None]
    if not rgb:
        weights = weights / torch.sqrt(weights.pow(2).sum((2, 3, 4), keepdim=True) + 1e-8)
    n = len(x)
    if up:
        x = F.pad(_spread(x), (2, 1, 2, 1))
    side = x.shape[-1]
    y = F.conv2d(
        x.reshape(1, n * fan_in, side, side),
        weights.reshape(n * out, fan_in, size, size),
        padding=0 if up else size // 2,
        groups=n,
    )
    y = y.reshape(n, out, *y.shape[2:])
    if up:
        y = _filtered(y, 1, 1, gain=4.0)
    return y + bias[:, None, None]


def _synthesized(p: Any, styles: Any, noise: list[Any]) -> Any:
    """Figure 7b: images of every size, added up."""

    def styled(x: Any, name: str, index: int, *, up: bool = False) -> Any:
        x = _modulated(p, name, x, styles[:, index], up=up)
        return _activation(x + p[f"{name}_noise/strength"] * noise[index])

    x = p["constant/image"].permute(2, 0, 1).expand(len(styles), -1, -1, -1)
    x = styled(x, "conv_2", 0)
    image = _modulated(p, "to_rgb_2", x, styles[:, 1], rgb=True)
    for stage, index in ((1, 1), (0, 3)):
        x = styled(x, f"conv_{stage}_0", index, up=True)
        x = styled(x, f"conv_{stage}_1", index + 1)
        image = _filtered(_spread(image), 2, 1, gain=4.0)
        image = image + _modulated(p, f"to_rgb_{stage}", x, styles[:, index + 2], rgb=True)
    return 0.5 + 0.5 * torch.tanh(image)


def _close(found: Any, wanted: Any) -> float:
    """Difference over the largest value."""
    wanted = wanted.detach().numpy()
    return float(np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max())


def _to_torch(x: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.moveaxis(x, -1, 1), requires_grad=True)


def test_synthesis_is_the_papers() -> None:
    """Images and gradients, with styles and noise of their own for each layer."""
    generator = networks.build("stylegan2-8", "generator", (SIDE, SIDE, 3), 5, style_dim=SIZE)
    by_layer = _randomized(stylegan2.layered(generator))
    styles = RNG.standard_normal((2, 6, SIZE)).astype(np.float32)
    noise = [
        RNG.standard_normal((2, *shape)).astype(np.float32)
        for shape in stylegan2.noise_shapes(generator)
    ]
    upstream = RNG.standard_normal((2, SIDE, SIDE, 3)).astype(np.float32)
    inputs = [tf.constant(x) for x in (styles, *noise)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        images = by_layer(inputs)
        loss = tf.reduce_sum(images * upstream)
    weights = variables(by_layer)
    by_inputs, by_weights = tape.gradient(loss, (inputs, list(weights.values())))

    p = _in_torch(by_layer)
    w, n = torch.tensor(styles, requires_grad=True), [_to_torch(x) for x in noise]
    wanted = _synthesized(p, w, n)
    (wanted * torch.tensor(np.moveaxis(upstream, -1, 1))).sum().backward()
    worst = _close(np.moveaxis(np.asarray(images), -1, 1), wanted)
    assert worst < 2e-6  # a few roundings of float32
    gradients = [_close(by_inputs[0], w.grad)]
    gradients += [
        _close(np.moveaxis(np.asarray(g), -1, 1), x.grad)
        for g, x in zip(by_inputs[1:], n, strict=True)
    ]
    gradients += [_close(g, p[path].grad) for path, g in zip(weights, by_weights, strict=True)]
    print(f"stylegan2: images {worst:.1e}, gradients {max(gradients):.1e} of the largest value")
    assert max(gradients) < 2e-5


def test_discriminator_is_the_papers() -> None:
    """Figure 7c, with the deviation of the minibatch: logits, and gradients at the images."""
    network = _randomized(networks.build("stylegan2-8", "discriminator", (SIDE, SIDE, 3)))
    images = RNG.random((6, SIDE, SIDE, 3)).astype(np.float32)
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = network(x, training=True)
    by_images = tape.gradient(logits, x)

    p = _in_torch(network)

    def conv(y: Any, name: str, stride: int = 1) -> Any:
        kernel = p[f"{name}/kernel"]
        size, _, fan_in, _ = kernel.shape
        weights = kernel.permute(3, 2, 0, 1) / math.sqrt(size * size * fan_in)
        return F.conv2d(y, weights, p.get(f"{name}/bias"), stride, size // 2 if stride == 1 else 0)

    t = _to_torch(images)
    y = _activation(conv(2 * t - 1, "from_rgb"))
    for i in range(2):
        short = conv(_filtered(y, 1, 1)[:, :, ::2, ::2], f"block_{i}_shortcut")
        y = _activation(conv(y, f"block_{i}_conv_0"))
        y = _activation(conv(_filtered(y, 2, 2), f"block_{i}_conv_1", stride=2))
        y = (y + short) / math.sqrt(2.0)
    pairs = y.reshape(3, 2, -1)  # six images form two groups: even and odd
    deviation = torch.sqrt(pairs.var(0, unbiased=False) + 1e-8).mean(1).repeat(3)
    plane = deviation[:, None, None, None].expand(-1, 1, *y.shape[2:])
    y = _activation(conv(torch.cat([y, plane], 1), "conv"))
    y = y.permute(0, 2, 3, 1).flatten(1)  # channels last, as Keras flattens
    for name in ("features", "logit"):
        kernel = p[f"{name}/kernel"]
        y = y @ kernel / math.sqrt(kernel.shape[0]) + p[f"{name}/bias"]
        y = _activation(y) if name == "features" else y
    y.sum().backward()
    assert _close(logits, y) < 1e-5
    assert _close(np.moveaxis(np.asarray(by_images), -1, 1), t.grad) < 2e-5


@pytest.mark.slow
def test_the_authors_numbers_of_weights() -> None:
    """Those that their code prints for configuration F at 1024 pixels."""
    shape = (1024, 1024, 3)
    generator = networks.build("stylegan2", "generator", shape, 512)
    discriminator = networks.build("stylegan2", "discriminator", shape)
    counts = [
        sum(math.prod(w.shape) for w in network.trainable_weights)
        for network in (generator, discriminator)
    ]
    assert counts == [30_370_060, 29_012_513]


def test_channels_and_sides() -> None:
    """min(512, 32768 / r) channels; sides of 28 and 96 are doubled from 7 and 6."""
    channels = [stylegan2._channels(i, 8, 512) for i in range(9)]
    assert channels == [32, 64, 128, 256, 512, 512, 512, 512, 512]
    assert [stylegan2._channels(i, 4, 8) for i in range(5)] == [8] * 5
    with pytest.raises(ValueError, match="stylegan2 network cannot make 30 × 30"):
        networks.build("stylegan2-4", "discriminator", (30, 30, 1))


@pytest.mark.parametrize("side", [28, pytest.param(96, marks=pytest.mark.slow)])
def test_sides_that_are_no_powers_of_two(side: int) -> None:
    options = {"style_dim": 4, "noise": False}
    network = networks.build("stylegan2-2", "generator", (side, side, 1), 2, **options)
    assert network.output_shape == (None, side, side, 1)
    assert not stylegan2.noise_shapes(network)
