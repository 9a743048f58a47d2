"""Models as a user would write them: autoencoders without an ELBO, and a player more.

What the zoo does with a VAE it does with them, as far as they have what it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM, assert_same_state
from zoo import losses
from zoo.core import registry
from zoo.core.replicated_step import Player
from zoo.evaluation.measure import evaluate
from zoo.sampling.samplers import fit_sampler, load_sampler
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


class Autoencoder(BaseVAE):
    """An autoencoder: an image has a point for a code, and there is no posterior."""

    log_names: tuple[str, ...] = ("loss", "distortion")
    has_elbo: ClassVar[bool] = False
    transferable: ClassVar[bool] = False
    encoder_outputs: ClassVar[Mapping[str, str | None]] = {"latent": None}

    def new_encoder(self, *args: Any, **options: Any) -> keras.Model:
        """The architecture's, up to the mean."""
        encoder = super().new_encoder(*args, **options)
        return keras.Model(encoder.input, encoder.outputs[0], name="encoder")

    def forward(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """`latents` z = E(x) and the decoder's `logits` of them."""
        latents = self.encoder(batch["images"], training=training)
        return {"latents": latents, "logits": self.logits(latents, training=training)}

    def latent_code(self, images: Any, labels: Any = None) -> tuple[Any, Any]:
        """z, and a deviation of 0."""
        latents = self.encode(images, labels)
        return latents, tf.zeros_like(latents)


class RAE(Autoencoder):
    """Regularized autoencoder (arXiv 1903.12436, eq. 11), with L2 regularization of the decoder.

    The loss is distortion + β ½‖z‖² + λ ½‖θ‖².
    """

    log_names = (*Autoencoder.log_names, "latent_norm", "decoder_norm")

    def __init__(self, *, beta: float = 1e-2, decay: float = 1e-4, **kwargs: Any) -> None:
        self.beta, self.decay = beta, decay
        super().__init__(**kwargs)

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """β and λ."""
        return {"latent_norm": self.beta, "decoder_norm": self.decay}

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """None."""
        return {}

    def regularization_terms(
        self,
        outputs: dict[str, Any],
        batch: dict[str, Any],
    ) -> dict[str, Any]:
        """½‖z‖² and, the same for each example, ½‖θ‖²."""
        latent_norm = 0.5 * losses.sum_per_example(tf.square(outputs["latents"]))
        norms = [tf.nn.l2_loss(weight.value) for weight in self.decoder.trainable_variables]
        return {"latent_norm": latent_norm, "decoder_norm": tf.add_n(norms) + 0.0 * latent_norm}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "beta": self.beta, "decay": self.decay}


class AAE(Autoencoder):
    """Adversarial autoencoder (arXiv 1511.05644, section 2), with a deterministic encoder.

    A discriminator tells codes from draws of the prior; the encoder is to pass for the prior.
    """

    log_names = (*Autoencoder.log_names, "fooling", "discriminator_loss")
    players: Mapping[str, Player] = {
        **BaseVAE.players,
        "discriminator_optimizer": Player("discriminator_loss", ("discriminator",)),
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.discriminator = keras.Sequential(
            [
                keras.Input((self.latent_dim,)),
                keras.layers.Dense(16, activation="relu"),
                keras.layers.Dense(1),
            ]
        )

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """The encoder's adversarial loss."""
        return {"fooling": 1.0}

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """Draws of the prior."""
        return {"prior_latents": draw("prior", [self.latent_dim])}

    def regularization_terms(
        self, outputs: dict[str, Any], batch: dict[str, Any]
    ) -> dict[str, Any]:
        """What the encoder and the discriminator minimise, each [batch]."""
        real = self.discriminator(batch["prior_latents"])
        fake = self.discriminator(outputs["latents"])
        return {
            "fooling": losses.non_saturating_generator_loss(fake),
            "discriminator_loss": losses.minimax_discriminator_loss(real, fake),
        }


MODELS = {"test_rae": RAE, "test_aae": AAE}
SLOW_AAE = pytest.param("test_aae", marks=pytest.mark.slow)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    for name, cls in MODELS.items():
        zoo.register_model(name)(cls)
    yield
    for name in MODELS:
        registry._classes.pop(name)


def _create(name: str, **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    return zoo.create(name, IMAGE_SHAPE, LATENT_DIM, network="mlp", **options)


def _trained(name: str, images: np.ndarray, epochs: int = 2) -> Any:
    model = _create(name)
    model.compile()
    model.fit(images, batch_size=20, epochs=epochs, shuffle=False, verbose=0)
    return model


def test_the_loss_of_an_rae(images: np.ndarray) -> None:
    model = _create("test_rae", beta=0.5, decay=0.01, likelihood="bernoulli")
    model.compile()
    logs = model.evaluate(images, batch_size=60, verbose=0, return_dict=True)
    z = np.asarray(model.encode(images), np.float64)
    p = np.asarray(model.decode(z.astype(np.float32)), np.float64)
    entropy = -(images * np.log(p) + (1 - images) * np.log1p(-p)).reshape(len(images), -1).sum(1)
    theta = sum(np.sum(np.square(np.asarray(w, np.float64))) for w in model.decoder.weights)
    wanted = entropy.mean() + 0.5 * 0.5 * np.square(z).sum(axis=1).mean() + 0.01 * 0.5 * theta
    assert logs["loss"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
def test_the_players_of_an_aae_take_their_own_gradients(images: np.ndarray) -> None:
    model = _create("test_aae")
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.1))
    before = [np.asarray(v) for v in model.variables]
    model.train_on_batch(images[:20])
    own = {id(v) for v in model.discriminator.trainable_variables}
    for variable, value in zip(model.variables, before, strict=True):
        if variable.trainable:
            moved = np.abs(np.asarray(variable) - value).max() > 0
            assert moved == (id(variable) in own), variable.path
    history = _trained("test_aae", images, epochs=4).history.history
    assert history["distortion"][-1] < history["distortion"][0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_rae", SLOW_AAE])
def test_what_has_no_elbo_reports_none(name: str, images: np.ndarray) -> None:
    """But what it has: the error, and what its codes hold."""
    model = _trained(name, images)
    results = evaluate(model, images, extractor="none")
    assert set(results["metrics"]) == {"mse", "psnr", "active_units", "latent_r2"}
    assert "importance_samples" not in results
    error = np.mean(np.square(images - np.asarray(model.reconstruct(images))))
    assert results["metrics"]["mse"] == pytest.approx(error, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_rae", SLOW_AAE])
@pytest.mark.parametrize("kind", ["gmm", pytest.param("two_stage", marks=pytest.mark.slow)])
def test_a_sampler_is_fitted_to_the_codes(
    name: str, kind: str, images: np.ndarray, tmp_path: Path
) -> None:
    model = _trained(name, images)
    sampler = fit_sampler(model, images, kind, components=1, steps=200)
    codes = np.asarray(model.encode(images))
    drawn = sampler.sample(4000, seed=0)
    scale = codes.std(axis=0)
    if kind == "gmm":  # of one Gaussian, which has the moments of the codes
        np.testing.assert_allclose(sampler.arrays["means"][0], codes.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(drawn.std(axis=0) / scale, 1.0, atol=0.1)
    np.testing.assert_allclose((drawn.mean(axis=0) - codes.mean(axis=0)) / scale, 0.0, atol=0.3)
    sampler.save(tmp_path / "sampler.npz")
    again = load_sampler(tmp_path / "sampler.npz", kind, LATENT_DIM)
    np.testing.assert_array_equal(again.sample(5, seed=1), sampler.sample(5, seed=1))
    assert model.generate_from(drawn[:5]).shape == (5, *IMAGE_SHAPE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_rae", "test_aae"])
def test_it_resumes_bit_for_bit(name: str, images: np.ndarray, tmp_path: Path) -> None:
    whole = _trained(name, images)
    half = _trained(name, images, epochs=1)
    half.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    assert resumed.get_config() == half.get_config()
    resumed.fit(images, batch_size=20, epochs=2, initial_epoch=1, shuffle=False, verbose=0)
    assert_same_state(resumed, whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_it_is_exported(name: str, images: np.ndarray, tmp_path: Path) -> None:
    """As ONNX and as a SavedModel, each verified against the model."""
    from export import export_model

    model = _trained(name, images)
    for form in ("onnx", "saved_model"):
        export_model(model, tmp_path / form, format=form)
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "encode.onnx")
    (codes,) = session.run(["latent"], {"image": images[:4]})
    np.testing.assert_allclose(codes, model.encode(images[:4]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "base",
    [
        zoo.vae.FactorVAE,
        *(pytest.param(b, marks=pytest.mark.slow) for b in (zoo.vae.VAEGAN, zoo.vae.SoftIntroVAE)),
    ],
)
def test_models_with_a_step_of_their_own_call_the_hook_for_logs(
    base: Any, images: np.ndarray
) -> None:
    class Logging(base):
        log_names = (*base.log_names, "twice_the_rate")

        def batch_logs(self, terms: dict[str, Any], *, training: bool) -> dict[str, Any]:
            others = super().batch_logs(terms, training=training)
            return {**others, "twice_the_rate": 2.0 * terms["rate"]}

    model = Logging(image_shape=IMAGE_SHAPE, latent_dim=LATENT_DIM, network="mlp")
    model.compile(run_eagerly=True)
    for logs in (
        model.train_on_batch(images[:8], return_dict=True),
        model.test_on_batch(images[:8], return_dict=True),
    ):
        assert logs["twice_the_rate"] == pytest.approx(2.0 * logs["rate"], rel=1e-5)


def test_options_that_are_not_to_be_had() -> None:
    with pytest.raises(ValueError, match=r"free_bits=0.1.* no rate"):
        _create("test_rae", free_bits=0.1)
    with pytest.raises(ValueError, match="no transfer"):
        _create("test_aae", transfer=(1.0, 1.0, 0.0, 0.0))
    image = keras.Input(IMAGE_SHAPE)
    flat = keras.layers.Flatten()(image)
    two = keras.Model(image, [keras.layers.Dense(LATENT_DIM)(flat) for _ in range(2)])
    with pytest.raises(ValueError, match=r"encoder maps .* expected \[\(3,\)\]"):
        _create("test_rae", encoder=two)
