"""What Keras's arguments of `compile` and `fit` do here: the rows of docs/keras.md."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.support.keras_loops import (
    IMAGES,
    LABELS,
    Pairs,
    batches_of,
    compiled_model,
    fit,
)

PAGE = Path(__file__).parents[2] / "docs" / "keras.md"


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
            fit(model)
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
    logs, expected = fit(compiled_model(name, run_eagerly=True)), fit(compiled_model(name))
    assert logs.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(logs[key], value, rtol=1e-5)


# Other arguments of `fit`


@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_weights_are_refused(name: str) -> None:
    model, weights = compiled_model(name), np.ones(24, np.float32)
    batches = batches_of(IMAGES, LABELS, weights)
    message = "weight: the losses of a .* are means over images that count alike"
    for attempt in (
        lambda: fit(model, sample_weight=weights),
        lambda: fit(model, IMAGES, LABELS, class_weight={0: 2.0}),
        lambda: fit(model, batches),
        lambda: fit(model, batches_of(IMAGES, LABELS), class_weight={0: 2.0}),
        lambda: fit(model, validation_data=(IMAGES, LABELS, weights)),
        lambda: model.evaluate(IMAGES, sample_weight=weights, verbose=0),
        lambda: model.evaluate(batches, verbose=0),
        lambda: model.train_on_batch(IMAGES, sample_weight=weights),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()
    assert model.steps_done == 0


@pytest.mark.slow
def test_epochs_batches_and_order() -> None:
    """epochs, initial_epoch, steps_per_epoch, batch_size, shuffle, verbose."""
    model = compiled_model()
    history = model.fit(
        batches_of(IMAGES).repeat(),
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
    for data in (batches_of(IMAGES), Pairs()):
        with pytest.raises(ValueError, match="batch_size=4: a data set has batches of its own"):
            fit(model, data, batch_size=4)
    runs = [fit(compiled_model(), shuffle=shuffle)["loss"] for shuffle in (True, True, False)]
    assert runs[0] == runs[1] != runs[2]


def test_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose, shown in [(0, False), (2, True)]:
        fit(compiled_model(), verbose=verbose)
        assert ("3/3" in capsys.readouterr().out) == shown


def _half_of_images(**options: Any) -> dict[str, Any]:
    return {"x": IMAGES[:16], "validation_data": (IMAGES[16:], None), **options}


@pytest.mark.parametrize(
    "options",
    [
        {"x": IMAGES, "validation_split": 1 / 3},
        _half_of_images(validation_data=batches_of(IMAGES[16:])),
        pytest.param(_half_of_images(validation_batch_size=3), marks=pytest.mark.slow),
        pytest.param(
            _half_of_images(validation_data=batches_of(IMAGES[16:]).repeat(), validation_steps=1),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["split", "data", "batch_size", "steps"],
)
def test_validation(options: Any) -> None:
    """Held-out images are evaluated after each epoch, whichever way they are given."""
    wanted = fit(compiled_model(), **_half_of_images(), epochs=2)
    assert len(wanted["val_loss"]) == 2
    outcome = fit(compiled_model(), **options, epochs=2)
    assert outcome.keys() == wanted.keys()
    for name, value in wanted.items():
        # the noise of an evaluation depends on where its batches begin
        rtol = 0.2 if "validation_batch_size" in options else 1e-6
        np.testing.assert_allclose(outcome[name], value, rtol=rtol)


def test_validation_freq() -> None:
    rare = fit(compiled_model(), **_half_of_images(), epochs=2, validation_freq=2)
    assert (len(rare["loss"]), len(rare["val_loss"])) == (2, 1)
