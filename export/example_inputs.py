"""Inputs that a model's functions are tried with: latents, and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 64


def inputs_of(
    model: Any, latents: np.ndarray, generate: Callable[..., np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """One example of each batched input per latent.

    Args:
        model: A model of the zoo.
        latents: float32 [n, noise_dim].
        generate: Images of latents and labels or None; default the model's `generate_from`.

    Returns:
        By name, each [n, ...]: `latent`; `label`, all classes in turn; `image`, what is generated
        of the two; `latent_to` and `weight`, from 0 to 1, to interpolate; `codes`, if a function
        of the model takes them.
    """
    n = len(latents)
    labels = np.arange(n, dtype=np.int32) % max(model.num_classes, 1)
    inputs = {
        "latent": latents,
        "label": labels,
        "image": (generate or model.generate_from)(latents, labels if model.num_classes else None),
        "latent_to": _partners(latents),
        "weight": np.linspace(0.0, 1.0, n, dtype=np.float32),
    }
    if any("codes" in spec.inputs for spec in model.endpoints().values()):
        codes = tf.function(model.codes_from_latents, reduce_retracing=True)
        parts = [latents[i : i + BATCH] for i in range(0, n, BATCH)]
        inputs["codes"] = np.concatenate([codes(part) for part in parts])
    return inputs


def _partners(latents: np.ndarray) -> np.ndarray:
    """Another latent for each, of several the least parallel: opposite ones have no one way."""
    others = np.stack([np.roll(latents, k, axis=0) for k in range(1, 9)])
    lengths = np.linalg.norm(others, axis=2) * np.linalg.norm(latents, axis=1)
    cosines = np.abs(np.sum(others * latents, axis=2)) / np.maximum(lengths, 1e-6)
    return others[np.argmin(cosines, axis=0), np.arange(len(latents))]
