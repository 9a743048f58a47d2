"""The residual networks, in PyTorch, as the paper draws them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.small_networks import (
    EVERY,
    build_network,
    random_images,
    random_latents,
    shake,
)
from zoo.convert import trunks


def _torch_conv(model: Any, name: str, x: Any) -> Any:
    import torch

    layer = model.get_layer(name)
    kernel = torch.tensor(np.asarray(layer.kernel).transpose(3, 2, 0, 1))
    return torch.conv2d(x, kernel, torch.tensor(np.asarray(layer.bias)), padding="same")


def test_the_residual_discriminator_is_the_papers() -> None:
    import torch
    from torch.nn.functional import avg_pool2d, relu

    model = shake(build_network("resnet", "discriminator", (16, 16, 1), normalization="none"))
    images = random_images((16, 16, 1))
    x = torch.tensor(images.transpose(0, 3, 1, 2) * 2 - 1)

    def block(x: Any, name: str, *, first: bool = False, pool: bool = True) -> Any:
        h = _torch_conv(model, f"{name}_conv_0", x if first else relu(x))
        h = _torch_conv(model, f"{name}_conv_1", relu(h))
        if not pool:
            return x + h
        return avg_pool2d(h, 2) + avg_pool2d(_torch_conv(model, f"{name}_shortcut", x), 2)

    x = block(block(x, "block_0", first=True), "block_1")
    features = relu(block(x, "block_2", pool=False)).sum((2, 3)).numpy()
    logit = model.get_layer("logit")
    wanted = features @ np.asarray(logit.kernel) + np.asarray(logit.bias)
    np.testing.assert_allclose(model(images), wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("role", ["generator", "decoder"])
def test_the_residual_generator_is_the_papers(role: str) -> None:
    import torch
    from torch.nn.functional import batch_norm, interpolate, relu

    model = shake(build_network("resnet", role, (16, 16, 2), 5))
    project = model.get_layer("project")
    x = random_latents() @ np.asarray(project.kernel) + np.asarray(project.bias)
    x = torch.tensor(x.reshape(4, 4, 4, 8).transpose(0, 3, 1, 2))

    def activate(x: Any, name: str) -> Any:
        if role == "generator":
            weights = model.get_layer(f"{name}_batch_norm").get_weights()
            gamma, beta, mean, variance = (torch.tensor(weight) for weight in weights)
            x = batch_norm(x, mean, variance, gamma, beta, eps=1e-5)
        return relu(x)

    def block(x: Any, name: str) -> Any:
        h = interpolate(activate(x, f"{name}_0"), scale_factor=2)
        h = _torch_conv(model, f"{name}_conv_0", h)
        h = _torch_conv(model, f"{name}_conv_1", activate(h, f"{name}_1"))
        return h + _torch_conv(model, f"{name}_shortcut", interpolate(x, scale_factor=2))

    x = activate(block(block(x, "block_1"), "block_0"), "output")
    wanted = _torch_conv(model, "logits", x)
    if role == "generator":
        wanted = (torch.tanh(wanted) + 1) / 2
    wanted = wanted.numpy().transpose(0, 2, 3, 1)
    found = model(random_latents())
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("normalization", ["batch", "spectral"])
@pytest.mark.parametrize("name", EVERY)
def test_a_discriminators_trunk_takes_an_encoders_heads(name: str, normalization: str) -> None:
    critic = build_network(name, "discriminator", (8, 8, 1), normalization=normalization)
    encoder = trunks.encoder_on(trunks.encoder_trunk(critic), 5)
    assert [output.shape for output in encoder.outputs] == [(None, 5)] * 2
