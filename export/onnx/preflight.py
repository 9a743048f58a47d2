"""Converts all functions in memory, and says what cannot be, where it comes from and what helps."""

from __future__ import annotations

import logging
import math
import re
from typing import TYPE_CHECKING, Any

import onnx
import tensorflow as tf
import tf2onnx

from export.functions import axes_of
from export.onnx.graphs import (
    OPSETS,
    attributes,
    fresh_names,
    rename_tensors,
    shapes_of,
    tensors_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from export.functions import Endpoint

LARGEST = 2**31 - 1  # bytes in one protocol buffer; its large_model fails with NumPy 2
RANDOM = re.compile(
    r"(Stateless|Stateful)?(Random|Multinomial|Truncated|Parameterized).*|Bernoulli"
)
# By a pattern of TensorFlow's operation: what to write in its place.
FIXES = {
    r"Erfc": "exact GELU needs it: use gelu(x, approximate=True), or keras.ops.erf",
    r".*PartitionedCall": "Keras compiles a grouped convolution (groups > 1), as everything under "
    "jit_compile=True, with XLA: call tf.nn.conv2d in a layer of your own, without jit_compile",
    RANDOM.pattern: "a file that draws noise never repeats TensorFlow's: draw it outside and pass "
    "it in, as latents are, or drop it at inference",
    r"(Eager)?PyFunc": "Python code stays behind: write it with keras.ops",
    r"Print.*|Assert|CheckNumerics.*": "it only helps debugging: leave it out at inference",
}


def preflight(functions: Sequence[Endpoint], opset: int) -> dict[str, onnx.ModelProto]:
    """Converts functions to ONNX, in memory.

    Args:
        functions: The endpoints.
        opset: ONNX operator set, 13 to 18.

    Returns:
        One model per endpoint, by name, as tf2onnx makes it, but with the endpoint's names of
        inputs and outputs.

    Raises:
        ValueError: If the opset is out of range; a function fails, has over 2 GB of weights, or
            puts out other types or shapes than its endpoint says; or it uses an operation that
            ONNX has not, or not in this opset: it is named, with its layer, what helps, and the
            opset from which it works.
    """
    if opset not in OPSETS:
        msg = f"opset={opset}: expected {OPSETS.start} to {OPSETS.stop - 1}."
        raise ValueError(msg)
    return {endpoint.name: _checked(endpoint, opset) for endpoint in functions}


def _checked(endpoint: Endpoint, opset: int) -> onnx.ModelProto:
    weights = sum(4 * math.prod(w.shape) for network in endpoint.networks for w in network.weights)
    if weights > LARGEST:
        msg = (
            f"{endpoint.name} has {weights / 1e9:.1f} GB of weights, and tf2onnx takes up to "
            f"{LARGEST / 1e9:.1f}. Export a SavedModel."
        )
        raise ValueError(msg)
    function = tf.function(endpoint.function, input_signature=endpoint.signature())
    try:
        graph = function.get_concrete_function()
    except Exception as error:
        msg = f"{endpoint.name} cannot be traced: {type(error).__name__}: {error}"
        raise ValueError(msg) from error
    _check_outputs(endpoint, graph.structured_outputs)
    # tf2onnx writes some of them as ONNX's, which draw other numbers.
    unknown = [op for op in _operations(graph.graph) if RANDOM.fullmatch(op[0])]
    proto = None if unknown else _converted(endpoint, function, opset)
    unknown = unknown or _unknown(proto, opset)
    if unknown:
        lines = dict.fromkeys(_explained(endpoint, kind, name) for kind, name in unknown)
        msg = f"{endpoint.name} cannot become ONNX of opset {opset}: {'; '.join(lines)}."
        works = None if proto is None else _first_opset(endpoint, function, opset)
        msg += f" It can of opset {works}." if works else " Or export a SavedModel."
        raise ValueError(msg)
    return proto


def _check_outputs(endpoint: Endpoint, outputs: dict[str, Any]) -> None:
    for name, wanted in endpoint.outputs.items():
        tensor = outputs[name]
        if tensor.dtype != wanted.dtype or not tensor.shape.is_compatible_with(wanted.shape):
            msg = (
                f"{endpoint.name} puts out {name} as {tensor.dtype.name} {tuple(tensor.shape)}; "
                f"expected {wanted.dtype.name} {tuple(wanted.shape)}. Cast or reshape it in the "
                "network."
            )
            raise ValueError(msg)


def _operations(graph: Any) -> list[tuple[str, str]]:
    """(type, name) of all operations, those of functions within included."""
    definition = graph.as_graph_def()
    inner = [node for function in definition.library.function for node in function.node_def]
    return [(node.op, node.name) for node in (*definition.node, *inner)]


def _converted(endpoint: Endpoint, function: Any, opset: int) -> onnx.ModelProto:
    # tf2onnx logs an operation that it does not know, goes on, and leaves it in the graph.
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        proto, _ = tf2onnx.convert.from_function(function, endpoint.signature(), opset=opset)
    finally:
        logger.setLevel(level)
    if not _unknown(proto, opset):
        # TensorFlow orders the outputs of a dict by name.
        _name(proto, endpoint.inputs, dict(sorted(endpoint.outputs.items())))
        _pad_as_tensorflow(proto)
        proto.graph.name, proto.graph.doc_string = endpoint.name, ""
        proto.producer_name, proto.producer_version = "vaegan-zoo", ""
    return proto


def _unknown(proto: onnx.ModelProto, opset: int) -> list[tuple[str, str]]:
    """(type, name) of the nodes that are no operations of ONNX."""
    return [
        (node.op_type, node.name)
        for node in proto.graph.node
        if node.domain not in ("", "ai.onnx")
        or not onnx.defs.has(node.op_type, max_inclusive_version=opset)
    ]


def _first_opset(endpoint: Endpoint, function: Any, opset: int) -> int | None:
    """The first later opset that the function can be converted to."""
    later = range(opset + 1, OPSETS.stop)
    return next((n for n in later if not _unknown(_converted(endpoint, function, n), n)), None)


def _explained(endpoint: Endpoint, kind: str, name: str) -> str:
    # Names are paths of layers; Keras numbers a layer that is called again.
    layers = {layer.name for network in endpoint.networks for layer in network._flatten_layers()}
    parts = [part for part in name.split("/")[:-1] if part]
    known = [
        layer for part in parts for layer in (part, re.sub(r"_\d+$", "", part)) if layer in layers
    ]
    place = f"layer {known[-1]!r}" if known else f"at {name!r}"
    fix = next((text for pattern, text in FIXES.items() if re.fullmatch(pattern, kind)), "")
    return f"{kind} ({place}){f': {fix}' if fix else ''}"


def _name(
    proto: onnx.ModelProto,
    inputs: Mapping[str, tf.TensorSpec],
    outputs: Mapping[str, tf.TensorSpec],
) -> None:
    """Gives the endpoint's names to inputs and outputs, and names to their axes of every size."""
    graph = proto.graph
    del graph.value_info[:]  # shape inference restores it, with the names of axes
    wanted = [*inputs, *outputs]
    taken = {*tensors_of(graph)}
    fresh = fresh_names({*taken, *wanted})
    names = {name: fresh(name) for name in wanted if name in taken}  # other tensors give way
    for values, given in ((graph.input, inputs), (graph.output, outputs)):
        for value, name in zip(values, given, strict=True):
            names[value.name] = name
            axes = axes_of(name, given[name])
            for axis, size in zip(value.type.tensor_type.shape.dim, axes, strict=False):
                if isinstance(size, str):
                    axis.dim_param = size
    rename_tensors(graph, names)


def _pad_as_tensorflow(proto: onnx.ModelProto) -> None:
    """Gives transposed convolutions the padding of TensorFlow's, in place.

    tf2onnx leaves the padding to ONNX where it does not know the input's size, as behind a Dense
    layer on feature maps: ONNX halves an odd padding the other way. And it halves a negative one,
    of a stride beyond the kernel; TensorFlow puts all of it behind. Where the size is not known
    here either, the node stays, and the check of what was exported decides.
    """
    shapes = shapes_of(proto)
    for node in proto.graph.node:
        options = attributes(node)
        if node.op_type != "ConvTranspose" or "kernel_shape" not in options:
            continue
        kernel = options["kernel_shape"]
        sizes = [n for n in shapes.get(node.input[0], [])[2:] if n is not None]
        made, pads = options.get("output_shape"), options.get("pads", [])
        strides, dilations = (options.get(x, [1] * len(kernel)) for x in ("strides", "dilations"))
        if made and len(sizes) == len(kernel):
            rows = zip(sizes, strides, kernel, dilations, made, strict=True)
            total = [s * (n - 1) + d * (k - 1) + 1 - size for n, s, k, d, size in rows]
        elif not made and min(pads, default=0) < 0:
            half = len(kernel)
            total = [before + after for before, after in zip(pads[:half], pads[half:], strict=True)]
        else:
            continue
        begin = [max(n, 0) // 2 for n in total]
        options["pads"] = [*begin, *(max(n, 0) - b for n, b in zip(total, begin, strict=True))]
        options["output_padding"] = [max(-n, 0) for n in total]
        options.pop("output_shape", None)
        options.pop("auto_pad", None)
        del node.attribute[:]
        node.attribute.extend(onnx.helper.make_attribute(*item) for item in options.items())
