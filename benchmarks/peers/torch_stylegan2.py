"""StyleGAN2's networks in PyTorch (arXiv 1912.04958, configuration F), as `zoo.networks.stylegan2`.

One convolution serves the whole batch: activations are scaled, not kernels. Parameters have the
names of Keras's weights. Images are [batch, 3, side, side] in [0, 1].
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (its customary name)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

DEPTH, RATE = 8, 0.01  # of the mapping
GROUP = 4  # images whose deviation the discriminator sees
MIXING = 0.9
STYLE_DECAY = 0.995


class Dense(nn.Module):
    """An equalised layer."""

    def __init__(self, fan_in: int, units: int, rate: float = 1.0, *, active: bool = False) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(units, fan_in) / rate)
        self.bias = nn.Parameter(torch.zeros(units))
        self.rate, self.active = rate, active

    def forward(self, x: Tensor) -> Tensor:
        """[batch, fan_in] to [batch, units]."""
        scale = self.rate / math.sqrt(self.kernel.shape[1])
        x = F.linear(x, self.kernel * scale, self.bias * self.rate)
        return activation(x) if self.active else x


class Conv(nn.Module):
    """An equalised convolution and its activation."""

    def __init__(
        self, fan_in: int, filters: int, size: int, *, stride: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(filters, fan_in, size, size))
        self.bias = None if linear else nn.Parameter(torch.zeros(filters))
        self.stride, self.padding = stride, size // 2 if stride == 1 else 0

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the sides, or with a stride of 2 halves them."""
        kernel = self.kernel / math.sqrt(self.kernel[0].numel())
        x = F.conv2d(x, kernel, self.bias, self.stride, self.padding)
        return x if self.bias is None else activation(x)


class Modulated(nn.Module):
    """A convolution whose kernel a style scales (eq. 1 to 3)."""

    def __init__(
        self, fan_in: int, filters: int, size: int, *, up: bool = False, to_rgb: bool = False
    ) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(filters, fan_in, size, size))
        self.bias = nn.Parameter(torch.zeros(filters))
        self.up, self.demodulate = up, not to_rgb
        if up:
            self.register_buffer("taps", taps(filters, gain=4.0), persistent=False)

    def forward(self, x: Tensor, scales: Tensor) -> Tensor:
        """Features [batch, fan_in, height, width] and scales [batch, fan_in]."""
        kernel = self.kernel / math.sqrt(self.kernel[0].numel())
        x = x * scales[:, :, None, None]
        if self.up:
            mirrored = kernel.flip(2, 3).transpose(0, 1)
            x = F.conv_transpose2d(x, mirrored, stride=2)
            x = F.conv2d(x, self.taps, padding=1, groups=len(self.taps))
        else:
            x = F.conv2d(x, kernel, padding=kernel.shape[2] // 2)
        if self.demodulate:
            power = scales.square() @ kernel.square().sum((2, 3)).T
            x = x * torch.rsqrt(power + 1e-8)[:, :, None, None]
        return x + self.bias[:, None, None]


class Holder(nn.Module):
    """A parameter, or a buffer, of a name."""

    def __init__(self, *, trained: bool = True, **values: Tensor) -> None:
        super().__init__()
        for name, value in values.items():
            if trained:
                setattr(self, name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)


class Generator(nn.ModuleDict):
    """Figure 7b: images of every size, added up."""

    def __init__(self, side: int, latent_dim: int, width: int, style_dim: int) -> None:
        super().__init__()
        self.stages = side.bit_length() - 3
        self.count = 2 * self.stages + 2  # styles of an image
        for i in range(DEPTH):
            fan_in = style_dim if i else latent_dim
            self[f"mapping_{i}"] = Dense(fan_in, style_dim, RATE, active=True)
        self["truncation"] = Holder(
            trained=False, average=torch.zeros(style_dim), psi=torch.ones(())
        )
        channels = [channels_of(i, self.stages, width) for i in range(self.stages + 1)]
        self["constant"] = Holder(image=torch.randn(channels[-1], 4, 4))
        self.names: list[str] = []  # of convolutions with noise, in order

        def layer(name: str, fan_in: int, filters: int, size: int, **options: bool) -> None:
            self[f"{name}_affine"] = Dense(style_dim, fan_in)
            self[name] = Modulated(fan_in, filters, size, **options)

        def noisy(name: str, stage: int, fan_in: int, **options: bool) -> None:
            layer(name, fan_in, channels[stage], 3, **options)
            self[f"{name}_noise"] = Holder(strength=torch.zeros(()))
            noise = torch.randn(1, side >> stage, side >> stage)
            self[f"stored_noise_{len(self.names)}"] = Holder(trained=False, image=noise)
            self.names.append(name)

        noisy(f"conv_{self.stages}", self.stages, channels[-1])
        layer(f"to_rgb_{self.stages}", channels[-1], 3, 1, to_rgb=True)
        for i in reversed(range(self.stages)):
            noisy(f"conv_{i}_0", i, channels[i + 1], up=True)
            noisy(f"conv_{i}_1", i, channels[i])
            layer(f"to_rgb_{i}", channels[i], 3, 1, to_rgb=True)
        self.register_buffer("taps", taps(3, gain=4.0), persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        """The images of latents [batch, latent_dim], with the stored noise."""
        average, psi = self["truncation"].average, self["truncation"].psi
        styles = average + psi * (self.styles(latents) - average)
        noise = [self[f"stored_noise_{i}"].image for i in range(len(self.names))]
        return self.by_layer(styles[:, None].expand(-1, self.count, -1), noise)

    def styles(self, latents: Tensor) -> Tensor:
        """w, [batch, style_dim]."""
        x = latents * torch.rsqrt(latents.square().mean(1, keepdim=True))
        for i in range(DEPTH):
            x = self[f"mapping_{i}"](x)
        return x

    def by_layer(self, styles: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """The images of styles [batch, layers, style_dim] and noise [batch, 1, side, side]."""

        def modulated(name: str, x: Tensor, index: int) -> Tensor:
            return self[name](x, self[f"{name}_affine"](styles[:, index]))

        def styled(name: str, x: Tensor, index: int) -> Tensor:
            strength = self[f"{name}_noise"].strength
            x = modulated(name, x, index)
            return activation(x + strength * noise[self.names.index(name)])

        x = self["constant"].image.expand(len(styles), -1, -1, -1)
        x = styled(f"conv_{self.stages}", x, 0)
        image = modulated(f"to_rgb_{self.stages}", x, 1)
        for i in reversed(range(self.stages)):
            index = 2 * (self.stages - i) - 1
            x = styled(f"conv_{i}_0", x, index)
            x = styled(f"conv_{i}_1", x, index + 1)
            image = F.conv_transpose2d(image, self.taps, stride=2, padding=1, groups=3)
            image = image + modulated(f"to_rgb_{i}", x, index + 2)
        return 0.5 + 0.5 * torch.tanh(image)

    def mixed(self, noise: dict[str, Tensor]) -> Tensor:
        """The images of a batch in training: styles mixed, noise drawn; moves w̄."""
        both = torch.cat([noise["latents"], noise["mixing_latents"]])
        one, two = self.styles(both).chunk(2)
        with torch.no_grad():
            self["truncation"].average.lerp_(one.mean(0), 1.0 - STYLE_DECAY)
        chance, place = noise["crossover"].unsqueeze(2).unbind(1)
        first = 1.0 + torch.floor(place * (self.count - 1))
        second = (torch.arange(self.count) >= first) & (chance < MIXING)
        styles = torch.where(second[..., None], two[:, None], one[:, None])
        return self.by_layer(styles, [noise[f"noise_{i}"] for i in range(len(self.names))])

    def draw(self, batch: int) -> dict[str, Tensor]:
        """Random numbers of a training step."""
        latent_dim = self["mapping_0"].kernel.shape[1]
        noise = {name: torch.randn(batch, latent_dim) for name in ("latents", "mixing_latents")}
        noise["crossover"] = torch.rand(batch, 2)
        for i in range(len(self.names)):
            noise[f"noise_{i}"] = torch.randn(batch, *self[f"stored_noise_{i}"].image.shape)
        return noise


class Discriminator(nn.ModuleDict):
    """Figure 7c, with the standard deviation of the minibatch."""

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.stages = side.bit_length() - 3
        channels = [channels_of(i, self.stages, width) for i in range(self.stages + 1)]
        self["from_rgb"] = Conv(3, channels[0], 1)
        for i in range(self.stages):
            self[f"block_{i}_conv_0"] = Conv(channels[i], channels[i], 3)
            self[f"block_{i}_conv_1"] = Conv(channels[i], channels[i + 1], 3, stride=2)
            self[f"block_{i}_shortcut"] = Conv(channels[i], channels[i + 1], 1, linear=True)
            self.register_buffer(f"taps_{i}", taps(channels[i]), persistent=False)
        self["minibatch_deviation"] = Holder(trained=False, average=torch.zeros(()))
        self["conv"] = Conv(channels[-1] + 1, channels[-1], 3)
        self["features"] = Dense(16 * channels[-1], channels[-1], active=True)
        self["logit"] = Dense(channels[-1], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch, 1]."""
        x = self["from_rgb"](2.0 * images - 1.0)
        for i in range(self.stages):
            kernel: Any = getattr(self, f"taps_{i}")
            short = F.conv2d(x, kernel, stride=2, padding=1, groups=len(kernel))
            x = self[f"block_{i}_conv_0"](x)
            x = F.conv2d(x, kernel, padding=2, groups=len(kernel))
            x = self[f"block_{i}_conv_1"](x) + self[f"block_{i}_shortcut"](short)
            x = x * math.sqrt(0.5)
        plane = self.deviation(x)[:, None, None, None].expand(-1, 1, *x.shape[2:])
        x = self["conv"](torch.cat([x, plane], 1))
        x = x.permute(0, 2, 3, 1).flatten(1)  # Keras has channels last
        return self["logit"](self["features"](x))

    def deviation(self, x: Tensor) -> Tensor:
        """That of each example's group, [batch]; moves the average that is taken otherwise."""
        average = self["minibatch_deviation"].average
        if not self.training:
            return average.expand(len(x))
        groups = -(-len(x) // GROUP)
        members = x.reshape(len(x) // groups, groups, -1)
        deviations = torch.sqrt(members.var(0, unbiased=False) + 1e-8).mean(1)
        with torch.no_grad():
            average.lerp_(deviations.mean(), 0.1)
        return deviations.repeat(len(members))


def activation(x: Tensor) -> Tensor:
    """√2 · leaky ReLU."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2.0)


def taps(channels: int, gain: float = 1.0) -> Tensor:
    """[1, 3, 3, 1] along both axes, as the kernel of a convolution of each channel by itself."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return (gain * torch.outer(line, line) / 64.0).repeat(channels, 1, 1, 1)


def channels_of(stage: int, stages: int, width: int) -> int:
    """min(width, 64 width / r) for sides r, which are halved `stage` times, and 4 at last."""
    return min(width, 64 * width // (4 << stages - stage))
