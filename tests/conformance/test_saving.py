"""A model that is saved and loaded trains on as if it had never been saved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from tests.cases import LATENT_DIM, Case, assert_same_state
from tests.support.equivalence import (
    structured_images,
)


def test_save_and_load_continue_alike(full_vae: Case, tmp_path: Path) -> None:
    """All optimizers, their slots, averages and the noise survive: training goes on the same."""
    images = structured_images(full_vae.image_shape)
    model = full_vae.create()
    model.compile()
    model.fit(*full_vae.data(images), batch_size=20, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    for name in model.optimizer_names:
        assert getattr(loaded, name).get_config() == getattr(model, name).get_config()
    assert_same_state(loaded, model)
    for m in (model, loaded):
        m.fit(*full_vae.data(images), batch_size=20, shuffle=False, verbose=0)
    assert_same_state(loaded, model)


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports", ["import keras, zoo", pytest.param("import zoo, keras", marks=pytest.mark.slow)]
)
def test_load_in_a_fresh_process(imports: str, images: np.ndarray, tmp_path: Path) -> None:

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
