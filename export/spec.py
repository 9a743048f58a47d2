"""What a model offers to deployment: named functions of named tensors."""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.convert import in_float32

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INTEGERS = ("label", "codes")  # the tensors that are int32


@dataclass(frozen=True)
class Endpoint:
    """A function to export.

    Attributes:
        name: Its name as a signature and file.
        inputs: Name and shape of each input but for the batch axis; all are float32 but the
            `INTEGERS`, which are int32.
        outputs: Likewise.
        function: Maps input tensors, by position, to a dict of output tensors.
        networks: The Keras networks it uses.
        piecewise_constant: Whether its outputs only jump, as those behind an argmin do.
    """

    name: str
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    function: Callable[..., dict[str, Any]]
    networks: tuple[Any, ...]
    piecewise_constant: bool = False

    def signature(self) -> list[tf.TensorSpec]:
        """TensorSpecs of the inputs, named, with a dynamic batch axis."""
        return [
            tf.TensorSpec([None, *shape], dtype_of(name), name=name)
            for name, shape in self.inputs.items()
        ]


def dtype_of(name: str) -> tf.DType:
    """Type of a named tensor of an endpoint."""
    return tf.int32 if name in INTEGERS else tf.float32


def networks_of(functions: Sequence[Endpoint]) -> list[Any]:
    """The Keras networks that functions use, each once, in order of first use."""
    return list({id(network): network for e in functions for network in e.networks}.values())


class _WithNetworks:
    """A model whose methods compute with other networks in place of its own."""

    def __init__(self, model: Any, networks: dict[str, Any]) -> None:
        self._model = model
        self._networks = networks

    def __getattr__(self, name: str) -> Any:
        if name in self._networks:
            return self._networks[name]
        found = getattr(type(self._model), name, None)
        if isinstance(found, property) and found.fget is not None:
            return found.fget(self)
        if callable(found):
            return MethodType(found, self)
        return getattr(self._model, name)


def endpoints(
    model: Any, rewrite: Callable[[Any], Any] = lambda network: network
) -> list[Endpoint]:
    """The functions of a model of the zoo.

    `generate` (latent → image); for VAEs also `encode` (image → mean, log_variance), `decode`
    (latent → image) and `reconstruct` (image → reconstruction, of the posterior mean), or where
    latents are discrete, `encode` (image → codes) and `decode` (codes → image); a GAN that has an
    encoder, `encode`. A conditional model's take `label` too. Nothing here is random: the caller
    draws latents. All compute in float32, with the same weights, where the model was trained in
    mixed precision.

    Args:
        model: The model.
        rewrite: Applied to each network once: folding, or another precision.

    Returns:
        The endpoints, `generate` first.

    Raises:
        ValueError: If it is no model of the zoo.
    """
    if getattr(model, "family", None) not in ("vae", "gan"):
        msg = f"{type(model).__name__} is not a model of the zoo; expected a VAE or GAN of it."
        raise ValueError(msg)
    networks = {name: rewrite(in_float32(getattr(model, name))) for name in model.served_networks}
    served = _WithNetworks(model, networks)
    label: dict[str, tuple[int, ...]] = {"label": ()} if model.num_classes else {}
    return [
        Endpoint(
            name,
            {**inputs, **label},
            outputs,
            _named(getattr(served, method), list(outputs)),
            tuple(networks[used] for used in uses),
            name in model.piecewise_constant,
        )
        for name, (method, inputs, outputs, uses) in model.endpoints().items()
    ]


def _named(method: Callable[..., Any], names: list[str]) -> Callable[..., dict[str, Any]]:
    def function(*inputs: Any) -> dict[str, Any]:
        found = method(*inputs)
        tensors = found if isinstance(found, (list, tuple)) else [found]
        return dict(zip(names, tensors, strict=True))

    return function
