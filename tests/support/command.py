"""The `zoo` command, as a user types it, and the run folders that it leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from zoo.cli import main


def run_zoo(*arguments: object) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0


def fails(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code != 0
    return capsys.readouterr().err


def config_of(run: Path) -> dict:
    return json.loads((run / "config.json").read_text())


def images_of(run: Path) -> np.ndarray:
    from zoo.training.runs import load_run

    return load_run(run).generate(50, seed=3)


def copy_of(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to / run.name))
