"""`--tracker`: each tracker's own callback, offline. Skipped where its package is absent."""

from __future__ import annotations

import importlib.util
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.command import fails, run_zoo
from zoo.training import trackers


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).random((20, 8, 8, 1)).astype(np.float32))
    return [
        "train", "gan", "--data", "x.npy", "--out", "runs/mine", "--epochs", 2, "--batch-size", 10,
        "--network", "mlp", "--latent-dim", 2,
    ]  # fmt: skip


def _history() -> list[dict[str, float]]:
    return json.loads(Path("runs/mine/history.json").read_text())


def test_an_absent_or_unknown_tracker(
    command: list[Any], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """It is answered before anything is written."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        trackers.importlib.util, "find_spec", lambda name: None if name == "wandb" else find(name)
    )
    assert "pip install 'vaegan-zoo[wandb]'" in fails(capsys, *command, "--tracker", "wandb")
    said = fails(capsys, *command, "--tracker", "wanda")
    assert "tracker='wanda': expected one of wandb, mlflow." in said
    assert not Path("runs").exists()


def test_weights_and_biases_offline(command: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file holds the figures of history.json, and config.json."""
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run_zoo(*command, "--tracker", "wandb")
    assert wandb.run is None  # it has ended
    (file,) = Path("wandb").glob("offline-run-*/*.wandb")
    records = _records(file)
    (begun,) = (each.run for each in records if each.WhichOneof("record_type") == "run")
    assert begun.display_name == "mine"
    config = {each.key: json.loads(each.value_json) for each in begun.config.update}
    assert (config["model"], config["batch_size"]) == ("gan", 10)
    logged = [
        {
            each.key or each.nested_key[0]: json.loads(each.value_json)
            for each in record.history.item
        }
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    for values, entry in zip(logged, _history(), strict=True):
        assert values["epoch/epoch"] == entry["epoch"] - 1
        assert values["epoch/learning_rate"] == pytest.approx(2e-4)
        for name in ("generator_loss", "discriminator_loss", "real_logit", "fake_logit"):
            assert values[f"epoch/{name}"] == entry[name]


def _records(file: Path) -> list[Any]:
    """What a file of Weights & Biases holds: LevelDB's log format, behind 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    content, place, block, whole = file.read_bytes(), 7, 32768, b""
    records = []
    while place < len(content):
        if (left := block - place % block) < 7:  # no header fits in
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(wandb_internal_pb2.Record.FromString(whole))
            whole = b""
    return records


def test_mlflow_in_files(command: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", Path("mlruns").resolve().as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    run_zoo(*command, "--tracker", "mlflow")
    assert mlflow.active_run() is None
    client = mlflow.MlflowClient(Path("mlruns").resolve().as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("Default").experiment_id])
    assert (run.info.run_name, run.info.status) == ("mine", "FINISHED")
    assert run.data.params["batch_size"] == "10"
    assert run.data.params["model"] == "gan"
    for name in ("generator_loss", "discriminator_loss"):
        values = [each.value for each in client.get_metric_history(run.info.run_id, name)]
        assert values == [entry[name] for entry in _history()]
