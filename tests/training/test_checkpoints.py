"""Checkpoints: which are kept, what a damaged one says, and what a full disk loses: nothing."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.support.equivalence import structured_images
from zoo.training.loop import train
from zoo.training.run_files import read_config
from zoo.training.runs import load_run


def _new(**options: Any) -> Any:
    keras.utils.set_random_seed(0)
    model = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, network="mlp", **options)
    model.compile()
    return model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of three steps."""
    out = tmp_path_factory.mktemp("trained") / "run"
    train(_new(), structured_images(), out, epochs=2, batch_size=20, keep=2, verbose=0)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def _names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


@pytest.mark.slow
def test_the_last_k_and_the_best_are_kept(images: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "run"
    model = _new()
    train(model, images, out, epochs=4, batch_size=20, keep=3, best="rate", validation="test",
          checkpoint_every=2, verbose=0)  # fmt: skip
    assert _names(out) == [f"step_{step:08d}.keras" for step in (9, 10, 12)]
    history = json.loads((out / "history.json").read_text())
    best = min(history, key=lambda entry: entry["rate"])
    assert best["step"] < 12  # the rate grows: the latest is not the best
    assert int(load_run(out / "best.keras").step) == best["step"]
    assert int(load_run(out / "checkpoints" / "step_00000010.keras").step) == 10
    assert read_config(out / "best.keras") == read_config(out)
    assert {"val_loss", "val_rate", "val_distortion"} <= history[0].keys()
    assert (out / "model.keras").samefile(out / "checkpoints" / "step_00000012.keras")


@pytest.mark.slow
def test_where_there_are_no_hard_links(
    run: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    train(load_run(run), images, run, epochs=3, batch_size=20, keep=2, verbose=0)
    assert int(load_run(run).step) == 9


def test_bad_settings(images: np.ndarray, tmp_path: Path) -> None:
    for options, message in (
        ({"keep": 0}, "keep=0"),
        ({"checkpoint_every": 0}, "checkpoint_every=0"),
        (
            {"best": "los"},
            "best='los': it is not measured. Expected one of loss, dist",
        ),
        ({"best": "val_loss"}, "with a validation split also"),
    ):
        with pytest.raises(ValueError, match=message):
            train(_new(), images, tmp_path / "run", epochs=1, batch_size=20, **options)
    assert not (tmp_path / "run").exists()


def _cut(share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])

    return damage


def _flip(share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(share * len(data))] ^= 0x10
        path.write_bytes(data)

    return damage


def _foreign_keras(path: Path) -> None:
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)


def _other_model(path: Path) -> None:
    zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM).save(path)


def _other_shape(path: Path) -> None:
    zoo.create("vae", (12, 12, 1), LATENT_DIM, network="mlp").save(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        *((_cut(share), "is no Keras file, or was cut") for share in (0.0, 0.001, 0.5, 0.999)),
        *((_flip(share), "is damaged|is no Keras file") for share in (0.01, 0.3, 0.6, 0.9)),
        (lambda path: path.write_text("not a model"), "is no Keras file"),
        (lambda path: np.savez(path.open("wb"), a=np.ones(3)), "is no Keras file"),
        (_foreign_keras, "holds a Sequential, but the run is of a vae"),
        (_other_model, "holds a zoo>dcgan, but the run is of a vae"),
        (_other_shape, r"image_shape is \[12, 12, 1\], but the run's \[8, 8, 1\]"),
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_named(
    run: Path, damage: Callable[[Path], None], message: str
) -> None:
    older = run / "checkpoints" / "step_00000003.keras"
    (run / "model.keras").unlink()
    shutil.copy(run / "checkpoints" / "step_00000006.keras", run / "model.keras")
    damage(run / "model.keras")
    with pytest.raises(ValueError, match=message) as error:
        load_run(run)
    assert str(run / "model.keras") in str(error.value)
    if "image_shape" not in message:
        assert f"{older}; copy one over it" in str(error.value)


@pytest.mark.slow
def test_the_remedy_works(run: Path, images: np.ndarray) -> None:
    (run / "model.keras").unlink()
    shutil.copy(run / "checkpoints" / "step_00000003.keras", run / "model.keras")
    train(load_run(run), images, run, epochs=3, batch_size=20, keep=2, verbose=0)
    assert [e["step"] for e in json.loads((run / "history.json").read_text())] == [3, 6, 9]


def test_no_checkpoint_is_left(run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    (run / "model.keras").write_bytes(b"")
    with pytest.raises(ValueError, match="No other is left"):
        load_run(run)
    with pytest.raises(FileNotFoundError, match=r"best\.keras does not exist"):
        load_run(run / "best.keras")


def test_too_little_space_is_told_before(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=30_000_000))
    with pytest.raises(OSError, match=r"has 30 MB free; 5 checkpoints of \d+ MB must fit"):
        train(_new(), images, tmp_path / "run", epochs=1, batch_size=20)
    assert not (tmp_path / "run").exists()


def test_an_unwritable_folder_is_told_before(images: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = _new()
    with pytest.raises(OSError, match="run cannot be written: it or a folder of it is a file"):
        train(model, images, tmp_path / "file" / "run", epochs=1, batch_size=20)
    assert int(model.step) == 0


class _FillDisk(keras.callbacks.Callback):
    """From step 4 on the operating system lets no file grow beyond 1 MB."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if int(self.model.step) == 4:
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, most))


def test_a_disk_that_fills_up_loses_nothing(images: np.ndarray, tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    message = "The checkpoint of step 6 could not be written.*of step 3, is in"
    try:
        with pytest.raises(OSError, match=message):
            train(_new(), images, run, epochs=3, batch_size=20, verbose=0, callbacks=[_FillDisk()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert int(load_run(run).step) == 3
    assert not [path for path in run.rglob("*") if ".scratch-" in path.name]
    model = load_run(run)
    train(model, images, run, epochs=3, batch_size=20, verbose=0)
    straight = _new()
    train(straight, images, tmp_path / "straight", epochs=3, batch_size=20, verbose=0)
    for a, b in zip(model.variables, straight.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


class _Poison(keras.callbacks.Callback):
    def __init__(self, step: int, value: float) -> None:
        super().__init__()
        self.step, self.value = step, value

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if int(self.model.step) == self.step:
            bias = self.model.decoder.weights[-1]
            bias.assign(bias * 0 + self.value)


@pytest.mark.parametrize(
    ("steps_per_execution", "value"),
    [
        (1, np.nan),
        *(pytest.param(n, value, marks=pytest.mark.slow)
          for n, value in ((1, np.inf), (1, 1e12), (2, np.nan), (2, np.inf), (2, 1e12))),
    ],
)  # fmt: skip
def test_a_loss_that_is_no_number_stops_the_run(
    images: np.ndarray, tmp_path: Path, value: float, steps_per_execution: int
) -> None:
    """It says at which step, and keeps the checkpoint before."""
    keras.utils.set_random_seed(0)
    model = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, network="mlp", likelihood="bernoulli")
    model.compile(steps_per_execution=steps_per_execution)
    with pytest.raises(FloatingPointError, match="A loss at step 9 is not finite, or beyond 1e9"):
        train(model, images, tmp_path / "run", epochs=3, batch_size=10, verbose=0,
              checkpoint_every=4, callbacks=[_Poison(8, value)])  # fmt: skip
    saved = load_run(tmp_path / "run")
    assert int(saved.step) == 8
    assert all(np.isfinite(np.asarray(v)).all() for v in saved.variables)


@pytest.mark.slow
def test_a_state_that_is_not_finite_is_not_saved(images: np.ndarray, tmp_path: Path) -> None:
    """Weights broken by the very last step of an epoch, of which no loss tells yet."""
    with pytest.raises(FloatingPointError, match=r"is not finite at step 3: .* of step 0, is in"):
        train(_new(), images, tmp_path / "run", epochs=3, batch_size=20, verbose=0,
              callbacks=[_Poison(3, np.nan)])  # fmt: skip
    assert int(load_run(tmp_path / "run").step) == 0


def test_sigterm_saves(images: np.ndarray, tmp_path: Path) -> None:
    """As Ctrl-C does; clusters send it before they kill."""
    at_4 = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batch == 3 and os.kill(os.getpid(), signal.SIGTERM)
    )
    assert not train(
        _new(), images, tmp_path / "run", epochs=3, batch_size=10, verbose=0, callbacks=[at_4]
    )
    assert int(load_run(tmp_path / "run").step) == 4


@pytest.mark.slow
def test_leftovers_of_a_kill_are_removed(run: Path, images: np.ndarray) -> None:
    left = run / "checkpoints" / ".step_00000009.keras.scratch-x"
    left.mkdir()
    (left / "half").write_bytes(b"1")
    train(load_run(run), images, run, epochs=3, batch_size=20, verbose=0)
    assert not left.exists()
