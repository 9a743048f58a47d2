"""ONNX: one file for each endpoint, with named tensors and BatchNorm folded."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import onnx
import tensorflow as tf
import tf2onnx

from export.metadata import describe, write_metadata
from export.spec import Endpoint, endpoints
from zoo.convert import fold_batch_norm, is_functional
from zoo.files import replacing

DEFAULT_OPSET = 18
OPSETS = range(13, 19)  # tf2onnx 1.17 knows no later one


def export_onnx(
    model: Any, path: str | Path, opset: int = DEFAULT_OPSET, run: str | Path | None = None
) -> Path:
    """Writes a folder of ONNX files: `generate.onnx` and, for VAEs, `encode.onnx` and so on.

    Args:
        model: A model of the zoo.
        path: The folder; must not exist.
        opset: ONNX operator set, 13 to 18.
        run: The run folder it comes from, for the metadata.

    Returns:
        The folder.

    Raises:
        ValueError: If the opset is out of range, or an operation has no ONNX form (it is named).
        FileExistsError: If the folder exists.
    """
    path = Path(path)
    if opset not in OPSETS:
        msg = f"opset={opset}: expected {OPSETS.start} to {OPSETS.stop - 1}."
        raise ValueError(msg)
    if path.exists():
        msg = f"{path} exists. Choose another folder, or remove it."
        raise FileExistsError(msg)
    functions = endpoints(
        model, lambda network: fold_batch_norm(network) if is_functional(network) else network
    )
    entries = {"opset": opset, **describe(model, endpoints(model))}
    with replacing(path) as folder:
        folder.mkdir()
        for endpoint in functions:
            proto = _convert(endpoint, opset)
            facts = {"endpoint": endpoint.name, **entries}
            for key, value in facts.items():
                text = value if isinstance(value, str) else json.dumps(value)
                proto.metadata_props.add(key=key, value=text)
            onnx.checker.check_model(proto, full_check=True)
            onnx.save(proto, folder / f"{endpoint.name}.onnx")
        write_metadata(folder, path, "onnx", run, entries)
    return path


def _convert(endpoint: Endpoint, opset: int) -> onnx.ModelProto:
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what fails is raised below
    function = tf.function(endpoint.function, input_signature=endpoint.signature())
    proto, _ = tf2onnx.convert.from_function(
        function, input_signature=endpoint.signature(), opset=opset
    )
    # tf2onnx goes on after an operation it does not know, and leaves it in the graph.
    unknown = sorted({node.op_type for node in proto.graph.node if not _is_standard(node, opset)})
    if unknown:
        msg = (
            f"{endpoint.name} uses {', '.join(unknown)}, which ONNX opset {opset} has not. Replace "
            "the layer that needs it, or export a SavedModel."
        )
        raise ValueError(msg)
    # TensorFlow orders the outputs of a dict by name.
    _rename(proto.graph, [*endpoint.inputs], sorted(endpoint.outputs))
    proto.graph.name = endpoint.name
    proto.graph.doc_string = ""
    proto.producer_name = "vaegan-zoo"
    return proto


def _is_standard(node: onnx.NodeProto, opset: int) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    return onnx.defs.has(node.op_type, max_inclusive_version=opset)


def _rename(graph: onnx.GraphProto, inputs: list[str], outputs: list[str]) -> None:
    """Gives the endpoint's names to inputs and outputs, and `batch` to their first axis."""
    names: dict[str, str] = {}
    for values, wanted in ((graph.input, inputs), (graph.output, outputs)):
        for value, name in zip(values, wanted, strict=True):
            names[value.name] = name
            value.name = name
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for node in graph.node:
        for tensors in (node.input, node.output):
            for i, tensor in enumerate(tensors):
                tensors[i] = names.get(tensor, tensor)
    del graph.value_info[:]  # shape inference restores it, with `batch`
