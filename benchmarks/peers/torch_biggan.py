"""BigGAN-deep's networks in PyTorch (arXiv 1809.11096, figure 16), as `zoo.networks.biggan_deep`.

Parameters have the names of Keras's weights. Images are [batch, 3, side, side] in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its customary name)

EMBEDDING = 128
# Channels by halvings of the side, in units of ch: table 7 for 128 pixels; the others are ours.
CHANNELS = {16: (4, 4, 4), 32: (4, 4, 4, 4), 64: (2, 4, 8, 16, 16), 128: (1, 2, 4, 8, 16, 16)}
ATTENDED = 1  # how often the side of the feature map with attention is halved


class Spectral(nn.Module):
    """A linear layer that computes with W / σ(W); with a `size` it is a convolution."""

    def __init__(self, fan_in: int, out: int, size: int = 0, *, bias: bool = True) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(out, fan_in, *[size] * (2 if size else 0)))
        nn.init.orthogonal_(self.kernel)
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None
        self.register_buffer("u", F.normalize(torch.randn(out), dim=0))
        self.folded = False

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the sides of images."""
        kernel = self.kernel if self.folded else self.normalized()
        if kernel.ndim == 2:
            return F.linear(x, kernel, self.bias)
        return F.conv2d(x, kernel, self.bias, padding=kernel.shape[2] // 2)

    def normalized(self) -> Tensor:
        """W / σ(W); in training, moves u first."""
        matrix = self.kernel.flatten(1)
        with torch.no_grad():
            v = F.normalize(matrix.T @ self.u, dim=0)
            if self.training:
                self.u = F.normalize(matrix @ v, dim=0)
        return self.kernel / (self.u @ (matrix @ v))

    def fold(self) -> None:
        """Keeps W / σ(W), for inference."""
        with torch.no_grad():
            self.kernel.copy_(self.normalized())
        self.folded = True


class Norm(nn.Module):
    """BatchNorm, with parameters or without."""

    def __init__(self, channels: int, *, affine: bool = False) -> None:
        super().__init__()
        self.register_buffer("moving_mean", torch.zeros(channels))
        self.register_buffer("moving_variance", torch.ones(channels))
        self.gamma = nn.Parameter(torch.ones(channels)) if affine else None
        self.beta = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Of [batch, channels, height, width]."""
        return F.batch_norm(
            x, self.moving_mean, self.moving_variance, self.gamma, self.beta, self.training,
            0.1, 1e-4,
        )  # fmt: skip


class Attention(nn.Module):
    """Every pixel looks at all others (arXiv 1805.08318, section 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, half = channels // 8, channels // 2
        self.f, self.g, self.h = (
            Spectral(channels, units, 1, bias=False) for units in (narrow, narrow, half)
        )
        self.v = Spectral(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape."""
        keys, values = (F.max_pool2d(each(x), 2).flatten(2) for each in (self.f, self.h))
        queries = self.g(x).flatten(2)
        weights = torch.softmax(queries.transpose(1, 2) @ keys, dim=2)
        seen = (values @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return self.gamma * self.v(seen) + x


class Generator(nn.ModuleDict):
    """Figure 16 (a) and (b)."""

    def __init__(self, side: int, latent_dim: int, width: int, classes: int) -> None:
        super().__init__()
        channels = [width * multiple for multiple in CHANNELS[side]]
        self.latent_dim = latent_dim
        self.channels, self.condition = channels, latent_dim + EMBEDDING
        self.stages = len(channels) - 1
        self["class_embedding"] = Table(classes)
        self["project"] = Spectral(self.condition, 16 * channels[-1])
        for i in range(self.stages):
            self.block(f"block_{i}_keep", channels[i + 1], channels[i + 1])
            self.block(f"block_{i}", channels[i + 1], channels[i])
        self["attention"] = Attention(channels[ATTENDED])
        self["output_batch_norm"] = Norm(channels[0], affine=True)
        self["logits"] = Spectral(channels[0], 3, 3)

    def block(self, name: str, fan_in: int, out: int) -> None:
        """Makes the layers of a block."""
        narrow = fan_in // 4
        for i, size in enumerate((1, 3, 3, 1)):
            taken = narrow if i else fan_in
            self[f"{name}_{i}_batch_norm"] = Norm(taken)
            self[f"{name}_{i}_gain"] = Spectral(self.condition, taken, bias=False)
            self[f"{name}_{i}_bias"] = Spectral(self.condition, taken, bias=False)
            self[f"{name}_conv_{i}"] = Spectral(taken, out if i == 3 else narrow, size)

    def forward(self, latents: Tensor, rows: Tensor) -> Tensor:
        """The images of latents [batch, latent_dim] and one-hot rows [batch, classes]."""
        condition = torch.cat([latents, self["class_embedding"](rows)], 1)
        # Keras has channels last.
        x = self["project"](condition).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)
        for i in reversed(range(self.stages)):
            if i + 1 == ATTENDED:
                x = self["attention"](x)
            x = self.through(f"block_{i}_keep", x, condition, self.channels[i + 1], 1)
            x = self.through(f"block_{i}", x, condition, self.channels[i], 2)
        x = self["logits"](F.relu(self["output_batch_norm"](x)))
        return 0.5 + 0.5 * torch.tanh(x)

    def through(self, name: str, x: Tensor, condition: Tensor, out: int, factor: int) -> Tensor:
        """A block, which may double the side."""
        short = x[:, :out]
        for i in range(4):
            x = self[f"{name}_{i}_batch_norm"](x)
            gain, bias = (self[f"{name}_{i}_{part}"](condition) for part in ("gain", "bias"))
            x = F.relu(torch.addcmul(bias[..., None, None], x, 1.0 + gain[..., None, None]))
            if i == 1 and factor == 2:
                x = F.interpolate(x, scale_factor=2)
                short = F.interpolate(short, scale_factor=2)
            x = self[f"{name}_conv_{i}"](x)
        return x + short

    def draw(self, batch: int) -> dict[str, Tensor]:
        """Random numbers of a training step."""
        return {"latents": torch.randn(batch, self.latent_dim)}


class Discriminator(nn.ModuleDict):
    """Figure 16 (c), with a projection on the class (arXiv 1802.05637)."""

    def __init__(self, side: int, width: int, classes: int) -> None:
        super().__init__()
        channels = [width * multiple for multiple in CHANNELS[side]]
        self.stages = len(channels) - 1
        self["from_image"] = Spectral(3, channels[0], 3)
        for i in range(self.stages):
            fan_in, out = channels[i : i + 2]
            for name, taken in ((f"block_{i}", fan_in), (f"block_{i}_keep", out)):
                for j, size in enumerate((1, 3, 3, 1)):
                    units = out if j == 3 else out // 4
                    self[f"{name}_conv_{j}"] = Spectral(out // 4 if j else taken, units, size)
            if out > fan_in:
                self[f"block_{i}_shortcut"] = Spectral(fan_in, out - fan_in, 1)
        self["attention"] = Attention(channels[ATTENDED])
        self["embedding"] = Spectral(classes, channels[-1], bias=False)
        self["logit"] = Spectral(channels[-1], 1)

    def forward(self, images: Tensor, rows: Tensor) -> Tensor:
        """Logits [batch, 1] of images and one-hot rows [batch, classes]."""
        x = self["from_image"](2.0 * images - 1.0)
        for i in range(self.stages):
            x = self.through(f"block_{i}", x, 2)
            x = self.through(f"block_{i}_keep", x, 1)
            if i + 1 == ATTENDED:
                x = self["attention"](x)
        features = F.relu(x).sum((2, 3))
        inner = (self["embedding"](rows) * features).sum(1, keepdim=True)
        return inner + self["logit"](features)

    def through(self, name: str, x: Tensor, factor: int) -> Tensor:
        """A block, which may halve the side and add channels."""
        short = x
        for j in range(3):
            x = self[f"{name}_conv_{j}"](F.relu(x))
        x = F.relu(x)
        if factor == 2:
            x, short = F.avg_pool2d(x, 2), F.avg_pool2d(short, 2)
        x = self[f"{name}_conv_3"](x)
        if f"{name}_shortcut" in self:
            short = torch.cat([short, self[f"{name}_shortcut"](short)], 1)
        return x + short


class Table(nn.Module):
    """The embedding of the class."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(EMBEDDING, classes))
        nn.init.orthogonal_(self.kernel)

    def forward(self, rows: Tensor) -> Tensor:
        """[batch, classes] to [batch, EMBEDDING]."""
        return F.linear(rows, self.kernel)


def fold(module: nn.Module) -> None:
    """Keeps W / σ(W) in all layers, for inference."""
    for each in module.modules():
        if isinstance(each, Spectral):
            each.fold()
