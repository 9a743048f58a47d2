"""VAE/GAN and Soft-IntroVAE: a step written out plainly, and what the papers claim."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from zoo.evaluation.measure import likelihood_metrics

BATCH = 20
# Of SGD: so that steps are large beside the rounding of weights, though losses differ in scale.
RATES = {"vae_gan": 0.01, "soft_intro_vae": 1.0}


def _vae(name: str, **options: Any) -> Any:
    return zoo.create(name, IMAGE_SHAPE, LATENT_DIM, **{"network": "mlp", **options})


def _shaken(model: Any) -> Any:
    """Weights that give every term a size, of the discriminator's logits too."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign_add(0.05 * rng.standard_normal(variable.shape))
    return model


def _noise(model: Any, name: str) -> Any:
    return model.noise(name, tf.constant(BATCH), [LATENT_DIM])


def _stepped(
    network: keras.Model, loss: Any, tape: tf.GradientTape, rate: float
) -> list[np.ndarray]:
    variables = network.trainable_variables
    gradients = tape.gradient(loss, variables)
    return [v.numpy() - rate * g.numpy() for v, g in zip(variables, gradients, strict=True)]


def _assert_weights(network: keras.Model, wanted: list[np.ndarray]) -> None:
    """To the float32 rounding of gradients that are summed in another order."""
    for variable, value in zip(network.trainable_variables, wanted, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-5, atol=1e-6, err_msg=variable.path)


def _compiled(model: Any) -> Any:
    rate = RATES[model.model_name]
    model.compile(*(keras.optimizers.SGD(rate) for _ in model.optimizer_names))
    return model


def _kl(mean: Any, log_variance: Any) -> Any:
    return tf.reduce_sum(mean**2 + tf.exp(log_variance) - 1 - log_variance, axis=1) / 2


def _as_numpy(*tensors: Any) -> list[np.ndarray]:
    """In float64, each example flat."""
    return [np.asarray(t, np.float64).reshape(len(t), -1) for t in tensors]


# VAE/GAN


@pytest.mark.parametrize("layer", [None, "hidden_0"])
def test_vae_gan_terms(layer: str | None, images: np.ndarray) -> None:
    """1512.09300: eq. 2, 7 and the losses of algorithm 1, in NumPy, of the networks' outputs."""
    model = _shaken(_vae("vae_gan", normalization="none", feature_layer=layer, gamma=0.3))
    x = images[:BATCH]
    noise = {name: _noise(model, name) for name in ("posterior", "prior")}
    terms = model.terms({"images": x, **noise}, training=False)
    mean, log_variance = model.encoder(x)
    z = mean + tf.exp(log_variance / 2) * noise["posterior"]
    again, sample = (tf.sigmoid(model.decoder(latents)) for latents in (z, noise["prior"]))
    at = model.discriminator.get_layer(layer or "logit")
    part = keras.Model(model.discriminator.input, at.output if layer else at.input)
    dis_l, dis_l_again = _as_numpy(part(x), part(again))
    assert dis_l.shape[1] == 512
    p, p_again, p_sample = (
        1 / (1 + np.exp(-logit[:, 0]))
        for logit in _as_numpy(*(model.discriminator(v) for v in (x, again, sample)))
    )
    mu, s = _as_numpy(mean, log_variance)
    prior = 0.5 * np.sum(mu**2 + np.exp(s) - 1 - s, axis=1)
    llike = 0.5 * np.sum((dis_l - dis_l_again) ** 2 + np.log(2 * np.pi), axis=1)
    gan = np.log(p) + np.log(1 - p_again) + np.log(1 - p_sample)
    wanted = {
        "loss": prior + llike,
        "distortion": llike,
        "rate": prior,
        "decoder_loss": 0.3 * llike - np.log(p_again) - np.log(p_sample),
        "discriminator_loss": -gan,
        "squared_error": np.mean((x - again.numpy()) ** 2, axis=(1, 2, 3)),
    }
    assert np.ptp(llike) > 0.1
    assert terms.keys() == wanted.keys()
    for name, value in wanted.items():  # sums of up to 512 float32
        np.testing.assert_allclose(terms[name], value, rtol=1e-5, err_msg=name)


def test_the_decoder_of_a_vae_gan_has_batch_norm() -> None:
    """Table 1 of the paper; without it, samples of Fashion-MNIST stay noise."""
    layers = _vae("vae_gan", network="conv-4").decoder.layers
    assert any(isinstance(layer, keras.layers.BatchNormalization) for layer in layers)


def test_each_player_of_a_vae_gan_takes_its_own_gradient(images: np.ndarray) -> None:
    """Algorithm 1 of 1512.09300, with BatchNorm, by three networks and their gradients."""
    gamma = 0.3
    model = _compiled(_shaken(_vae("vae_gan", normalization="batch", gamma=gamma)))
    enc, dec, dis = model.encoder, model.decoder, model.discriminator
    features = keras.Model(dis.input, dis.get_layer("logit").input)
    statistics = [w.numpy() for w in dis.non_trainable_variables]
    assert statistics
    x = tf.constant(images[:BATCH])
    with tf.GradientTape(persistent=True) as tape:
        mean, log_variance = enc(x)
        x_tilde = tf.sigmoid(dec(mean + tf.exp(log_variance / 2) * _noise(model, "posterior")))
        x_p = tf.sigmoid(dec(_noise(model, "prior")))
        difference = features(x, training=True) - features(x_tilde, training=True)
        l_llike = tf.reduce_sum(difference**2) / 2 / BATCH
        l_prior = tf.reduce_mean(_kl(mean, log_variance))
        real, tilde, p = (tf.sigmoid(dis(v, training=True)) for v in (x, x_tilde, x_p))
        l_gan = tf.reduce_mean(tf.math.log(real * (1 - tilde) * (1 - p)))
        l_enc, l_dec = l_prior + l_llike, gamma * l_llike - tf.reduce_mean(tf.math.log(tilde * p))
        l_dis = -l_gan
    wanted = [
        (network, _stepped(network, loss, tape, RATES["vae_gan"]))
        for network, loss in ((enc, l_enc), (dec, l_dec), (dis, l_dis))
    ]
    for weight, value in zip(dis.non_trainable_variables, statistics, strict=True):
        weight.assign(value)
    logs = model.train_on_batch(images[:BATCH], return_dict=True)
    for network, weights in wanted:
        _assert_weights(network, weights)
    constant = 512 / 2 * np.log(2 * np.pi)
    assert logs["loss"] == pytest.approx(float(l_enc) + constant, rel=1e-5)
    assert logs["decoder_loss"] == pytest.approx(float(l_dec) + gamma * constant, rel=1e-5)
    assert logs["discriminator_loss"] == pytest.approx(float(l_dis), rel=1e-5)


@pytest.mark.parametrize("network", ["conv", "mlp", "resnet"])
def test_features_of_every_architecture(network: str) -> None:
    """The last layer that is not linear in the logits; the discriminator's weights are shared."""
    model = _vae("vae_gan", network=network, normalization="none", num_classes=3)
    x = np.random.default_rng(0).random((2, *IMAGE_SHAPE), np.float32)
    y = np.array([0, 2], np.int32)
    features, logits = model.feature_discriminator([x, y])
    linear, embedding = (
        model.discriminator.get_layer(name).kernel.numpy() for name in ("logit", "embedding")
    )
    np.testing.assert_allclose(
        logits[:, 0],
        # biases begin as 0
        features.numpy() @ linear[:, 0] + np.sum(embedding[y] * features.numpy(), axis=1),
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_array_equal(logits, model.discriminator([x, y]))
    assert len(model.feature_discriminator.variables) == len(model.discriminator.variables)


@pytest.mark.slow
@pytest.mark.parametrize("idle", [True, False])
def test_vae_gan_learns(idle: bool, images: np.ndarray) -> None:
    """Distances in features that stay fall; those of pixels, which are in no loss, always do."""
    model = _vae("vae_gan", normalization="none", gamma=1.0)
    hidden = model.discriminator.get_layer("hidden_0")
    hidden.kernel.assign(4.0 * hidden.kernel)  # features of a size that outweighs the rate
    model.compile(
        keras.optimizers.RMSprop(1e-3),
        keras.optimizers.RMSprop(1e-3),
        keras.optimizers.SGD(0.0) if idle else None,
    )
    history = model.fit(images, batch_size=BATCH, epochs=25, verbose=0).history
    if idle:
        first, *_, last = np.array(history["distortion"]) - 512 / 2 * np.log(2 * np.pi)
        assert last < 0.5 * first
    _assert_reconstructs(model, images)


def _assert_reconstructs(model: Any, images: np.ndarray) -> None:
    """Twice as well as the mean image; and σ² of the ELBO has come from 1 to the error."""
    results = likelihood_metrics(model, images, 2, seed=0)
    chance = np.mean((images - images.mean(axis=0)) ** 2)
    assert results["mse"] < 0.5 * chance
    assert results["mse"] < float(model.pixels.variance) < 2 * chance
    assert np.isfinite(results["elbo"])


# Soft-IntroVAE

BETAS = {"beta_rec": 0.7, "beta_kl": 0.5, "beta_neg": 3.0, "gamma_r": 0.2}


def _of_fake(model: Any, fake: Any, noise: Any) -> tuple[Any, Any]:
    """‖x̃ − D(z)‖² and the KL of q(z | x̃), each [batch]."""
    mean, log_variance = model.encoder(fake)
    again = tf.sigmoid(model.decoder(mean + tf.exp(log_variance / 2) * noise))
    return tf.reduce_sum((fake - again) ** 2, axis=[1, 2, 3]), _kl(mean, log_variance)


def test_soft_intro_vae_terms(images: np.ndarray) -> None:
    """2012.13253, algorithm 1, in NumPy, of the networks' outputs."""
    model = _shaken(_vae("soft_intro_vae", **BETAS))
    x, scale = images[:BATCH], 1 / 64
    noise = {n: _noise(model, n) for n in ("posterior", "prior", "reconstruction", "sample")}
    terms = model.terms({"images": x, **noise}, training=False)
    mean, log_variance = model.encoder(x)
    mu, s = _as_numpy(mean, log_variance)
    x_r = tf.sigmoid(model.decoder(mean + tf.exp(log_variance / 2) * noise["posterior"]))
    x_f = tf.sigmoid(model.decoder(noise["prior"]))
    (target,), (reconstruction,) = _as_numpy(x), _as_numpy(x_r)
    distortion = np.sum((target - reconstruction) ** 2, axis=1)
    rate = 0.5 * np.sum(mu**2 + np.exp(s) - 1 - s, axis=1)
    l_r, kl_r = (np.float64(v) for v in _of_fake(model, x_r, noise["reconstruction"]))
    l_f, kl_f = (np.float64(v) for v in _of_fake(model, x_f, noise["sample"]))
    elbo_r, elbo_f = (-(0.7 * error + 3.0 * kl) for error, kl in ((l_r, kl_r), (l_f, kl_f)))
    exp_elbo_r, exp_elbo_f = (0.5 * np.exp(2 * scale * elbo) for elbo in (elbo_r, elbo_f))
    assert 0.01 < exp_elbo_r.mean() < 0.49  # neither saturated nor nothing
    elbo_r, elbo_f = (-(0.2 * 0.7 * error + 0.5 * kl) for error, kl in ((l_r, kl_r), (l_f, kl_f)))
    wanted = {
        "loss": scale * (0.7 * distortion + 0.5 * rate) + 0.5 * (exp_elbo_r + exp_elbo_f),
        "distortion": distortion,
        "rate": rate,
        "decoder_loss": scale * (0.7 * distortion - 0.5 * (elbo_r + elbo_f)),
        "reconstruction_rate": kl_r,
        "sample_rate": kl_f,
        "squared_error": distortion / 64,
    }
    assert terms.keys() == wanted.keys()
    for name, value in wanted.items():  # sums of up to 64 float32
        np.testing.assert_allclose(terms[name], value, rtol=1e-5, err_msg=name)


def test_a_step_of_soft_intro_vae_is_algorithm_1(images: np.ndarray) -> None:
    """2012.13253: E against the fakes, then D against the new E, with the old z of the images."""
    model = _compiled(_shaken(_vae("soft_intro_vae", **BETAS)))
    enc, dec, scale = model.encoder, model.decoder, 1 / 64
    x = tf.constant(images[:BATCH])
    names = ("posterior", "prior", "reconstruction", "sample")
    epsilon, z_f, epsilon_r, epsilon_f = (_noise(model, name) for name in names)

    x_f = tf.sigmoid(dec(z_f))
    with tf.GradientTape() as tape:
        mean, log_variance = enc(x)
        z = mean + tf.exp(log_variance / 2) * epsilon
        x_r = tf.sigmoid(dec(z))
        elbo = -0.7 * tf.reduce_sum((x - x_r) ** 2, [1, 2, 3]) - 0.5 * _kl(mean, log_variance)
        loss = -scale * tf.reduce_mean(elbo)
        for fake, noise in ((x_r, epsilon_r), (x_f, epsilon_f)):
            error, kl = _of_fake(model, tf.constant(fake.numpy()), noise)
            loss += 0.25 * tf.reduce_mean(tf.exp(-2 * scale * (0.7 * error + 3.0 * kl)))
    wanted_e = _stepped(enc, loss, tape, RATES["soft_intro_vae"])
    before = [v.numpy() for v in enc.trainable_variables]

    for variable, value in zip(enc.trainable_variables, wanted_e, strict=True):
        variable.assign(value)
    z = tf.constant(z.numpy())
    with tf.GradientTape() as tape:
        x_r, x_f = tf.sigmoid(dec(z)), tf.sigmoid(dec(z_f))
        d_loss = 0.7 * tf.reduce_sum((x - x_r) ** 2, [1, 2, 3])
        for fake, noise in ((x_r, epsilon_r), (x_f, epsilon_f)):
            mean, log_variance = enc(fake)
            latents = tf.constant((mean + tf.exp(log_variance / 2) * noise).numpy())
            again, fixed = tf.sigmoid(dec(latents)), tf.constant(fake.numpy())
            error = tf.reduce_sum((fixed - again) ** 2, [1, 2, 3])
            d_loss += 0.5 * (0.5 * _kl(mean, log_variance) + 0.2 * 0.7 * error)
        d_loss = scale * tf.reduce_mean(d_loss)
    wanted_d = _stepped(dec, d_loss, tape, RATES["soft_intro_vae"])

    for variable, value in zip(enc.trainable_variables, before, strict=True):
        variable.assign(value)
    logs = model.train_on_batch(images[:BATCH], return_dict=True)
    _assert_weights(enc, wanted_e)
    _assert_weights(dec, wanted_d)
    assert logs["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert logs["decoder_loss"] == pytest.approx(float(d_loss), rel=1e-5)


@pytest.mark.slow
def test_the_encoder_learns_to_tell_fakes(images: np.ndarray) -> None:
    """Against an idle decoder, KL of fakes grows beyond that of images (2012.13253, section 4)."""
    model = _vae("soft_intro_vae")
    model.compile(decoder_optimizer=keras.optimizers.SGD(0.0))
    history = model.fit(images, batch_size=BATCH, epochs=15, verbose=0).history
    for name in ("reconstruction_rate", "sample_rate"):
        assert history[name][-1] > 2 * history["rate"][-1], name
        assert history[name][-1] > 2 * history[name][0], name


@pytest.mark.slow
def test_soft_intro_vae_learns(images: np.ndarray) -> None:
    model = _vae("soft_intro_vae", beta_kl=0.1)
    model.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
    model.fit(images, batch_size=BATCH, epochs=25, verbose=0)
    _assert_reconstructs(model, images)


@pytest.mark.slow
def test_far_fakes_are_no_overflow(images: np.ndarray) -> None:
    """Fakes of a huge KL leave exp(−…) = 0, with a gradient of 0, and never infinity."""
    model = _vae("soft_intro_vae")
    model.encoder.get_layer("mean").bias.assign(np.full(LATENT_DIM, 1e3))
    model.compile(*(keras.optimizers.SGD(0.01) for _ in model.optimizer_names))
    logs = model.train_on_batch(images[:BATCH], return_dict=True)
    assert np.isfinite(list(logs.values())).all()
    assert all(np.isfinite(v).all() for v in model.get_weights())


# Options


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vae_gan", {"gamma": -1.0}, "gamma=-1.0"),
        ("vae_gan", {"likelihood": "bernoulli"}, "likelihood='bernoulli'.*'gaussian' alone"),
        ("vae_gan", {"warm_up": 3}, "warm_up=3"),
        ("vae_gan", {"transfer": (1.0, 1.0, 0.0, 0.0)}, "step of its own"),
        ("vae_gan", {"feature_layer": "conv_9"}, "feature_layer='conv_9'.*hidden_0"),
        ("soft_intro_vae", {"beta_neg": -1.0}, "beta_neg=-1.0"),
        ("soft_intro_vae", {"free_bits": 0.1}, "free_bits=0.1"),
        ("soft_intro_vae", {"transfer": (1.0, 1.0, 0.0, 0.0)}, "step of its own"),
    ],
)
def test_bad_options(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _vae(name, **options)


def test_an_own_discriminator_names_its_features() -> None:
    image = keras.Input(IMAGE_SHAPE)
    x = keras.layers.Conv2D(2, 3, name="edges")(image)
    x = keras.layers.Dense(1)(keras.layers.Flatten()(x))
    own = keras.Model(image, x)
    with pytest.raises(ValueError, match=r"feature_layer=None needs a layer 'logit'.*'edges'"):
        _vae("vae_gan", discriminator=own)
    model = _vae("vae_gan", discriminator=own, feature_layer="edges")
    assert model.feature_discriminator.output_shape[0] == (None, 6, 6, 2)
    again = type(model).from_config(model.get_config())
    assert again.feature_discriminator.output_shape == model.feature_discriminator.output_shape
    with pytest.raises(ValueError, match=r"discriminator maps .* expected \[\(1,\)\]"):
        _vae("vae_gan", discriminator=keras.Model(image, keras.layers.Dense(3)(x)))
