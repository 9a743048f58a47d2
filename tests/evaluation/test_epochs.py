"""Metrics while a model trains: recorded, resumed, and without a trace in the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tensorflow.python.summary.summary_iterator import summary_iterator

import zoo
from tests.support.replicas import replicated
from zoo import metrics
from zoo.evaluation import EpochMetrics
from zoo.evaluation.named import evaluate_named
from zoo.metrics import features
from zoo.training.measuring import MeasuringCallback

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
PROJECTION = np.random.default_rng(1).normal(size=(64, 4)).astype(np.float32)
NAMES = ["fid50_full", "pr40_test"]


@pytest.fixture(autouse=True)
def projection(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(images: Any) -> np.ndarray:
        return np.asarray(images).reshape(-1, 64) @ PROJECTION

    extractor = metrics.FeatureExtractor("projection", 4, None, look)
    monkeypatch.setitem(features._factories, "projection", lambda: extractor)


def _measured(*names: str, every: int = 1) -> EpochMetrics:
    return EpochMetrics(list(names) or NAMES, PIXELS, every=every, extractor="projection")


def _gan(**options: Any) -> Any:
    keras.utils.set_random_seed(0)
    model = zoo.create("dcgan", (8, 8, 1), 2, network="mlp", ema=0.9, **options)
    model.compile()
    return model


def _train(model: Any, out: Path, *callbacks: Any, epochs: int = 4, **options: Any) -> None:
    zoo.train(
        model, PIXELS, out, epochs=epochs, batch_size=20, callbacks=callbacks, verbose=0, **options
    )


def _history(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "history.json").read_text())


def _assert_equal_states(one: Any, other: Any) -> None:
    for a, b in zip(one.state_variables, other.state_variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=a.path)


@pytest.mark.slow
def test_a_run_with_metrics(tmp_path: Path) -> None:
    """It stops after an epoch and goes on; its state is bitwise that of a run without metrics.

    The schedule continues and the best is kept; without its metrics the run does not go on.
    """
    plain, run = _gan(), tmp_path / "run"
    _train(plain, tmp_path / "plain")
    _train(_gan(), run, _measured(every=2), epochs=3, best="fid50_full")
    with pytest.raises(ValueError, match=r"measures fid50_full, pr40_test while it trains"):
        zoo.resume(run, epochs=4, source=PIXELS, verbose=0)
    stored = EpochMetrics.of_run(run, PIXELS)
    assert stored is not None
    assert stored.settings == _measured(every=2).settings
    model = zoo.resume(run, epochs=4, source=PIXELS, callbacks=[stored], verbose=0)
    _assert_equal_states(model, plain)

    history = _history(run)
    assert ["fid50_full" in entry for entry in history] == [False, True, False, True]
    last = evaluate_named(model, PIXELS, NAMES, extractor="projection")["metrics"]
    for name, value in last.items():
        assert history[-1][name] == pytest.approx(value, rel=1e-6)
    fids = {entry["step"]: entry["fid50_full"] for entry in history if "fid50_full" in entry}
    recalls = [entry.get("pr40_test_recall", -1.0) for entry in history]
    assert history[-1]["best_fid50_full"] == min(fids.values())
    assert history[-1]["best_pr40_test_recall"] == max(recalls)
    best = zoo.load_run(run / "best.keras")
    assert best.steps_done == min(fids, key=lambda step: fids[step])

    tags = {
        value.tag
        for file in (run / "logs").glob("*")
        for event in summary_iterator(str(file))
        for value in event.summary.value
    }
    assert {"fid50_full", "best_fid50_full", "pr40_test_precision", "samples"} <= tags
    zoo.evaluation.write_report([run], tmp_path / "x.html")
    assert "best fid50 full" in (tmp_path / "x.html").read_text()


def test_what_was_not_measured_is_refused_before_training(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ValueError, match=r"best='fid5k_test': it is not measured.*EpochMetrics"):
        _train(_gan(), out, best="fid5k_test")
    with pytest.raises(ValueError, match="pr40_test_recal.*pr40_test_recall"):
        _train(_gan(), out, _measured(), best="pr40_test_recal")
    with pytest.raises(ValueError, match="measured every 5 epochs, and training ends after 4"):
        _train(_gan(), out, _measured(every=5))
    with pytest.raises(ValueError, match="two of them measure fid50_full"):
        _train(_gan(), out, _measured(), _measured())
    with pytest.raises(ValueError, match="ifid50_test is measured of conditional models"):
        _train(_gan(), out, _measured("ifid50_test"))
    for option in ("extractor_weights", "resize"):
        given = EpochMetrics(["fid9_test"], PIXELS, extractor="projection", **{option: "/x"})
        assert given.settings[f"metric_{option}"] == "/x"
        with pytest.raises(ValueError, match="='/x': the extractor projection has no choice"):
            _train(_gan(), out, given)
    with pytest.raises(ValueError, match="cas50_test trains a classifier"):
        _measured("cas50_test")
    with pytest.raises(ValueError, match="every=0"):
        _measured(every=0)
    with pytest.raises(ValueError, match="expected at least one name"):
        EpochMetrics([], PIXELS)
    assert not out.exists()


@pytest.mark.slow
def test_in_fit() -> None:
    found = _gan().fit(
        PIXELS / np.float32(255), batch_size=20, epochs=4, callbacks=[_measured(every=2)], verbose=0
    )
    assert len(found.history["fid50_full"]) == 2


@pytest.mark.slow
def test_replicas(tmp_path: Path) -> None:
    """Figures of two replicas are those of one."""
    for n in (1, 2):
        with replicated(n).scope():
            model = _gan()
        _train(model, tmp_path / str(n), _measured(), epochs=1)
    one, two = (_history(tmp_path / str(n))[-1] for n in (1, 2))
    assert two["fid50_full"] == pytest.approx(one["fid50_full"], rel=1e-3)


@pytest.mark.slow
def test_a_callback_of_ones_own(tmp_path: Path) -> None:
    class Step(MeasuringCallback):
        directions = {"step_done": True}  # noqa: RUF012

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["step_done"] = self.model.steps_done

    _train(_gan(), tmp_path / "run", Step(), epochs=2, best="step_done")
    assert zoo.load_run(tmp_path / "run" / "best.keras").steps_done == 6
