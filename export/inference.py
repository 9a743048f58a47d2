"""What `zoo serve` computes: requests of the Open Inference Protocol, checked, on ONNX Runtime."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from pydantic import BaseModel, ConfigDict, ValidationError

from export.portable_random import LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DATATYPES = {"float32": "FP32", "int32": "INT32"}
VERSION = "1"  # a folder holds one version of its models
LARGEST = 2**31 - 1
BINARY = ("binary_data", "binary_data_size", "binary_data_output")


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)
    parameters: dict[str, Any] = {}


class _Input(_Part):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class _Output(_Part):
    name: str


class _Request(_Part):
    id: str | None = None
    inputs: list[_Input]
    outputs: list[_Output] | None = None


class Served:
    """An endpoint of an ONNX export, as a model of the protocol.

    Args:
        file: The ONNX file.
        name: The endpoint's name.
        found: The export's metadata, as of `read_export`.
        max_batch: Most images a request may have.
    """

    def __init__(self, file: Path, name: str, found: Mapping[str, Any], max_batch: int) -> None:
        self.name = name
        self._tensors = found["endpoints"][name]
        self._max_batch = max_batch
        self._ranges = {
            "image": found["image_range"],
            "label": (0, found.get("num_classes", 0) - 1),
            "codes": (0, LARGEST),
            "seed": (0, LIMIT - 1),
            "n": (1, max_batch),
        }
        self._session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def metadata(self) -> dict[str, Any]:
        """The protocol's model metadata."""

        def describe(tensors: Mapping[str, Any]) -> list[dict[str, Any]]:
            return [
                {
                    "name": name,
                    "datatype": DATATYPES[tensor["dtype"]],
                    "shape": [-1 if size == "batch" else size for size in tensor["shape"]],
                }
                for name, tensor in tensors.items()
            ]

        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": "onnxruntime_onnx",
            "inputs": describe(self._tensors["inputs"]),
            "outputs": describe(self._tensors["outputs"]),
        }

    def answer(self, body: bytes) -> bytes:
        """The protocol's inference response to an inference request, both as JSON.

        Raises:
            ValueError: If the request is malformed, or a tensor is not what the model takes.
        """
        try:
            request = _Request.model_validate_json(body)
        except ValidationError as error:
            raise ValueError(_explain(error)) from error
        _refuse_binary(request)
        outputs = self._tensors["outputs"]
        names = [output.name for output in request.outputs or []] or [*outputs]
        if unknown := [name for name in names if name not in outputs]:
            msg = f"output {unknown[0]!r}: {self.name} has {', '.join(outputs)}."
            raise ValueError(msg)
        try:
            found = self._session.run(names, self._feeds(request.inputs))
        except InvalidArgument as error:  # such as a code that is not in the codebook
            msg = f"{self.name} cannot compute this: {error}"
            raise ValueError(msg) from error
        response = {
            "model_name": self.name,
            "model_version": VERSION,
            **({} if request.id is None else {"id": request.id}),
            "outputs": [
                {
                    "name": name,
                    "shape": list(array.shape),
                    "datatype": DATATYPES[array.dtype.name],
                    "data": array.ravel().tolist(),
                }
                for name, array in zip(names, found, strict=True)
            ],
        }
        return json.dumps(response, separators=(",", ":")).encode()

    def _feeds(self, inputs: list[_Input]) -> dict[str, np.ndarray]:
        wanted = self._tensors["inputs"]
        given = [tensor.name for tensor in inputs]
        if sorted(given) != sorted(wanted):
            msg = f"inputs {', '.join(given) or 'none'}: {self.name} takes {', '.join(wanted)}."
            raise ValueError(msg)
        feeds = {tensor.name: _array(tensor, wanted[tensor.name]) for tensor in inputs}
        sizes = {n: len(x) for n, x in feeds.items() if wanted[n]["shape"][:1] == ["batch"]}
        if len(set(sizes.values())) > 1:
            msg = f"batch sizes {sizes}: expected the same in every input."
            raise ValueError(msg)
        for name, size in sizes.items():
            if not 1 <= size <= self._max_batch:
                msg = f"{name} has a batch of {size}: expected 1 to {self._max_batch}."
                raise ValueError(msg)
        for name, array in feeds.items():
            low, high = self._ranges.get(name, (-np.inf, np.inf))
            wrong = array[(array < low) | (array > high)]
            if wrong.size:
                msg = f"{name} has the value {wrong[0]}: expected {low} to {high}."
                raise ValueError(msg)
        return feeds


def _array(tensor: _Input, wanted: Mapping[str, Any]) -> np.ndarray:
    """The tensor, of the type and shape that the model takes."""
    datatype = DATATYPES[wanted["dtype"]]
    if tensor.datatype != datatype:
        msg = f"{tensor.name} is {tensor.datatype}: expected {datatype}."
        raise ValueError(msg)
    shape, sizes = tensor.shape, wanted["shape"]
    fits = len(shape) == len(sizes) and all(
        expected in ("batch", size) for size, expected in zip(shape, sizes, strict=True)
    )
    # Triton has no scalars: they are sent as [1] there, and may be here.
    if not fits and not (shape == [1] and not sizes):
        msg = f"{tensor.name} has shape {shape}: expected [{', '.join(map(str, sizes))}]."
        raise ValueError(msg)
    # As objects, or True would become 1 and "1" a string of all.
    values = np.array(tensor.data, dtype=object)
    kinds = {type(value) for value in values.ravel()}
    if not kinds <= ({int} if datatype == "INT32" else {int, float}):
        msg = f"{tensor.name}: expected data of numbers that are {datatype}, flat or in full rows."
        raise ValueError(msg)
    if list(values.shape) not in ([math.prod(shape)], shape):
        msg = f"{tensor.name} has data of shape {list(values.shape)}: expected {shape}, or flat."
        raise ValueError(msg)
    try:
        with np.errstate(over="ignore"):
            array = values.astype(wanted["dtype"])
    except OverflowError as error:
        msg = f"{tensor.name}: a number is too large for {datatype}."
        raise ValueError(msg) from error
    if not np.isfinite(array).all():
        msg = f"{tensor.name}: a number is NaN, or too large for {datatype}."
        raise ValueError(msg)
    return array.reshape(shape if sizes else [])


def _refuse_binary(request: _Request) -> None:
    for part in (request, *request.inputs, *(request.outputs or [])):
        if any(part.parameters.get(name) for name in BINARY):
            msg = "Binary tensors are not supported: send and ask for JSON."
            raise ValueError(msg)


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
