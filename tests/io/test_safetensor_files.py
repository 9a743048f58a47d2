"""Files of safetensors: what is written is read; what is damaged is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from zoo.io.safetensor_files import DTYPES, SafeTensors, write_safetensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _file(path: Path, header: Any, numbers: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    return path


def _entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """All types, a scalar, an empty array and a transposed one."""
    rng = np.random.default_rng(0)
    arrays = {
        name: (100 * rng.random((2, 3))).astype(dtype)
        for name, dtype in DTYPES.items()
        if name != "BF16"
    }
    arrays |= {
        "scalar": np.float32(2.5),
        "empty": np.zeros((0, 3), np.float16),
        "turned": np.arange(6.0).reshape(2, 3).T,
    }
    path = tmp_path / "weights.safetensors"
    write_safetensors(path, arrays)
    found = SafeTensors(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found.shape(name) == array.shape, name
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0  # as the authors align it


def test_the_format_as_its_page_has_it(tmp_path: Path) -> None:
    """Bytes by hand, in an order of their own; bfloat16 is the upper half of float32."""
    one = np.float32([1.0, -2.5, 3.140625]).view(np.uint32) >> 16
    numbers = np.float16([7.0]).tobytes() + one.astype("<u2").tobytes()
    header = {
        "b": _entry("BF16", [3], 2, 8),
        "__metadata__": {"format": "pt"},
        "a": _entry("F16", [1, 1], 0, 2),
    }
    found = SafeTensors(_file(tmp_path / "x.safetensors", header, numbers))
    assert found["b"].dtype == np.float32
    assert found["b"].tolist() == [1.0, -2.5, 3.140625]
    assert found["a"].tolist() == [[7.0]]


def test_an_array_is_read_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    fromfile = np.fromfile

    def noted(path: Any, dtype: Any, count: int, offset: int) -> Any:
        read.append(count)
        return fromfile(path, dtype, count, offset=offset)

    monkeypatch.setattr(np, "fromfile", noted)
    write_safetensors(tmp_path / "x", {"a": np.zeros(3, np.float32), "b": np.ones(5, np.float32)})
    found = SafeTensors(tmp_path / "x")
    assert (len(found), found.shape("b"), read) == (2, (5,), [])
    assert found["b"].tolist() == [1.0] * 5
    assert read == [5]


FOUR = np.float32([1.0]).tobytes()
DAMAGES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty": (lambda path: _file(path, b"", b""), "Expecting value"),
    "no length": (lambda path: path.write_bytes(b"abc") and path, "a header of"),
    "huge header": (
        lambda path: path.write_bytes((1 << 60).to_bytes(8, "little")) and path,
        "a header of 1,152,921",
    ),
    "no object": (lambda path: _file(path, [1], b""), "is a list, no object"),
    "no entry": (lambda path: _file(path, {"a": {"dtype": "F32"}}, b""), "shape"),
    "cut short": (
        lambda path: _file(path, {"a": _entry("F32", [2], 0, 8)}, FOUR),
        r"it has \d+ bytes; expected \d+\. Copy or download it again",
    ),
    "too long": (
        lambda path: _file(path, {"a": _entry("F32", [1], 0, 4)}, FOUR + FOUR),
        r"it has \d+ bytes; expected",
    ),
    "gap": (
        lambda path: _file(path, {"a": _entry("F32", [1], 4, 8)}, FOUR + FOUR),
        "'a' begins at byte",
    ),
    "overlap": (
        lambda path: _file(
            path, {"a": _entry("F32", [1], 0, 4), "b": _entry("F32", [1], 0, 4)}, FOUR
        ),
        "'b' begins at byte",
    ),
    "shape": (
        lambda path: _file(path, {"a": _entry("F32", [2], 0, 4)}, FOUR),
        r"'a' has 4 bytes; expected 8 for \[2\]",
    ),
    "negative": (
        lambda path: _file(path, {"a": _entry("F32", [-1], 0, -4)}, FOUR),
        r"'a' has shape \[-1\]",
    ),
    "type": (
        lambda path: _file(path, {"a": _entry("F8_E4M3", [4], 0, 4)}, FOUR),
        "'a' is of type 'F8_E4M3'; expected one of F64, ",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damages_are_named(name: str, tmp_path: Path) -> None:
    damage, message = DAMAGES[name]
    path = damage(tmp_path / "x.safetensors")
    assert path is not True
    with pytest.raises(ValueError, match=f"x.safetensors is no file of safetensors.*{message}"):
        SafeTensors(tmp_path / "x.safetensors")
