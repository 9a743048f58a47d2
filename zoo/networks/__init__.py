"""Architectures: each file is one, with up to four networks.

- `encoder(image_shape, latent_dim)`: images in [0, 1] to (mean, log-variance), [batch, latent_dim].
- `decoder(image_shape, latent_dim)`: latents to logits of images; the sigmoid is the likelihood's.
- `generator(image_shape, latent_dim)`: latents to images in [0, 1].
- `discriminator(image_shape, normalization=...)`: images in [0, 1] to logits [batch, 1].

With `num_classes=K` a network takes [its input, label]; labels are int32 [batch] from 0 to K − 1.
With `latent_dim=d` a discriminator takes [image, latent]. With `heads=(k, ...)` it has further
outputs float32 [batch, k] after its logit.

A number after the name sets the width of an architecture that has a width: `"conv-32"` is `conv`
with half its default width.

Output layers are float32 whatever the precision of the other layers, so that losses are float32.
"""

from __future__ import annotations

import inspect
import pkgutil
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.io.names import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator

    import keras

# Architectures made for one GAN: their discriminators take no latent and have no heads.
GAN_ONLY = ("fastgan", "r3gan", "style", "stylegan2")
# Whose encoder and decoder are of a grid of codes or latents.
GRID_ONLY = ("autoencoder_kl", "grid")
DEEP_ONLY = ("vdvae",)  # whose encoder and decoder are of many layers of latents
OTHER = ("patch", "pixelcnn", "projected")  # modules that are no architecture
ROLES = ("encoder", "decoder", "generator", "discriminator")


def list_networks() -> list[str]:
    """Lists the architectures that every model takes.

    Example:
        >>> from zoo.networks import list_networks
        >>> list_networks()
        ['biggan', 'biggan_deep', 'conv', 'mlp', 'resnet', 'sagan']
    """
    own = (*GAN_ONLY, *GRID_ONLY, *DEEP_ONLY)
    return [name for name in _modules() if name not in own]


def _modules() -> list[str]:
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return [name for name in names if not name.startswith("_") and name not in OTHER]


def build(
    architecture: str, role: str, *args: Any, dtype: keras.DTypePolicy | None = None, **options: Any
) -> Any:
    """Builds one network.

    Args:
        architecture: One of `list_networks()`, `GAN_ONLY`, `GRID_ONLY` or `DEEP_ONLY`, with a width
            or without.
        role: `"encoder"`, `"decoder"`, `"generator"` or `"discriminator"`.
        *args: The role's positional arguments.
        dtype: Precision of all layers but the output layers; None takes Keras's own setting.
        **options: The role's keyword arguments.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If the architecture is unknown, has no such role, does not take the options,
            cannot make the image size or has no width to set; or the width is no whole number of at
            least 1.

    Example:
        >>> from zoo import networks
        >>> networks.build("conv-16", "generator", (8, 8, 1), 2).output_shape
        (None, 8, 8, 1)
    """
    name, dash, width = architecture.partition("-")
    if name not in _modules():
        msg = f"Unknown network {architecture!r}. {suggestion(name, _modules())}"
        raise ValueError(msg)
    module = import_module(f"zoo.networks.{name}")
    if role not in ROLES or not hasattr(module, role):
        msg = (
            f"The {name} network has no {role!r}: of {', '.join(ROLES)}, it has "
            f"{', '.join(each for each in ROLES if hasattr(module, each))}."
        )
        raise ValueError(msg)
    function = getattr(module, role)
    takes = inspect.signature(function).parameters
    open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in takes.values())
    if unknown := [] if open_ended else sorted(options.keys() - takes):
        msg = (
            f"network={architecture!r}: its {role} takes no {', '.join(unknown)}, which this model "
            f"gives it. Take one of {', '.join(list_networks())}."
        )
        raise ValueError(msg)
    if dash:
        if "width" not in takes:
            msg = f"network={architecture!r}: {name} has a fixed width. Take {name!r}."
            raise ValueError(msg)
        if not width.isdecimal() or int(width) < 1:
            msg = f"network={architecture!r}: expected a width of at least 1, such as {name}-32."
            raise ValueError(msg)
        options["width"] = int(width)
    with precision(dtype):
        return function(*args, **options)


@contextmanager
def precision(dtype: keras.DTypePolicy | None) -> Iterator[None]:
    """Gives layers that are made within this context the policy, unless they name their own.

    Example:
        >>> import keras
        >>> from zoo.networks import precision
        >>> with precision(keras.DTypePolicy("mixed_bfloat16")):
        ...     layer = keras.layers.Dense(1)
        >>> layer.compute_dtype
        'bfloat16'
    """
    import keras  # noqa: PLC0415  (`list_networks` must not import it)

    outside = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype or outside)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(outside)
