"""Every model works through plain Keras: fit, evaluate, predict, callbacks, save and load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.cases import LATENT_DIM, Case, assert_same_state, state_of
from tests.support.equivalence import structured_images


def test_fit_evaluate_predict(each: Case) -> None:
    case, images = each, structured_images(each.image_shape)
    model = case.create()
    model.compile()
    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs))
    history = model.fit(
        *case.data(images), batch_size=20, epochs=2, verbose=0, callbacks=[callback]
    )
    assert set(model.log_names) == set(history.history)
    assert seen[1] == {name: values[1] for name, values in history.history.items()}
    assert int(model.step) == 6
    results = model.evaluate(*case.data(images), batch_size=25, verbose=0, return_dict=True)
    assert all(np.isfinite(value) for value in results.values())
    assert model.evaluate(*case.data(images), batch_size=25, verbose=0, return_dict=True) == results
    predicted = model.predict(case.inputs(model, images), verbose=0)
    assert predicted.shape == images.shape
    assert predicted.min() >= 0
    assert predicted.max() <= 1


def test_labels_in_the_data_are_ignored(case: Case, images: np.ndarray) -> None:
    if case.labels(1) is not None:
        pytest.skip("conditional: needs labels")
    histories = []
    for data in ({"x": images}, {"x": images, "y": np.arange(60)}):
        keras.utils.set_random_seed(0)
        model = case.create()
        model.compile()
        histories.append(model.fit(**data, batch_size=20, verbose=0, shuffle=False).history)
    assert histories[0] == histories[1]


def test_training_learns(case: Case, images: np.ndarray) -> None:
    """A VAE's loss falls; a discriminator learns to tell real images from an idle generator's."""
    model = case.create()
    if model.family == "vae":
        model.compile()
        history = model.fit(*case.data(images), batch_size=20, epochs=15, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]
    else:
        idle = keras.optimizers.SGD(0.0)
        model.compile(generator_optimizer=idle, discriminator_optimizer=keras.optimizers.Adam(2e-3))
        history = model.fit(*case.data(images), batch_size=20, epochs=15, verbose=0).history
        assert history["real_logit"][-1] - history["fake_logit"][-1] > 0.5


def test_save_and_load_continue_alike(case: Case, tmp_path: Path) -> None:
    """All optimizers, their slots, averages and the noise survive: training goes on the same."""
    images = structured_images(case.image_shape)
    model = case.create()
    model.compile()
    model.fit(*case.data(images), batch_size=20, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    for name in model.optimizer_names:
        assert getattr(loaded, name).get_config() == getattr(model, name).get_config()
    assert_same_state(loaded, model)
    for m in (model, loaded):
        m.fit(*case.data(images), batch_size=20, shuffle=False, verbose=0)
    assert_same_state(loaded, model)


@pytest.mark.parametrize("imports", ["import zoo, keras", "import keras, zoo"])
def test_load_in_a_fresh_process(imports: str, images: np.ndarray, tmp_path: Path) -> None:
    import zoo

    model = zoo.create("dcgan", (8, 8, 1), LATENT_DIM, ema=0.9)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", model.generate(2, seed=1))
    code = (
        f"{imports}; import numpy as np; model = keras.models.load_model('model.keras'); "
        "print(np.abs(model.generate(2, seed=1) - np.load('images.npy')).max())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) == 0.0


def test_same_seed_same_run(case: Case, images: np.ndarray) -> None:
    states = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(0)
        model = case.create(seed=seed)
        model.compile()
        model.fit(*case.data(images), batch_size=20, shuffle=False, verbose=0)
        states.append(list(state_of(model).values()))
    assert all(np.array_equal(a, b) for a, b in zip(states[0], states[1], strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(states[0], states[2], strict=True))


def test_generate(each: Case) -> None:
    model = each.create()
    first = model.generate(5, seed=3)
    np.testing.assert_array_equal(model.generate(5, seed=3), first)
    assert np.abs(model.generate(5, seed=4) - first).max() > 0
    assert np.abs(model.generate(5) - model.generate(5)).max() > 0
    # 300 images take more than one internal batch
    latents = model.sample_latents(300, seed=3)
    labels = model.sample_labels(300, seed=3)
    last = model.generate_from(latents[-2:], None if labels is None else labels[-2:])
    np.testing.assert_allclose(model.generate(300, seed=3)[-2:], last, atol=1e-6)
    with pytest.raises(ValueError, match="n=0"):
        model.generate(0)
    dim = model.noise_dim
    with pytest.raises(ValueError, match=rf"shape \(2, {dim + 1}\).*\[n, {dim}\]"):
        model.generate_from(np.zeros((2, dim + 1)))


def test_wrong_images_are_refused(case: Case, images: np.ndarray) -> None:
    model = case.create()
    model.compile()
    with pytest.raises(ValueError, match="uint8.*Divide by 255"):
        model.fit(*case.data((images * 255).astype(np.uint8)), verbose=0)
    with pytest.raises(ValueError, match=r"\(8, 4, 1\).*image_shape=\(8, 8, 1\)"):
        model.fit(*case.data(images[:, :, :4]), verbose=0)
