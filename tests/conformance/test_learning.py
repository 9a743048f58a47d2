"""Training learns."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.cases import Case


def test_training_learns(full_vae: Case, images: np.ndarray) -> None:
    """A VAE's loss falls; a discriminator learns to tell real images from an idle generator's."""
    model = full_vae.create()
    if model.family == "vae":
        model.compile()
        history = model.fit(*full_vae.data(images), batch_size=20, epochs=15, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]
    else:
        idle = keras.optimizers.SGD(0.0)
        model.compile(generator_optimizer=idle, discriminator_optimizer=keras.optimizers.Adam(2e-3))
        for _ in range(4):  # networks with spectral norms take their time
            logs = model.fit(*full_vae.data(images), batch_size=20, epochs=15, verbose=0).history
            if logs["real_logit"][-1] - logs["fake_logit"][-1] > 0.5:
                return
        pytest.fail(f"logits of {logs['real_logit'][-1]} and {logs['fake_logit'][-1]} at the end")
