"""Weights in PyTorch's files, read without PyTorch and without running what they hold."""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo.io.safetensor_files import from_bfloat16

if TYPE_CHECKING:
    from collections.abc import Callable

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file from before PyTorch 1.6
DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
BFLOAT16 = "BFloat16Storage"  # of numbers that NumPy has not: their bits


class _Storage(NamedTuple):
    """A run of numbers in the file; tensors are views of it."""

    key: str
    dtype: Any
    size: int
    bits: bool = False  # of bfloat16


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file that `torch.save(module.state_dict(), path)` wrote.

    Both of PyTorch's formats are read: zip archives, and the pickles from before PyTorch 1.6. A
    pickle names what is to be called. Here it may name dictionaries and tensors, and nothing else.
    Numbers of bfloat16 become float32, which holds each of them exactly.

    Args:
        path: The file; numbers in it are little-endian.

    Returns:
        The arrays by name, in the file's order.

    Raises:
        ValueError: If the file holds anything else, or is damaged.
        OSError: If it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            read = _read_zip if zipfile.is_zipfile(file) else _read_legacy
            file.seek(0)
            tensors, data = read(file)
        return _arrays(tensors, data)
    except OSError:
        raise
    except Exception as error:  # damaged pickles raise all kinds
        msg = f"{path} is not a file of PyTorch weights that can be read safely: {error}."
        raise ValueError(msg) from error


def _arrays(tensors: Any, data: dict[str, bytes]) -> dict[str, np.ndarray]:
    if not isinstance(tensors, dict):
        raise pickle.UnpicklingError(f"it holds a {type(tensors).__name__}, no dictionary")
    return {str(name): _array(name, tensor, data) for name, tensor in tensors.items()}


def _array(name: Any, tensor: Any, data: dict[str, bytes]) -> np.ndarray:
    if not isinstance(tensor, _Tensor):
        raise pickle.UnpicklingError(f"{name!r} is a {type(tensor).__name__}, no tensor")
    key, dtype, count, bits = tensor.storage
    stored = np.frombuffer(data[key], np.dtype(dtype).newbyteorder("<"), count)
    size = math.prod(tensor.shape)
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor[2], tensor[3], strict=True))
    if min(tensor.offset, *tensor.shape, *tensor.strides, 0) < 0 or (
        size > count or (size and last >= count)
    ):
        raise pickle.UnpicklingError(f"{name!r} lies outside of its numbers")
    strides = [stride * stored.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(stored[tensor.offset :], tensor.shape, strides)
    values = view.astype(dtype, order="C")
    return from_bfloat16(values) if bits else values


def _read_zip(file: IO[bytes]) -> tuple[Any, dict[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        members = {}
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:  # it could grow without bound
                raise pickle.UnpicklingError(f"{info.filename} is compressed")
            members[info.filename.partition("/")[2]] = info
        if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
            raise pickle.UnpicklingError("its numbers are not little-endian")
        with archive.open(members["data.pkl"]) as pickled:
            unpickler = _Unpickler(pickled)
            tensors = unpickler.load()
        data = {key: archive.read(members[f"data/{key}"]) for key in unpickler.storages}
    return tensors, data


def _read_legacy(file: IO[bytes]) -> tuple[Any, dict[str, bytes]]:
    """Five pickles: magic number, version, machine, tensors, storages' order; then the numbers."""
    if _Unpickler(file).load() != MAGIC:
        raise pickle.UnpicklingError("it does not begin as one")
    _Unpickler(file).load()
    if not _Unpickler(file).load()["little_endian"]:
        raise pickle.UnpicklingError("its numbers are not little-endian")
    unpickler = _Unpickler(file)
    tensors = unpickler.load()
    data = {}
    for key in _Unpickler(file).load():
        count = int.from_bytes(file.read(8), "little")
        storage = unpickler.storages[key]
        if count != storage.size:
            raise pickle.UnpicklingError(f"storage {key} has {count} numbers, not {storage.size}")
        data[key] = file.read(count * np.dtype(storage.dtype).itemsize)
    return tensors, data


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) in _CALLABLE:
            return _CALLABLE[module, name]
        if module == "torch" and (name in DTYPES or name == BFLOAT16):
            return partial(_no_storage, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no part of weights")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, _device, count, *_ = pid
        if kind != "storage" or not isinstance(storage, partial):
            raise pickle.UnpicklingError(f"it refers to a {kind!r}")
        bits = storage.args[0] == BFLOAT16
        dtype = np.uint16 if bits else DTYPES[storage.args[0]]
        return self.storages.setdefault(key, _Storage(key, dtype, count, bits))


def _no_storage(name: str, *_: Any) -> Any:
    raise pickle.UnpicklingError(f"it makes a {name} of its own")


def _rebuild_tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor has no numbers")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_CALLABLE: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}
