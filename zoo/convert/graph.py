"""A functional model's layers as a graph: who feeds whom, and copies of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from collections.abc import Callable


def is_functional(model: keras.Model) -> bool:
    """Whether the model's layers can be read and rewritten."""
    built = isinstance(model, keras.Sequential) and model.built
    return built or type(model).__name__ == "Functional"


def as_functional(model: keras.Model, role: str) -> keras.Model:
    """The functional form of a functional or built sequential model.

    Raises:
        ValueError: If the model is neither: what a subclass computes cannot be read off its layers.
    """
    if not is_functional(model):
        msg = (
            f"The {role} is a {type(model).__name__}; expected a functional or built sequential "
            "Keras model, whose layers can be rewritten."
        )
        raise ValueError(msg)
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs, model.outputs, name=model.name)
    return model


class LayerGraph:
    """Producers and consumers of every layer in a functional model.

    Args:
        model: A functional model, as `as_functional` returns.
    """

    def __init__(self, model: keras.Model) -> None:
        self.parents: dict[Any, list[Any]] = {}
        self.consumers: dict[Any, int] = {}
        self.calls: dict[Any, int] = {}
        # Keras offers no public view of one model's graph: a layer's own nodes span all models.
        for nodes in model._nodes_by_depth.values():
            for node in nodes:
                parents = [parent.operation for parent in node.parent_nodes]
                self.parents.setdefault(node.operation, []).extend(parents)
                self.calls[node.operation] = self.calls.get(node.operation, 0) + 1
                for parent in parents:
                    self.consumers[parent] = self.consumers.get(parent, 0) + 1
        for tensor in model.outputs:
            producer = tensor._keras_history.operation
            self.consumers[producer] = self.consumers.get(producer, 0) + 1

    def only_parent(self, layer: Any) -> Any | None:
        """The layer that alone feeds `layer` and feeds nothing else, if there is one."""
        parents = self.parents[layer]
        if len(parents) != 1 or self.calls[layer] != 1:
            return None
        parent = parents[0]
        return parent if self.consumers[parent] == 1 and self.calls[parent] == 1 else None


def copy_model(
    model: keras.Model,
    change_config: Callable[[Any, dict[str, Any]], dict[str, Any]] | None = None,
    skip: frozenset[str] = frozenset(),
) -> keras.Model:
    """Copies a functional model, weights included.

    Args:
        model: A functional model.
        change_config: Maps a layer and its config to the copy's config. Weights are copied to
            layers that keep their weights' shapes; others keep their initial values.
        skip: Names of layers to leave out: what they would take goes on in their place.

    Returns:
        A functional model.
    """

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config(change_config(layer, config) if change_config else config)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in skip else layer(*args, **kwargs)

    copy = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in copy.layers:
        if layer.weights:
            weights = model.get_layer(layer.name).get_weights()
            if [w.shape for w in weights] == [tuple(w.shape) for w in layer.weights]:
                layer.set_weights(weights)
    return copy


def in_float64(model: keras.Model) -> keras.Model:
    """A copy that computes in float64: what the float32 model would give without rounding.

    The model itself where there can be none: it is subclassed, or a layer of the user's own takes
    float32 only. Its noise is then measured as 0, and the strictest tolerance holds.
    """
    return _in_precision(model, "float64")


def in_float32(model: keras.Model) -> keras.Model:
    """The model, or if it computes in mixed precision, a copy with its weights in float32.

    A subclassed model stays as it is: its layers cannot be rewritten.
    """
    layers = model._flatten_layers()
    if all(layer.compute_dtype == "float32" for layer in layers):
        return model
    return _in_precision(model, "float32")


def _in_precision(model: keras.Model, dtype: str) -> keras.Model:
    if not is_functional(model):
        return model
    functional = as_functional(model, "model")
    try:
        return copy_model(functional, lambda _, config: {**config, "dtype": dtype})
    except (TypeError, ValueError):
        return model
