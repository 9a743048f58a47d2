"""FastGAN's networks beside a computation in PyTorch from arXiv 2101.04775 and its code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's custom)

from tests.support.small_networks import random_images, random_latents
from tests.support.torch_networks import Weights, largest_difference
from zoo.networks import fastgan

# Of the largest number in an array. Up to 20 layers, each with a float32 sum and a BatchNorm of 4
# examples' statistics. Found: 1.1e-5 and 1.9e-5.
OF_OUTPUTS, OF_GRADIENTS = 3e-5, 5e-5


def _gated(w: Weights, x: torch.Tensor, name: str) -> torch.Tensor:
    x = w.batch_norm(w.conv(x, name, padding=1), f"{name}_batch_norm")
    return F.glu(x, dim=1)


def _excited(w: Weights, x: torch.Tensor, low: torch.Tensor, name: str) -> torch.Tensor:
    gate = w.conv(F.adaptive_avg_pool2d(low, 4), f"{name}_squeeze")
    gate = w.conv(F.leaky_relu(gate, 0.1), f"{name}_excite")
    return x * torch.sigmoid(gate)


def _upsampled(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _generator(start: tuple[int, int], convolutions: list[int], gates: dict[int, int]) -> Any:
    """Of how many convolutions each stage has, and which features gate a stage's."""

    def computed(w: Weights, z: torch.Tensor) -> list[torch.Tensor]:
        x = w.dense(z, "project").reshape(len(z), *start, -1).permute(0, 3, 1, 2)
        maps = [F.glu(w.batch_norm(x, "batch_norm"), dim=1)]
        for stage, count in enumerate(convolutions, 1):
            name = f"block_{len(convolutions) - stage}"
            x = _upsampled(maps[-1])
            for i in range(count):
                x = _gated(w, x, f"{name}_conv_{i}")
            if stage in gates:
                x = _excited(w, x, maps[gates[stage]], f"{name}_excitation")
            maps.append(x)
        return [(torch.tanh(w.conv(maps[-1], "logits", padding=1)) + 1.0) / 2.0]

    return computed


def _down(w: Weights, x: torch.Tensor, name: str) -> torch.Tensor:
    def layer(x: torch.Tensor, part: str, **options: int) -> torch.Tensor:
        x = w.batch_norm(w.conv(x, f"{name}_{part}", **options), f"{name}_{part}_batch_norm")
        return F.leaky_relu(x, 0.2)

    main = layer(layer(x, "conv_0", stride=2, padding=1), "conv_1", padding=1)
    return (main + layer(F.avg_pool2d(x, 2), "shortcut")) / 2.0


def _discriminator(stages: int, gates: dict[int, int]) -> Any:
    def computed(w: Weights, image: torch.Tensor) -> list[torch.Tensor]:
        maps = [F.leaky_relu(w.conv(2.0 * image - 1.0, "from_rgb", padding=1), 0.2)]
        for stage in range(1, stages + 1):
            name = f"block_{stage - 1}"
            x = _down(w, maps[-1], name)
            if stage in gates:
                x = _excited(w, x, maps[gates[stage]], f"{name}_excitation")
            maps.append(x)
        x = F.leaky_relu(w.batch_norm(w.conv(maps[-1], "judge"), "judge_batch_norm"), 0.2)
        patches = w.conv(x, "patch_logits").flatten(1)
        return [patches.mean(dim=1, keepdim=True), patches, maps[-1], maps[-2]]

    return computed


def _decoded(w: Weights, x: torch.Tensor, name: str, doublings: int) -> torch.Tensor:
    for i in range(doublings):
        x = _gated(w, _upsampled(x), f"{name}_conv_{i}")
    return (torch.tanh(w.conv(x, f"{name}_to_rgb", padding=1)) + 1.0) / 2.0


def _same(model: Any, computed: Any, inputs: list[np.ndarray], *, kinks: bool = False) -> None:
    """With `kinks`, compares outputs alone: of many leaky ReLUs one is within rounding of 0."""
    of_outputs, of_gradients = largest_difference(model, computed, inputs, training=True)
    print(f"{model.name} {model.output_shape}: {of_outputs:.1e} {of_gradients:.1e}")
    assert of_outputs < OF_OUTPUTS
    assert kinks or of_gradients < OF_GRADIENTS


@pytest.mark.parametrize(
    ("shape", "start", "convolutions", "gates"),
    [
        ((8, 8, 1), (4, 4), [2], {1: 0}),
        pytest.param((28, 28, 1), (7, 7), [2, 1], {2: 0}, marks=pytest.mark.slow),
        pytest.param((32, 48, 3), (4, 6), [2, 1, 2], {3: 0}, marks=pytest.mark.slow),
        pytest.param((128, 128, 3), (4, 4), [2, 1, 2, 1, 2], {4: 0, 5: 1}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_generator_is_pytorchs(
    shape: tuple[int, ...], start: tuple[int, int], convolutions: list[int], gates: dict[int, int]
) -> None:
    model = fastgan.generator(shape, 5, width=4)
    _same(model, _generator(start, convolutions, gates), [random_latents()])


@pytest.mark.parametrize(
    ("shape", "stages", "gates"),
    [
        ((16, 16, 1), 1, {1: 0}),
        pytest.param((28, 28, 1), 2, {2: 0}, marks=pytest.mark.slow),
        pytest.param((128, 128, 3), 4, {3: 0, 4: 1}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_discriminator_is_pytorchs(
    shape: tuple[int, ...], stages: int, gates: dict[int, int]
) -> None:
    model = fastgan.discriminator(shape, width=4, features=True)
    _same(model, _discriminator(stages, gates), [random_images(shape)], kinks=shape[0] > 64)


def test_the_decoders_are_pytorchs() -> None:
    model = fastgan.reconstructor((7, 7, 8), (7, 7, 6), (28, 28, 1), width=4)
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(4, 7, 7, n)).astype(np.float32) for n in (8, 6)]

    def computed(w: Weights, whole: torch.Tensor, part: torch.Tensor) -> list[torch.Tensor]:
        return [_decoded(w, whole, "whole", 2), _decoded(w, part, "part", 1)]

    _same(model, computed, features)


@pytest.mark.slow
def test_channels_are_the_authors() -> None:
    """`nfc_multi` of their code at 64 channels, for 512 pixels; and which features gate which."""
    model = fastgan.generator((512, 512, 3), 256)
    sides = {8: 512, 16: 256, 32: 128, 64: 128, 128: 64, 256: 32, 512: 16}
    for i, (side, channels) in enumerate(reversed(sides.items())):
        assert model.get_layer(f"block_{i}_conv_0_glu").output.shape[1:] == (side, side, channels)
    gated = {
        layer.output.shape[1]: model.get_layer(f"{layer.name}_pool").input.shape[1]
        for layer in model.layers
        if layer.name.endswith("_excitation")
    }
    assert gated == {64: 4, 128: 8, 256: 16, 512: 32}
    model = fastgan.discriminator((256, 256, 3))
    widths = [model.get_layer(f"block_{i}").output.shape[1:] for i in range(5)]
    assert widths == [(128, 128, 32), (64, 64, 64), (32, 32, 128), (16, 16, 128), (8, 8, 256)]
    gated = {
        layer.output.shape[1]: model.get_layer(f"{layer.name}_pool").input.shape[1]
        for layer in model.layers
        if layer.name.endswith("_excitation")
    }
    assert gated == {32: 256, 16: 128, 8: 64}


@pytest.mark.parametrize(
    "side", [8, *(pytest.param(n, marks=pytest.mark.slow) for n in (12, 20, 32, 64, 256, 1024))]
)
def test_decoders_make_what_they_are_compared_with(side: int) -> None:
    """Whole images of up to 16 times their last features, and quadrants likewise."""
    shape = (side, side, 3)
    _, _, whole, larger = fastgan.discriminator(shape, width=2, features=True).outputs
    part = (larger.shape[1] // 2, larger.shape[2] // 2, larger.shape[3])
    model = fastgan.reconstructor(whole.shape[1:], part, shape, width=2)
    assert [x.shape[1] for x in model.outputs] == [min(side, 128), min(side // 2, 128)]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="normalization='layer': expected 'batch', 'none' or"):
        fastgan.discriminator((8, 8, 1), "layer")
    with pytest.raises(ValueError, match="fastgan network cannot make 30 × 30.*Resize to 32 × 32"):
        fastgan.generator((30, 30, 1), 5)
