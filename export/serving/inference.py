"""What `zoo serve` computes: requests of the Open Inference Protocol, checked, on ONNX Runtime."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import orjson
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from export.portable_random import LIMIT
from zoo.io.names import class_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DATATYPES = {"float32": "FP32", "int32": "INT32", "uint8": "UINT8"}
VERSION = "1"  # a folder holds one version of its models
LARGEST = 2**31 - 1
SIDES = ("height", "width")
BINARY = ("binary_data", "binary_data_size", "binary_data_output")
MOST_TENSORS = 64  # that a request may name
MOST_BRACKETS = 2**20  # lists and objects of JSON take 30 times the memory of their 2 bytes


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)
    parameters: dict[str, Any] = {}


# pydantic stops at the first item that is wrong: a list of a million would be a million errors.
class _Input(_Part):
    name: str
    shape: list[int] = Field(max_length=8, fail_fast=True)
    datatype: str
    data: list[Any]


class _Output(_Part):
    name: str


class _Request(_Part):
    id: str | None = Field(None, max_length=1024)
    inputs: list[_Input] = Field(max_length=MOST_TENSORS, fail_fast=True)
    outputs: list[_Output] | None = Field(None, max_length=MOST_TENSORS, fail_fast=True)


@dataclass(frozen=True)
class Prepared:
    """A request that a model can compute.

    Attributes:
        id: The caller's name of it.
        names: The outputs to compute, each once.
        feeds: Inputs by name.
        batch: Its number of images.
        values: How many numbers its answer has.
    """

    id: str | None
    names: tuple[str, ...]
    feeds: dict[str, np.ndarray]
    batch: int
    values: int

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those of an example of each input, which requests of one batch have in common."""
        return tuple(self.feeds[name].shape[1:] for name in sorted(self.feeds))


class Served:
    """An endpoint of an ONNX export, as a model of the protocol.

    Args:
        file: The ONNX file.
        name: The endpoint's name.
        facts: The export's metadata, as of `read_export`.
        max_batch: Most images a request may have.
        max_values: Most numbers an answer may have.
    """

    def __init__(
        self, file: Path, name: str, facts: Mapping[str, Any], max_batch: int, max_values: int
    ) -> None:
        self.name = name
        self._tensors = facts["endpoints"][name]
        self._max_batch = max_batch
        self._max_values = max_values
        self._class_names = facts.get("class_names", [])
        self._factor = facts.get("image_sizes", {}).get("multiple_of", 1)
        self._own_sides = self._both(dict(zip(SIDES, facts["image_shape"][:2], strict=True)))
        # Exact, unlike those of what a network draws: what a caller sends can be cut off before.
        self._ranges = {
            "image": facts["image_range"],
            "label": (0, facts.get("num_classes", 0) - 1),
            "codes": (0, LARGEST),
            "seed": (0, LIMIT - 1),
            "n": (1, max_batch),
        }
        options = onnxruntime.SessionOptions()
        # Threads that wait by spinning take the processor from those that read and write requests.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            file, options, providers=["CPUExecutionProvider"]
        )
        self._joins = self._rows_are_independent()

    def metadata(self) -> dict[str, Any]:
        """The protocol's model metadata. The classes' names are a parameter of the label."""
        named = {"parameters": {"class_names": self._class_names}} if self._class_names else {}

        def listed(tensors: Mapping[str, Any]) -> list[dict[str, Any]]:
            return [
                {
                    "name": name,
                    "datatype": DATATYPES[tensor["dtype"]],
                    "shape": [-1 if isinstance(x, str) else x for x in tensor["shape"]],
                    **(named if name == "label" else {}),
                }
                for name, tensor in tensors.items()
            ]

        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": "onnxruntime_onnx",
            "inputs": listed(self._tensors["inputs"]),
            "outputs": listed(self._tensors["outputs"]),
        }

    def prepare(self, body: bytes) -> Prepared:
        """Reads an inference request of the protocol, as JSON.

        Raises:
            ValueError: If the request is malformed, a tensor is not what the model takes, or the
                answer would be too large.
        """
        request = _parse(body)
        _refuse_binary(request)
        names = self._names(request.outputs)
        wanted = self._tensors["inputs"]
        given = [tensor.name for tensor in request.inputs]
        if sorted(given) != sorted(wanted):
            msg = f"inputs {', '.join(given) or 'none'}: {self.name} takes {', '.join(wanted)}."
            raise ValueError(msg)
        inputs = [self._numbered(tensor) for tensor in request.inputs]
        for tensor in inputs:
            _check(tensor, wanted[tensor.name])
        batch, sides = self._batch(inputs), self._sides(inputs)
        # Data come last: all else bounds how many they can be.
        feeds = {tensor.name: _array(tensor, wanted[tensor.name]) for tensor in inputs}
        for name in feeds.keys() & self._ranges.keys():
            array, (low, high) = feeds[name], self._ranges[name]
            wrong = array[(array < low) | (array > high)]
            if wrong.size:
                msg = f"{name} has the value {wrong[0]}: expected {low} to {high}."
                raise ValueError(msg)
        batch = batch or int(feeds.get("n", 1))
        return Prepared(request.id, names, feeds, batch, self._values(names, batch, sides))

    def may_join(self, requests: Sequence[Prepared]) -> bool:
        """Whether requests may be computed as one batch."""
        return (
            self._joins
            and len({request.names for request in requests}) == 1
            and len({request.shapes for request in requests}) == 1
            and sum(request.batch for request in requests) <= self._max_batch
            and sum(request.values for request in requests) <= self._max_values
        )

    def answers(self, requests: Sequence[Prepared]) -> list[bytes | Exception]:
        """The protocol's inference responses, as JSON, or what went wrong with each.

        Args:
            requests: One, or several that may be joined.
        """
        try:
            outputs = self._run(requests)
            return [self._response(r, arrays) for r, arrays in zip(requests, outputs, strict=True)]
        except Exception as error:  # noqa: BLE001  (whoever waits for the answer raises it)
            if len(requests) == 1:
                return [error]
            # Alone, each has its own error or none.
            return [answer for request in requests for answer in self.answers([request])]

    def _run(self, requests: Sequence[Prepared]) -> list[tuple[np.ndarray, ...]]:
        """The outputs of each request, computed in one call."""
        first, *others = requests
        feeds = first.feeds
        if others:
            feeds = {name: np.concatenate([r.feeds[name] for r in requests]) for name in feeds}
        try:
            arrays = self._session.run(first.names, feeds)
        except InvalidArgument as error:  # such as a code that is not in the codebook
            msg = f"{self.name} cannot compute this: {error}"
            raise ValueError(msg) from error
        if not others:
            return [tuple(arrays)]
        ends = np.cumsum([request.batch for request in requests])[:-1]
        return list(zip(*(np.split(array, ends) for array in arrays), strict=True))

    def _response(self, request: Prepared, arrays: Sequence[np.ndarray]) -> bytes:
        outputs = []
        for name, array in zip(request.names, arrays, strict=True):
            if not np.isfinite(array).all():
                msg = f"{name} is not finite for these inputs, and JSON has no such numbers."
                raise ValueError(msg)
            outputs.append(
                {
                    "name": name,
                    "shape": list(array.shape),
                    "datatype": DATATYPES[array.dtype.name],
                    "data": array.ravel(),
                }
            )
        response = {
            "model_name": self.name,
            "model_version": VERSION,
            **({} if request.id is None else {"id": request.id}),
            "outputs": outputs,
        }
        return orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)

    def _numbered(self, tensor: _Input) -> _Input:
        """A label's numbers, where a request has the names of classes."""
        if not (tensor.name == "label" and tensor.datatype == "BYTES" and self._class_names):
            return tensor
        if not all(isinstance(name, str) for name in tensor.data):
            msg = 'label: expected names of classes, such as ["boot", "bag"], or INT32 numbers.'
            raise ValueError(msg)
        try:
            numbers = [class_number(name, self._class_names) for name in tensor.data]
        except ValueError as error:
            msg = f"label {error}"
            raise ValueError(msg) from error
        return tensor.model_copy(update={"datatype": "INT32", "data": numbers})

    def _names(self, asked: Sequence[_Output] | None) -> tuple[str, ...]:
        outputs = self._tensors["outputs"]
        names = tuple(output.name for output in asked or []) or tuple(outputs)
        for i, name in enumerate(names):
            if name not in outputs:
                msg = f"output {name!r}: {self.name} has {', '.join(outputs)}."
                raise ValueError(msg)
            if name in names[:i]:
                msg = f"output {name!r} is named more than once. Name each once."
                raise ValueError(msg)
        return names

    def _batch(self, inputs: Sequence[_Input]) -> int | None:
        """The number of images; None if no input has it as an axis."""
        sizes = {
            tensor.name: tensor.shape[0]
            for tensor in inputs
            if self._tensors["inputs"][tensor.name]["shape"][:1] == ["batch"]
        }
        if len(set(sizes.values())) > 1:
            msg = f"batch sizes {sizes}: expected the same in every input."
            raise ValueError(msg)
        for name, size in sizes.items():
            if not 1 <= size <= self._max_batch:
                msg = f"{name} has a batch of {size}: expected 1 to {self._max_batch}."
                raise ValueError(msg)
        return next(iter(sizes.values()), None)

    def _sides(self, inputs: Sequence[_Input]) -> dict[str, int]:
        """The sizes of axes of every size, by name: those of the inputs, and what follows."""
        sides: dict[str, int] = {}
        for tensor in inputs:
            axes = self._tensors["inputs"][tensor.name]["shape"]
            for axis, size in zip(axes, tensor.shape, strict=False):
                if axis in SIDES and size % self._factor:
                    near = max(round(size / self._factor), 1) * self._factor
                    msg = (
                        f"{tensor.name} has a {axis} of {size}: expected a multiple of "
                        f"{self._factor}, such as {near}."
                    )
                    raise ValueError(msg)
                if isinstance(axis, str) and axis != "batch":
                    sides[axis] = size
        return self._both(sides)

    def _both(self, sides: Mapping[str, int]) -> dict[str, int]:
        """Sides of images and of their grids, given either."""
        both = dict(sides)
        for side in SIDES:
            if side in sides:
                both[f"grid_{side}"] = sides[side] // self._factor
            elif f"grid_{side}" in sides:
                both[side] = sides[f"grid_{side}"] * self._factor
        return both

    def _values(self, names: Sequence[str], batch: int, sides: Mapping[str, int]) -> int:
        """How many numbers the answer has."""
        shapes = [self._tensors["outputs"][name]["shape"] for name in names]

        def count(batch: int) -> int:
            sizes = {"batch": batch, **sides}
            return sum(math.prod(sizes.get(x, x) for x in shape) for shape in shapes)

        if count(batch) > self._max_values:
            msg = (
                f"The answer to a batch of {batch} would have {count(batch)} numbers: expected at "
                f"most {self._max_values}. Take a batch of {self._max_values // count(1)} or less, "
                "or start the server with a larger --max-values."
            )
            raise ValueError(msg)
        return count(batch)

    def _rows_are_independent(self) -> bool:
        """Whether a row of outputs depends on its row of inputs alone, as tried on random ones.

        Not so where a network compares the images of a batch, and where inputs are no rows.
        """
        tensors = [*self._tensors["inputs"].values(), *self._tensors["outputs"].values()]
        if any(tensor["shape"][:1] != ["batch"] for tensor in tensors):
            return False
        rng, feeds = np.random.default_rng(0), {}
        for name, tensor in self._tensors["inputs"].items():
            shape = [4, *(self._own_sides.get(x, x) for x in tensor["shape"][1:])]
            if tensor["dtype"] == "int32":
                low, high = self._ranges["label"] if name == "label" else (0, 0)
                feeds[name] = rng.integers(low, high, shape, np.int32, endpoint=True)
            else:
                low, high = self._ranges.get(name, (-1.0, 1.0))
                feeds[name] = rng.uniform(low, high, shape).astype(np.float32)
        joined = self._session.run(None, feeds)
        alone = self._session.run(None, {name: array[:1] for name, array in feeds.items()})
        # Sums of another order differ by 1e-6 or so.
        return all(
            np.allclose(a[:1], b, rtol=1e-4, atol=1e-4 * np.abs(a).max())
            for a, b in zip(joined, alone, strict=True)
        )


def _parse(body: bytes) -> _Request:
    if body.count(b"[") + body.count(b"{") > MOST_BRACKETS:
        msg = f"The request has more than {MOST_BRACKETS} lists and objects. Send data flat."
        raise ValueError(msg)
    try:
        # To pydantic as objects: its own tree takes several times the room.
        values = from_json(body)
    except ValueError as error:
        msg = f"Invalid JSON: {error}"
        raise ValueError(msg) from error
    try:
        return _Request.model_validate(values)
    except ValidationError as error:
        raise ValueError(_explain(error)) from error


def _check(tensor: _Input, wanted: Mapping[str, Any]) -> None:
    """Checks that a tensor states the type and shape that the model takes, and has such data."""
    datatype = DATATYPES[wanted["dtype"]]
    if tensor.datatype != datatype:
        msg = f"{tensor.name} is {tensor.datatype}: expected {datatype}."
        raise ValueError(msg)
    shape, sizes = tensor.shape, wanted["shape"]
    fits = len(shape) == len(sizes) and all(
        expected in ("batch", size) or (isinstance(expected, str) and size > 0)
        for size, expected in zip(shape, sizes, strict=True)
    )
    # Triton has no scalars: they are sent as [1] there, and may be here.
    if not fits and not (shape == [1] and not sizes):
        msg = f"{tensor.name} has shape {shape}: expected [{', '.join(map(str, sizes))}]."
        raise ValueError(msg)
    given = _shape(tensor.data)
    if given not in ([math.prod(shape)], shape):
        msg = f"{tensor.name} has data of shape {given}: expected {shape}, or flat."
        raise ValueError(msg)


def _shape(data: Any) -> list[int]:
    """The shape of nested lists, if all rows are as long as the first."""
    shape = []
    while isinstance(data, list):
        shape.append(len(data))
        data = data[0] if data else None
    return shape


def _array(tensor: _Input, wanted: Mapping[str, Any]) -> np.ndarray:
    """The tensor's data, once it is checked."""
    datatype, data = DATATYPES[wanted["dtype"]], tensor.data
    rows = True
    for _ in _shape(data)[1:]:
        rows = rows and {type(row) for row in data} <= {list}
        data = list(chain.from_iterable(data)) if rows else data
    # Or True would become 1, and "1" a number.
    numbers = set(map(type, data)) <= ({int} if datatype == "INT32" else {int, float})
    if not (rows and numbers and len(data) == math.prod(tensor.shape)):
        msg = f"{tensor.name}: expected data of numbers that are {datatype}, flat or in full rows."
        raise ValueError(msg)
    try:
        with np.errstate(over="ignore"):
            array = np.array(data, wanted["dtype"])
    except OverflowError as error:
        msg = f"{tensor.name}: a number is too large for {datatype}."
        raise ValueError(msg) from error
    if not np.isfinite(array).all():
        msg = f"{tensor.name}: a number is NaN, or too large for {datatype}."
        raise ValueError(msg)
    return array.reshape(tensor.shape if wanted["shape"] else [])


def _refuse_binary(request: _Request) -> None:
    for part in (request, *request.inputs, *(request.outputs or [])):
        if any(part.parameters.get(name) for name in BINARY):
            msg = "Binary tensors are not supported: send and ask for JSON."
            raise ValueError(msg)


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    says = "Input should be an object" if first["type"] == "model_type" else first["msg"]
    return f"{place}: {says}" if place else says
