"""The latent: its affine maps, its size, its prior, and the layers that take it first.

Vectors are rows: a Dense layer computes z K + b.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from keras import layers

from zoo.convert.blocks import Block
from zoo.convert.rules.linear import with_weights
from zoo.io.numbers import check_whole
from zoo.layers import prior_layer

if TYPE_CHECKING:
    from zoo.convert.blocks import Network

TO_DENSE = "1 × 1 conv transpose → dense"
AFFINE = "affine latent"
RESIZE = "resize latent"
TRANSPORT = "transport prior"
LABEL = re.compile(r"label|class|condition|one_?hot|^(y|c|cond)$")


def unit_conv_transpose_to_dense(network: Network) -> Network:
    """Dense and Reshape in place of Reshape((1, 1, z)) and Conv2DTranspose with valid padding.

    On one pixel, a transposed convolution of kernel (h, w, out, z) is the product with its
    transpose (z, h · w · out). A block that takes one pixel and fits otherwise, but not in this,
    stays with a note.
    """
    for name in [b.name for b in network if b.layer is layers.Conv2DTranspose]:
        block = network[name]
        taken = network[block.parents[0]].shape
        if taken[:2] != (1, 1) or network.is_shared(name):
            continue
        kernel = block.arrays["kernel"]
        height, width, filters, inputs = kernel.shape
        dilated = tuple(block.config["dilation_rate"]) != (1, 1)
        if block.shape != (height, width, filters) or dilated:
            network = network.noted(
                f"{name}: not made a Dense: {taken} → {block.shape}, expected {kernel.shape[:3]} "
                "(padding 'valid', strides no larger than the kernel)."
            )
            continue
        bias = block.arrays.get("bias")
        units = height * width * filters
        config = {
            "units": units,
            "activation": block.config["activation"],
            "trainable": block.config.get("trainable", True),
        }
        dense = with_weights(
            replace(block, layer=layers.Dense, config=config),
            kernel.transpose(3, 0, 1, 2).reshape(inputs, units),
            None if bias is None else np.tile(bias, height * width),
            TO_DENSE,
        )
        before = network.only_parent(name)
        reshaped = before is not None and before.layer is layers.Reshape
        if before is not None and reshaped and network[before.parents[0]].shape == (inputs,):
            network = network.without(before.name)
            dense = replace(dense, args=network[name].args)
        dense = replace(dense, shape=(*network[dense.parents[0]].shape[:-1], units))
        shape = Block(
            f"{name}_reshape", layers.Reshape, {"target_shape": block.shape}, shape=block.shape
        )
        network = network.replaced(dense).inserted(shape, after=name)
    return network


def affine_latent(network: Network, scale: np.ndarray, offset: np.ndarray | float = 0.0) -> Network:
    """The network of ε whose latent is z = A ε + m: K' = AᵀK, b' = b + m K.

    With A the Cholesky factor and m the mean of an aggregate posterior, a decoder of it becomes a
    generator of N(0, I). Where the latent goes elsewhere than into Dense layers (directly, or
    joined with others), a Dense layer is put before the network.

    Args:
        network: The network.
        scale: A, [z, e]; or its diagonal, [z].
        offset: m, [z].

    Raises:
        ValueError: If the shapes do not fit the latent.
    """
    latent = latent_input(network)
    (size,) = latent.shape
    matrix = np.asarray(scale, np.float64)
    matrix = np.diag(matrix) if matrix.ndim == 1 else matrix
    mean = np.broadcast_to(np.asarray(offset, np.float64), (size,))
    if matrix.ndim != 2 or matrix.shape[0] != size or not matrix.shape[1]:
        msg = (
            f"scale has shape {np.shape(scale)}: expected ({size},) or ({size}, n) for z = A ε + m."
        )
        raise ValueError(msg)
    try:
        denses = first_denses(network, latent.name)
    except ValueError as error:
        config = {"units": size, "use_bias": True}
        block = Block("latent_affine", layers.Dense, config, shape=(size,))
        block = block.with_arrays({"kernel": matrix.T, "bias": mean}, AFFINE)
        network = network.noted(f"An affine Dense layer was put before the network. {error}")
        network = network.inserted(block, after=latent.name)
        return _resized(network, latent.name, matrix.shape[1])
    for dense in denses:
        rows = dense.rows(network)
        bias = network[dense.name].arrays.get("bias")
        if np.any(mean):
            bias = mean @ rows + (0.0 if bias is None else bias)
        network = dense.with_rows(network, matrix.T @ rows, bias, AFFINE)
    return _resized(network, latent.name, matrix.shape[1])


def resize_latent(network: Network, latent_dim: int) -> Network:
    """The network of a latent of another size; its prior stays N(0, I).

    Larger: zero rows, exact; the new dimensions do nothing. Smaller: with the singular value
    decomposition K = U S Vᵀ of the first kernel, K' = S_k V_kᵀ, as if z were z' U_kᵀ: the
    directions kept move the first layer's output most. The expected squared error of that output
    is `dropped_energy`, and is noted.

    Raises:
        ValueError: If `latent_dim` is no positive whole number, or the latent does not go into
            Dense layers.
    """
    latent = latent_input(network)
    (size,) = latent.shape
    _check_size(latent_dim)
    denses = first_denses(network, latent.name)
    if latent_dim == size:
        return network
    if latent_dim > size:
        for dense in denses:
            rows = dense.rows(network)
            more = np.zeros((latent_dim - size, rows.shape[1]))
            bias = network[dense.name].arrays.get("bias")
            network = dense.with_rows(network, np.concatenate([rows, more]), bias, RESIZE)
        return _resized(network, latent.name, latent_dim)
    directions, values = latent_directions(network)
    error = dropped_energy(network, latent_dim)
    for dense in denses:
        rows = directions[:, :latent_dim].T @ dense.rows(network)
        network = dense.with_rows(network, rows, network[dense.name].arrays.get("bias"), RESIZE)
    share = error / np.sum(values**2) if error else 0.0
    network = network.noted(
        f"The latent has {latent_dim} of {size} dimensions: the expected squared error of the "
        f"first layer's output is {error:.6g}, {share:.2%} of its variance."
    )
    return _resized(network, latent.name, latent_dim)


def latent_directions(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """U [z, z] and singular values [z] of the first layer's kernel, greatest first.

    A smaller latent is z' = z U_k, with U_k the first k columns.
    """
    latent = latent_input(network)
    rows = np.concatenate([d.rows(network) for d in first_denses(network, latent.name)], axis=1)
    directions, values, _ = np.linalg.svd(rows, full_matrices=True)[:3]
    return directions, np.concatenate([values, np.zeros(len(rows) - len(values))])


def dropped_energy(network: Network, latent_dim: int) -> float:
    """Expected squared error of the first layer's output after `resize_latent`.

    With z = z' U_kᵀ + rest and z ~ N(0, I), E‖z K − z' K'‖² = Σ_{i > k} σᵢ².
    """
    _check_size(latent_dim)
    return float(np.sum(latent_directions(network)[1][latent_dim:] ** 2))


def transport_prior(network: Network, prior: str) -> Network:
    """The network of N(0, I) draws, made of one whose latents follow another law.

    A layer of `zoo.layers` maps the draws to that law: u = erf(ε / √2) for U(−1, 1),
    z = √2 erfinv(erf(√2) erf(ε / √2)) for the normal truncated at ±2, z = √d ε / ‖ε‖ for the
    hypersphere, where the length of ε then does nothing.

    Args:
        network: The network.
        prior: One of `zoo.layers.PRIORS`; of "standard_normal" nothing is to do.

    Raises:
        ValueError: If the prior is another.
    """
    layer = prior_layer(prior)
    if prior == "standard_normal":
        return network
    latent = latent_input(network)
    block = Block(f"{prior}_from_normal", type(layer), shape=latent.shape)
    if prior == "hypersphere":
        network = network.noted("The latent's length does nothing: the source's are of one length.")
    return network.inserted(block, after=latent.name)


def label_input(network: Network, name: str | None = None) -> Block:
    """The input that takes the label: of integers, into an Embedding, or named like a label.

    Raises:
        ValueError: If no input, or more than one, looks like it.
    """
    inputs = [
        block
        for block in network.inputs
        if (block.name == name if name else _is_label(network, block))
    ]
    if len(network.inputs) < 2 or len(inputs) != 1:
        names = [block.name for block in network.inputs]
        msg = (
            f"Which of the inputs {names} takes the label? Found {[b.name for b in inputs]}; "
            "expected a network of two or more inputs, one of them for labels. Give its name."
        )
        raise ValueError(msg)
    return inputs[0]


def latent_input(network: Network) -> Block:
    """The input that takes the latent: the only one, or the only one that takes no label.

    Raises:
        ValueError: If there are more, or it takes no vectors.
    """
    inputs = [block for block in network.inputs if not _is_label(network, block)]
    if len(network.inputs) == 1:
        inputs = list(network.inputs)
    if len(inputs) != 1 or len(inputs[0].shape) != 1 or inputs[0].shape[0] is None:
        shapes = {block.name: block.shape for block in network.inputs}
        msg = f"The inputs are {shapes}: expected one for latents, vectors of a fixed length."
        raise ValueError(msg)
    return inputs[0]


@dataclass(frozen=True)
class FirstDense:
    """A Dense layer that takes a vector as rows [start, start + size) of its kernel."""

    name: str
    start: int
    size: int

    def rows(self, network: Network) -> np.ndarray:
        """The kernel's rows for the vector, [size, units]."""
        return network[self.name].arrays["kernel"][self.start : self.start + self.size]

    def with_rows(
        self, network: Network, rows: np.ndarray, bias: np.ndarray | None, rule: str, *others: Block
    ) -> Network:
        """The network with other rows, of any number, and another bias."""
        block = network[self.name]
        kernel = block.arrays["kernel"]
        parts = [kernel[: self.start], rows, kernel[self.start + self.size :]]
        return network.replaced(with_weights(block, np.concatenate(parts), bias, rule, *others))


def first_denses(network: Network, name: str) -> list[FirstDense]:
    """The Dense layers that take a block's vectors, directly or joined with other vectors.

    Raises:
        ValueError: If anything else takes them.
    """
    (size,) = network[name].shape
    dense_layers = []
    for consumer in dict.fromkeys(network.consumers(name)):
        block = network[consumer] if consumer else None
        if block is not None and block.layer is layers.Dense:
            dense_layers.append(FirstDense(consumer, 0, size))
            continue
        if block is None or not joins_vectors(block) or block.parents.count(name) != 1:
            raise ValueError(_not_dense(name, block))
        before = block.parents[: block.parents.index(name)]
        start = sum(network[parent].shape[0] or 0 for parent in before)
        for taker in network.consumers(consumer):
            if not taker or network[taker].layer is not layers.Dense:
                raise ValueError(_not_dense(name, network[taker] if taker else None))
            dense_layers.append(FirstDense(taker, start, size))
    shared = [dense.name for dense in dense_layers if network.is_shared(dense.name)]
    if shared or not dense_layers:
        msg = f"{name!r} goes into {shared or 'nothing'}; expected Dense layers called once."
        raise ValueError(msg)
    return dense_layers


def joins_vectors(block: Block) -> bool:
    """Whether it concatenates vectors."""
    return (
        block.layer is layers.Concatenate
        and len(block.shape) == 1
        and block.config["axis"] in (-1, 1)
    )


def _not_dense(name: str, block: Block | None) -> str:
    taker = f"{block.name!r} ({block.kind})" if block else "the output"
    return f"{name!r} goes into {taker}; expected Dense layers, directly or after Concatenate."


def _resized(network: Network, name: str, size: int) -> Network:
    """With an input of another length."""
    old = network[name].shape[0] or 0
    block = network[name].with_config(batch_shape=(None, size))
    changed = [replace(block, shape=(size,))]
    for consumer in network.consumers(name):
        if consumer and joins_vectors(network[consumer]):
            (length,) = network[consumer].shape
            changed.append(replace(network[consumer], shape=((length or 0) + size - old,)))
    return network.replaced(*changed)


def _is_label(network: Network, block: Block) -> bool:
    if "int" in str(block.config.get("dtype")) or LABEL.search(block.name):
        return True
    takers = [network[name] for name in network.consumers(block.name) if name]
    return any(taker.kind in ("Embedding", "CategoryEncoding", "OneHot") for taker in takers)


def _check_size(latent_dim: int) -> None:
    check_whole("latent_dim", latent_dim)
