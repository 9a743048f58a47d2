"""The latent directions along which a generator's images change most."""

from __future__ import annotations

from typing import Any

import numpy as np

BASES = 32
STEP = 0.1  # of the central differences: far above float32 rounding, far below the prior's width


def strongest_directions(
    model: Any, count: int = 8, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The first eigenvectors of E[JᵀJ], J being the Jacobian ∂image/∂latent at draws of the prior.

    A small step s v changes an image by s² vᵀJᵀJ v in squared distance, so these are the directions
    of the largest mean change. For a linear generator they are its right singular vectors, which
    SeFa (arXiv 2007.06600) takes of a network's first layer alone; the mean needs no knowledge of
    the network.

    Args:
        model: A model of the zoo. Classes of a conditional model take turns.
        count: How many, or as many as there are latent dimensions.
        seed: Seed of the 32 draws.

    Returns:
        Directions, float32 [count, noise_dim] of length 1, their largest component positive; and
        the share of the mean change that each has, float64 [count], the largest first.
    """
    dim = model.noise_dim
    # Noise of layers, of a number per pixel, is no direction that anyone would look for.
    moved = model.latent_dim if getattr(model, "layer_noise", "") == "random" else dim
    axes = np.eye(moved, dim, dtype=np.float32)
    steps = np.concatenate([axes, -axes]) * STEP
    gram = np.zeros((moved, moved))
    for i, base in enumerate(model.sample_latents(BASES, seed)):
        label = i % model.num_classes if model.num_classes else None
        images = model.generate_from(base + steps, label).reshape(2 * moved, -1).astype(np.float64)
        jacobian = (images[:moved] - images[moved:]) / (2 * STEP)  # transposed: [moved, pixels]
        gram += jacobian @ jacobian.T / BASES
    values, vectors = np.linalg.eigh(gram)
    shares = values[::-1][:count] / max(float(np.trace(gram)), np.finfo(float).tiny)
    directions = vectors.T[::-1][:count] @ axes
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return (directions * np.sign(largest)).astype(np.float32), shares
