"""float16 and int8 variants of ONNX models, by ONNX Runtime's own tools, and what they lose."""

from __future__ import annotations

import logging
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime

from export.example_inputs import BATCH, inputs_of
from export.functions import IMAGES
from export.onnx.graphs import (
    attributes,
    constants_of,
    fresh_names,
    names_taken,
    rebuilt,
    renamed,
    subgraphs,
    tensors_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from export.functions import Endpoint

N = 256  # examples to calibrate on, and as many others to measure with
LINEAR = ("Conv", "ConvTranspose", "MatMul", "Gemm")
# What ONNX Runtime computes in int8, and what moves its results; elsewhere quality is lost in vain.
QUANTIZED = ("Conv", "MatMul", "Gemm", "Concat", "DepthToSpace", "Relu")
CHOOSING = ("ArgMin", "ArgMax", "TopK", "Loop", "Scan", "If", "Round", "Floor", "Ceil")
ROOTS = ("Sqrt", "Reciprocal", "Log")


def reduced(
    protos: dict[str, onnx.ModelProto], precision: str, model: Any, functions: Sequence[Endpoint]
) -> tuple[dict[str, onnx.ModelProto], dict[str, Any]]:
    """Models in a lower precision; their inputs and outputs stay float32.

    What stays float32 within: all that an index is computed from, for rounding would change which
    and not how much; all before the first linear layer, as a hash that draws noise, an
    interpolation, a normalisation; roots of sums of squares, which leave the range of float16. In
    float16, a function with a loop (a PixelCNN's) stays as it is. In int8, so do the first linear
    layer, whose rounding all else would inherit, and transposed convolutions, for which ONNX
    Runtime has no kernel; weights have 7 bits, as products of 8 overflow on CPUs without VNNI, and
    a scale for each channel; activations have the range that they have over 256 prior latents and
    the images of these.

    Args:
        protos: float32 models, by endpoint.
        precision: `"float16"` or `"int8"`.
        model: The model of the zoo.
        functions: Its endpoints.

    Returns:
        The models, and the quality by endpoint and output, over 256 other latents:
        `max_error` and `rms_error` against the float32 file, in the output's units, and of images
        `psnr` in dB (None: no difference); of integers the share that is `different`.

    Raises:
        ValueError: If an output is no number in this precision.
    """
    models: dict[str, onnx.ModelProto] = {}
    quality: dict[str, Any] = {}
    calibration, others = (inputs_of(model, model.sample_latents(N, seed)) for seed in (0, 1))
    for endpoint in functions:
        proto = _with_named_nodes(protos[endpoint.name])
        if precision == "float16":
            models[endpoint.name] = _float16(proto)
        else:
            models[endpoint.name] = _int8(proto, _feeds(endpoint, calibration, seed=0))
        feeds = _feeds(endpoint, others, seed=1)
        quality[endpoint.name] = _quality(proto, models[endpoint.name], feeds, precision)
    return models, quality


def _with_named_nodes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node has a name of its own: by these the tools are told what stays."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    fresh = fresh_names([])
    for node in copy.graph.node:
        node.name = fresh(node.name or node.op_type)
    return copy


def _feeds(endpoint: Endpoint, examples: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """The examples that an endpoint takes; for one that draws, a number of images and a seed."""
    scalars = {"n": N, "seed": seed, "label": 0}
    return {
        name: examples[name].reshape(-1, *endpoint.input_shape(name))
        if spec.shape.rank
        else np.array(scalars[name], np.int32)
        for name, spec in endpoint.inputs.items()
    }


def _batches(feeds: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """In batches, but for an endpoint that is told how many images to draw."""
    if any(not value.ndim for value in feeds.values()):
        yield feeds
        return
    for i in range(0, N, BATCH):
        yield {name: value[i : i + BATCH] for name, value in feeds.items()}


def _float16(proto: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415
    from onnxruntime.transformers.onnx_model import OnnxModel  # noqa: PLC0415

    if any(subgraphs(node) for node in proto.graph.node):
        return proto
    exact = exact_nodes(proto)
    apart = _kept_apart(proto, exact)
    made = OnnxModel(convert_float_to_float16(apart, keep_io_types=True, node_block_list=exact))
    made.topological_sort()
    # Between nodes that stay float32 the tool goes through float16: a cast to it, and one back. Its
    # casts are those of new names, and all float32 before.
    before = {node.name for node in proto.graph.node}
    halved: dict[str, str] = {}
    same: dict[str, str] = {}
    nodes = []
    for node in made.model.graph.node:
        nodes.append(renamed(node, same))
        if node.op_type == "Cast" and node.name not in before:
            if attributes(node)["to"] == onnx.TensorProto.FLOAT16:
                halved[node.output[0]] = nodes[-1].input[0]
            elif attributes(node)["to"] == onnx.TensorProto.FLOAT and node.input[0] in halved:
                same[node.output[0]] = halved[node.input[0]]
    return rebuilt(made.model, nodes, {})


def _kept_apart(proto: onnx.ModelProto, exact: Sequence[str]) -> onnx.ModelProto:
    """A model in which the nodes of these names share no weights or other tensors with the others.

    What they share the tools round for both. They get weights of their own, and the others take
    what both took through an Identity.
    """
    stays, constants = set(exact), constants_of(proto)
    by_others = {x for n in proto.graph.node if n.name not in stays for x in n.input}
    by_exact = {x for n in proto.graph.node if n.name in stays for x in names_taken(n)}
    fresh = fresh_names([*tensors_of(proto.graph), *(node.name for node in proto.graph.node)])
    apart = {name: fresh(name) for name in sorted(by_others & by_exact - {""})}
    floats = {x: value for x, value in constants.items() if value.dtype == np.float32}
    weights = {x: name for x, name in apart.items() if x in floats}
    tensors = {x: name for x, name in apart.items() if x not in constants}
    nodes: list[onnx.NodeProto] = []
    made: set[str] = set()
    for node in proto.graph.node:
        if node.name not in stays:
            for x in tensors.keys() & set(node.input) - made:
                taken = tensors[x]
                nodes.append(onnx.helper.make_node("Identity", [x], [taken], taken))
                made.add(x)
        nodes.append(renamed(node, weights if node.name in stays else tensors))
    return rebuilt(proto, nodes, {name: floats[x] for x, name in weights.items()})


def _int8(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> onnx.ModelProto:
    from onnxruntime import quantization  # noqa: PLC0415

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = _batches(feeds)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    first = [node.name for node in proto.graph.node if node.op_type in LINEAR]
    exact = [*exact_nodes(proto), *first[:1]]
    proto = _kept_apart(proto, exact)
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it advises a pre-processing that `simplify` has done
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, file = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
            onnx.save(proto, source)  # of a model in memory it moves the weights to a file
            quantization.quantize_static(
                source,
                file,
                Reader(),
                op_types_to_quantize=[*QUANTIZED],
                nodes_to_exclude=exact,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
            )
            return onnx.load(file)
    finally:
        logger.setLevel(level)


def exact_nodes(proto: onnx.ModelProto) -> list[str]:
    """Names of the nodes that stay float32, as `reduced` says."""
    nodes = list(proto.graph.node)
    exact = set()
    before_choice: set[str] = set()  # tensors, as are the next two
    before_root: set[str] = set()
    behind_linear: set[str] = set()
    for node in reversed(nodes):
        to = attributes(node).get("to", onnx.TensorProto.FLOAT)
        chooses = node.op_type in CHOOSING or to != onnx.TensorProto.FLOAT
        if chooses or before_choice.intersection(node.output):
            exact.add(node.name)
            if node.op_type != "Shape":  # for which values do not matter
                before_choice.update(names_taken(node))
        if node.op_type in ROOTS or before_root.intersection(node.output):
            exact.add(node.name)
            if len(set(node.input)) == len(node.input):  # up to the squares
                before_root.update(node.input)
    for node in nodes:
        if node.op_type in LINEAR or behind_linear.intersection(names_taken(node)):
            behind_linear.update(node.output)
        else:
            exact.add(node.name)
    return sorted(exact)


def _quality(
    proto: onnx.ModelProto, other: onnx.ModelProto, feeds: dict[str, np.ndarray], precision: str
) -> dict[str, Any]:
    wanted, lowered = (_run(p, feeds) for p in (proto, other))
    quality: dict[str, Any] = {}
    for name, values in wanted.items():
        if values.dtype.kind == "i":
            quality[name] = {"different": float(np.mean(lowered[name] != values))}
            continue
        errors = np.abs(lowered[name].astype(np.float64) - values)
        if not np.isfinite(errors).all():
            msg = f"{proto.graph.name}: {name} is not finite in {precision}; use float32."
            raise ValueError(msg)
        rms = float(np.sqrt(np.mean(np.square(errors))))
        peak = 255.0 if values.dtype == np.uint8 else 1.0
        psnr = {"psnr": -20.0 * math.log10(rms / peak) if rms else None} if name in IMAGES else {}
        quality[name] = {"max_error": float(errors.max()), "rms_error": rms, **psnr}
    return quality


def _run(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    parts = [session.run(None, batch) for batch in _batches(feeds)]
    return dict(zip(names, map(np.concatenate, zip(*parts, strict=True)), strict=True))
