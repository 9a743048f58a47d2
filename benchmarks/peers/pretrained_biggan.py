"""BigGAN-deep's generator of `pytorch-pretrained-biggan`, beside the layers of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_pretrained_biggan as theirs
import torch
from torch.nn import functional as F  # noqa: N812  (its customary name)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# (resample, channels in, channels out), in units of ch: tables 7 and 8 of arXiv 1809.11096.
LAYERS = {
    128: [(0, 16, 16), (1, 16, 16), (0, 16, 16), (1, 16, 8), (0, 8, 8), (1, 8, 4), (0, 4, 4),
          (1, 4, 2), (0, 2, 2), (1, 2, 1)],
    256: [(0, 16, 16), (1, 16, 16), (0, 16, 16), (1, 16, 8), (0, 8, 8), (1, 8, 8), (0, 8, 8),
          (1, 8, 4), (0, 4, 4), (1, 4, 2), (0, 2, 2), (1, 2, 1)],
}  # fmt: skip
ATTENTION = 8


def make(side: int, width: int, classes: int, latent_dim: int) -> Any:
    """Their model, for inference; the class embedding has as many units as the latent."""
    config = theirs.BigGANConfig(
        output_dim=side, z_dim=latent_dim, class_embed_dim=latent_dim, channel_width=width,
        num_classes=classes, attention_layer_position=ATTENTION,
        layers=[(bool(up), *sizes) for up, *sizes in LAYERS[side]],
    )  # fmt: skip
    return theirs.BigGAN(config).eval()


def linear_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Our layers' names and their modules, all spectrally normalised; conditions' are not here."""
    generator = model.generator
    yield "project", generator.gen_z
    for name, block in blocks(generator):
        for i in range(4):
            yield f"{name}_conv_{i}", getattr(block, f"conv_{i}")
    (attention,) = (block for block in generator.layers if not hasattr(block, "conv_0"))
    for ours, part in (("g", "theta"), ("f", "phi"), ("h", "g"), ("v", "o_conv")):
        yield f"attention/{ours}", getattr(attention, f"snconv1x1_{part}")
    yield "logits", generator.conv_to_rgb


def norms(model: Any) -> Iterator[tuple[str, Any]]:
    """What our norms' names begin with, and their modules, conditional but for the last."""
    for name, block in blocks(model.generator):
        for i in range(4):
            yield f"{name}_{i}", getattr(block, f"bn_{i}")
    yield "output", model.generator.bn


def gamma(model: Any) -> Any:
    """The attention's."""
    (attention,) = (block for block in model.generator.layers if not hasattr(block, "conv_0"))
    return attention.gamma


def blocks(generator: Any) -> list[tuple[str, Any]]:
    """Their blocks, with our names."""
    theirs = [block for block in generator.layers if hasattr(block, "conv_0")]
    names = [f"block_{i}{end}" for i in reversed(range(len(theirs) // 2)) for end in ("_keep", "")]
    return list(zip(names, theirs, strict=True))


def drawing(
    numbers: dict[str, np.ndarray], settings: dict[str, Any], classes: int, latent_dim: int
) -> Callable[[], torch.Tensor]:
    """Their images, [batch, 3, height, width] in [0, 1], from the weights of `sized_zoo`."""
    model = make(settings["size"], settings["width"], classes, latent_dim)
    fill(model, {k: torch.tensor(v) for k, v in numbers.items() if v.dtype == np.float32})
    rows = F.one_hot(torch.from_numpy(numbers["label"]).long(), classes).float()
    latents = torch.from_numpy(numbers["latent"])

    def draw() -> torch.Tensor:
        with torch.inference_mode():
            return model(latents, rows, 1.0) * 0.5 + 0.5

    return draw


@torch.no_grad()
def fill(model: Any, numbers: dict[str, torch.Tensor]) -> None:
    """Gives their model our weights."""
    ours = {k.removeprefix("generator:"): v for k, v in numbers.items()}

    def linear(name: str, module: Any) -> None:
        kernel = ours[f"{name}/kernel"]
        kernel = kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        out = len(kernel)  # theirs draws as many channels as its width, and takes three
        for tensor, value in (
            (module.weight_orig, kernel), (module.weight_u, ours[f"{name}/u"]),
            (module.bias, ours.get(f"{name}/bias")),
        ):  # fmt: skip
            if tensor is not None:
                tensor.zero_()
                tensor[:out] = value
        module.weight_v.copy_(F.normalize(module.weight_orig.flatten(1).T @ module.weight_u, dim=0))

    model.embeddings.weight.copy_(ours["class_embedding/kernel"].T)
    gamma(model).fill_(float(ours["attention/gamma"]))
    for name, module in linear_layers(model):
        linear(name, module)
    for name, module in norms(model):
        module.running_means[:] = ours[f"{name}_batch_norm/moving_mean"]
        module.running_vars[:] = ours[f"{name}_batch_norm/moving_variance"]
        if module.conditional:
            linear(f"{name}_gain", module.scale)
            linear(f"{name}_bias", module.offset)
        else:
            module.weight.copy_(ours[f"{name}_batch_norm/gamma"])
            module.bias.copy_(ours[f"{name}_batch_norm/beta"])
