"""A lower learning rate for the layers that a model has from a trained one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from zoo.core.model import ZooModel
from zoo.io.names import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OPTIONS = ("carried_rate", "new_layers")


class CarriedLayers(ZooModel):
    """The options of a model some of whose layers are new, and the others trained already.

    Args:
        carried_rate: Learning rate of the layers that were carried over, as a multiple of that of
            the new ones. It scales what the optimizer adds to a weight, whatever the optimizer.
        new_layers: The layers that are new, such as "discriminator/conv_0".

    Raises:
        ValueError: If the rate is out of range, or `new_layers` is no list of layers of networks;
            by `compile`, if the model has no such layer.
    """

    def __init__(
        self, *, carried_rate: float = 1.0, new_layers: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(new_layers, str) or not all("/" in str(name) for name in new_layers):
            msg = f"new_layers={new_layers!r}: expected a list such as ['discriminator/conv_0']."
            raise ValueError(msg)
        if not 0.0 < carried_rate <= 1.0:
            msg = f"carried_rate={carried_rate}: expected more than 0, and at most 1."
            raise ValueError(msg)
        self.carried_rate = float(carried_rate)
        self.new_layers = tuple(new_layers)

    def _check_compile(self, *args: Any) -> None:
        known = [f"{role}/{layer.name}" for role, layer in self._layers_by_role()]
        for name in self.new_layers:
            if name not in known:
                msg = f"new_layers has {name!r}, which is no layer with weights of this model's. "
                raise ValueError(msg + suggestion(name, known))
        super()._check_compile(*args)

    def update(self, optimizer_name: str, gradients: list[Any]) -> None:
        """As in every model; layers that were carried over go a part of the way."""
        with self.part_of_the_way(optimizer_name):
            super().update(optimizer_name, gradients)

    @contextmanager
    def part_of_the_way(self, optimizer_name: str) -> Iterator[None]:
        """What the block adds to the optimizer's carried variables is multiplied by the rate."""
        carried = self._carried(optimizer_name) if self.carried_rate != 1.0 else []
        before = [tf.identity(variable.value) for variable in carried]
        yield
        for variable, value in zip(carried, before, strict=True):
            variable.assign(value + self.carried_rate * (variable.value - value))

    def _carried(self, optimizer_name: str) -> list[Any]:
        """The variables of an optimizer that are not of new layers."""
        fresh = {
            id(variable)
            for role, layer in self._layers_by_role()
            if f"{role}/{layer.name}" in self.new_layers
            for variable in layer.variables
        }
        return [v for v in self.variables_of(optimizer_name) if id(v) not in fresh]

    def _layers_by_role(self) -> Iterator[tuple[str, Any]]:
        for role, network in vars(self).items():
            if isinstance(network, keras.Model):
                yield from ((role, layer) for layer in layers_of(network))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; those of a model that begins anew are left out."""
        config = super().get_config()
        if self.carried_rate != 1.0:
            config["carried_rate"] = self.carried_rate
        if self.new_layers:
            config["new_layers"] = [*self.new_layers]
        return config


def layers_of(network: Any) -> Iterator[Any]:
    """The layers with weights, those of models within included.

    Example:
        >>> from zoo import networks
        >>> from zoo.core.carried import layers_of
        >>> decoder = networks.build("mlp", "decoder", (8, 8, 1), 2)
        >>> [layer.name for layer in layers_of(decoder)]
        ['hidden_0', 'hidden_1', 'to_pixels']
    """
    for layer in network.layers:
        if hasattr(layer, "layers"):
            yield from layers_of(layer)
        elif layer.weights:
            yield layer
