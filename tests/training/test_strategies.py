"""Choosing a strategy, clusters, and training under several workers from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from zoo.training import strategies, strategy
from zoo.training.launch import _free_ports, launch

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "images.npz"
    images = rng.random((96, 8, 8, 1), np.float32)
    np.savez(path, x_train=images, x_test=images[:40])
    return path


def _command(source: Path, out: Path, *options: object) -> list[str]:
    return [
        *(sys.executable, "-m", "zoo", "train", "vae", "--network", "mlp", "--latent-dim", "4"),
        *("--data", str(source), "--out", str(out), "--batch-size", "16"),
        *map(str, options),
    ]


def _history(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "history.json").read_text())


def test_names() -> None:
    assert strategy("none").num_replicas_in_sync == 1
    assert strategy("auto").num_replicas_in_sync == 1  # no GPU here
    assert strategy("mirrored").num_replicas_in_sync == 1
    assert strategy("auto", replicas=3).num_replicas_in_sync == 3
    for name, options, message in (
        ("mirorred", {}, "'mirorred': expected one of"),
        ("mirrored", {"replicas": 0}, "replicas=0"),
        ("none", {"replicas": 2}, "replicas=2 with strategy='none'"),
        ("mirrored", {"replicas": 9}, "replicas=9: choose the strategy before"),
        ("multi-worker", {}, "Set TF_CONFIG, start with srun, or"),
    ):
        with pytest.raises(ValueError, match=message):
            strategy(name, **options)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "TF_CONFIG='{': expected a JSON object"),
        ("[]", "expected a JSON object"),
        ('{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "type 'ps'"),
    ],
)
def test_bad_clusters(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(ValueError, match=message):
        strategy()


def test_slurm_ranks_follow_the_node_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 2 is on node10, though "node10" sorts before "node9"."""
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node[9-10]")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "2,1")
    monkeypatch.setenv("SLURM_PROCID", "2")
    resolver = strategies._cluster()
    assert resolver.cluster_spec().as_dict() == {
        "worker": ["node9:12355", "node9:12356", "node10:12355"]
    }
    assert (resolver.task_type, resolver.task_id) == ("worker", 2)


@pytest.mark.slow
def test_a_lone_worker_gives_up() -> None:
    port, other = _free_ports(2)
    cluster = {"worker": [f"localhost:{port}", f"localhost:{other}"]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
    code = "from zoo.training import strategy; strategy(start_timeout=3)"
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], env={**ENVIRONMENT, "TF_CONFIG": json.dumps(config)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert f"after 3 s; no answer from localhost:{other}." in done.stderr
    assert time.monotonic() - begun < 60


@pytest.mark.slow
def test_workers_train_as_one_device(source: Path, tmp_path: Path, capsys: Any) -> None:
    """`zoo launch 2 train` and `zoo train` come to the same history; only the chief writes."""
    options = ["--epochs", 2, "--validation", "test", "--best", "val_loss"]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    try:
        assert launch(2, _command(source, tmp_path / "two", *options)) == 0
    finally:
        del os.environ["TMPDIR"]
    printed = capsys.readouterr().out
    assert "[worker 0] 16 images per update: 8 on each of 2 replicas of 2 workers." in printed
    assert "[worker 1] epoch" not in printed
    assert not list(temporary.iterdir())
    subprocess.run(_command(source, tmp_path / "one", *options), env=ENVIRONMENT, check=True)
    found, wanted = _history(tmp_path / "two"), _history(tmp_path / "one")
    assert [entry["step"] for entry in found] == [6, 12]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-4)
    names = [{p.relative_to(tmp_path / run) for p in (tmp_path / run).rglob("*")
              if "logs" not in p.parts} for run in ("one", "two")]  # fmt: skip
    assert names[0] == names[1]
    config = json.loads((tmp_path / "two" / "config.json").read_text())
    assert (config["strategy"], config["replicas"], config["workers"]) == ("multi-worker", 2, 2)


@pytest.mark.slow
def test_slurm_workers(source: Path, tmp_path: Path) -> None:
    """Two tasks of a SLURM step on one node, as srun starts them."""
    step = {
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": "2",
    }
    tasks = [
        subprocess.Popen(
            _command(source, tmp_path / "run", "--epochs", 1),
            env={**ENVIRONMENT, **step, "SLURM_PROCID": str(rank)},
        )
        for rank in range(2)
    ]
    assert [task.wait(timeout=120) for task in tasks] == [0, 0]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["workers"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "restarted"),
    [
        (0, False),
        pytest.param(0, True, marks=pytest.mark.slow),
        pytest.param(1, True, marks=pytest.mark.slow),
    ],
)
def test_a_killed_worker_ends_the_run(
    source: Path, tmp_path: Path, victim: int, restarted: bool
) -> None:
    """Mid-epoch, without warning: the other says so and ends; restarting both resumes."""
    out = tmp_path / "run"
    addresses = [f"localhost:{port}" for port in _free_ports(2)]
    workers = [
        subprocess.Popen(
            _command(source, out, "--epochs", 5000, "--checkpoint-every", 4),
            env={**ENVIRONMENT, "TF_CONFIG": json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}}
            )},
            stderr=subprocess.PIPE, text=True,
        )
        for i in range(2)
    ]  # fmt: skip
    try:
        _wait_for(lambda: (out / "history.json").exists() and len(_history(out)) >= 1)
        workers[victim].kill()
        _, message = workers[1 - victim].communicate(timeout=60)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert workers[1 - victim].returncode == 1
    assert "Error: Lost a worker after step" in message
    assert "Start all workers again with --resume" in message
    if not restarted:
        return
    epochs = len(_history(out))
    command = [*_command(source, out, "--epochs", epochs + 1), "--resume"]
    assert launch(2, command) == 0
    history = _history(out)
    assert [entry["epoch"] for entry in history] == list(range(1, len(history) + 1))
    assert len(history) >= epochs + 1


def _wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_launch_reports_failure(capsys: Any) -> None:
    code = "import os, sys, json; i = json.loads(os.environ['TF_CONFIG'])['task']['index']; "
    assert launch(2, [sys.executable, "-c", code + "print('here', i); sys.exit(3 * i)"]) == 3
    assert {"[worker 0] here 0", "[worker 1] here 1"} <= set(capsys.readouterr().out.splitlines())
    with pytest.raises(ValueError, match="workers=1"):
        launch(1, ["true"])


def test_chief_and_description() -> None:
    assert strategies.is_chief(tf.distribute.get_strategy())
    assert strategies.describe(tf.distribute.get_strategy()) == {
        "strategy": "none", "replicas": 1, "workers": 1,
    }  # fmt: skip
