"""Latents to draw images from: the prior, a fitted sampler, and paths between latents."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Sampler": "samplers",
    "aggregate_moments": "posterior",
    "fit_mixture": "posterior",
    "fit_sampler": "samplers",
    "interpolate": "interpolation",
    "load_sampler": "samplers",
    "sampler_of_run": "samplers",
    "slerp": "interpolation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module 'zoo.sampling' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"zoo.sampling.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(_HOMES)
