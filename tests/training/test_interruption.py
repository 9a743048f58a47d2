"""A training that is killed, again and again, ends where one that never was ends: bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cases import CASES, Case, assert_same_state
from zoo.training.runs import load_run

IDS = [case.id for case in CASES]
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def _run(case: Case, source: Path, out: Path, epochs: int, point: str, *whole: Path) -> int:
    command = [sys.executable, "-m", "tests.support.killed", case.id, source, out, epochs, point]
    command += whole
    return subprocess.run([str(part) for part in command], env=ENVIRONMENT, check=False).returncode


def _step(out: Path) -> int:
    """The latest checkpoint's step; 0 if there is none yet."""
    return int(load_run(out).step) if (out / "model.keras").exists() else 0


@pytest.fixture
def source(images: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "images.npz"
    np.savez(path, x_train=images, x_test=images[:10])
    return path


def _assert_same_run(found: Path, wanted: Path) -> None:
    """Weights, averages, slots, the step (which is the state of noise and data), and history."""
    assert_same_state(load_run(found), load_run(wanted))
    assert json.loads((found / "history.json").read_text()) == json.loads(
        (wanted / "history.json").read_text()
    )
    assert not [path for path in found.rglob("*") if ".scratch-" in path.name]
    samples = sorted(path.name for path in (found / "samples").iterdir())
    assert samples == sorted(path.name for path in (wanted / "samples").iterdir())


# A case a kill point: within an epoch, while writing, and between two files of a checkpoint.
@pytest.mark.parametrize(
    ("case", "point"),
    [
        pytest.param(CASES[0], "step:3", id="step", marks=pytest.mark.slow),
        pytest.param(CASES[4], "write:4", id="write"),
        pytest.param(CASES[5], "rename:6", id="rename", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_resumes_exactly(case: Case, point: str, source: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert _run(case, source, parts, 2, point, whole) == -signal.SIGKILL
    assert _step(parts) < 12
    assert _run(case, source, parts, 2, "never") == 0
    _assert_same_run(parts, whole)


@pytest.mark.slow
@pytest.mark.parametrize("case", [CASES[0], CASES[4]], ids=[IDS[0], IDS[4]])
def test_many_kills(case: Case, source: Path, tmp_path: Path) -> None:
    """Twelve random kills of one run, at steps, in writes and at any time, then to the end."""
    epochs, whole, parts = 30, tmp_path / "whole", tmp_path / "parts"
    assert _run(case, source, whole, epochs, "never") == 0
    rng = random.Random(0)  # noqa: S311
    kills = 0
    while kills < 12:
        step = _step(parts) + rng.randint(1, 5)
        assert step < 6 * epochs, "the run ended before it was killed often enough"
        point = rng.choice([f"step:{step}", f"write:{step}", f"rename:{step}",
                            f"time:{rng.uniform(0.0, 1.5):.3f}"])  # fmt: skip
        assert _run(case, source, parts, epochs, point) == -signal.SIGKILL, point
        kills += 1
    assert _run(case, source, parts, epochs, "never") == 0
    _assert_same_run(parts, whole)
