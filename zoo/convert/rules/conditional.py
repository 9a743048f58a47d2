"""Networks of a latent and a label: embeddings as one-hot rows, one class alone, a new label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from keras import layers

from zoo.convert.blocks import Block, Network, Ref
from zoo.convert.building import evaluate
from zoo.convert.rules.latent import first_denses, joins_vectors, label_input, latent_input
from zoo.layers import ConditionalBatchNormalization

ONE_HOT = "embedding → one-hot"
FIX = "fix label"
ADD = "add label"


def embedding_to_one_hot(network: Network, label: str | None = None) -> Network:
    """The network with a one-hot label in place of an integer that is embedded.

    The embedding of a one-hot row is its product with the table E: a Dense layer without bias.
    Where it is concatenated and goes into Dense layers, it is multiplied into their rows: E K.

    Args:
        network: A network of a latent and a label.
        label: Name of the label's input; None: the one that looks like it.

    Raises:
        ValueError: If the label goes elsewhere than into one Embedding.
    """
    taken = label_input(network, label)
    embedding = network.only_child(taken.name)
    if embedding is None or embedding.layer is not layers.Embedding:
        takers = network.consumers(taken.name)
        msg = f"The label {taken.name!r} goes into {takers}; expected one Embedding, called once."
        raise ValueError(msg)
    table = embedding.arrays["embeddings"]
    classes, size = table.shape
    for_floats = {"batch_shape": (None, classes), "dtype": "float32"}
    one_hot = replace(taken.with_config(**for_floats), shape=(classes,))
    config = {"units": size, "use_bias": False}
    dense = replace(embedding, layer=layers.Dense, config=config, shape=(size,))
    flat = network.only_child(embedding.name)
    network = network.replaced(one_hot, dense.with_arrays({"kernel": table}, ONE_HOT, embedding))
    if (
        flat is not None
        and flat.layer in (layers.Flatten, layers.Reshape)
        and flat.shape == (size,)
    ):
        network = network.without(flat.name)
    try:
        denses = first_denses(network, dense.name)
    except ValueError:
        return network  # multiplied with the latent, for one
    joined = [network[name] for name in network.consumers(dense.name)]
    for first in denses:
        bias = network[first.name].arrays.get("bias")
        rows = table @ first.rows(network)
        network = first.with_rows(network, rows, bias, ONE_HOT, embedding)
    for block in joined:
        if joins_vectors(block):
            longer = (block.shape[0] or 0) - size + classes
            network = network.replaced(replace(block, shape=(longer,)))
    return network.without(dense.name)


def fix_label(network: Network, label: int, label_name: str | None = None) -> Network:
    """The network of one class: it takes the latent alone.

    What the label alone decides is a constant c. Joined to the latent, c K_c goes into the first
    Dense layer's bias; multiplied with it, c scales the rows of its kernel; added, c K goes into
    the bias. A `ConditionalBatchNormalization` becomes a BatchNorm with the class's gain and bias.

    Args:
        network: A network of a latent and a label, an integer or a one-hot row.
        label: The class.
        label_name: Name of the label's input; None: the one that looks like it.

    Raises:
        ValueError: If there is no such class, or what the label decides meets the rest elsewhere
            than before a first Dense layer.
    """
    taken = label_input(network, label_name)
    fixed = _depending_on(network, taken.name)
    value = _label_value(network, taken, fixed, label)
    ends = [n for n in fixed if any(c not in fixed for c in network.consumers(n))]
    if "" in [consumer for name in ends for consumer in network.consumers(name)]:
        msg = f"An output of {network.name!r} depends on the label alone: it has no latent."
        raise ValueError(msg)
    part = replace(
        network,
        blocks={name: network[name] for name in fixed},
        outputs=tuple(Ref(name) for name in ends),
    )
    constants = dict(zip(ends, evaluate(part, value), strict=True))
    helpers = [network[name] for name in fixed]
    for name, constant in constants.items():
        for consumer in dict.fromkeys(network.consumers(name)):
            if consumer not in fixed:
                network = _with_constant(network, name, consumer, constant[0], helpers)
    kept = {name: block for name, block in network.blocks.items() if name not in fixed}
    return replace(network, blocks=kept)


def add_label(network: Network, num_classes: int) -> Network:
    """The network that takes a label too, which changes nothing yet: it can learn to.

    As in the generators of `zoo.networks`, one-hot rows join the latent, here with kernel rows of
    zeros, and each BatchNorm becomes a `ConditionalBatchNormalization`, here with the same gain and
    bias for all classes. BatchNorms of other settings than that layer's stay as they are.

    Args:
        network: A network of a latent alone.
        num_classes: Number of classes.

    Raises:
        ValueError: If there are other inputs, or the latent does not go into Dense layers.
    """
    if len(network.inputs) > 1:
        names = [block.name for block in network.inputs]
        msg = f"The inputs are {names}: expected one, for latents."
        raise ValueError(msg)
    latent = latent_input(network)
    for dense in first_denses(network, latent.name):
        rows, bias = dense.rows(network), network[dense.name].arrays.get("bias")
        more = np.zeros((num_classes, rows.shape[1]))
        network = dense.with_rows(network, np.concatenate([rows, more]), bias, ADD)
    takers = [network[name] for name in network.consumers(latent.name)]
    joins = [block for block in takers if joins_vectors(block)]
    network = network.replaced(
        *(replace(block, shape=((block.shape[0] or 0) + num_classes,)) for block in joins)
    )
    label = Block(
        network.free_name("label"), layers.InputLayer, {"batch_shape": (None,), "dtype": "int32"}
    )
    encoded = Block(
        network.free_name("one_hot"),
        layers.CategoryEncoding,
        {"num_tokens": num_classes, "output_mode": "one_hot"},
        (Ref(label.name),),
        shape=(num_classes,),
    )
    length = (latent.shape[0] or 0) + num_classes
    joined = Block("latent_and_label", layers.Concatenate, {"axis": -1}, shape=(length,))
    network = network.inserted(joined, after=latent.name)
    blocks: dict[str, Block] = {}
    for name, block in network.blocks.items():
        if block.args == (Ref(latent.name),):  # the Concatenate
            args = ([Ref(latent.name), Ref(encoded.name)],)
            blocks |= {label.name: label, encoded.name: encoded, name: replace(block, args=args)}
        elif block.layer is layers.BatchNormalization and _can_be_conditional(network, block):
            blocks[name] = _of_classes(block, num_classes, label)
        else:
            blocks[name] = block
    return replace(network, blocks=blocks)


def _can_be_conditional(network: Network, block: Block) -> bool:
    """Whether `ConditionalBatchNormalization` can compute what a BatchNorm does."""
    statistics = ConditionalBatchNormalization.statistics
    return (
        {name: block.config.get(name) for name in statistics} == statistics
        and block.config["axis"] in (-1, len(block.shape))
        and {"gamma", "beta"} <= block.arrays.keys()
        and not network.is_shared(block.name)
    )


def _of_classes(block: Block, num_classes: int, label: Block) -> Block:
    """The `ConditionalBatchNormalization` that does as a BatchNorm of any class."""
    each = {name: np.tile(block.arrays[name], (num_classes, 1)) for name in ("gamma", "beta")}
    conditional = replace(
        block,
        layer=ConditionalBatchNormalization,
        config={"num_classes": num_classes},
        args=(*block.args, Ref(label.name)),
    )
    return conditional.with_arrays({**block.arrays, **each}, ADD)


def _depending_on(network: Network, name: str) -> list[str]:
    """The block and those that depend on nothing else."""
    names = [name]
    for block in network:
        if block.parents and all(parent in names for parent in block.parents):
            names.append(block.name)
    return names


def _label_value(network: Network, taken: Block, fixed: list[str], label: int) -> np.ndarray:
    """The label as the network takes it, a batch of one."""
    sizes = []
    for block in (network[name] for name in fixed):
        if block.kind in ("Embedding", "CategoryEncoding"):
            sizes.append(block.config["input_dim" if block.kind == "Embedding" else "num_tokens"])
        elif block.kind == "OneHot":
            sizes.append(block.layer.num_classes)
    takers = (network[name] for name in network.consumers(taken.name) if name)
    sizes += [
        block.config["num_classes"]
        for block in takers
        if block.layer is ConditionalBatchNormalization
    ]
    classes = min(sizes) if sizes else (taken.shape or (0,))[-1] or 0
    if not isinstance(label, (int, np.integer)) or not 0 <= label < classes:
        msg = f"label={label!r}: expected a class from 0 to {classes - 1}."
        raise ValueError(msg)
    if not sizes:
        return np.eye(classes)[[label]]
    kind = np.int32 if "int" in str(taken.config["dtype"]) else np.float64
    return np.full((1, *taken.shape), label, kind)


def _with_constant(
    network: Network, name: str, consumer: str, constant: np.ndarray, helpers: list[Block]
) -> Network:
    """The network with a constant in place of block `name` where `consumer` takes it."""
    block = network[consumer]
    others = [parent for parent in block.parents if parent != name]
    if block.layer is ConditionalBatchNormalization and block.parents[1] == name:
        return network.replaced(_of_one_class(block, int(constant), helpers))
    if joins_vectors(block) and others:
        for dense in first_denses(network, name):
            if consumer not in network[dense.name].parents:
                continue  # it takes the constant elsewhere
            rows = dense.rows(network)
            bias = constant @ rows + network[dense.name].arrays.get("bias", 0.0)
            network = dense.with_rows(network, rows[:0], bias, FIX, *helpers)
        length = (block.shape[0] or 0) - len(constant)
        args = ([Ref(parent) for parent in others],)
        network = network.replaced(replace(block, args=args, shape=(length,)))
        return network.without(consumer) if len(others) == 1 else network
    if block.layer in (layers.Multiply, layers.Add) and len(others) == 1:
        for dense in first_denses(network, consumer):
            rows, bias = dense.rows(network), network[dense.name].arrays.get("bias")
            if block.layer is layers.Add:
                bias = constant @ rows + (0.0 if bias is None else bias)
            else:
                rows = np.broadcast_to(constant, len(rows))[:, None] * rows
            network = dense.with_rows(network, rows, bias, FIX, *helpers)
        return network.replaced(replace(block, args=(Ref(others[0]),))).without(consumer)
    msg = (
        f"The label meets the latent in {consumer!r} ({block.kind}) of shape {block.shape}; "
        "expected vectors, concatenated, multiplied or added before a Dense layer. Keep the label "
        "as an input."
    )
    raise ValueError(msg)


def _of_one_class(block: Block, label: int, helpers: list[Block]) -> Block:
    """The BatchNorm of one class of a `ConditionalBatchNormalization`."""
    config = layers.BatchNormalization(**ConditionalBatchNormalization.statistics).get_config()
    config = {key: value for key, value in config.items() if key not in ("name", "trainable")}
    arrays = {**block.arrays, **{name: block.arrays[name][label] for name in ("gamma", "beta")}}
    plain = replace(
        block, layer=layers.BatchNormalization, config=config, args=block.args[:1], kwargs={}
    )
    return plain.with_arrays(arrays, FIX, *helpers)
