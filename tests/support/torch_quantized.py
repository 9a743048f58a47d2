"""Quantizers and their losses in PyTorch, from the papers' formulas."""

from __future__ import annotations

import torch


def nearest(z: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """The index of the nearest code of each vector [..., d]."""
    return torch.cdist(z.reshape(-1, z.shape[-1]), codebook).argmin(1).reshape(z.shape[:-1])


def straight_through(
    z: torch.Tensor, codebook: torch.Tensor, commitment: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """z_q, codes, and ‖sg[z] − e‖² + β ‖z − sg[e]‖² per image (arXiv 2012.09841, eq. 4)."""
    codes = nearest(z, codebook)
    e = codebook[codes]
    loss = (z.detach() - e).square() + commitment * (z - e.detach()).square()
    return z + (e - z).detach(), codes, loss.sum((1, 2, 3))


def entropy(z: torch.Tensor, codebook: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean H(q) − H(mean q) over all positions of all images (arXiv 2310.05737, eq. 6)."""
    distances = (z[..., None, :] - codebook).square().sum(-1)
    each = torch.distributions.Categorical(logits=-distances / temperature)
    mean = torch.distributions.Categorical(probs=each.probs.mean((0, 1, 2)))
    return each.entropy().mean() - mean.entropy()


def residual(
    z: torch.Tensor, codebook: torch.Tensor, depth: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ẑ, codes, and Σ ‖z − sg[ẑ_d]‖² per image (arXiv 2203.01941, eq. 3 to 5 and 8)."""
    left, total, loss, codes = z.detach(), torch.zeros_like(z), 0.0, []
    for _ in range(depth):
        codes.append(nearest(left, codebook))
        e = codebook[codes[-1]].detach()
        left, total = left - e, total + e
        loss = loss + (z - total).square().sum((1, 2, 3))
    return z + (total - z).detach(), torch.stack(codes, -1), loss
