"""Transposed convolutions as plain ones at the lower resolution (arXiv 1609.07009).

With stride s, each output pixel takes every s-th tap of the kernel: there are s² kernels, one for
each place within an s × s block, and as many multiplications as before. Runtimes have their
fastest kernels for plain convolutions, and their int8 ones only for these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper

from export.onnx.graphs import (
    attributes,
    constants_of,
    fresh_names,
    is_standard,
    names_taken,
    rebuilt,
    shapes_of,
    tensors_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

ACTIVATIONS = ("Relu", "LeakyRelu", "Elu", "Tanh", "Sigmoid")
# With fewer output channels, as in the last layer of a generator, the plain ones are slower.
FEWEST_CHANNELS = 8


def split_transposed_convolutions(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Replaces each transposed convolution that multiplies an image's size by its stride.

    Needs a constant kernel, known sizes, one stride for both axes that is no larger than the
    kernel, one group, no dilation, and explicit padding. An elementwise activation that alone takes
    its result moves before the interleaving, unless that result is an output of the model.

    Args:
        proto: The model.

    Returns:
        A model that computes the same, up to rounding.
    """
    shapes, known = shapes_of(proto), constants_of(proto)
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        for name in names_taken(node):
            users.setdefault(name, []).append(node)
    for value in proto.graph.output:
        users.pop(value.name, None)
    nodes: list[onnx.NodeProto] = []
    new: dict[str, np.ndarray] = {}
    fresh = fresh_names([*tensors_of(proto.graph), *(node.name for node in proto.graph.node)])
    moved = set()  # what activations put out that are computed before the interleaving
    for node in proto.graph.node:
        phases = _phases(node, shapes, known)
        if phases is not None:
            after = users.get(node.output[0], [])
            # There, runtimes fuse it with the convolution.
            fused = after[0] if len(after) == 1 and _is_activation(after[0]) else None
            moved.add((fused or node).output[0])
            nodes += _split(node, phases, fused, new, fresh)
        elif node.output[0] not in moved:
            nodes.append(node)
    return rebuilt(proto, nodes, new)


def _is_activation(node: onnx.NodeProto) -> bool:
    return is_standard(node) and node.op_type in ACTIVATIONS


def _split(
    node: onnx.NodeProto,
    phases: list[tuple[np.ndarray, list[int]]],
    activation: onnx.NodeProto | None,
    new: dict[str, np.ndarray],
    fresh: Callable[[str], str],
) -> list[onnx.NodeProto]:
    """Nodes in place of a transposed convolution and its activation; adds constants to `new`."""
    (output,), (block, _) = node.output, attributes(node)["strides"]
    alike = all(np.array_equal(kernel, phases[0][0]) for kernel, _ in phases)
    alike = alike and all(pads == phases[0][1] for _, pads in phases)
    nodes, parts = [], []
    for i, (kernel, pads) in enumerate(phases[:1] if alike else phases):
        part, weights = fresh(f"{output}_{i}"), fresh(f"{output}_{i}_kernel")
        new[weights] = kernel
        inputs = [node.input[0], weights, *node.input[2:]]
        nodes.append(helper.make_node("Conv", inputs, [part], part, pads=pads))
        if activation is not None:
            options, kind = attributes(activation), activation.op_type
            active = fresh(f"{part}_{kind}")
            nodes.append(helper.make_node(kind, [part], [active], active, **options))
            part = active
        parts.append(part)
    last = (node if activation is None else activation).output[0]
    if alike:  # as after nearest upsampling
        scales = fresh(f"{last}_scales")
        new[scales] = np.array([1, 1, block, block], np.float32)
        rounding = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        resize = helper.make_node("Resize", [*parts, "", scales], [last], fresh(last), **rounding)
        return [*nodes, resize]
    joined = fresh(f"{output}_parts")
    return [
        *nodes,
        helper.make_node("Concat", parts, [joined], joined, axis=1),
        helper.make_node(
            "DepthToSpace", [joined], [last], fresh(last), blocksize=block, mode="DCR"
        ),
    ]


def _phases(
    node: onnx.NodeProto, shapes: dict[str, Any], known: dict[str, np.ndarray]
) -> list[tuple[np.ndarray, list[int]]] | None:
    """Kernel and padding for each place within a block, in row-major order; None: unsuitable.

    Output o takes input i through tap o + p − s i, p being the padding. For o = s m + e that is
    i = m + (e + p) // s − t with tap (e + p) % s + s t, t = 0, 1, ….
    """
    if node.op_type != "ConvTranspose" or not is_standard(node) or node.input[1] not in known:
        return None
    options, kernel = attributes(node), known[node.input[1]]
    sizes, made = shapes.get(node.input[0], []), shapes.get(node.output[0], [])
    strides = options.get("strides", [1])
    stride = strides[0]
    fits = (
        kernel.ndim == len(sizes) == len(made) == 4
        and strides == [stride, stride]
        and 1 < stride <= min(kernel.shape[2:])
        and kernel.shape[1] >= FEWEST_CHANNELS
        and options.get("group", 1) == 1
        and set(options.get("dilations", [1])) == {1}
        and options.get("auto_pad", b"NOTSET") == b"NOTSET"
        and not options.get("output_shape")  # which sets the padding in place of `pads`
        and None not in (*sizes[2:], *made[2:])
        and made[2:] == [stride * size for size in sizes[2:]]
    )
    if not fits:
        return None
    before = options.get("pads", [0, 0])[:2]
    phases = []
    for place in range(stride * stride):
        part, pads = kernel.transpose(1, 0, 2, 3), [0, 0, 0, 0]
        for axis, e in enumerate(divmod(place, stride)):
            shift, first = divmod(e + before[axis], stride)
            taps = range(first, kernel.shape[2 + axis], stride)
            part = np.take(part, taps[::-1], axis=2 + axis)
            pads[axis], pads[2 + axis] = len(taps) - 1 - shift, shift
        if min(pads) < 0:
            return None
        phases.append((np.ascontiguousarray(part), pads))
    return phases
