"""PyTorch's files against PyTorch; what else a pickle may hold is refused and never run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from zoo.io.torch_files import DTYPES, read_state_dict

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def _save(value: Any, path: Path, *, zipped: bool) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


@FORMATS
def test_state_dicts_are_read_as_pytorch_reads_them(tmp_path: Path, zipped: bool) -> None:
    """Views of one storage, transposed ones, scalars and empty tensors too."""
    base = torch.arange(24, dtype=torch.float32)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.BatchNorm2d(2))
    state = OrderedDict(
        module.state_dict(),
        transposed=base.view(4, 6).T,
        part=base[5:9],
        scalar=torch.tensor(3.5, dtype=torch.float64),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.ones(2)),
        brain=torch.linspace(-3, 3, 7, dtype=torch.bfloat16)[1:].reshape(2, 3).T,
        **{
            name: torch.ones(3, dtype=getattr(torch, np.dtype(dtype).name))
            for name, dtype in DTYPES.items()
        },
    )
    path = _save(state, tmp_path / "weights.pth", zipped=zipped)
    found = read_state_dict(path)
    assert list(found) == list(state)
    for name, tensor in torch.load(path, weights_only=True).items():
        exact = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        wanted = exact.detach().numpy()
        assert found[name].dtype == wanted.dtype, name
        np.testing.assert_array_equal(found[name], wanted, err_msg=name)


class _Command:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@FORMATS
def test_code_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    mark = tmp_path / "mark"
    state = {"weight": torch.ones(2), "more": _Command(f"touch {mark}")}
    path = _save(state, tmp_path / "weights.pth", zipped=zipped)
    with pytest.raises(ValueError, match=r"weights\.pth.*names \w+\.system"):
        read_state_dict(path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(_Command(f"touch {mark}")))  # noqa: S301  (it would have run)
    assert mark.exists()


@FORMATS
def test_other_things_are_refused(tmp_path: Path, zipped: bool) -> None:
    for i, (value, message) in enumerate(
        [
            (torch.nn.Linear(2, 2), r"names torch\.nn"),
            ([torch.ones(2)], "a list, no dictionary"),
            ({"epoch": 3}, "'epoch' is a int, no tensor"),
            ({"inner": {"weight": torch.ones(2)}}, "'inner' is a dict, no tensor"),
        ]
    ):
        path = _save(value, tmp_path / f"{i}.pth", zipped=zipped)
        with pytest.raises(ValueError, match=message):
            read_state_dict(path)


@FORMATS
def test_damaged_files_are_refused(tmp_path: Path, zipped: bool) -> None:
    path = _save({"weight": torch.ones(500)}, tmp_path / "weights.pth", zipped=zipped)
    content = path.read_bytes()
    damaged = tmp_path / "damaged.pth"
    for cut in (0, 10, 300, len(content) - 300):
        damaged.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"damaged\.pth is not a file of PyTorch weights"):
            read_state_dict(damaged)
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "absent.pth")


def _repacked(path: Path, out: Path, **options: Any) -> Path:
    """The archive with another `data.pkl`, or compressed."""
    pickled = options.pop("pickled", None)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", **options) as new:
        for name in old.namelist():
            replaced = pickled if pickled and name.endswith("data.pkl") else old.read(name)
            new.writestr(name, replaced)
    return out


def test_tensors_do_not_reach_outside_of_their_numbers(tmp_path: Path) -> None:
    path = _save({"weight": torch.ones(4)}, tmp_path / "weights.pth", zipped=True)

    class Tensor:
        def __init__(self, *view: Any) -> None:
            self.view = view

        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (_Numbers(), *self.view, False, OrderedDict())

    class _Numbers:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, _Numbers):
                return ("storage", torch.FloatStorage, "0", "cpu", 4)
            return None

    views = [
        (1, (4,), (1,)),
        (-1, (2,), (1,)),
        (0, (2,), (9,)),
        (0, (2**32, 2**32), (0, 0)),
        (3, (2,), (-1,)),
    ]
    for view in views:
        made = io.BytesIO()
        Pickler(made, protocol=2).dump({"weight": Tensor(*view)})
        out = _repacked(path, tmp_path / "out.pth", pickled=made.getvalue())
        with pytest.raises(ValueError, match="outside of its numbers"):
            read_state_dict(out)
    compressed = _repacked(path, tmp_path / "small.pth", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="is compressed"):
        read_state_dict(compressed)
