"""A lock is held by one living process."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from tests.support.process import process_of
from zoo.cli import main
from zoo.io import files
from zoo.io.locks import locked
from zoo.io.records import write_json
from zoo.training.loop import train
from zoo.training.runs import save_run

HOLDING = """
import sys, time
from zoo.io.locks import locked
with locked(sys.argv[1]):
    print("there", flush=True)
    time.sleep(600)
"""


def test_a_lock_is_of_one_living_process(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    with process_of(HOLDING, folder) as process:
        with pytest.raises(  # noqa: SIM117
            BlockingIOError, match=rf"run is being written by process {process.pid} on"
        ):
            with locked(folder):
                pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with locked(folder):
        assert f"process {os.getpid()} on " in (folder / files.LOCK).read_text()
    assert not list(folder.iterdir())


def test_a_lock_leaves_no_folder_behind(tmp_path: Path) -> None:
    with locked(tmp_path / "new" / "run"):
        pass
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file/run cannot be written: it or a folder of it is a file"):  # noqa: SIM117
        with locked(tmp_path / "file" / "run"):
            pass
    with pytest.raises(OSError, match=r"file/x\.json cannot be written: it or a folder"):
        write_json(tmp_path / "file" / "x.json", {})


def test_a_second_training_is_refused_before_it_writes(
    images: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = _model()
    model.compile()
    with locked(tmp_path / "run"):
        with pytest.raises(
            BlockingIOError, match=rf"run is being written by process {os.getpid()}"
        ):
            train(model, images, tmp_path / "run", epochs=1, batch_size=20, verbose=0)
        with pytest.raises(BlockingIOError, match="run is being written by"):
            save_run(model, tmp_path / "run", {})
        np.savez(tmp_path / "x.npz", x_train=images, x_test=images[:9])
        with pytest.raises(SystemExit):
            main([
                "train", "vae", "--data", str(tmp_path / "x.npz"), "--out", str(tmp_path / "run"),
                "--epochs", "1", "--batch-size", "20", "--option", "network=mlp",
            ])  # fmt: skip
        assert f"is being written by process {os.getpid()}" in capsys.readouterr().err
        assert [path.name for path in (tmp_path / "run").iterdir()] == [files.LOCK]
    model.fit(images, batch_size=20, epochs=1, verbose=0)
    with pytest.warns(UserWarning, match="nothing is trained"):
        assert train(model, images, tmp_path / "run", epochs=1, batch_size=20)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def _model() -> Any:
    keras.utils.set_random_seed(0)
    return zoo.create("vae", (8, 8, 1), 3, network="mlp")
