"""What Keras's callbacks do here: the rows of docs/keras.md."""

from __future__ import annotations

import csv
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from tests.cases import assert_same_state
from tests.support.keras_loops import (
    IMAGES,
    compiled_model,
    fit,
)


class _Poison(keras.callbacks.Callback):
    """Makes a weight NaN before the given batch."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.seen = at, 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.seen += 1
        if batch == self.at:
            weight = self.model.trainable_variables[-1]
            weight.assign(weight * np.nan)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae", "dcgan", pytest.param("vae_gan", marks=pytest.mark.slow)])
def test_terminate_on_nan(name: str) -> None:
    callbacks = [_Poison(1), keras.callbacks.TerminateOnNaN()]
    fit(compiled_model(name), callbacks=callbacks, epochs=3)
    assert callbacks[0].seen == 2
    callbacks = [_Poison(1), keras.callbacks.TerminateOnNaN(raise_error=True)]
    with pytest.raises(RuntimeError, match="batch 1"):
        fit(compiled_model(name), callbacks=callbacks)


def test_terminate_on_nan_at_a_rate_that_is_too_high() -> None:
    """A NaN that training itself comes to."""
    for name in ("vae", "dcgan"):
        model = compiled_model(name)
        for each in model.optimizer_names:
            getattr(model, each).learning_rate = 1e25
        fit(model, callbacks=keras.callbacks.TerminateOnNaN(), epochs=20)
        assert 0 < model.steps_done < 60


def _rates(model: Any) -> list[float]:
    return [float(getattr(model, name).learning_rate) for name in model.optimizer_names]


@pytest.mark.parametrize("name", ["vae", "dcgan", pytest.param("vae_gan", marks=pytest.mark.slow)])
def test_learning_rate_scheduler(name: str) -> None:
    """A schedule moves every optimizer, by the rate that each has."""
    model = compiled_model(name)
    for i, each in enumerate(model.optimizer_names):
        getattr(model, each).learning_rate = 0.01 * 4**i
    before = _rates(model)
    halved = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    history = fit(model, callbacks=[halved], epochs=2)
    np.testing.assert_allclose(_rates(model), np.array(before) / 4, rtol=1e-6)
    several = len(before) > 1
    for each, rate in zip(model.optimizer_names, _rates(model), strict=True):
        logged = history[f"learning_rate_{each}" if several else "learning_rate"]
        np.testing.assert_allclose(logged, [rate * 2, rate], rtol=1e-6)


def test_one_rate_for_optimizers_that_differ_is_refused() -> None:
    model = compiled_model("dcgan")
    fixed = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-4)
    fit(model, callbacks=[fixed])
    assert _rates(model) == pytest.approx([1e-4, 1e-4])
    model.discriminator_optimizer.learning_rate = 4e-4
    with pytest.raises(
        ValueError, match=r"0\.0001; they had generator_optimizer 0.0001, discr.*rate"
    ):
        fit(model, callbacks=[fixed])
    assert _rates(model) == pytest.approx([1e-4, 4e-4])

    class Own(keras.callbacks.LearningRateScheduler):
        pass

    with pytest.raises(
        ValueError, match="Own moves the learning rate of one optimizer; this dcgan"
    ):
        fit(model, callbacks=[Own(lambda epoch: 1e-4)])
    fit(compiled_model(), callbacks=[Own(lambda epoch: 1e-4)])
    with pytest.raises(TypeError, match="LearningRateSchedule.*not settable"):
        fit(compiled_model("dcgan", decay_steps=9), callbacks=[fixed])


@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_reduce_lr_on_plateau(name: str) -> None:
    model = compiled_model(name)
    if name == "dcgan":
        model.discriminator_optimizer.learning_rate = 0.04
    before = _rates(model)
    monitor = model.log_names[0]
    plateau = keras.callbacks.ReduceLROnPlateau(monitor, 0.5, patience=1, min_delta=1e9, mode="min")
    fit(model, callbacks=plateau, epochs=3)
    np.testing.assert_allclose(_rates(model), np.array(before) / 4, rtol=1e-6)


@pytest.mark.parametrize("kind", ["EarlyStopping", "ReduceLROnPlateau", "ModelCheckpoint"])
def test_a_loss_to_monitor(kind: str, tmp_path: Path) -> None:
    """A GAN has none: Keras would warn at each epoch, and do nothing, or save each."""
    options = {"filepath": tmp_path / "m.keras", "save_best_only": True}
    callback = getattr(keras.callbacks, kind)(**(options if kind == "ModelCheckpoint" else {}))
    with pytest.raises(
        ValueError, match=f"{kind}: monitor='val_loss': a dcgan .* val_generator_loss"
    ):
        fit(compiled_model("dcgan"), callbacks=callback, validation_data=(IMAGES, None))
    fit(compiled_model(), callbacks=callback, validation_data=(IMAGES, None))


@pytest.mark.parametrize(
    ("name", "monitor"), [("vae", "val_loss"), ("dcgan", "val_generator_loss")]
)
def test_early_stopping(name: str, monitor: str) -> None:
    model = compiled_model(name)
    start = [np.asarray(v) for v in model.trainable_variables]
    stop = keras.callbacks.EarlyStopping(
        monitor, min_delta=1e9, mode="min", restore_best_weights=True
    )
    history = fit(model, callbacks=[stop], validation_data=(IMAGES, None), epochs=9)
    assert len(history[monitor]) == 2
    assert model.steps_done == 3  # of the first epoch, whose weights are restored
    moved = zip(start, model.trainable_variables, strict=True)
    assert any(np.abs(a - np.asarray(b)).max() > 0 for a, b in moved)


@pytest.mark.parametrize("name", ["dcgan", pytest.param("vae", marks=pytest.mark.slow)])
def test_model_checkpoint(name: str, tmp_path: Path) -> None:
    model = compiled_model(name)
    saved = keras.callbacks.ModelCheckpoint(
        tmp_path / "{epoch}.keras", monitor=model.log_names[0], mode="max", save_best_only=True
    )
    fit(model, callbacks=[saved])
    assert_same_state(keras.models.load_model(tmp_path / "1.keras"), model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dcgan", pytest.param("vae", marks=pytest.mark.slow)])
def test_backup_and_restore(name: str, tmp_path: Path) -> None:
    """A run that was broken off goes on to the weights of one that was not."""
    model = compiled_model(name)
    expected = fit(model, epochs=4)
    wanted = [np.asarray(variable) for variable in model.state_variables]

    def breaks(epoch: int, logs: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    broken = keras.callbacks.LambdaCallback(on_epoch_begin=breaks)
    with pytest.raises(KeyboardInterrupt):
        fit(compiled_model(name), callbacks=[backup, broken], epochs=4)
    model = compiled_model(name)
    history = fit(
        model, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup")], epochs=4
    )
    for variable, value in zip(model.state_variables, wanted, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)
    assert {key: value[2:] for key, value in expected.items()} == history


def test_refused_callbacks(tmp_path: Path) -> None:
    orbax = object.__new__(keras.callbacks.OrbaxCheckpoint)  # without its library
    for callback, message in [
        (keras.callbacks.SwapEMAWeights(), "SwapEMAWeights.*ema=0.999"),
        (orbax, "OrbaxCheckpoint keeps the state of one optimizer.*ModelCheckpoint"),
        (keras.callbacks.CallbackList([]), "CallbackList; expected a list"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(compiled_model("dcgan"), callbacks=callback)
    with pytest.raises(ValueError, match="SwapEMAWeights.*a vae has no averaged weights"):
        fit(compiled_model(), callbacks=keras.callbacks.SwapEMAWeights())


@pytest.mark.parametrize("name", ["dcgan", pytest.param("vae", marks=pytest.mark.slow)])
def test_callbacks_that_record(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CSVLogger, TensorBoard, RemoteMonitor, LambdaCallback, ProgbarLogger, History, and own."""
    sent: list[Any] = []
    module: Any = inspect.getmodule(keras.callbacks.RemoteMonitor)
    post = SimpleNamespace(post=lambda url, data, headers: sent.append((url, data)))
    monkeypatch.setattr(module, "requests", post)
    seen: list[str] = []

    class Own(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.extend(logs)

    model = compiled_model(name)
    history = keras.callbacks.History()
    fit(
        model,
        verbose=1,
        validation_data=(IMAGES, None),
        callbacks=[
            [keras.callbacks.CSVLogger(tmp_path / "log.csv"), history],
            keras.callbacks.TensorBoard(tmp_path / "events", histogram_freq=1),
            keras.callbacks.RemoteMonitor(),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.extend(logs)),
            keras.callbacks.ProgbarLogger(),
            Own(),
        ],
    )
    names = {f"{part}{log}" for part in ("", "val_") for log in model.log_names}
    with (tmp_path / "log.csv").open() as file:
        row = next(csv.DictReader(file))
    assert set(row) == {"epoch", *names}
    assert set(history.history) == names
    assert float(row[model.log_names[0]]) == pytest.approx(history.history[model.log_names[0]][0])
    assert sorted(seen) == sorted([*names] * 2)
    assert all(log in sent[0][1]["data"] for log in names)
    assert len(list((tmp_path / "events").rglob("events.*"))) == 2
    assert model.log_names[0] in capsys.readouterr().out
