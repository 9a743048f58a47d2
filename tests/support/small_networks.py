"""Networks that are narrow, and inputs for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoo import networks

NAMES = ("conv", "mlp", "resnet", "sagan")
LARGE = ("biggan", "biggan_deep")  # which take long to build
EVERY = [*NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
CLASSES = 3
LABELS = np.array([0, 1, 2, 1], np.int32)


def build_network(name: str, role: str, *args: Any, **options: Any) -> Any:
    """A network, narrow where that can be chosen."""
    return networks.build(name, role, *args, **options, **({} if name == "mlp" else {"width": 4}))


def random_images(shape: tuple[int, ...] = (8, 8, 1), n: int = 4) -> np.ndarray:
    return np.random.default_rng(0).random((n, *shape)).astype(np.float32)


def random_latents(n: int = 4, size: int = 5) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, size)).astype(np.float32)


def shake(model: Any) -> Any:
    """Random weights, positive where they must be."""
    rng = np.random.default_rng(2)
    for weight in model.weights:
        value = rng.normal(0.0, 0.3, weight.shape)
        weight.assign(1.0 + np.abs(value) if "variance" in weight.name else value)
    return model
