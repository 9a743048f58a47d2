"""BigGAN's and BigGAN-deep's networks, in PyTorch, as the paper draws them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.small_networks import random_images, shake
from zoo import networks
from zoo.networks import biggan, biggan_deep

slow = pytest.mark.slow
CLASSES, LATENT = 3, 5
LABELS = np.array([0, 1, 2, 1], np.int32)
# Channels by halvings of the side, in units of ch: tables 4 to 9 of arXiv 1809.11096.
TABLES = {128: [1, 2, 4, 8, 16, 16], 256: [1, 2, 4, 8, 8, 16, 16], 512: [1, 1, 2, 4, 8, 8, 16, 16]}


def channels(model: keras.Model, names: list[str]) -> list[int]:
    return [model.get_layer(name).output.shape[-1] for name in names]


def kernel_of(model: keras.Model, name: str) -> Any:
    """What a layer computes with: W, or W / σ of the layer's own u."""
    import torch

    layer = model.get_layer(name)
    kernel = np.asarray(layer.kernel, np.float64)
    if hasattr(layer, "u"):
        matrix = kernel.reshape(-1, kernel.shape[-1])
        kernel = kernel / np.linalg.norm(matrix @ np.asarray(layer.u, np.float64))
    return torch.tensor(kernel)


def conv(model: keras.Model, name: str, x: Any) -> Any:
    import torch

    bias = torch.tensor(np.asarray(model.get_layer(name).bias, np.float64))
    return torch.conv2d(x, kernel_of(model, name).permute(3, 2, 0, 1), bias, padding="same")


def attention(model: keras.Model, x: Any) -> Any:
    """The layer itself, which has a test of its own."""
    y = model.get_layer("attention")(tf.constant(x.permute(0, 2, 3, 1).numpy(), tf.float32))
    return type(x)(np.asarray(y, np.float64)).double().permute(0, 3, 1, 2)


def modulated(model: keras.Model, name: str, x: Any, condition: Any, *, norm: bool) -> Any:
    """ReLU of (1 + gain) BatchNorm(x) + bias, both linear in the condition."""
    import torch

    if norm:
        layer = model.get_layer(f"{name}_batch_norm")
        mean, variance = (torch.tensor(np.asarray(w, np.float64)) for w in layer.get_weights())
        x = torch.nn.functional.batch_norm(x, mean, variance, eps=1e-4)
    gain, bias = (condition @ kernel_of(model, f"{name}_{part}") for part in ("gain", "bias"))
    return torch.relu((1 + gain[..., None, None]) * x + bias[..., None, None])


def start(model: keras.Model, condition: Any, side: int) -> Any:
    bias = np.asarray(model.get_layer("project").bias, np.float64)
    x = condition @ kernel_of(model, "project") + type(condition)(bias).double()
    return x.reshape(len(x), side, side, -1).permute(0, 3, 1, 2)


def finish(model: keras.Model, x: Any, *, norm: bool) -> np.ndarray:
    import torch

    if norm:
        weights = model.get_layer("output_batch_norm").get_weights()
        gamma, beta, mean, variance = (torch.tensor(np.asarray(w, np.float64)) for w in weights)
        x = torch.nn.functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-4)
    x = conv(model, "logits", torch.relu(x))
    return (((torch.tanh(x) + 1) / 2) if norm else x).numpy().transpose(0, 2, 3, 1)


def embedded(model: keras.Model, x: Any) -> Any:
    import torch

    table = torch.tensor(np.asarray(model.get_layer("class_embedding").kernel, np.float64))
    return torch.cat([x, table[LABELS]], dim=1)


def latents() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(4, LATENT)).astype(np.float32)


def assert_close(found: Any, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("role", ["generator", pytest.param("decoder", marks=slow)])
def test_every_block_has_a_chunk_of_the_latent(role: str) -> None:
    """Figure 15 (a) and (b): 5 latents as chunks of 2, 2 and 1."""
    import torch
    from torch.nn.functional import interpolate

    norm = role == "generator"
    model = shake(getattr(biggan, role)((16, 16, 1), LATENT, 2, num_classes=CLASSES))
    z = torch.tensor(latents()).double()
    first, *others = (embedded(model, z[:, i:j]) for i, j in ((0, 2), (2, 4), (4, 5)))
    x = start(model, first, 4)
    for i, condition in zip((1, 0), others, strict=True):
        if i == 0:
            x = attention(model, x)
        h = modulated(model, f"block_{i}_0", x, condition, norm=norm)
        h = conv(model, f"block_{i}_conv_0", interpolate(h, scale_factor=2))
        h = modulated(model, f"block_{i}_1", h, condition, norm=norm)
        h = conv(model, f"block_{i}_conv_1", h)
        x = h + conv(model, f"block_{i}_shortcut", interpolate(x, scale_factor=2))
    assert_close(model([latents(), LABELS]), finish(model, x, norm=norm))


@slow
@pytest.mark.parametrize("role", ["generator", "decoder"])
def test_deep_blocks_take_the_whole_latent(role: str) -> None:
    """Figure 16 (a) and (b)."""
    import torch
    from torch.nn.functional import interpolate

    norm = role == "generator"
    model = shake(getattr(biggan_deep, role)((8, 8, 1), LATENT, 4, num_classes=CLASSES))
    condition = embedded(model, torch.tensor(latents()).double())
    x = attention(model, start(model, condition, 4))
    for name in ("block_0_keep", "block_0"):
        h = modulated(model, f"{name}_0", x, condition, norm=norm)
        h = modulated(model, f"{name}_1", conv(model, f"{name}_conv_0", h), condition, norm=norm)
        if name == "block_0":
            h, x = interpolate(h, scale_factor=2), interpolate(x, scale_factor=2)
        for i in (1, 2):
            h = conv(model, f"{name}_conv_{i}", h)
            h = modulated(model, f"{name}_{i + 1}", h, condition, norm=norm)
        x = x + conv(model, f"{name}_conv_3", h)
    assert_close(model([latents(), LABELS]), finish(model, x, norm=norm))


@pytest.mark.parametrize("module", [biggan, pytest.param(biggan_deep, marks=slow)])
def test_discriminators_are_the_papers(module: Any) -> None:
    """Figures 15 (c) and 16 (c)."""
    import torch
    from torch.nn.functional import avg_pool2d, relu

    model = shake(module.discriminator((8, 8, 1), "spectral", 4))
    images = random_images((8, 8, 1))
    x = torch.tensor(images.transpose(0, 3, 1, 2) * 2 - 1).double()
    if module is biggan:
        h = relu(conv(model, "block_0_conv_0", x))
        h = avg_pool2d(conv(model, "block_0_conv_1", h), 2)
        x = attention(model, h + avg_pool2d(conv(model, "block_0_shortcut", x), 2))
        h = relu(conv(model, "block_1_conv_0", relu(x)))
        x = x + conv(model, "block_1_conv_1", h)
    else:
        x = conv(model, "from_image", x)
        for name in ("block_0", "block_0_keep"):
            h = x
            for i in range(3):
                h = conv(model, f"{name}_conv_{i}", relu(h))
            h = relu(h)
            if name == "block_0":
                h, x = avg_pool2d(h, 2), avg_pool2d(x, 2)
            x = x + conv(model, f"{name}_conv_3", h)
        x = attention(model, x)
    features = relu(x).sum((2, 3))
    wanted = features @ kernel_of(model, "logit") + torch.tensor(
        np.asarray(model.get_layer("logit").bias)
    )
    assert_close(model(images), wanted.numpy())


@slow
def test_a_deep_discriminator_adds_the_channels_that_are_missing() -> None:
    """The channels that are there pass unchanged (figure 16 c)."""
    model = biggan_deep.discriminator((64, 64, 1), "none", 4)
    joined = model.get_layer("block_0_shortcut_join")
    pool = model.get_layer("block_0_shortcut_pool")
    assert joined.input[0] is pool.output
    assert [tensor.shape[-1] for tensor in joined.input] == [8, 8]


@slow
@pytest.mark.parametrize("side", TABLES)
def test_channels_and_attention_are_those_of_the_tables(side: int) -> None:
    multiples = TABLES[side]
    stages, shape = len(multiples) - 1, (side, side, 3)
    for module, deep in ((biggan, False), (biggan_deep, True)):
        wanted = [4 * multiple for multiple in multiples]
        model = module.generator(shape, 16, 4)
        assert model.get_layer("reshape").output.shape[1:] == (4, 4, wanted[-1])
        assert channels(model, [f"block_{i}" for i in range(stages)]) == wanted[:-1]
        assert model.get_layer("attention").output.shape[1:3] == (64, 64)
        model = module.discriminator(shape, width=4)
        names = [f"block_{i}" for i in range(stages)]
        assert channels(model, names) == (wanted[1:] if deep else wanted[:-1])
        assert model.get_layer("features").output.shape[-1] == wanted[-1]
        assert model.get_layer("attention").output.shape[1:3] == (64, 64)


@slow
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (96, 64, 3), (64, 64, 1)], ids=str)
@pytest.mark.parametrize("name", ["biggan-4", "biggan_deep-4"])
def test_sizes_and_precision(name: str, shape: tuple[int, int, int]) -> None:
    policy = keras.DTypePolicy("mixed_bfloat16")
    images = networks.build(name, "generator", shape, 8, dtype=policy)(np.ones((2, 8), np.float32))
    assert (images.shape, images.dtype) == ((2, *shape), tf.float32)
    logits = networks.build(name, "discriminator", shape, dtype=policy)(images)
    assert (logits.shape, logits.dtype) == ((2, 1), tf.float32)
    mean, _ = networks.build(name, "encoder", shape, 8)(images)
    assert mean.shape == (2, 8)
    assert networks.build(name, "decoder", shape, 8)(mean).shape == (2, *shape)


def test_initial_kernels_are_orthogonal() -> None:
    model = biggan.generator((8, 8, 1), LATENT, 4, num_classes=CLASSES)
    for name in ("project", "block_0_0_gain", "block_0_conv_0", "class_embedding"):
        kernel = np.asarray(model.get_layer(name).kernel)
        matrix = kernel.reshape(-1, kernel.shape[-1])
        if matrix.shape[0] < matrix.shape[1]:
            matrix = matrix.T
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(matrix.shape[1]), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "latent", "message"),
    [
        ("biggan", (30, 30, 3), 16, "biggan network cannot make 30 × 30.*Resize to 32 × 32"),
        ("biggan_deep", (1024, 2048, 3), 16, "1024 × 2048. Resize to 512 × 1024"),
        ("biggan", (32, 32, 3), 3, "latent_dim=3: .*into 4 chunks. Take at least 4"),
        ("biggan_deep-3", (32, 32, 3), 3, "width=3: .*at least 4, such as.*'biggan_deep-4'"),
    ],
)
def test_errors(name: str, shape: tuple[int, int, int], latent: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        networks.build(name, "generator", shape, latent)
