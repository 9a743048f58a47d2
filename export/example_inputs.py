"""Inputs that a model's functions are tried with: latents, and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from export.functions import Endpoint

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


def feeds_of(endpoint: Endpoint, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The batched inputs that a function takes, of its shapes: a latent can be a grid, or flat."""
    given = {name: inputs[name] for name in endpoint.inputs if name in inputs}
    return {
        name: value
        if value.ndim == endpoint.inputs[name].shape.rank
        else value.reshape(-1, *endpoint.input_shape(name))
        for name, value in given.items()
    }


def other_sizes(endpoint: Endpoint) -> list[tuple[int, int]]:
    """Sides (height, width) of images that a function is tried with beside the model's.

    A square and another, where it takes every size; else none.
    """
    if not endpoint.every_size:
        return []
    factor = endpoint.size_factor
    sizes = [(4 * factor, 4 * factor), (3 * factor, 5 * factor)]
    own = endpoint.image_sides
    return [(h + factor, w + factor) if (h, w) == own else (h, w) for h, w in sizes]


def inputs_at(
    model: Any, endpoint: Endpoint, sides: tuple[int, int], n: int, seed: int
) -> dict[str, np.ndarray]:
    """Inputs of a function for images of other sides than the model's.

    Latents are normal draws, and images what `decode` makes of them; where it takes codes, images
    are noise.

    Args:
        model: A model of the zoo whose `encode` and `decode` take every size.
        endpoint: The function.
        sides: (height, width) of the images.
        n: How many examples.
        seed: Seed of the draws.

    Returns:
        By name, each [n, ...], as `inputs_of`: `latent`, `image`, and `codes` if the function
        takes them.
    """
    rng = np.random.default_rng(seed)
    grid = [side // endpoint.size_factor for side in sides]
    latent = rng.normal(size=(n, *grid, model.latent_dim)).astype(np.float32)
    image = rng.random((n, *sides, model.image_shape[2]), np.float32)
    if "codes" in endpoint.inputs:
        return {"codes": np.asarray(model.encode(image))}
    if "latent" in model.endpoints()["decode"].inputs:
        image = np.array(model.decode(latent))
    return {"latent": latent, "image": image}


def _partners(latents: np.ndarray) -> np.ndarray:
    """Another latent for each, of several the least parallel: opposite ones have no one way."""
    others = np.stack([np.roll(latents, k, axis=0) for k in range(1, 9)])
    lengths = np.linalg.norm(others, axis=2) * np.linalg.norm(latents, axis=1)
    cosines = np.abs(np.sum(others * latents, axis=2)) / np.maximum(lengths, 1e-6)
    return others[np.argmin(cosines, axis=0), np.arange(len(latents))]
