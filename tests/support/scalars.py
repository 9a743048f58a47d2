"""Small ONNX exports written by hand: a `sample` of numbers, and a `generate` of any nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from export.metadata import write_metadata

MODEL = """
<ir_version: 10, opset_import: ["" : 18]>
sample (int32 n, int32 seed) => (float[batch, 2, 2, 1] image)
<int64[1] one = {1}, int64[3] rest = {2, 2, 1}, float hundredth = {0.01}>
{
    size = Cast <to = 7> (n)
    sizes = Reshape (size, one)
    shape = Concat <axis = 0> (sizes, rest)
    number = Cast <to = 1> (seed)
    value = Mul (number, hundredth)
    image = Expand (value, shape)
}
"""
ENTRIES: dict[str, Any] = {
    "model": "toy",
    "latent_dim": 1,
    "image_shape": [2, 2, 1],
    "image_range": [0.0, 1.0],
    "versions": {"vaegan-zoo": "0"},
    "endpoints": {
        "sample": {
            "inputs": {name: {"shape": [], "dtype": "int32"} for name in ("n", "seed")},
            "outputs": {"image": {"shape": ["batch", 2, 2, 1], "dtype": "float32"}},
        }
    },
}


def _parsed(text: str) -> onnx.ModelProto:
    """A model whose constants are raw bytes, as exports have them."""
    proto = onnx.parser.parse_model(text)
    for value in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(value)
        value.CopyFrom(onnx.numpy_helper.from_array(array, value.name))
    return proto


def write_scalars(path: Path) -> Path:
    """Images [n, 2, 2, 1] that are seed / 100 everywhere."""
    path.mkdir()
    proto = _parsed(MODEL)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path / "sample.onnx")
    write_metadata(path, path, "onnx", None, ENTRIES)
    return path


def write_toy(path: Path, body: str) -> Path:
    """A function `generate` of x [batch, 2] to y, of which `body` has the nodes."""
    path.mkdir()
    text = f"""
    <ir_version: 10, opset_import: ["" : 18]>
    generate (float[batch, 2] x) => (float[batch, 2] y)
    <int64[1] axis = {{0}}>
    {{ {body} }}
    """
    onnx.save(_parsed(text), path / "generate.onnx")
    tensor = {"shape": ["batch", 2], "dtype": "float32"}
    endpoint = {"inputs": {"x": tensor}, "outputs": {"y": tensor}}
    write_metadata(path, path, "onnx", None, {**ENTRIES, "endpoints": {"generate": endpoint}})
    return path
