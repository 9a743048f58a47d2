"""What could be trained and not loaded is refused before the first step."""

from __future__ import annotations

import random
import warnings
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from zoo.training import loading, strategies
from zoo.training.loop import train
from zoo.training.runs import save_run
from zoo.vae.vae import VAE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Unregistered(layers.Layer):
    def call(self, x: Any) -> Any:
        return 2.0 * x


@keras.saving.register_keras_serializable("tests")
class Doubling(layers.Layer):
    def call(self, x: Any) -> Any:
        return 2.0 * x


@keras.saving.register_keras_serializable("tests")
class WithoutArgument(layers.Layer):
    """Its get_config leaves the constructor's argument out."""

    def __init__(self, factor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        return self.factor * x

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


@keras.saving.register_keras_serializable("tests")
class WithDefault(WithoutArgument):
    """As above, but loads, as another function."""

    def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(factor, **kwargs)


@keras.saving.register_keras_serializable("tests")
class HiddenState(layers.Layer):
    """Numbers that are no weights."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = np.random.default_rng().normal(size=LATENT_DIM).astype(np.float32)

    def call(self, x: Any) -> Any:
        return x * self.factor


class Arguments(keras.Model):
    """A subclass that Keras cannot write down."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function, self.dense = function, layers.Dense(64)

    def call(self, x: Any) -> Any:
        return keras.ops.reshape(self.dense(self.function(x)), (-1, *IMAGE_SHAPE))


class Unnamed(VAE):
    pass


class Optimizer(keras.optimizers.SGD):
    pass


def _unregistered_activation(x: Any) -> Any:
    return 2.0 * x


def _decoder(*between: Any) -> keras.Model:
    last = [layers.Dense(64), layers.Reshape(IMAGE_SHAPE)]
    return keras.Sequential([keras.Input((LATENT_DIM,)), *between, *last])


def _vae(*between: Any, optimizer: Any = None, **options: Any) -> Any:
    options = {"decoder": _decoder(*between), **options} if between else options
    model = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, network="conv-8", **options)
    model.compile(optimizer)
    return model


def _renamed() -> Any:
    model = Unnamed(image_shape=IMAGE_SHAPE, latent_dim=LATENT_DIM, network="conv-8")
    model.compile()
    return model


FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "class": (
        lambda: _vae(Unregistered(name="double")),
        r"decoder's layer 'double' \(Unregistered\) is not registered .*register_keras_ser",
    ),
    "class within": (
        lambda: _vae(keras.Sequential([keras.Input((LATENT_DIM,)), Unregistered(name="deep")])),
        "decoder's layer 'deep'",
    ),
    "lambda": (
        lambda: _vae(layers.Lambda(lambda x: 2.0 * x, name="anonymous")),
        r"decoder's layer 'anonymous' holds a Python lambda.*keras.ops",
    ),
    "lambda as activation": (
        lambda: _vae(layers.Dense(3, activation=lambda x: 2.0 * x, name="dense_a")),
        r"decoder's layer 'dense_a' holds a Python lambda",
    ),
    "function": (
        lambda: _vae(layers.Dense(3, activation=_unregistered_activation, name="dense_f")),
        r"decoder's layer 'dense_f' \(_unregistered_activation\) is not registered",
    ),
    "argument": (lambda: _vae(WithoutArgument(3.0)), "not loaded .*'factor'.*get_config"),
    "another function": (
        lambda: _vae(WithDefault(3.0, name="thrice")),
        r"as another one \(The decoder's layer 'thrice' \(WithDefault\)\): get_config",
    ),
    "state": (lambda: _vae(HiddenState()), r"another one .*all state be Keras weights"),
    "subclass": (
        lambda: _vae(decoder=Arguments(keras.ops.tanh)),
        "not saved: Object Arguments .*get_config",
    ),
    "optimizer": (
        lambda: _vae(optimizer=Optimizer(0.1)),
        r"The optimizer \(Optimizer\) is not registered",
    ),
    "model": (_renamed, "Unnamed is a model of your own .*zoo.register_model"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_could_not_be_loaded_is_refused(name: str) -> None:
    make, message = FAULTS[name]
    model = make()
    with pytest.raises(ValueError, match=message):
        loading.check_loadable(model)


def _data() -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).uniform(size=(8, *IMAGE_SHAPE)).astype(np.float32)
    return images, np.zeros(8, np.int32)


@pytest.fixture
def archive(tmp_path: Path) -> str:
    path = tmp_path / "data.npz"
    images, _ = _data()
    pixels = (255 * images).astype(np.uint8)
    np.savez(path, x_train=pixels, x_test=pixels)
    return str(path)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_training_does_not_begin_and_leaves_nothing(tmp_path: Path, archive: str) -> None:
    run = tmp_path / "run"
    model = _vae(Unregistered())
    with pytest.raises(ValueError, match="not registered"):
        train(model, archive, run, epochs=1, batch_size=4, verbose=0)
    assert model.steps_done == 0
    assert not run.exists()
    with pytest.raises(ValueError, match="not registered"):
        save_run(model, run, {"data": archive})
    assert not run.exists()
    assert train(_vae(), archive, run, epochs=1, batch_size=4, verbose=0)
    # Nor does it touch a run that is there.
    before = _files(run)
    with pytest.raises(FileExistsError, match="holds a run already"):
        train(model, archive, run, epochs=2, batch_size=4, verbose=0)
    assert _files(run) == before


def test_every_worker_finds_the_same(
    tmp_path: Path, archive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategies, "is_chief", lambda strategy: False)
    with pytest.raises(ValueError, match="not registered"):
        train(_vae(Unregistered()), archive, tmp_path / "run", epochs=1, batch_size=4, verbose=0)


@pytest.mark.slow
def test_a_registered_class_is_warned_of(tmp_path: Path, archive: str) -> None:
    run = tmp_path / "run"
    model = _vae(Doubling(name="double"))
    with pytest.warns(UserWarning, match=r"'double' \(Doubling\): .*zoo command.*zoo.load_run"):
        assert train(model, archive, run, epochs=1, batch_size=4, verbose=0)
    loaded = zoo.load_run(run)
    np.testing.assert_array_equal(loaded.generate(2, seed=0), model.generate(2, seed=0))
    # Another process does not know the class.
    registered = keras.saving.get_custom_objects()
    cls = registered.pop("tests>Doubling")
    try:
        with pytest.raises(ValueError, match=r"'double' \(Doubling\) is of your own code.*import"):
            zoo.load_run(run)
    finally:
        registered["tests>Doubling"] = cls


def test_networks_of_keras_layers_are_loaded_back_in_silence(monkeypatch: Any) -> None:
    found = []
    load = keras.models.load_model
    monkeypatch.setattr(keras.models, "load_model", lambda file: found.append(file) or load(file))
    model = _vae(layers.SpectralNormalization(layers.Dense(4, "relu")))
    state = random.getstate()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loading.check_loadable(model)
    assert random.getstate() == state  # initial weights of the next model are as ever
    assert len(found) == 1
    # The zoo's own networks are known to load, and take no time.
    loading.check_loadable(_vae())
    assert len(found) == 1


def test_a_run_of_before_says_what_keeps_it_from_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "check_loadable", lambda model: None)
    model = _vae(layers.Lambda(lambda x: 2.0 * x, name="anonymous"))
    save_run(model, tmp_path / "run", {"data": "sprites"})
    with pytest.raises(ValueError, match=r"model.keras cannot be loaded: .*'anonymous' holds a Py"):
        zoo.load_run(tmp_path / "run")
