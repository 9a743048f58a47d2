"""Files are whole or absent: scratch of processes that were killed, and a full disk."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from export import export_model
from tests.support.full_disk import full_disk
from tests.support.process import process_of
from zoo.io import files
from zoo.io.files import replacing
from zoo.io.records import read_json, write_json
from zoo.presets import save_preset
from zoo.training.loop import train
from zoo.training.runs import save_run

WRITING = """
import sys, time
from zoo.io.files import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.mkdir()
    (temporary / "half").write_bytes(b"1")
    print("there", flush=True)
    time.sleep(600)
"""


def _scratch(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if files.SCRATCH in path.name]


def test_scratch_of_killed_processes_is_removed(tmp_path: Path) -> None:
    """And of no living one, nor anything else of such a name."""
    (tmp_path / ".file.scratch-x").write_bytes(b"1")
    (tmp_path / ".link.scratch-x").symlink_to(tmp_path)
    (tmp_path / ".old.scratch-x").mkdir()  # of a version without locks
    (tmp_path / ".old.scratch-x" / "old").write_bytes(b"1")
    with process_of(WRITING, tmp_path / "export") as process:
        write_json(tmp_path / "x.json", {})
        (living,) = [path for path in _scratch(tmp_path) if path.name.startswith(".export")]
        assert (living / "export" / "half").exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert living.exists()
    write_json(tmp_path / "x.json", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".file.scratch-x", ".link.scratch-x", "x.json",
    ]  # fmt: skip


def test_many_write_one_file(tmp_path: Path) -> None:
    """Each sees the others' scratch while it comes and goes, and removes none of it."""
    faults: list[Exception] = []

    def write(number: int) -> None:
        try:
            for _ in range(25):
                write_json(tmp_path / "x.json", [number] * 100)
                assert len(read_json(tmp_path / "x.json")) == 100
        except Exception as error:  # noqa: BLE001  (whatever it is)
            faults.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_folder_that_another_wrote_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="x was written by another process meanwhile"):  # noqa: PT012, SIM117
        with replacing(tmp_path / "x") as temporary:
            temporary.mkdir()
            (tmp_path / "x").mkdir()
            (tmp_path / "x" / "theirs").write_bytes(b"1")
    assert [path.name for path in tmp_path.rglob("*")] == ["x", "theirs"]


def _model() -> Any:
    keras.utils.set_random_seed(0)
    return zoo.create("vae", (8, 8, 1), 3, network="mlp")


def test_a_full_disk_leaves_nothing_half_written(images: np.ndarray, tmp_path: Path) -> None:
    model = _model()
    model.compile()
    out, preset, table = (tmp_path / name for name in ("run", "preset", "table.json"))
    with full_disk(3000):
        with pytest.raises(OSError, match=r"run/model\.keras could not be written, and nothing"):
            save_run(model, out, {})
        with pytest.raises(OSError, match=r"step_00000000\.keras could not be written"):
            train(model, images, out, epochs=1, batch_size=20, verbose=0)
        with pytest.raises(OSError, match="preset could not be written, and nothing"):
            save_preset(model, preset)
        with pytest.raises(OSError, match=r"table\.json could not be written.*Free some space"):
            write_json(table, list(range(1000)))
        with pytest.raises(OSError, match="saved/1 could not be written, and nothing"):
            export_model(model, tmp_path / "saved", format="saved_model", functions=["generate"])
        # NumPy says only how much it wrote.
        with (
            pytest.raises(OSError, match=r"x\.npy could not be written.*No space left"),
            replacing(tmp_path / "x.npy") as scratch,
        ):
            np.save(scratch, np.zeros(2000))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "scratch"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Can't close file (errno = 28, error message = 'No space left on device')"),
    ],
)
def test_whoever_says_that_the_disk_is_full(error: Exception, tmp_path: Path) -> None:
    """HDF5 raises RuntimeError, TensorFlow its own; nested folders are named by the outermost."""
    with pytest.raises(  # noqa: PT012, SIM117
        OSError, match="a could not be written, and nothing of it was kept"
    ) as found:
        with replacing(tmp_path / "a") as outer:
            outer.mkdir()
            with replacing(outer / "b"):
                raise error
    assert files.SCRATCH not in str(found.value)
    assert not list(tmp_path.iterdir())


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    """Nor is /dev/null, in whose place a rename would put a file."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="device or a pipe"), replacing(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()
    assert len(list(tmp_path.iterdir())) == 1
