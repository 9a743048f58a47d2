"""Latents to draw images from: the prior, a fitted sampler, and paths between latents."""

from __future__ import annotations

from zoo.io.lazy import lazy

_HOMES = {
    "Sampler": "zoo.sampling.samplers",
    "aggregate_moments": "zoo.sampling.posterior",
    "fit_mixture": "zoo.sampling.posterior",
    "fit_sampler": "zoo.sampling.samplers",
    "interpolate": "zoo.sampling.interpolation",
    "load_sampler": "zoo.sampling.samplers",
    "sampler_of_run": "zoo.sampling.samplers",
    "slerp": "zoo.sampling.interpolation",
    "standing_statistics": "zoo.sampling.standing",
    "tiled_decode": "zoo.sampling.tiling",
    "tiled_encode": "zoo.sampling.tiling",
}
__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return list(_HOMES)
