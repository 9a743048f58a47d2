"""The run folder: resuming equals never stopping, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from tests.cases import Case, assert_same_state, in_settings
from zoo.training import loop
from zoo.training.loop import train
from zoo.training.run_files import read_config
from zoo.training.runs import load_run, save_run

EPOCHS = 3
BATCH = 10  # six steps an epoch; n_critic of them a step for WGAN-GP


def _new(case: Case) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = case.create()
    model.compile()
    return model


def _train(model: keras.Model, images: np.ndarray, out: Path, **options: Any) -> bool:
    options = {"epochs": EPOCHS, "batch_size": BATCH // model.minibatches, "verbose": 0, **options}
    return train(model, images, out, **options)


class _Interrupt(keras.callbacks.Callback):
    """Ctrl-C at a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if int(self.model.step) == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def source(images: np.ndarray, tmp_path: Path) -> Path:
    """An .npz, which a resumed process could read again; labelled, for conditional models."""
    path = tmp_path / "images.npz"
    labels = np.arange(len(images)) % 3
    np.savez(path, x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])
    return path


@pytest.mark.parametrize(
    ("case", "step"), in_settings({"8": 8, "6": 6}, fast="dcgan-ema=0.9-n_critic=2")
)
def test_resume_equals_never_stopping(case: Case, source: Path, tmp_path: Path, step: int) -> None:
    """Weights, slots, averages, step and history, bitwise; step 8 is within an epoch."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    straight = _new(case)
    assert _train(straight, source, whole)
    assert not _train(_new(case), source, parts, callbacks=[_Interrupt(step)])
    stopped = load_run(parts)
    assert int(stopped.step) == step
    assert _train(stopped, source, parts)
    assert json.loads((parts / "history.json").read_text()) == json.loads(
        (whole / "history.json").read_text()
    )
    assert_same_state(load_run(parts), straight)


def test_run_folder(full_vae: Case, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    model = _new(full_vae)
    assert _train(model, source, out)
    config = read_config(out)
    assert config["model"] == full_vae.name
    assert config["data"] == str(source)
    assert [entry["step"] for entry in json.loads((out / "history.json").read_text())] == [
        6,
        12,
        18,
    ]
    assert len(list((out / "samples").glob("epoch_*.png"))) == EPOCHS
    assert (out / "reconstructions").exists() == (model.family == "vae")
    assert list((out / "logs").glob("events*"))
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    np.testing.assert_array_equal(load_run(out).generate(3, seed=0), model.generate(3, seed=0))


@pytest.mark.slow
def test_more_epochs_later(source: Path, tmp_path: Path) -> None:
    model = _new(Case("vae", variables=0, endpoints=(), options={"network": "mlp"}))
    _train(model, source, tmp_path / "run", epochs=1)
    loaded = load_run(tmp_path / "run")
    _train(loaded, source, tmp_path / "run", epochs=2)
    assert int(loaded.step) == 12
    assert len(json.loads((tmp_path / "run" / "history.json").read_text())) == 2
    assert _train(loaded, source, tmp_path / "run", epochs=1)  # has had them: nothing is touched
    assert read_config(tmp_path / "run")["epochs"] == 2
    with pytest.warns(UserWarning, match="trained for 2 epochs, .* nothing is trained"):
        assert _train(loaded, source, tmp_path / "other", epochs=2)
    assert not (tmp_path / "other" / "config.json").exists()


@pytest.mark.slow
def test_learning_rates_that_fall_to_zero(source: Path, tmp_path: Path) -> None:
    """Of the step, whatever the number of updates in one; a resumed run goes on with the fall."""
    case = Case("wgan_gp", variables=0, endpoints=(), options={"n_critic": 2})
    model = case.create()
    model.compile(decay_steps=12)
    rates = {name: float(getattr(model, name).learning_rate) for name in model.optimizer_names}
    with pytest.raises(ValueError, match=r"epochs=3: .* 12 steps, which are 2 epochs"):
        _train(model, source, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert _train(model, source, tmp_path / "run", epochs=1)
    resumed = load_run(tmp_path / "run")
    assert resumed.decay_steps == 12
    for name, rate in rates.items():
        assert float(getattr(resumed, name).learning_rate) == pytest.approx(rate / 2)
    assert _train(resumed, source, tmp_path / "run", epochs=2)
    assert [float(getattr(resumed, name).learning_rate) for name in rates] == [0.0, 0.0]
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3))
    model.compile(scaled, None, decay_steps=5)
    assert model.decay_steps == 5
    with pytest.raises(ValueError, match="has a schedule already"):
        model.compile(generator_optimizer=model.generator_optimizer, decay_steps=3)
    with pytest.raises(ValueError, match="decay_steps=0"):
        model.compile(decay_steps=0)


@pytest.mark.parametrize(
    ("model", "options", "given", "expected"),
    [
        ("vae", {}, 5e-4, {"optimizer": 5e-4}),
        ("dcgan", {}, 1e-4, {"generator_optimizer": 1e-4, "discriminator_optimizer": 1e-4}),
        # The ratio stays.
        (
            "dcgan",
            {"ttur": 4.0},
            1e-4,
            {"generator_optimizer": 1e-4, "discriminator_optimizer": 4e-4},
        ),
        (
            "dcgan",
            {"ttur": 4.0},
            {"generator_optimizer": 1e-5},
            {"generator_optimizer": 1e-5, "discriminator_optimizer": 8e-4},
        ),
    ],
)
def test_learning_rates_in_place_of_the_papers(
    model: str, options: dict[str, Any], given: Any, expected: dict[str, float]
) -> None:
    made = zoo.create(model, (8, 8, 1), 2, network="mlp", **options)
    paper = {name: made.default_optimizer(name).get_config() for name in expected}
    made.compile(learning_rate=given)
    for name, rate in expected.items():
        config = getattr(made, name).get_config()
        assert config.pop("learning_rate") == pytest.approx(rate)
        del config["name"]  # numbered
        # The rest is the paper's, such as Adam's momenta.
        assert config.items() <= paper[name].items()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate=0.0 of generator_optimizer: expected a number ab"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"learning_rate": True}, "learning_rate=True"),
        ({"learning_rate": "fast"}, "learning_rate='fast'"),
        ({"learning_rate": {"optimizer": 1e-3}}, "has 'optimizer', but the optimizers of a dcgan"),
        ({"learning_rate": 1e-3, "generator_optimizer": "adam"}, "generator_optimizer is given"),
    ],
)
def test_wrong_learning_rates(arguments: dict[str, Any], message: str) -> None:
    model = zoo.create("dcgan", (8, 8, 1), 2, network="mlp")
    with pytest.raises(ValueError, match=message):
        model.compile(**arguments)
    assert not model.compiled


def test_bad_run_folders(source: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_run(tmp_path / "nowhere")
    model = _new(Case("vae", variables=0, endpoints=()))
    save_run(model, tmp_path / "run", {"data": str(source), "epochs": 0})
    with pytest.raises(FileExistsError, match="holds a run already"):
        save_run(model, tmp_path / "run", {})
    whole = (tmp_path / "run" / "model.keras").read_bytes()
    (tmp_path / "run" / "model.keras").write_bytes(whole[:1000])
    with pytest.raises(ValueError, match=r"model\.keras is no Keras file"):
        load_run(tmp_path / "run")
    (tmp_path / "run" / "model.keras").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.keras does not exist"):
        load_run(tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        read_config(tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="is of format 99, but this version reads up to 1"):
        read_config(tmp_path / "run")


def test_an_untrained_model_does_not_replace_a_run(source: Path, tmp_path: Path) -> None:
    model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    model.compile()
    train(model, source, tmp_path / "run", epochs=1, batch_size=10, verbose=0)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    new = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    new.compile()
    with pytest.raises(FileExistsError, match=r"run holds a run already.*zoo\.resume"):
        train(new, source, tmp_path / "run", epochs=1, batch_size=10, verbose=0)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert after == before


@pytest.mark.slow
def test_a_crash_while_saving_keeps_the_last_state(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _new(Case("vae", variables=0, endpoints=()))
    _train(model, source, tmp_path / "run", epochs=1)
    before = load_run(tmp_path / "run").generate(2, seed=0)

    def fail(path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model, "save", fail)
    with pytest.raises(OSError, match="No space"):
        _train(model, source, tmp_path / "run", epochs=2)
    loaded = load_run(tmp_path / "run")
    np.testing.assert_array_equal(loaded.generate(2, seed=0), before)
    assert int(loaded.step) == 6
    # the history has an entry that the model has not: resuming replaces it
    _train(loaded, source, tmp_path / "run", epochs=2)
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert [entry["epoch"] for entry in history] == [1, 2]


def test_a_missing_source_leaves_no_run(tmp_path: Path) -> None:
    model = zoo.create("vae", (8, 8, 1), 3)
    model.compile()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train(model, tmp_path / "nowhere.npz", tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="model=None: expected a model, as zoo.create makes it"):
        zoo.train(None, "fashion_mnist_sample", tmp_path / "run", epochs=1)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no length: expected one of epochs"),
        ({"epochs": 1, "batch_size": 0}, "batch_size=0: expected at least 1"),
        ({"epochs": 1, "mirror": "no"}, "mirror='no': expected true or false"),
        ({"epochs": 1, "best": "fid"}, "best='fid': it is not measured"),
        ({"epochs": 1, "validation": "val"}, "no array 'x_val'"),
        ({"epochs": 1, "random_crop": -1}, "random_crop=-1: expected at least 0"),
    ],
)
def test_what_is_checked_before_is_what_training_refuses(
    options: dict[str, Any], message: str, source: Path, tmp_path: Path
) -> None:
    model = zoo.create("vae", (8, 8, 1), 3, network="mlp")
    model.compile()
    for begin in (loop.check, train):
        with pytest.raises(ValueError, match=message):
            begin(model, source, tmp_path / "run", **{"batch_size": 10, **options})
    assert not (tmp_path / "run").exists()


def test_a_warm_up_that_training_does_not_see_the_end_of_is_told(
    source: Path, tmp_path: Path
) -> None:
    model = zoo.create("vae", (8, 8, 1), 3, network="mlp")
    model.compile(warmup_steps=7)
    said = "warmup_steps=7: training ends after 6 steps, when the learning rates have risen to 86%"
    with pytest.warns(UserWarning, match=said):
        loop.check(model, source, tmp_path / "run", epochs=1, batch_size=10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop.check(model, source, tmp_path / "run", steps=7, batch_size=10)
