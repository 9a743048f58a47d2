"""Files of the format safetensors: a header in JSON, and then the numbers of all tensors.

The header is 8 bytes of its length, little-endian, and an object: `dtype`, `shape` and the two
`data_offsets` of each tensor by its name, and texts under "__metadata__". The tensors lie one after
the other, with no gap. Nothing in the file is code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.io.files import replacing

SUFFIX = ".safetensors"
METADATA = "__metadata__"
MAX_HEADER_BYTES = 100_000_000  # as in the authors' code
BFLOAT16 = "BF16"  # which NumPy has not
DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    BFLOAT16: np.uint16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items() if name != BFLOAT16}


class _Tensor(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    start: int  # from the beginning of the file
    size: int  # in bytes


class SafeTensors(Mapping[str, np.ndarray]):
    """The arrays of a file by name. An array is read when it is asked for, and not kept.

    Numbers of bfloat16 become float32, which holds each of them exactly.

    Args:
        path: The file.

    Raises:
        ValueError: If it is no such file, was cut short, has gaps, or holds numbers of a type that
            NumPy has not.
        OSError: If it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._tensors = _header(self.path)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            msg = f"{self.path} is no file of safetensors that can be read: {error}."
            raise ValueError(msg) from error

    def __getitem__(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        count = math.prod(tensor.shape)
        dtype = np.dtype(DTYPES[tensor.dtype]).newbyteorder("<")
        values = np.fromfile(self.path, dtype, count, offset=tensor.start)
        if len(values) != count:
            msg = f"{self.path} was cut short while it was read. Copy or download it again."
            raise ValueError(msg)
        values = from_bfloat16(values) if tensor.dtype == BFLOAT16 else values
        return values.reshape(tensor.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array, which is not read."""
        return self._tensors[name].shape


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Numbers of bfloat16, given by their bits as uint16, as float32: they are its upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def write_safetensors(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name; the file is whole or absent.

    Raises:
        KeyError: If the format has no such type.
        OSError: If it cannot be written.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    header: dict[str, Any] = {METADATA: {"format": "pt"}}  # which PyTorch's readers ask for
    start = 0
    for name, array in arrays.items():
        end = start + array.nbytes
        dtype = NAMES[array.dtype.newbyteorder("=")]
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)  # so that numbers are aligned
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())


def _header(path: Path) -> dict[str, _Tensor]:
    total = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES or length + 8 > total:
            raise ValueError(f"a header of {length:,} bytes in a file of {total:,}")
        header = json.loads(file.read(length).decode("utf-8"))
    if not isinstance(header, dict):
        raise TypeError(f"its header is a {type(header).__name__}, no object")
    header.pop(METADATA, None)
    tensors = {name: _tensor(name, entry, length + 8) for name, entry in header.items()}
    end = length + 8
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].size)):
        if tensor.start != end:
            raise ValueError(f"{name!r} begins at byte {tensor.start:,}; expected {end:,}")
        end += tensor.size
    if end != total:
        raise ValueError(f"it has {total:,} bytes; expected {end:,}. Copy or download it again")
    return tensors


def _tensor(name: str, entry: Any, start: int) -> _Tensor:
    dtype, shape, (first, last) = (entry[key] for key in ("dtype", "shape", "data_offsets"))
    if dtype not in DTYPES:
        raise ValueError(f"{name!r} is of type {dtype!r}; expected one of {', '.join(DTYPES)}")
    if not all(type(n) is int and n >= 0 for n in (*shape, first, last)):
        raise ValueError(f"{name!r} has shape {shape} and bytes {first} to {last}")
    size = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if last - first != size:
        raise ValueError(f"{name!r} has {last - first:,} bytes; expected {size:,} for {shape}")
    return _Tensor(dtype, tuple(shape), start + first, size)
