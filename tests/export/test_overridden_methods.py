"""Models whose methods are overridden, and call those of their base, are exported as any other."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from export import endpoints, export_model, verify
from zoo.vae import vae

if TYPE_CHECKING:
    from pathlib import Path

SHAPE, LATENT_DIM = (8, 8, 1), 2


class Overridden(vae.VAE):
    """Halves the posterior's mean and darkens the images, by way of `super()`."""

    @property
    def factor(self) -> float:
        """What a property of the model gives."""
        return 1.0 / self.latent_dim

    @cached_property
    def darker(self) -> keras.Model:
        """A network that is made once, of the decoder."""
        return keras.Model(self.decoder.inputs[0], self.decoder.outputs[0] - 1.0)

    def encode(self, images: Any, labels: Any = None) -> Any:
        """Half the mean, and the log-variance."""
        mean, log_variance = super().encode(images, labels)
        return mean * self.factor, log_variance

    def images_from_latents(self, latents: Any, labels: Any = None) -> Any:
        """The mean of the decoder's images and darker ones."""
        images = super().images_from_latents(latents, labels)
        return (images + keras.ops.sigmoid(self.darker(latents))) / 2.0


@pytest.fixture(scope="module")
def model() -> Overridden:
    made = Overridden(image_shape=SHAPE, latent_dim=LATENT_DIM, network="mlp")
    made.generate(1, seed=0)  # the cached network of the model's own is there
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    "format_name", [pytest.param("saved_model", marks=pytest.mark.slow), "onnx"]
)
def test_exported_as_the_model_computes(
    format_name: str, model: Overridden, tmp_path: Path
) -> None:
    functions = ["encode", "sample"]
    path = export_model(model, tmp_path / "x", format_name, functions=functions, verify=False)
    report = verify(path, model)
    assert report.passed, report.problems
    assert {row.function for row in report.rows} >= set(functions)


def test_networks_are_replaced_and_the_model_stays(model: Overridden) -> None:
    before = dict(vars(model))
    layers = [layer.name for layer in model._flatten_layers()]

    def zeros(network: keras.Model) -> keras.Model:
        copy = keras.models.clone_model(network)
        copy.set_weights([np.zeros_like(w) for w in network.get_weights()])
        return copy

    encode = {endpoint.name: endpoint for endpoint in endpoints(model, zeros)}["encode"]
    mean = encode.function(np.ones((1, *SHAPE), np.float32))["mean"]
    np.testing.assert_array_equal(mean, np.zeros((1, LATENT_DIM)))
    generate = endpoints(model, zeros)[0]
    image = np.asarray(generate.function(np.ones((1, LATENT_DIM), np.float32))["image"])
    # Both networks: σ(0) of the decoder, and σ(−1) of the network that the copy made of it.
    np.testing.assert_allclose(image, (0.5 + 1 / (1 + np.e)) / 2, rtol=1e-6)
    assert vars(model) == before
    assert [layer.name for layer in model._flatten_layers()] == layers


class Hidden(vae.VAE):
    """Uses a network that no endpoint names."""

    def images_from_latents(self, latents: Any, labels: Any = None) -> Any:
        """Images that depend on the encoder."""
        images = super().images_from_latents(latents, labels)
        return images + 0.0 * keras.ops.mean(self.encoder(images)[0])


def test_a_network_that_no_endpoint_names_is_told(tmp_path: Path) -> None:
    hidden = Hidden(image_shape=SHAPE, latent_dim=LATENT_DIM, network="mlp")
    with pytest.raises(ValueError, match=r"generate uses .*endpoints\(\)"):
        export_model(hidden, tmp_path / "x", functions=["generate"])
    assert not (tmp_path / "x" / "1").exists()
