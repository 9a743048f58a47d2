"""Folders of diffusers as functions of named arrays: read by the zoo, and by diffusers itself."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from export.functions import endpoints
from zoo.hub.diffusers import read_autoencoder
from zoo.networks.autoencoder_kl import grid_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from export.functions import Endpoint

PACKAGES = ("torch", "diffusers")


def has_diffusers() -> bool:
    """Whether the package and PyTorch are installed."""
    return all(find_spec(name) for name in PACKAGES)


def in_keras(facts: Mapping[str, Any]) -> Callable[[Endpoint], Any]:
    """The functions of the model that `zoo.hub.read_autoencoder` makes of the folder."""
    model = read_autoencoder(facts["folder"], facts["image_shape"])
    functions = {each.name: each for each in endpoints(model)}

    def load(endpoint: Endpoint) -> Any:
        names = functions[endpoint.name].inputs

        def run(**feeds: np.ndarray) -> dict[str, np.ndarray]:
            given = [tf.constant(feeds[name]) for name in names]
            outputs = functions[endpoint.name].function(*given)
            return {name: np.asarray(value) for name, value in outputs.items()}

        return run

    return load


def in_diffusers(facts: Mapping[str, Any]) -> Callable[[Endpoint], Any]:
    """The same functions, computed by the package diffusers in PyTorch."""
    import torch  # noqa: PLC0415  (optional)
    from diffusers import AutoencoderKL  # noqa: PLC0415  (optional)

    theirs = AutoencoderKL.from_pretrained(facts["folder"]).eval()
    grid = grid_shape(facts["image_shape"], theirs.config.block_out_channels)

    def encode(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        posterior = theirs.encode(_channels_first(2 * image - 1)).latent_dist
        return _channels_last(posterior.mean), _channels_last(posterior.logvar)

    def decode(latent: np.ndarray) -> np.ndarray:
        if latent.ndim == 2:
            latent = latent.reshape(-1, *grid, theirs.config.latent_channels)
        values = theirs.decode(_channels_first(latent)).sample
        return np.clip((_channels_last(values) + 1) / 2, 0, 1)

    functions: dict[str, Callable[..., dict[str, np.ndarray]]] = {
        "generate": lambda latent: {"image": decode(latent)},
        "encode": lambda image: dict(zip(("mean", "log_variance"), encode(image), strict=True)),
        "decode": lambda latent: {"image": decode(latent)},
        "reconstruct": lambda image: {"reconstruction": decode(encode(image)[0])},
    }

    def load(endpoint: Endpoint) -> Any:
        function = functions[endpoint.name]

        def run(**feeds: np.ndarray) -> dict[str, np.ndarray]:
            with torch.no_grad():
                return function(**feeds)

        return run

    return load


def _channels_first(array: np.ndarray) -> Any:
    import torch  # noqa: PLC0415  (optional)

    return torch.tensor(np.moveaxis(array, -1, 1), dtype=torch.float32)


def _channels_last(tensor: Any) -> np.ndarray:
    return np.moveaxis(tensor.numpy(), 1, -1)
