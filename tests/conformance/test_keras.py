"""Every model works through plain Keras: fit, evaluate, predict and callbacks."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.cases import Case
from tests.support.equivalence import (
    structured_images,
)


def test_fit(other: Case) -> None:
    """The core ones do more, in the next test."""
    model = other.create()
    model.compile()
    images = structured_images(other.image_shape)
    history = model.fit(*other.data(images), batch_size=20, verbose=0).history
    assert set(model.log_names) == set(history)
    assert np.isfinite([*history.values()]).all()
    assert int(model.step) == 3


def test_fit_evaluate_predict(full: Case) -> None:
    images = structured_images(full.image_shape)
    model = full.create()
    model.compile()
    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs))
    history = model.fit(
        *full.data(images), batch_size=20, epochs=2, verbose=0, callbacks=[callback]
    )
    assert set(model.log_names) == set(history.history)
    assert seen[1] == {name: values[1] for name, values in history.history.items()}
    assert int(model.step) == 6
    results = model.evaluate(*full.data(images), batch_size=30, verbose=0, return_dict=True)
    assert all(np.isfinite(value) for value in results.values())
    assert model.evaluate(*full.data(images), batch_size=30, verbose=0, return_dict=True) == results
    predicted = model.predict(full.inputs(model, images), batch_size=30, verbose=0)
    assert predicted.shape == images.shape
    assert predicted.min() >= 0
    assert predicted.max() <= 1


@pytest.mark.slow
def test_labels_in_the_data_are_ignored(full_gan: Case, images: np.ndarray) -> None:
    if full_gan.labels(1) is not None:
        pytest.skip("conditional: needs labels")
    histories = []
    for data in ({"x": images}, {"x": images, "y": np.arange(60)}):
        keras.utils.set_random_seed(0)
        model = full_gan.create()
        model.compile()
        histories.append(model.fit(**data, batch_size=20, verbose=0, shuffle=False).history)
    assert histories[0] == histories[1]
