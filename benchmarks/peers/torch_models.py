"""The networks of `zoo/networks/conv.py` in PyTorch, layer by layer.

Images are [batch, channels, height, width] in [0, 1]. Keras pads a 4 × 4 kernel at stride 2 by one
pixel on each side, which is PyTorch's `padding=1`, for transposed convolutions too.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 64
MAX_WIDTH = 512
HIDDEN = 256


class Encoder(nn.Module):
    """Images to (mean, log-variance), each [batch, latent_dim]."""

    def __init__(self, image_shape: Sequence[int], latent_dim: int, width: int = WIDTH) -> None:
        super().__init__()
        (rows, columns), channels = _stages(image_shape, width)
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(rows * columns * channels[-1], HIDDEN), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.mean = nn.Linear(HIDDEN, latent_dim)
        self.log_variance = nn.Linear(HIDDEN, latent_dim)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The posterior's moments."""
        features = self.features(images)
        return self.mean(features), self.log_variance(features)


def decoder(image_shape: Sequence[int], latent_dim: int, width: int = WIDTH) -> nn.Module:
    """Latents [batch, latent_dim] to image logits."""
    return nn.Sequential(*_expand(image_shape, latent_dim, width, norm=False))


def generator(image_shape: Sequence[int], latent_dim: int, width: int = WIDTH) -> nn.Module:
    """Latents [batch, latent_dim] to images; kernels from N(0, 0.02²)."""
    layers = [*_expand(image_shape, latent_dim, width, norm=True), nn.Tanh(), Affine(0.5, 0.5)]
    return nn.Sequential(*layers).apply(_initialize)


def discriminator(
    image_shape: Sequence[int], width: int = WIDTH, *, norm: bool = True
) -> nn.Module:
    """Images to logits [batch, 1]; kernels from N(0, 0.02²), without BatchNorm PyTorch's own."""
    (rows, columns), channels = _stages(image_shape, width)
    layers: list[nn.Module] = [Affine(2.0, -1.0)]
    for i, (before, after) in enumerate(pairwise(channels)):
        batch_norm = norm and i > 0
        layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.LeakyReLU(0.2))
    layers += [nn.Flatten(), nn.Linear(rows * columns * channels[-1], 1)]
    network = nn.Sequential(*layers)
    return network.apply(_initialize) if norm else network


class Affine(nn.Module):
    """x to scale · x + offset."""

    def __init__(self, scale: float, offset: float) -> None:
        super().__init__()
        self.scale, self.offset = scale, offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Like x."""
        return self.scale * x + self.offset


def _expand(
    image_shape: Sequence[int], latent_dim: int, width: int, *, norm: bool
) -> list[nn.Module]:
    (rows, columns), channels = _stages(image_shape, width)
    deepest = channels[-1]
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, rows * columns * deepest, bias=not norm),
        nn.Unflatten(1, (deepest, rows, columns)),
    ]
    for i, (after, before) in reversed(list(enumerate(pairwise(channels)))):
        if norm:
            layers.append(nn.BatchNorm2d(before))
        last = i == 0
        layers.append(nn.ReLU())
        layers.append(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=last or not norm))
    return layers


def _stages(image_shape: Sequence[int], width: int) -> tuple[tuple[int, int], list[int]]:
    """(height, width) of the smallest maps, and the channels from the image's on."""
    height, columns, image_channels = image_shape
    stages = (min(height, columns) // 4).bit_length() - 1
    channels = [image_channels, *(min(width << i, MAX_WIDTH) for i in range(stages))]
    return (height >> stages, columns >> stages), channels


def _initialize(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
