"""BigGAN-deep's generator against `pytorch-pretrained-biggan`, with random weights of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.networks import biggan_deep

CLASSES, LATENT = 10, 128  # the class embedding has as many units as the latent, in theirs
PEERS = Path(__file__).resolve().parents[2] / "benchmarks" / "peers"


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PEERS)


def reference(side: int, width: int, seed: int) -> Any:
    """Their generator with random weights and statistics, and exact spectral norms."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("pytorch_pretrained_biggan")
    import pretrained_biggan

    model = pretrained_biggan.make(side, width, CLASSES, LATENT)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("running_vars"):
                value.uniform_(0.5, 2.0, generator=generator)
            elif not name.endswith(("weight_u", "weight_v")):
                value.normal_(0.0, 0.3, generator=generator)
        # Of its `width` outputs three are taken: the others must not count in the norm.
        model.generator.conv_to_rgb.weight_orig[3:] = 0.0
        model.generator.conv_to_rgb.weight_orig[:3] *= 0.1
        for module in model.modules():
            if hasattr(module, "weight_orig"):
                left, _, right = torch.linalg.svd(module.weight_orig.flatten(1))
                module.weight_u.copy_(left[:, 0])
                module.weight_v.copy_(right[0])
    return model


def numbers(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy()


def copy_linear(layer: Any, theirs: Any, outputs: int | None = None) -> None:
    """W, u and the bias of a spectrally normalised layer."""
    kernel = numbers(theirs.weight_orig)[:outputs]
    axes = (2, 3, 1, 0) if kernel.ndim == 4 else (1, 0)
    layer.kernel.assign(kernel.transpose(axes))
    layer.u.assign(numbers(theirs.weight_u)[:outputs])
    if theirs.bias is not None:
        layer.bias.assign(numbers(theirs.bias)[:outputs])


def copy_norm(model: keras.Model, name: str, theirs: Any, index: int) -> None:
    norm = model.get_layer(f"{name}_batch_norm")
    norm.moving_mean.assign(numbers(theirs.running_means)[index])
    norm.moving_variance.assign(numbers(theirs.running_vars)[index])
    if theirs.conditional:
        copy_linear(model.get_layer(f"{name}_gain"), theirs.scale)
        copy_linear(model.get_layer(f"{name}_bias"), theirs.offset)
    else:
        norm.gamma.assign(numbers(theirs.weight))
        norm.beta.assign(numbers(theirs.bias))


def copy_weights(model: keras.Model, theirs: Any, truncation: float) -> None:
    """Gives our generator their weights, and their statistics of a truncation."""
    import pretrained_biggan

    index = round(truncation * 50)
    model.get_layer("class_embedding").kernel.assign(numbers(theirs.embeddings.weight).T)
    attention = model.get_layer("attention")
    attention.gamma.assign(float(pretrained_biggan.gamma(theirs).detach()))
    inner = {f"attention/{layer.name}": layer for layer in attention._flatten_layers()}
    for name, module in pretrained_biggan.linear_layers(theirs):
        layer = inner[name] if name in inner else model.get_layer(name)
        copy_linear(layer, module, 3 if name == "logits" else None)
    for name, module in pretrained_biggan.norms(theirs):
        copy_norm(model, name, module, index)


@pytest.mark.slow
@pytest.mark.parametrize(("side", "width", "seed"), [(128, 8, 0), (128, 8, 1), (256, 8, 2)])
def test_it_is_pytorch_pretrained_biggan(side: int, width: int, seed: int) -> None:
    """Images and gradients of latents, at two truncations; float32 noise is all that is between."""
    import torch

    theirs = reference(side, width, seed)
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(3, LATENT)).astype(np.float32)
    labels = np.array([0, 7, 9], np.int32)
    direction = rng.normal(size=(3, side, side, 3)).astype(np.float32)
    model = biggan_deep.generator((side, side, 3), LATENT, width, num_classes=CLASSES)
    for truncation in (0.4, 1.0):
        copy_weights(model, theirs, truncation)
        given = torch.tensor(z, requires_grad=True)
        rows = torch.tensor(np.eye(CLASSES, dtype=np.float32)[labels])
        drawn = (theirs(given, rows, truncation).permute(0, 2, 3, 1) + 1) / 2
        (drawn * torch.tensor(direction)).sum().backward()
        ours, classes = tf.constant(z), tf.constant(labels)
        with tf.GradientTape() as tape:
            tape.watch(ours)
            found = model([ours, classes], training=False)
            value = tf.reduce_sum(found * direction)
        wanted = numbers(drawn)
        assert wanted.std() > 0.05  # neither grey nor saturated
        gradient, theirs_gradient = np.asarray(tape.gradient(value, ours)), given.grad.numpy()
        scale = np.abs(theirs_gradient).max()
        print(  # for docs/models.md
            f"{side}, {truncation}: {np.abs(found - wanted).max():.2g}, gradients "
            f"{np.abs(gradient - theirs_gradient).max() / scale:.2g} of {scale:.2g}"
        )
        np.testing.assert_allclose(found, wanted, atol=2e-5)
        np.testing.assert_allclose(gradient, theirs_gradient, atol=1e-4 * scale)
