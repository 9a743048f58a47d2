"""The tensors of a network in the same network with other classes, or with none.

A label enters the networks of `zoo.networks` as one-hot numbers, which join the latent or the
channels, and as the rows of a `ConditionalBatchNormalization`. With M the weights of old classes
that each new class starts as, [new, old], rows of a kernel become M K, and tables of gains and
biases M T. Each new class then computes what the old one did.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from keras import layers

from zoo.convert.reading import read
from zoo.convert.report import TensorRow
from zoo.convert.rules.latent import label_input
from zoo.convert.writing import variables
from zoo.layers import ConditionalBatchNormalization, EqualizedDense, SpectralLayer
from zoo.layers.style import EqualizedConv2D

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.convert.blocks import Block, Network

RULES = {(True, True): "renumber classes", (False, True): "add label", (True, False): "fix label"}


class Carried(NamedTuple):
    """What a network of the target takes.

    Attributes:
        arrays: By `block/weight`; None leaves the target's own.
        rows: Of its tensors, without the names of networks.
    """

    arrays: dict[str, np.ndarray | None]
    rows: list[TensorRow]


class Labels(NamedTuple):
    """How the classes change.

    Attributes:
        weights: M, float64 [new, old]; one row where the target has no classes.
        old: Number of the source's classes; 0 for none.
        new: Number of the target's classes; 0 for none.
    """

    weights: np.ndarray
    old: int
    new: int

    @property
    def unchanged(self) -> bool:
        """Whether each class stays what it is."""
        same = self.old == self.new and self.weights.shape == (self.old, self.old)
        return same and np.array_equal(self.weights, np.eye(self.old))

    @property
    def rule(self) -> str:
        """The rule's name in a report."""
        return RULES[self.old > 0, self.new > 0]


class NoBiasError(ValueError):
    """A layer has no bias to take the share of a class that is fixed: (message, network)."""

    def __str__(self) -> str:
        """The message."""
        return str(self.args[0])


def carried(
    source: keras.Model,
    target: keras.Model,
    labels: Labels,
    heads: tuple[str, ...] = (),
    role: str = "network",
) -> Carried:
    """The source's tensors for a target of the same architecture with other classes.

    Args:
        source: The network with the old classes.
        target: The network with the new ones.
        labels: How the classes change.
        heads: Blocks with one output per class, such as AC-GAN's classifier.
        role: What to call the network in errors.

    Raises:
        NoBiasError: If a class is to be fixed, and the layer that takes it has no bias.
        ValueError: If the networks are not alike otherwise, or the label cannot be carried.
    """
    theirs, ours = read(source), read(target)
    have = {path: np.asarray(variable, np.float64) for path, variable in variables(source).items()}
    places = _places(theirs if labels.old else ours) if labels.old or labels.new else {}
    if role.endswith("generator"):
        _check_spectral(theirs, places, labels, role)
    arrays: dict[str, np.ndarray | None] = {}
    rows = []
    for path, variable in variables(target).items():
        shape = tuple(variable.shape)
        block, _, weight = path.rpartition("/")
        array, rule = have.get(path), "copy"
        if weight == "bias" and f"{block}/kernel" in places and not labels.new:
            array, rule = _with_constant(theirs, block, have, places, labels), labels.rule
        elif path in places:
            array, rule = _at_label(ours, theirs, path, have, places[path], labels), labels.rule
        elif block in heads and array is not None:
            array, rule = array @ labels.weights.T, labels.rule  # its old class's logit
        elif path == "logit/kernel" and not labels.new and "embedding/kernel" in places:
            array, rule = _with_projection(ours, theirs, have, labels), labels.rule
        if array is not None and array.shape != shape:
            msg = (
                f"{role}/{path} has the shape {array.shape}, and {shape} is needed: the "
                "networks differ in more than their classes."
            )
            raise ValueError(msg)
        arrays[path] = array
        rows.append(_row(path, rule, shape, array, have))
    if not labels.new and (lost := _without_bias(places, arrays)):
        msg = f"{lost} of the {role} takes the label, and no bias could do as one class."
        raise NoBiasError(msg, role)
    return Carried(arrays, rows)


def _row(
    path: str,
    rule: str,
    shape: tuple[int, ...],
    array: np.ndarray | None,
    have: Mapping[str, np.ndarray],
) -> TensorRow:
    if array is None:
        return TensorRow(path, "", "", shape, "REINITIALISED")
    status = "COPIED" if rule == "copy" else "TRANSFORMED"
    there = have.get(path)
    return TensorRow(
        path,
        path if there is not None else "",
        rule,
        shape,
        status,
        None if there is None else there.shape,
    )


def _places(network: Network) -> dict[str, int]:
    """Where one-hot numbers start among the inputs of a kernel; −1 for a table, a row per class.

    Raises:
        ValueError: If the label goes elsewhere.
    """
    if len(network.inputs) < 2:
        return {}
    label = label_input(network).name
    one_hot: dict[str, int] = {}  # blocks that hold it, and where it starts in their last axis
    places: dict[str, int] = {}
    for block in network:
        names = [name for name in block.parents if name == label or name in one_hot]
        if not names:
            continue
        if names == [label] and block.kind == "CategoryEncoding":
            one_hot[block.name] = 0
        elif names == [label] and block.layer is ConditionalBatchNormalization:
            places |= {f"{block.name}/{weight}": -1 for weight in ("gamma", "beta")}
        elif names == [label] and block.layer is layers.Embedding:
            places[f"{block.name}/embeddings"] = -1
        elif len(names) == 1 and block.layer in (layers.Reshape, layers.UpSampling2D):
            one_hot[block.name] = one_hot[names[0]]
        elif len(names) == 1 and block.layer is layers.Concatenate:
            before = block.parents[: block.parents.index(names[0])]
            start = sum(int(network[name].shape[-1] or 0) for name in before)
            one_hot[block.name] = start + one_hot[names[0]]
        elif len(names) == 1 and names != [label] and _is_linear(block):
            places[f"{block.name}/kernel"] = one_hot[names[0]]
        else:
            msg = (
                f"The label of the {network.name} goes into {block.name!r} ({block.kind}), whose "
                "classes cannot be changed. Give data of the same classes."
            )
            raise ValueError(msg)
    return places


def _check_spectral(network: Network, places: Mapping[str, int], labels: Labels, role: str) -> None:
    """Raises ValueError if other classes would change a norm that all the weights are divided by.

    Zero rows leave it as it is, and so does another order of the rows.
    """
    reordered = labels.old == labels.new and np.array_equal(
        labels.weights @ labels.weights.T, np.eye(labels.new)
    )
    if not labels.old or reordered:
        return
    for path in places:
        block = network[path.rpartition("/")[0]]
        if _is_spectral(block):
            msg = (
                f"{path} of the {role} is divided by the spectral norm of all classes together: "
                "with other classes no image would stay what it is. Give data of the same classes, "
                "in any order, or another source."
            )
            raise ValueError(msg)


def _is_spectral(block: Block) -> bool:
    return isinstance(block.layer, type) and issubclass(block.layer, SpectralLayer)


def _is_linear(block: Block) -> bool:
    return isinstance(block.layer, type) and issubclass(block.layer, (layers.Dense, layers.Conv2D))


def _scale(block: Block, inputs: int) -> float:
    """What an equalised layer divides its kernel by; 1 for another layer."""
    if block.layer in (EqualizedDense, EqualizedConv2D):
        size = math.prod(block.arrays["kernel"].shape[:-2]) * inputs
        return math.sqrt(size)
    return 1.0


def _at_label(
    ours: Network,
    theirs: Network,
    path: str,
    have: Mapping[str, np.ndarray],
    start: int,
    labels: Labels,
) -> np.ndarray | None:
    """A tensor that has numbers per class, for the new classes."""
    weights, array = labels.weights, have.get(path)
    name = path.rpartition("/")[0]
    if start < 0:
        if array is not None and labels.old:
            table = weights @ array
            return table if labels.new else table[0]
        return None if array is None else np.tile(array, (labels.new, 1))
    shape = ours[name].arrays["kernel"].shape
    if array is None:  # a projection that is new: its zeros change no logit
        return None if _is_spectral(ours[name]) else np.zeros(shape)
    end = start + labels.old
    middle = array[..., start:end, :]
    if not labels.old:
        rows = np.zeros((*array.shape[:-2], labels.new, array.shape[-1]))
    elif labels.new:
        rows = weights @ middle
    else:
        rows = middle[..., :0, :]
    array = np.concatenate([array[..., :start, :], rows, array[..., end:, :]], axis=-2)
    inputs = theirs[name].arrays["kernel"].shape[-2]
    return array * (_scale(ours[name], array.shape[-2]) / _scale(theirs[name], inputs))


def _with_constant(
    theirs: Network,
    block: str,
    have: Mapping[str, np.ndarray],
    places: Mapping[str, int],
    labels: Labels,
) -> np.ndarray:
    """The bias with what the class that is fixed adds to the layer's output."""
    kernel, start = have[f"{block}/kernel"], places[f"{block}/kernel"]
    rows = kernel[..., start : start + labels.old, :] / _scale(theirs[block], kernel.shape[-2])
    if kernel.ndim > 2 and kernel.shape[:2] != (1, 1):
        msg = (
            f"{block} of the {theirs.name} convolves planes of the label, which zeros surround: "
            "no bias does as one class does. Give data with labels, or another source."
        )
        raise ValueError(msg)
    share = (labels.weights @ rows).reshape(-1)
    return have[f"{block}/bias"] + share


def _with_projection(
    ours: Network, theirs: Network, have: Mapping[str, np.ndarray], labels: Labels
) -> np.ndarray:
    """⟨e, φ⟩ + ψ(φ) of one class as one linear layer of φ (arXiv 1802.05637, eq. 4)."""
    embedding, logit = have["embedding/kernel"], have["logit/kernel"]
    embedded = (labels.weights @ embedding).T / _scale(theirs["embedding"], embedding.shape[0])
    return logit + embedded * _scale(ours["logit"], logit.shape[0])


def _without_bias(places: Mapping[str, int], arrays: Mapping[str, np.ndarray | None]) -> str:
    """A kernel that took the label and has no bias to take a class's share; "" for none."""
    for path, start in places.items():
        block = path.rpartition("/")[0]
        if start >= 0 and path in arrays and f"{block}/bias" not in arrays:
            return path
    return ""


def renumbered(network: Mapping[str, Any], num_classes: int) -> Any:
    """A serialised network of the user's own, for another number of classes."""
    return keras.saving.deserialize_keras_object(_with_classes(network, num_classes))


def _with_classes(value: Any, num_classes: int) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_with_classes(each, num_classes) for each in value)
    if not isinstance(value, dict):
        return value
    sized = {"CategoryEncoding": "num_tokens", "ConditionalBatchNormalization": "num_classes"}
    # Shapes that layers were built for follow from their inputs anew.
    changed = {k: _with_classes(v, num_classes) for k, v in value.items() if k != "build_config"}
    if value.get("class_name") in sized:
        config = {**changed["config"], sized[value["class_name"]]: num_classes}
        changed["config"] = config
    return changed
