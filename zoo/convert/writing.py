"""The weights of a Keras model by the paths of its network, and setting them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.convert.reading import flattened, named_weights, nodes_restored, read
from zoo.io.names import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras


def variables(model: keras.Model) -> dict[str, Any]:
    """The model's weights by the paths `block/weight` of its network."""
    operations: dict[int, Any] = {}
    with nodes_restored(model):
        functional = flattened(model, "target")
        # `read` goes through the nodes in this order, and gives arrays to a layer's first call.
        blocks = [block for block in read(functional, "target") if block.arrays]
        for depth in sorted(functional._nodes_by_depth, reverse=True):
            for node in functional._nodes_by_depth[depth]:
                if getattr(node.operation, "weights", None):
                    operations.setdefault(id(node.operation), node.operation)
    return {
        f"{block.name}/{key}": weight
        for block, operation in zip(blocks, operations.values(), strict=True)
        for key, weight in named_weights(operation).items()
    }


def commit(model: keras.Model, arrays: Mapping[str, np.ndarray | None]) -> None:
    """Writes arrays into the model's weights: all of them, or on any error none.

    Args:
        model: The target model.
        arrays: By path, as in an `Alignment`; None leaves a weight as it is.

    Raises:
        ValueError: If a path, a shape or a value does not fit.
    """
    targets = variables(model)
    before = {path: np.asarray(variable).copy() for path, variable in targets.items()}
    values = {}
    for path, array in arrays.items():
        if path not in targets:
            near = nearest(path, targets) or list(targets)
            msg = f"The model has no weight {path!r}. The nearest: {', '.join(near)}."
            raise ValueError(msg)
        if array is None:
            continue
        own = before[path]
        if array.shape != own.shape:
            msg = f"{path} has shape {own.shape}, but its array {array.shape}."
            raise ValueError(msg)
        with np.errstate(over="ignore"):
            values[path] = array.astype(own.dtype)
        if not np.all(np.isfinite(values[path])):
            msg = f"The array of {path} is not finite in {own.dtype}; the source's weights are bad."
            raise ValueError(msg)
    try:
        for path, value in values.items():
            targets[path].assign(value)
    except BaseException:
        for path in values:
            if np.asarray(targets[path]).tobytes() != before[path].tobytes():
                targets[path].assign(before[path])
        raise
