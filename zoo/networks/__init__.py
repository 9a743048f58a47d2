"""Architectures: each file is one, with four networks.

- `encoder(image_shape, latent_dim)`: images in [0, 1] to (mean, log-variance), [batch, latent_dim].
- `decoder(image_shape, latent_dim)`: latents to logits of images; the sigmoid is the likelihood's.
- `generator(image_shape, latent_dim)`: latents to images in [0, 1].
- `discriminator(image_shape, normalization=...)`: images in [0, 1] to logits [batch, 1].

Output layers are float32 whatever the precision of the rest, so that losses are.
"""

from __future__ import annotations

import difflib
import pkgutil
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import keras

ROLES = ("encoder", "decoder", "generator", "discriminator")


def list_networks() -> list[str]:
    """Names of the architectures."""
    return sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))


def build(
    architecture: str, role: str, *args: Any, dtype: keras.DTypePolicy | None = None, **options: Any
) -> Any:
    """Builds one network.

    Args:
        architecture: One of `list_networks()`.
        role: `"encoder"`, `"decoder"`, `"generator"` or `"discriminator"`.
        *args: The role's positional arguments.
        dtype: Precision of all but the output layers; None is Keras's own setting.
        **options: The role's keyword arguments.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If the architecture is unknown or cannot make the image size.
    """
    if architecture not in list_networks():
        near = difflib.get_close_matches(architecture, list_networks()) or list_networks()
        msg = f"Unknown network {architecture!r}. Did you mean {' or '.join(near)}?"
        raise ValueError(msg)
    make = getattr(import_module(f"zoo.networks.{architecture}"), role)
    with _precision(dtype):
        return make(*args, **options)


@contextmanager
def _precision(dtype: keras.DTypePolicy | None) -> Iterator[None]:
    """Layers made within take the policy where they name none."""
    import keras  # noqa: PLC0415  (`list_networks` must not import it)

    outside = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype or outside)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(outside)
