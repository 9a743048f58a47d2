"""The autoencoder of latent diffusion, its discriminator and both losses, in PyTorch."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's custom)

from tests.support.torch_networks import Weights, channels_first


def patches(w: Weights, x: torch.Tensor, layers: int, normalization: str) -> torch.Tensor:
    """`NLayerDiscriminator` of arXiv 2012.09841 (its code), for pixels in [0, 1]."""
    x = F.leaky_relu(w.conv(2 * x - 1, "conv_0", stride=2, padding=1), 0.2)
    for i in range(1, layers + 1):
        x = w.conv(x, f"conv_{i}", stride=2 if i < layers else 1, padding=1)
        x = w.batch_norm(x, f"norm_{i}") if normalization == "batch" else x
        x = F.leaky_relu(x, 0.2)
    return w.conv(x, "logits", padding=1)


def _norm(w: Weights, x: torch.Tensor, groups: int, name: str) -> torch.Tensor:
    return F.group_norm(x, groups, w[f"{name}/gamma"], w[f"{name}/beta"], eps=1e-6)


def _block(w: Weights, x: torch.Tensor, groups: int, name: str) -> torch.Tensor:
    h = x
    for k in range(2):
        h = w.conv(F.silu(_norm(w, h, groups, f"{name}_norm_{k}")), f"{name}_conv_{k}", padding=1)
    return h + (w.conv(x, f"{name}_shortcut") if f"{name}_shortcut/kernel" in w else x)


def _middle(w: Weights, x: torch.Tensor, groups: int) -> torch.Tensor:
    x = _block(w, x, groups, "middle_block_0")
    y = _norm(w, x, groups, "attention_norm").flatten(2).transpose(1, 2)
    q, k, v = (w.dense(y, f"attention_{name}") for name in ("query", "key", "value"))
    y = w.dense(F.scaled_dot_product_attention(q, k, v), "attention_output")
    return _block(w, x + y.transpose(1, 2).reshape(x.shape), groups, "middle_block_1")


def encoded(w: Weights, x: torch.Tensor, levels: int, groups: int) -> tuple[Any, ...]:
    """Mean and log-variance; one block per level."""
    x = w.conv(2 * x - 1, "input", padding=1)
    for i in range(levels):
        x = _block(w, x, groups, f"down_{i}_block_0")
        if i < levels - 1:
            x = w.conv(F.pad(x, (0, 1, 0, 1)), f"down_{i}_downsample", stride=2)
    x = F.silu(_norm(w, _middle(w, x, groups), groups, "output_norm"))
    return w.conv(w.conv(x, "output", padding=1), "quant").chunk(2, dim=1)


def decoded(w: Weights, z: torch.Tensor, levels: int, groups: int) -> torch.Tensor:
    """The values of pixels; two blocks per level."""
    x = _middle(w, w.conv(w.conv(z, "post_quant"), "input", padding=1), groups)
    for i in range(levels):
        for j in range(2):
            x = _block(w, x, groups, f"up_{i}_block_{j}")
        if i < levels - 1:
            x = w.conv(F.interpolate(x, scale_factor=2.0), f"up_{i}_upsample", padding=1)
    x = F.silu(_norm(w, x, groups, "output_norm"))
    return (w.conv(x, "output", padding=1) + 1) / 2


def distance(w: Weights, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """LPIPS of two convolutions (arXiv 1801.03924, eq. 1), with weights of 1; [batch]."""
    x, y = (F.interpolate(each, (224, 224), mode="bilinear") for each in (x, y))

    def level(image: torch.Tensor, i: int) -> torch.Tensor:
        return F.normalize(w.conv(image, f"level_{i}", stride=7), dim=1)

    squares = [(level(x, i) - level(y, i)).square().sum(1) for i in range(2)]
    return sum(each.mean((1, 2)) for each in squares)


def losses_of(model: Any, features: Any, batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """What one step of an `autoencoder_kl` minimises, from the papers' formulas.

    Args:
        model: With `laplace_linear` and a patch discriminator.
        features: The Keras network of two convolutions that `distance` takes.
        batch: `images` and noise `posterior`, channels last.

    Returns:
        The scalars by the names of the model's logs; and all weights: {"encoder": Weights, …}. Each
        has the gradients of its own player's loss.
    """
    nets = {role: Weights(getattr(model, role)) for role in ("encoder", "decoder", "discriminator")}
    log_scale = torch.tensor(float(model.pixels.log_scale), requires_grad=True)
    shape = (len(model.channels), model.groups)
    judge = (model.discriminator_layers, model.discriminator_normalization)
    x = torch.tensor(channels_first(batch["images"]))
    noise = torch.tensor(channels_first(batch["posterior"].reshape(-1, *model.grid)))

    mean, log_variance = encoded(nets["encoder"], x, *shape)
    again = decoded(nets["decoder"], mean + (log_variance / 2).exp() * noise, *shape)
    rate = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum((1, 2, 3)).mean()
    nll = -torch.distributions.Laplace(again, log_scale.exp()).log_prob(x).sum((1, 2, 3)).mean()
    perceptual = distance(Weights(features), x, again).mean()
    reconstruction = nll + model.perceptual_weight * x[0].numel() * perceptual
    real, fake = (patches(nets["discriminator"], each, *judge) for each in (x, again))
    adversarial = -fake.mean()
    told = (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2

    last = nets["decoder"]["output/kernel"]
    norms = [
        torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
        for loss in (reconstruction, adversarial)
    ]
    weight = (norms[0] / (norms[1] + 1e-4)).clamp(0, 1e4).detach()
    started = float(int(model.step.numpy()) >= model.discriminator_start)
    loss = reconstruction + model.kl_weight * rate
    loss = loss + started * model.discriminator_weight * weight * adversarial
    own = {role: [v for v in net.values() if v.requires_grad] for role, net in nets.items()}
    players = ((loss, [*own["encoder"], *own["decoder"], log_scale]),)
    players += ((started * told, own["discriminator"]),)
    for minimised, variables in players:
        slopes = torch.autograd.grad(minimised, variables, retain_graph=True)
        for variable, slope in zip(variables, slopes, strict=True):
            variable.grad = slope
    logs = {
        "loss": loss, "distortion": nll, "rate": rate, "perceptual": perceptual,
        "adversarial": adversarial, "adaptive_weight": weight, "discriminator_loss": started * told,
    }  # fmt: skip
    return {name: float(x.detach()) for name, x in logs.items()}, {**nets, "log_scale": log_scale}
