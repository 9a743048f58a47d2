"""What a GAN needs that starts from a trained one: frozen blocks, and an average of many steps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.core.model import ZooModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import keras

# Options with the values that a GAN has which begins anew.
OPTIONS = {
    "freeze_discriminator": 0,
    "freeze_generator": 0,
    "ema_start": 0,
    "carried_rate": 1.0,
    "new_layers": (),
}


class StartedGAN(ZooModel):
    """The options of a GAN that goes on from trained networks.

    Args:
        freeze_discriminator: Blocks of the discriminator, from the image on, that do not train
            (FreezeD, arXiv 2002.10964). Their BatchNorm keeps its statistics too.
        freeze_generator: Blocks of the generator, from the latent on, that do not train.
        ema_start: Steps that the average has behind it at step 0; its look-back is then as long.
        carried_rate: Learning rate of the layers that were carried over, as a multiple of that of
            the new ones. It scales what the optimizer adds to a weight, whatever the optimizer.
        new_layers: The layers that are new, such as "discriminator/conv_0".

    Raises:
        ValueError: If one is negative, no block is left to train, or
            `new_layers` is no list of layers of networks.
    """

    generator: Any
    discriminator: Any

    def __init__(
        self,
        *,
        freeze_discriminator: int = 0,
        freeze_generator: int = 0,
        ema_start: int = 0,
        carried_rate: float = 1.0,
        new_layers: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.freeze_discriminator = int(freeze_discriminator)
        self.freeze_generator = int(freeze_generator)
        self.ema_start = int(ema_start)
        self.carried_rate = float(carried_rate)
        self.new_layers = tuple(new_layers)
        if isinstance(new_layers, str) or not all("/" in str(name) for name in new_layers):
            msg = f"new_layers={new_layers!r}: expected a list such as ['discriminator/conv_0']."
            raise ValueError(msg)
        for name in ("freeze_discriminator", "freeze_generator", "ema_start"):
            if getattr(self, name) < 0:
                msg = f"{name}={getattr(self, name)}: expected at least 0."
                raise ValueError(msg)
        if not 0.0 < carried_rate <= 1.0:
            msg = f"carried_rate={carried_rate}: expected more than 0, and at most 1."
            raise ValueError(msg)
        self._frozen: set[int] = set()

    def freeze(self) -> None:
        """Makes the first blocks of the networks constant."""
        for role in ("discriminator", "generator"):
            count = getattr(self, f"freeze_{role}")
            found = blocks(getattr(self, role)) if count else {}
            if count and count >= len(found):
                msg = (
                    f"freeze_{role}={count}: the {role} has the blocks {', '.join(found)}, of "
                    f"which one at least must train. Take {max(len(found) - 1, 0)} or less."
                )
                raise ValueError(msg)
            for layer in [each for some in [*found.values()][:count] for each in some]:
                self._frozen |= {id(variable) for variable in layer.trainable_variables}
                layer.trainable = False

    def is_parameter(self, weight: Any) -> bool:
        """Whether a weight is one that gradients move, or would if it were not frozen."""
        return weight.trainable or id(weight) in self._frozen

    def update(self, optimizer_name: str, gradients: list[Any]) -> None:
        """As in every model; layers that were carried over go a part of the way."""
        carried = self._carried(optimizer_name) if self.carried_rate != 1.0 else []
        before = [tf.identity(variable.value) for variable in carried]
        super().update(optimizer_name, gradients)
        for variable, value in zip(carried, before, strict=True):
            variable.assign(value + self.carried_rate * (variable.value - value))

    def _carried(self, optimizer_name: str) -> list[Any]:
        """The variables of an optimizer that are not of new layers."""
        fresh = {
            id(variable)
            for role in ("generator", "discriminator")
            for layer in _layers(getattr(self, role))
            if f"{role}/{layer.name}" in self.new_layers
            for variable in layer.variables
        }
        return [v for v in self.variables_of(optimizer_name) if id(v) not in fresh]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; those of a GAN that begins anew are left out."""
        options = {name: getattr(self, name) for name in OPTIONS}
        options = {name: value for name, value in options.items() if value != OPTIONS[name]}
        if "new_layers" in options:
            options["new_layers"] = [*options["new_layers"]]
        return {**super().get_config(), **options}


def blocks(network: keras.Model) -> dict[str, list[Any]]:
    """The layers with weights, in the order of the network, by block.

    A block is all layers whose names begin alike up to a number, such as `block_0_conv_1` and
    `block_0_shortcut`; or one layer with a kernel, and the normalisation behind it.

    Example:
        >>> from zoo import networks
        >>> from zoo.gan._started import blocks
        >>> list(blocks(networks.build("conv", "discriminator", (16, 16, 1))))
        ['conv_0', 'conv_1', 'logit']
    """
    found: dict[str, list[Any]] = {}
    name = ""
    for layer in _layers(network):
        prefix = re.match(r".*?_\d+(?=_|$)|.*", layer.name)
        start = prefix[0] if prefix else layer.name
        opens = hasattr(layer, "kernel") or start in found or not name
        name = start if opens else name
        found.setdefault(name, []).append(layer)
    return found


def _layers(network: Any) -> Iterator[Any]:
    """The layers with weights, those of models within included."""
    for layer in network.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        elif layer.weights:
            yield layer
