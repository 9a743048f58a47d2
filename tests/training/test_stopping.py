"""When training ends: a number of steps or images, minutes, and patience."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from tests.cases import assert_same_state
from zoo.training import MaxMinutes, measuring, stopping
from zoo.training.run_files import read_config

BATCH = 10  # six steps per epoch


@pytest.fixture
def source(images: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "images.npz"
    np.savez(path, x_train=images, x_test=images[:10])
    return path


def _new(name: str = "vae", **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    model = zoo.create(name, (8, 8, 1), 2, network="mlp", **options)
    model.compile()
    return model


def _train(model: Any, source: Path, out: Path, **options: Any) -> bool:
    return zoo.train(model, source, out, **{"batch_size": BATCH, "verbose": 0, **options})


@pytest.fixture(scope="module")
def fresh() -> Any:
    """A model that no test trains."""
    return _new()


def _history(run: Path) -> list[dict[str, Any]]:
    return json.loads((run / "history.json").read_text())


class _Interrupt(keras.callbacks.Callback):
    """Ctrl-C at a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.model.steps_done == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_ends_within_an_epoch(source: Path, tmp_path: Path) -> None:
    """At step 8, with a validation; from there on to the state and history of two epochs."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    straight = _new()
    assert _train(straight, source, whole, epochs=2, validation="test")
    model = _new()
    assert _train(model, source, parts, images=75, validation="test")
    assert model.steps_done == 8  # ⌈75 / 10⌉
    assert [(entry["epoch"], entry["step"]) for entry in _history(parts)] == [(1, 6), (2, 8)]
    assert (parts / "samples" / "epoch_0002.png").exists()
    assert (read_config(parts)["epochs"], read_config(parts)["steps"]) == (2, 8)
    assert_same_state(zoo.resume(parts, steps=12, verbose=0), straight)
    first, _, last = _history(parts)
    assert [first, last] == _history(whole)  # the means of the epoch span both of its parts


@pytest.mark.slow
def test_time_that_is_over(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At step 8, by a clock that tells the steps; with a validation at the stop."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    straight = _new()
    assert _train(straight, source, whole, epochs=2, validation="test")
    model = _new()
    monkeypatch.setattr(stopping.time, "monotonic", lambda: 60.0 * model.steps_done)
    assert not _train(model, source, parts, epochs=2, validation="test", callbacks=[MaxMinutes(8)])
    monkeypatch.undo()
    assert zoo.load_run(parts).steps_done == 8
    assert len(_history(parts)) == 1
    assert_same_state(zoo.resume(parts, epochs=2, verbose=0), straight)
    assert _history(parts) == _history(whole)


def test_the_clock(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = MaxMinutes(0.5)
    clock.set_model(fresh)
    for after, over in ((29.9, False), (30.0, True)):
        fresh.stop_training = False
        now = clock.end - 30 + after
        monkeypatch.setattr(stopping.time, "monotonic", lambda now=now: now)
        clock.on_train_batch_end(0)
        assert clock.over is fresh.stop_training is over


@pytest.mark.slow
def test_a_step_sees_several_batches(source: Path, tmp_path: Path) -> None:
    """Of n_critic minibatches; and a short run may end in its first epoch."""
    model = _new("wgan_gp", n_critic=2)
    assert _train(model, source, tmp_path / "run", images=41)
    assert model.steps_done == 3
    assert [entry["step"] for entry in _history(tmp_path / "run")] == [3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no length: expected one of epochs, steps and images"),
        ({"epochs": 1, "steps": 6}, "epochs=1 and steps=6: expected one of"),
        ({"steps": 0}, "steps=0: expected at least 1"),
        ({"images": 2.5}, "images=2.5: expected a whole number"),
        ({"epochs": 3, "patience": 2}, "patience=2: epochs without a better value of what"),
        ({"epochs": 3, "patience": 0, "best": "loss"}, "patience=0: expected a number of epochs"),
    ],
)
def test_wrong_lengths(
    options: dict[str, Any], words: str, fresh: Any, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        _train(fresh, source, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_steps_that_do_not_divide(fresh: Any, source: Path, tmp_path: Path) -> None:
    model = fresh
    model.compile(steps_per_execution=3, decay_steps=7)
    with pytest.raises(ValueError, match=r"does not divide the 8 steps in all. Take 6 or 9 steps"):
        _train(model, source, tmp_path / "run", steps=8)
    with pytest.raises(ValueError, match="steps=9: the learning rate falls to 0 in 7 steps"):
        _train(model, source, tmp_path / "run", steps=9)
    assert not (tmp_path / "run").exists()
    model.compile()


def test_time_is_of_this_process() -> None:
    for minutes in (0, -1, float("nan"), float("inf"), "5", True):
        with pytest.raises(ValueError, match="expected a number of minutes, more than 0"):
            MaxMinutes(minutes)  # type: ignore[arg-type]
    assert 59 < MaxMinutes(1).end - time.monotonic() <= 60


def test_several_workers_have_several_clocks(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.core.replicas.is_multi_worker", lambda strategy: True)
    with pytest.raises(ValueError, match="clocks of several workers cannot agree on a step"):
        stopping.check(fresh, [MaxMinutes(1)])


class _Figures(measuring.MeasuringCallback):
    """Figures of epochs, as they are told."""

    directions = MappingProxyType({"score": True})

    def __init__(self, *figures: float | None) -> None:
        super().__init__()
        self.figures = figures

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.figures[epoch] is not None:
            logs["score"] = self.figures[epoch]


@pytest.mark.slow
def test_patience_counts_across_stops(source: Path, tmp_path: Path) -> None:
    """Higher is better: epoch 2 is the best, and the fourth that measures is two epochs later."""
    figures = (1.0, 3.0, 3.0, 2.0, 9.0)
    options = {"epochs": 5, "best": "score", "patience": 2, "validation": "test"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    straight = _new()
    assert _train(straight, source, whole, callbacks=[_Figures(*figures)], **options)
    assert straight.steps_done == 24
    stop = [_Figures(*figures), _Interrupt(20)]
    assert not _train(_new(), source, parts, callbacks=stop, **options)
    went_on = zoo.resume(parts, epochs=5, callbacks=[_Figures(*figures)], verbose=0)
    assert_same_state(went_on, straight)
    assert _history(parts) == _history(whole)
    again = zoo.resume(parts, epochs=5, callbacks=[_Figures(*figures)], verbose=0)
    assert again.steps_done == 24  # it has ended
    options = {"epochs": 5, "callbacks": [_Figures(*figures)], "verbose": 0}
    assert zoo.resume(parts, patience=3, **options).steps_done == 30
    assert read_config(parts)["patience"] == 3


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ((), False),
        ((1.0,), False),
        ((1.0, 1.0, 1.0), True),  # as good is no better
        ((3.0, 2.0, 2.5), False),
        ((3.0, 2.0, 2.5, 2.1), True),
        ((1.0, None, None, None), False),  # not measured
        ((1.0, None, None, 2.0), True),
        ((float("nan"), float("nan")), True),
        ((1.0, float("nan"), float("nan")), True),
    ],
)
def test_patience_of_two(values: tuple[float | None, ...], ends: bool) -> None:
    history = [{"epoch": i, "loss": value} for i, value in enumerate(values, 1)]
    assert stopping.out_of_patience(history, "loss", 2, higher=False) is ends


@pytest.mark.slow
def test_a_callback_may_stop(source: Path, tmp_path: Path) -> None:
    """Keras's own, which `fit` obeys, ends the whole training."""
    stop = keras.callbacks.EarlyStopping("loss", min_delta=1e9, patience=1)
    model = _new()
    assert not _train(model, source, tmp_path / "run", epochs=5, callbacks=[stop])
    assert zoo.load_run(tmp_path / "run").steps_done == model.steps_done == 12
