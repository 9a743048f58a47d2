"""What Keras's arguments and callbacks do here: the rows of docs/keras.md."""

from __future__ import annotations

import csv
import functools
import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM, assert_same_state
from tests.support.equivalence import structured_images

IMAGES = structured_images()[:24]
LABELS = np.arange(24, dtype=np.int32) % 3
PAGE = Path(__file__).parents[2] / "docs" / "keras.md"


@functools.cache
def _compiled(name: str, rate: float, **compiling: Any) -> tuple[Any, list[np.ndarray]]:
    """A model and its state: its graphs, which take the time, are made once for all tests."""
    keras.utils.set_random_seed(0)
    options = {"num_classes": 3} if name == "cvae" else {}
    if name == "vq_vae":
        options = {"prior_width": 8, "prior_layers": 1}
    network = "grid-16" if name == "vq_vae" else "mlp"
    model = zoo.create(name, IMAGE_SHAPE, LATENT_DIM, network=network, **options)
    rates = {each: keras.optimizers.SGD(rate) for each in model.optimizer_names}
    model.compile(**{**rates, **compiling})
    return model, [np.asarray(variable) for variable in model.state_variables]


def _model(name: str = "vae", rate: float = 0.01, **compiling: Any) -> Any:
    """A compiled model as it was before any training."""
    model, state = _compiled(name, rate, **compiling)
    for variable, value in zip(model.state_variables, state, strict=True):
        variable.assign(value)
    model._initial_epoch = None  # which Keras's BackupAndRestore leaves
    keras.utils.set_random_seed(0)
    return model


def _fit(model: Any, x: Any = IMAGES, y: Any = None, **options: Any) -> dict[str, Any]:
    batches = {"batch_size": 8} if isinstance(x, np.ndarray) else {}
    options = {**batches, "shuffle": False, "verbose": 0, **options}
    return model.fit(x, y, **options).history


def _evaluate(model: Any, x: Any) -> None:
    model.evaluate(x, verbose=0)


def _data(*arrays: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(8)


def _rows(heading: str) -> dict[str, str]:
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return {
        name: text
        for names, text in re.findall(r"^\| (`.*?`) \| (.*) \|$", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }


# The table


def test_every_argument_and_callback_has_a_row() -> None:
    for heading, function in [("compile", keras.Model.compile), ("fit", keras.Model.fit)]:
        assert list(_rows(heading)) == list(inspect.signature(function).parameters)[1:]
    classes = {n for n in dir(keras.callbacks) if inspect.isclass(getattr(keras.callbacks, n))}
    assert set(_rows("Callbacks")) == classes


# compile


@pytest.mark.parametrize(
    ("argument", "value"),
    [("loss", "mse"), ("loss_weights", [1.0]), ("metrics", ["mae"]), ("weighted_metrics", ["mae"])],
)
@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_losses_and_metrics_are_refused(name: str, argument: str, value: Any) -> None:
    model = zoo.create(name, IMAGE_SHAPE, LATENT_DIM, network="mlp")
    with pytest.raises(ValueError, match=f"{argument}=.*own losses, and logs .*loss, .*Leave it"):
        model.compile(**{argument: value})
    assert not model.compiled
    model.compile(**{argument: None})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vae", {"auto_scale_loss": False}, "float16.*mixed_bfloat16"),
        ("vae", {"jit_compile": "auto"}, "'auto': expected True or False"),
        ("dcgan", {"optimizer": "adam"}, "optimizer: this dcgan has generator_optimizer, discr"),
    ],
)  # fmt: skip
def test_other_arguments_of_compile(name: str, options: Any, message: str) -> None:
    model = zoo.create(name, IMAGE_SHAPE, LATENT_DIM, network="mlp")
    with pytest.raises(ValueError, match=message):
        model.compile(**options)
    assert not model.compiled


def test_averages_of_an_optimizer(tmp_path: Path) -> None:
    """Keras would overwrite the weights at the end, or fail there; what was saved loads."""
    for name, message in [("vae", "has use_ema.*no averaged"), ("dcgan", "ema=0.999")]:
        model = zoo.create(name, IMAGE_SHAPE, LATENT_DIM, network="mlp")
        model.compile(
            **{each: keras.optimizers.SGD(use_ema=True) for each in model.optimizer_names}
        )
        with pytest.raises(ValueError, match=message):
            _fit(model)
        model.save(tmp_path / "model.keras")
        keras.models.load_model(tmp_path / "model.keras")


def test_an_optimizer_for_each() -> None:
    model = zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM, network="mlp")
    model.compile(auto_scale_loss=True)
    one = keras.optimizers.SGD(0.5)
    with pytest.raises(ValueError, match=r"1 optimizer for generator_optimizer, discr.*by name"):
        model.compile(one)
    with pytest.raises(ValueError, match="One optimizer for generator_optimizer, discriminator"):
        model.compile(one, one)
    model.compile("sgd", "sgd")
    model.compile(one, None)
    assert model.generator_optimizer is one
    assert float(model.discriminator_optimizer.learning_rate) == pytest.approx(2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_run_eagerly(name: str) -> None:
    """It changes nothing. (test_precision.py has `steps_per_execution` and `jit_compile`.)"""
    logs, expected = _fit(_model(name, run_eagerly=True)), _fit(_model(name))
    assert logs.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(logs[key], value, rtol=1e-5)


# Images and labels


class _Pairs(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        part = slice(8 * index, 8 * index + 8)
        return IMAGES[part], LABELS[part]


def _endless() -> Any:
    while True:
        yield from (_Pairs()[i] for i in range(3))


@pytest.mark.parametrize(
    ("x", "y", "options"),
    [
        (_data(IMAGES, LABELS), None, {}),
        (_Pairs(), None, {}),
        pytest.param(
            tf.constant(IMAGES), tf.constant(LABELS), {"batch_size": 8}, marks=pytest.mark.slow
        ),
        pytest.param(_endless(), None, {"steps_per_epoch": 3}, marks=pytest.mark.slow),
    ],
    ids=["tf.data", "PyDataset", "tensors", "generator"],
)
def test_kinds_of_data(x: Any, y: Any, options: Any) -> None:
    """All give the run that arrays give."""
    expected = _fit(_model("cvae"), IMAGES, LABELS)
    assert _fit(_model("cvae"), x, y, **options) == expected


WRONG_IMAGES = {
    "0…255": (IMAGES * 255, r"values from .* to 2\d\d\.\d*; expected \[0, 1\]. Divide by 255"),
    "tanh": (IMAGES * 2 - 1, r"values from -0\.\d* to 0\.\d*; expected \[0, 1\]. .*\(x \+ 1\) / 2"),
    "NaN": (np.full_like(IMAGES, np.nan), "NaN values. Remove"),
    "infinite": (np.full_like(IMAGES, np.inf), r"to inf; expected \[0, 1\]"),
    "uint8": ((IMAGES * 255).astype(np.uint8), "uint8; expected float32.*Divide by 255"),
    "int64": ((IMAGES * 255).astype(np.int64), "int64; expected float32.*Divide by 255"),
    "bool": (IMAGES > 0.5, r"bool; expected float32.*astype\('float32'\)"),
}


@pytest.mark.parametrize("kind", WRONG_IMAGES)
def test_wrong_images(kind: str) -> None:
    """As arrays, before any step; as a data set, at the first; by every loop."""
    images, message = WRONG_IMAGES[kind]
    model = _model()
    loops = [
        lambda x: _fit(model, x),
        lambda x: _fit(model, validation_data=(x, None), epochs=1),
        lambda x: model.evaluate(x, verbose=0),
        model.train_on_batch,
        model.test_on_batch,
    ]
    for loop in loops:
        with pytest.raises(ValueError, match=message):
            loop(images)
    # Of these alone `train_on_batch` takes a step: what it was given shows within the graph.
    assert model.steps_done == (kind in ("0…255", "tanh", "NaN", "infinite"))
    for loop in loops[:1] + loops[2:3]:
        with pytest.raises(ValueError, match=message):
            loop(_data(images))


def test_wrong_images_under_xla() -> None:
    """Whose minimum and maximum pass over NaN."""
    model = _model()
    note = tf.function(model._note_data, jit_compile=True)
    for kind in ("0…255", "tanh", "NaN", "infinite"):
        images, message = WRONG_IMAGES[kind]
        note(tf.constant(images), tf.zeros([0], tf.float64))
        with pytest.raises(ValueError, match=message):
            model.check_data()
    note(tf.constant(IMAGES), tf.zeros([0], tf.float64))
    model.check_data()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"jit_compile": True}, {"steps_per_execution": 3}, {"run_eagerly": True}, {"accumulate": 2}],
    ids=str,
)
def test_wrong_data_however_steps_run(options: Any) -> None:
    """XLA drops assertions; several steps at once and parts must not hide what was wrong."""
    for images, labels, message in [
        (IMAGES * 255, LABELS, "Divide by 255"),
        (IMAGES * 2 - 1, LABELS, r"\(x \+ 1\) / 2"),
        (IMAGES, LABELS + 1, "label 3: expected a class from 0 to 2"),
        (IMAGES, LABELS - 0.5, r"label -?\d\.5: expected a class from 0 to 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            _fit(_model("cvae", **options), _data(images, labels))


def test_wrong_images_late_in_the_data() -> None:
    """In any batch of an epoch; and which batch was wrong does not linger."""
    for at in (1, 2):
        images = IMAGES.copy()
        images[8 * at] = 37.0
        model = _model()
        for loop in (_fit, _evaluate):
            with pytest.raises(ValueError, match="to 37; expected"):
                loop(model, _data(images))
            loop(model, _data(IMAGES))


@pytest.mark.parametrize(
    "images",
    [
        np.round(IMAGES) * np.float32(1.0000002),
        pytest.param(IMAGES.astype(np.float64), marks=pytest.mark.slow),
        pytest.param(IMAGES.astype(np.float16), marks=pytest.mark.slow),
    ],
    ids=["rounding", "float64", "float16"],
)
def test_rounding_and_precision_are_no_fault(images: np.ndarray) -> None:
    for x in (images, _data(images)):
        _fit(_model(), x)


WRONG_LABELS = {
    "half": (LABELS + 0.5, r"label \d\.5"),
    "NaN": (LABELS * np.nan, "label nan"),
    "2³² + 1": (LABELS + np.int64(2**32 + 1), r"label 429496729\d"),
    "from 1": (LABELS + 1, "label 3"),
    "negative": (LABELS.astype(np.int64) - 1, "label -1"),
    "one-hot": (np.eye(3)[LABELS], "argmax"),
    "text": (np.array(["bag", "shirt", "shoe"])[LABELS], "dtype <U5.*return_inverse|got text"),
}


@pytest.mark.parametrize("kind", WRONG_LABELS)
def test_wrong_labels(kind: str) -> None:
    labels, message = WRONG_LABELS[kind]
    model = _model("cvae")
    for options in ({"y": labels}, {"y": LABELS, "validation_data": (IMAGES, labels)}):
        with pytest.raises(ValueError, match=message):
            _fit(model, **options)
    assert model.steps_done == 0
    data = _data(IMAGES, labels if kind == "text" else labels.astype(np.float64))
    for loop in (_fit, _evaluate)[: 1 + (kind == "half")]:
        with pytest.raises(ValueError, match=message):
            loop(model, data)
    assert model.steps_done <= 1  # by the data set's first batch
    if kind in ("one-hot", "text"):  # a model that is not conditional needs none
        _fit(_model(), IMAGES[:8], labels[:8], validation_data=(IMAGES[:8], labels[:8]))


def test_exact_labels() -> None:
    """In a data set of floats too, and whatever graphs were made before."""
    expected = _fit(_model("cvae"), IMAGES, LABELS)
    for labels in (LABELS.astype(np.float32), LABELS.astype(np.uint8), LABELS[:, None]):
        assert _fit(_model("cvae"), IMAGES, labels) == expected
    for labels in (LABELS.astype(np.float64), LABELS[:, None].astype(np.float64)):
        assert _fit(_model("cvae"), _data(IMAGES, labels)) == expected
    with pytest.raises(ValueError, match=r"label nan: expected a class from 0 to 2.*argmax"):
        _fit(_model("cvae"), _data(IMAGES, np.eye(3)[LABELS]))


def test_labels_that_are_missing_or_no_images() -> None:
    with pytest.raises(ValueError, match="expected integer labels with the images, got none"):
        _fit(_model("cvae"), IMAGES)
    for x in ([IMAGES, IMAGES], {"images": IMAGES}):
        with pytest.raises(ValueError, match="expected one array"):
            _fit(_model(), x)


# Other arguments of `fit`


@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_weights_are_refused(name: str) -> None:
    model, weights = _model(name), np.ones(24, np.float32)
    batches = _data(IMAGES, LABELS, weights)
    message = "weight: the losses of a .* are means over images that count alike"
    for attempt in (
        lambda: _fit(model, sample_weight=weights),
        lambda: _fit(model, IMAGES, LABELS, class_weight={0: 2.0}),
        lambda: _fit(model, batches),
        lambda: _fit(model, _data(IMAGES, LABELS), class_weight={0: 2.0}),
        lambda: _fit(model, validation_data=(IMAGES, LABELS, weights)),
        lambda: model.evaluate(IMAGES, sample_weight=weights, verbose=0),
        lambda: model.evaluate(batches, verbose=0),
        lambda: model.train_on_batch(IMAGES, sample_weight=weights),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()
    assert model.steps_done == 0


def test_epochs_batches_and_order() -> None:
    """epochs, initial_epoch, steps_per_epoch, batch_size, shuffle, verbose."""
    model = _model()
    history = model.fit(
        _data(IMAGES).repeat(),
        epochs=5,
        initial_epoch=3,
        steps_per_epoch=2,
        verbose=0,
        shuffle=False,
    )
    assert history.epoch == [3, 4]
    assert model.steps_done == 4
    model.fit(IMAGES, batch_size=12, verbose=0)
    assert model.steps_done == 6
    for data in (_data(IMAGES), _Pairs()):
        with pytest.raises(ValueError, match="batch_size=4: a data set has batches of its own"):
            _fit(model, data, batch_size=4)
    runs = [_fit(_model(), shuffle=shuffle)["loss"] for shuffle in (True, True, False)]
    assert runs[0] == runs[1] != runs[2]


def test_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose, shown in [(0, False), (2, True)]:
        _fit(_model(), verbose=verbose)
        assert ("3/3" in capsys.readouterr().out) == shown


def _half_of_images(**options: Any) -> dict[str, Any]:
    return {"x": IMAGES[:16], "validation_data": (IMAGES[16:], None), **options}


@pytest.mark.parametrize(
    "options",
    [
        {"x": IMAGES, "validation_split": 1 / 3},
        _half_of_images(validation_data=_data(IMAGES[16:])),
        pytest.param(_half_of_images(validation_batch_size=3), marks=pytest.mark.slow),
        pytest.param(
            _half_of_images(validation_data=_data(IMAGES[16:]).repeat(), validation_steps=1),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["split", "data", "batch_size", "steps"],
)
def test_validation(options: Any) -> None:
    """Held-out images are evaluated after each epoch, whichever way they are given."""
    wanted = _fit(_model(), **_half_of_images(), epochs=2)
    assert len(wanted["val_loss"]) == 2
    found = _fit(_model(), **options, epochs=2)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        # the noise of an evaluation depends on where its batches begin
        rtol = 0.2 if "validation_batch_size" in options else 1e-6
        np.testing.assert_allclose(found[name], value, rtol=rtol)


def test_validation_freq() -> None:
    rare = _fit(_model(), **_half_of_images(), epochs=2, validation_freq=2)
    assert (len(rare["loss"]), len(rare["val_loss"])) == (2, 1)


# Callbacks


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


@pytest.mark.parametrize("name", ["vae", "dcgan", pytest.param("vae_gan", marks=pytest.mark.slow)])
def test_terminate_on_nan(name: str) -> None:
    callbacks = [_Poison(1), keras.callbacks.TerminateOnNaN()]
    _fit(_model(name), callbacks=callbacks, epochs=3)
    assert callbacks[0].seen == 2
    callbacks = [_Poison(1), keras.callbacks.TerminateOnNaN(raise_error=True)]
    with pytest.raises(RuntimeError, match="batch 1"):
        _fit(_model(name), callbacks=callbacks)


def test_terminate_on_nan_at_a_rate_that_is_too_high() -> None:
    """A NaN that training itself comes to."""
    for name in ("vae", "dcgan"):
        model = _model(name)
        for each in model.optimizer_names:
            getattr(model, each).learning_rate = 1e25
        _fit(model, callbacks=keras.callbacks.TerminateOnNaN(), epochs=20)
        assert 0 < model.steps_done < 60


def _rates(model: Any) -> list[float]:
    return [float(getattr(model, name).learning_rate) for name in model.optimizer_names]


@pytest.mark.parametrize("name", ["vae", "dcgan", pytest.param("vae_gan", marks=pytest.mark.slow)])
def test_learning_rate_scheduler(name: str) -> None:
    """A schedule moves every optimizer, by the rate that each has."""
    model = _model(name)
    for i, each in enumerate(model.optimizer_names):
        getattr(model, each).learning_rate = 0.01 * 4**i
    before = _rates(model)
    halved = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    history = _fit(model, callbacks=[halved], epochs=2)
    np.testing.assert_allclose(_rates(model), np.array(before) / 4, rtol=1e-6)
    several = len(before) > 1
    for each, rate in zip(model.optimizer_names, _rates(model), strict=True):
        logged = history[f"learning_rate_{each}" if several else "learning_rate"]
        np.testing.assert_allclose(logged, [rate * 2, rate], rtol=1e-6)


def test_one_rate_for_optimizers_that_differ_is_refused() -> None:
    model = _model("dcgan")
    fixed = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-4)
    _fit(model, callbacks=[fixed])
    assert _rates(model) == pytest.approx([1e-4, 1e-4])
    model.discriminator_optimizer.learning_rate = 4e-4
    with pytest.raises(
        ValueError, match=r"0\.0001; they had generator_optimizer 0.0001, discr.*rate"
    ):
        _fit(model, callbacks=[fixed])
    assert _rates(model) == pytest.approx([1e-4, 4e-4])

    class Own(keras.callbacks.LearningRateScheduler):
        pass

    with pytest.raises(
        ValueError, match="Own moves the learning rate of one optimizer; this dcgan"
    ):
        _fit(model, callbacks=[Own(lambda epoch: 1e-4)])
    _fit(_model(), callbacks=[Own(lambda epoch: 1e-4)])
    with pytest.raises(TypeError, match="LearningRateSchedule.*not settable"):
        _fit(_model("dcgan", decay_steps=9), callbacks=[fixed])


@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_reduce_lr_on_plateau(name: str) -> None:
    model = _model(name)
    if name == "dcgan":
        model.discriminator_optimizer.learning_rate = 0.04
    before = _rates(model)
    monitor = model.log_names[0]
    plateau = keras.callbacks.ReduceLROnPlateau(monitor, 0.5, patience=1, min_delta=1e9, mode="min")
    _fit(model, callbacks=plateau, epochs=3)
    np.testing.assert_allclose(_rates(model), np.array(before) / 4, rtol=1e-6)


@pytest.mark.parametrize("kind", ["EarlyStopping", "ReduceLROnPlateau", "ModelCheckpoint"])
def test_a_loss_to_monitor(kind: str, tmp_path: Path) -> None:
    """A GAN has none: Keras would warn at each epoch, and do nothing, or save each."""
    options = {"filepath": tmp_path / "m.keras", "save_best_only": True}
    callback = getattr(keras.callbacks, kind)(**(options if kind == "ModelCheckpoint" else {}))
    with pytest.raises(
        ValueError, match=f"{kind}: monitor='val_loss': a dcgan .* val_generator_loss"
    ):
        _fit(_model("dcgan"), callbacks=callback, validation_data=(IMAGES, None))
    _fit(_model(), callbacks=callback, validation_data=(IMAGES, None))


@pytest.mark.parametrize(
    ("name", "monitor"), [("vae", "val_loss"), ("dcgan", "val_generator_loss")]
)
def test_early_stopping(name: str, monitor: str) -> None:
    model = _model(name)
    start = [np.asarray(v) for v in model.trainable_variables]
    stop = keras.callbacks.EarlyStopping(
        monitor, min_delta=1e9, mode="min", restore_best_weights=True
    )
    history = _fit(model, callbacks=[stop], validation_data=(IMAGES, None), epochs=9)
    assert len(history[monitor]) == 2
    assert model.steps_done == 3  # of the first epoch, whose weights are restored
    moved = zip(start, model.trainable_variables, strict=True)
    assert any(np.abs(a - np.asarray(b)).max() > 0 for a, b in moved)


@pytest.mark.parametrize("name", ["dcgan", pytest.param("vae", marks=pytest.mark.slow)])
def test_model_checkpoint(name: str, tmp_path: Path) -> None:
    model = _model(name)
    saved = keras.callbacks.ModelCheckpoint(
        tmp_path / "{epoch}.keras", monitor=model.log_names[0], mode="max", save_best_only=True
    )
    _fit(model, callbacks=[saved])
    assert_same_state(keras.models.load_model(tmp_path / "1.keras"), model)


@pytest.mark.parametrize("name", ["dcgan", pytest.param("vae", marks=pytest.mark.slow)])
def test_backup_and_restore(name: str, tmp_path: Path) -> None:
    """A run that was broken off goes on to the weights of one that was not."""
    model = _model(name)
    expected = _fit(model, epochs=4)
    wanted = [np.asarray(variable) for variable in model.state_variables]

    def breaks(epoch: int, logs: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    broken = keras.callbacks.LambdaCallback(on_epoch_begin=breaks)
    with pytest.raises(KeyboardInterrupt):
        _fit(_model(name), callbacks=[backup, broken], epochs=4)
    model = _model(name)
    history = _fit(
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
            _fit(_model("dcgan"), callbacks=callback)
    with pytest.raises(ValueError, match="SwapEMAWeights.*a vae has no averaged weights"):
        _fit(_model(), callbacks=keras.callbacks.SwapEMAWeights())


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

    model = _model(name)
    history = keras.callbacks.History()
    _fit(
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


# Inference


@pytest.mark.parametrize(
    "name",
    [
        "vae",
        "bigan",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("cvae", "vq_vae", "ladder_vae")),
    ],
)
def test_images_of_inference(name: str) -> None:
    """uint8 are divided by 255; what is out of range is refused."""
    model = _model(name)
    labels = (LABELS,) if name == "cvae" else ()
    pixels = np.round(IMAGES * 255).astype(np.uint8)
    floats = pixels.astype(np.float32) / np.float32(255)

    def functions() -> Any:
        yield lambda x: model.reconstruct(x, *labels)
        yield lambda x: model.encode(x, *labels)[0]
        if name != "bigan":
            yield lambda x: model.predict([x, *labels] if labels else x, verbose=0)
            yield lambda x: model.predict_on_batch([x, *labels] if labels else x)
            yield lambda x: model.log_weights(x, np.zeros((2, 24, 3), np.float32), *labels)

    for function in functions():
        wanted = np.asarray(function(floats))
        np.testing.assert_allclose(function(pixels), wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(function(tf.constant(pixels)), wanted, rtol=1e-5, atol=1e-6)
        with pytest.raises(ValueError, match="Divide by 255"):
            function(IMAGES * 255)
        with pytest.raises(ValueError, match=r"\(x \+ 1\) / 2"):
            function(tf.constant(IMAGES * 2 - 1))
        with pytest.raises(ValueError, match="int64"):
            function(pixels.astype(np.int64))
        with pytest.raises(ValueError, match="have shape .* but the model was created with"):
            function(IMAGES[:, :4])


def test_discriminate_takes_the_same_images() -> None:
    model = _model("dcgan")
    pixels = np.round(IMAGES * 255).astype(np.uint8)
    wanted = model.discriminate(pixels.astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(model.discriminate(pixels), wanted, rtol=1e-6)
    with pytest.raises(ValueError, match="Divide by 255"):
        model.discriminate(IMAGES * 255)


def test_codes_are_inferred_of_the_same_images() -> None:
    model = zoo.create("infogan", IMAGE_SHAPE, 14, network="mlp")
    pixels = np.round(IMAGES * 255).astype(np.uint8)
    wanted, *_ = model.infer_codes(pixels.astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(model.infer_codes(pixels)[0], wanted, rtol=1e-5)
    with pytest.raises(ValueError, match="Divide by 255"):
        model.infer_codes(IMAGES * 255)


def test_gradients_with_respect_to_images_remain() -> None:
    model = _model()
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        mean, _ = model.encode(images)
    assert np.abs(tape.gradient(mean, images)).max() > 0


@pytest.mark.parametrize("labels", [LABELS + 1, LABELS + 0.5, np.eye(3)[LABELS]])
def test_labels_of_inference(labels: np.ndarray) -> None:
    model = _model("cvae")
    for function in (
        lambda: model.predict([IMAGES, labels], verbose=0),
        lambda: model.encode(IMAGES, labels),
        lambda: model.generate(24, labels=labels),
    ):
        with pytest.raises(ValueError, match=r"expected (a class|a whole number|\[n\])"):
            function()
    exact = model.predict([IMAGES, LABELS.astype(np.float32)], verbose=0)
    np.testing.assert_allclose(exact, model.predict([IMAGES, LABELS], verbose=0))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (IMAGES * 255, "Divide by 255"),
        (IMAGES * 2 - 1, r"\(x \+ 1\) / 2"),
        ((IMAGES * 255).astype(np.int32), "int32"),
    ],
)
def test_the_evaluation_of_wrong_images(source: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match="samples=0, importance_samples=50: expected at least 1"):
        zoo.evaluation.measure.evaluate(_model(), IMAGES, samples=0)
    with pytest.raises(ValueError, match=message):
        zoo.evaluation.measure.evaluate(_model(), source, extractor="none", importance_samples=1)
