"""Channels-first networks: copied to channels last, where TensorFlow cannot compute them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import zoo
from export import endpoints, export_model, verify
from zoo import convert
from zoo.convert.building import build, in_channels_last, in_float64
from zoo.convert.reading import read
from zoo.core import channels

FIRST = {"data_format": "channels_first"}
SHAPE = (8, 8, 1)
LATENT = 3
FLOAT32 = 1e-5  # relative; the largest measured between the layouts was 1e-6


def shaken(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(0)
    for weight in model.weights:
        positive = "variance" in weight.path or "gamma" in weight.path
        draw = rng.uniform(0.5, 2.0, weight.shape) if positive else rng.normal(0, 0.3, weight.shape)
        weight.assign(draw)
    return model


def encoder() -> keras.Model:
    """Branches, a merge, a wrapped layer, an operation and models within."""
    images = keras.Input(SHAPE)
    x = layers.Permute((3, 1, 2))(images)
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, **FIRST)(x)
    x = layers.LeakyReLU(0.2)(layers.BatchNormalization(axis=1)(x))
    skip = layers.Conv2D(6, 2, strides=2, **FIRST)(x)  # of size 1, oneDNN's gradients are wrong
    y = layers.SeparableConv2D(6, 3, padding="same", **FIRST)(x)
    y = layers.AveragePooling2D(2, **FIRST)(layers.BatchNormalization(axis=1)(y))
    y = layers.SpectralNormalization(layers.Conv2D(6, 3, padding="same", **FIRST))(y)
    x = layers.Add()([skip, y]) * 0.5
    inner = [layers.Conv2D(5, 3, **FIRST), layers.Activation("softmax"), layers.Flatten(**FIRST)]
    h = keras.Sequential([keras.Input((6, 4, 4)), *inner])(x)
    pooled = layers.GlobalAveragePooling2D(**FIRST)(x)
    return keras.Model(images, [layers.Dense(LATENT)(h), layers.Dense(LATENT)(pooled)])


def decoder(last: str = "linear") -> keras.Sequential:
    return keras.Sequential(
        [
            keras.Input((LATENT,)),
            layers.Dense(32),
            layers.Reshape((2, 4, 4)),
            layers.BatchNormalization(axis=1),
            layers.ReLU(),
            layers.Conv2DTranspose(3, 4, 2, padding="same", **FIRST),
            layers.LeakyReLU(0.2),
            layers.Conv2D(1, 3, padding="same", **FIRST),
            layers.Permute((2, 3, 1)),
            layers.Activation(last),
        ]
    )


def discriminator() -> keras.Model:
    images = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, 2, **FIRST)(layers.Permute((3, 1, 2))(images))
    x = layers.LeakyReLU(0.2, name="features")(x)
    return keras.Model(images, layers.Dense(1)(layers.Flatten(**FIRST)(x)))


MODELS: dict[str, Callable[[], keras.Model]] = {"encoder": encoder, "decoder": decoder}


@pytest.fixture
def not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor where TensorFlow convolves channels last alone."""
    monkeypatch.setattr(channels, "runs_channels_first", lambda dtype="float32": False)


def needs_channels_first() -> None:
    if not channels.runs_channels_first():
        pytest.skip("TensorFlow has no channels-first convolutions in this process")


def close(found: object, wanted: object) -> None:
    for a, b in zip(keras.tree.flatten(found), keras.tree.flatten(wanted), strict=True):
        a, b = np.asarray(a), np.asarray(b)  # noqa: PLW2901
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= FLOAT32 * np.abs(b).max()


def test_whether_it_runs_is_what_tensorflow_does() -> None:
    def convolve() -> None:
        layers.Conv2D(4, 3, **FIRST)(np.zeros((2, 3, 8, 8), np.float32))

    if channels.runs_channels_first():
        convolve()
    else:
        with pytest.raises(tf.errors.UnimplementedError):
            convolve()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_the_copy_computes_the_same(make: Callable[[], keras.Model], *, training: bool) -> None:
    """The network, its gradients, and BatchNorm's statistics."""
    needs_channels_first()
    model = shaken(make())
    copy = channels.channels_last(model)
    assert not channels.has_channels_first(copy)
    x = np.random.default_rng(1).random((4, *model.input_shape[1:]), np.float32)
    found = []
    for network in (copy, model):
        with tf.GradientTape() as tape:
            outputs = network(x, training=training)
            loss = sum(tf.reduce_sum(tf.square(each)) for each in keras.tree.flatten(outputs))
        names = [weight.path.rpartition("/")[2] for weight in network.weights]
        gradients = tape.gradient(loss, network.trainable_variables)
        found.append((outputs, gradients, [w.numpy() for w in network.weights], names))
    (*copied, names), (*wanted, wanted_names) = found
    assert names == wanted_names
    close(copied[0], wanted[0])
    close(copied[2], wanted[2])
    scale = max(np.abs(gradient).max() for gradient in wanted[1])  # some are 0 but for rounding
    for a, b in zip(copied[1], wanted[1], strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= FLOAT32 * scale


def test_each_precision_is_asked_for() -> None:
    """float64 runs nowhere on a CPU; bfloat16 not on all that compute float32."""
    assert not channels.runs_channels_first("float64")
    model = keras.Sequential([keras.Input((2, 4, 4)), layers.Conv2D(3, 3, **FIRST)])
    assert channels.can_run(model) == channels.runs_channels_first("float32")
    double = keras.Sequential(
        [keras.Input((2, 4, 4)), layers.Conv2D(3, 3, dtype="float64", **FIRST)]
    )
    assert not channels.can_run(double)
    with pytest.warns(UserWarning, match="The decoder .*channels-first"):
        copy = channels.runnable(double, "decoder")
    assert copy is not None
    assert copy(np.zeros((1, 2, 4, 4))).shape == (1, 3, 2, 2)


def test_permutes_cancel_between_layers() -> None:
    kinds = [type(layer).__name__ for layer in channels.channels_last(decoder()).layers]
    assert kinds.count("Permute") == 3  # in, out, and the network's own


@pytest.mark.slow
@pytest.mark.usefixtures("not_here")
@pytest.mark.parametrize(
    "name", ["vae", *(pytest.param(n, marks=pytest.mark.slow) for n in ("vae_gan", "bigan"))]
)
def test_given_networks(name: str, images: np.ndarray, tmp_path: Path) -> None:
    """They train, save and load, whatever the processor; and the user is told of the copy."""
    given: dict[str, keras.Model] = {"encoder": encoder()}
    options = {"feature_layer": "features"} if name == "vae_gan" else {}
    if name != "bigan":
        given["decoder"] = decoder()
    else:
        given["generator"] = decoder("sigmoid")
    if name == "vae_gan":
        given["discriminator"] = discriminator()
    with pytest.warns(UserWarning, match="channels-first layers.*TF_ENABLE_ONEDNN_OPTS=1") as told:
        model = zoo.create(name, SHAPE, LATENT, network="mlp", **given, **options)
    assert {str(each.message).split()[1] for each in told} == set(given)
    for role, network in given.items():
        copy = getattr(model, role)
        assert not channels.has_channels_first(copy)
        np.testing.assert_equal(copy.get_weights(), network.get_weights())
    model.compile()
    model.fit(images, batch_size=20, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.generate(4, seed=0), model.generate(4, seed=0))


def test_a_run_from_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model saved with its networks channels first loads where they do not run."""
    needs_channels_first()
    given = {"encoder": shaken(encoder()), "decoder": shaken(decoder())}
    model = zoo.create("vae", SHAPE, LATENT, **given)
    assert model.decoder is given["decoder"]
    model.compile()
    model.save(tmp_path / "model.keras")
    wanted = model.generate(4, seed=0)
    monkeypatch.setattr(channels, "runs_channels_first", lambda dtype="float32": False)
    with pytest.warns(UserWarning, match="channels-first"):
        again = keras.models.load_model(tmp_path / "model.keras")
    assert not channels.has_channels_first(again.decoder)
    close(again.generate(4, seed=0), wanted)


def test_layers_of_the_users_own_are_explained() -> None:
    """No copy can be made of a network that is no graph of layers."""

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.conv = layers.Dense(64), layers.Conv2D(1, 3, padding="same", **FIRST)

        def call(self, z: object) -> object:
            x = keras.ops.reshape(self.dense(z), (-1, 1, 8, 8))
            return keras.ops.transpose(keras.ops.sigmoid(self.conv(x)), (0, 2, 3, 1))

    if channels.runs_channels_first():
        assert zoo.create("dcgan", SHAPE, LATENT, network="mlp", generator=Own())
        return
    with pytest.raises(ValueError, match="generator convolves channels first.*ONEDNN_OPTS=1"):
        zoo.create("dcgan", SHAPE, LATENT, network="mlp", generator=Own())


@pytest.mark.slow
@pytest.mark.usefixtures("not_here")
def test_conversion_where_it_does_not_run() -> None:
    convert_there_and_back()


@pytest.mark.slow
def test_conversion_where_it_may_run() -> None:
    """TensorFlow convolves no float64 channels first, whatever the processor: rounding is known."""
    convert_there_and_back()


def convert_there_and_back() -> None:
    generator = shaken(decoder("sigmoid"))
    vae, report = convert.gan_to_vae(generator, network="mlp")
    assert report.equivalence in ("bitwise", "tolerance")
    assert 0.0 < report.equality.noise_floor < 1e-5  # it was computed in float64 too
    assert report.coverage == 1.0
    z = np.random.default_rng(2).normal(size=(4, LATENT)).astype(np.float32)
    wanted = in_channels_last(generator)(z)
    np.testing.assert_allclose(vae.generate_from(z), wanted, atol=1e-6)
    exact = in_float64(generator)(z.astype(np.float64))
    np.testing.assert_allclose(wanted, exact, atol=1e-6)
    again, report = convert.gan_to_vae(generator, vae)  # into a decoder with the same layers
    assert report.equivalence in ("bitwise", "tolerance")
    gan, report = convert.vae_to_gan(
        again, whiten_posterior=False, discriminator_init="random", model="gan"
    )
    np.testing.assert_allclose(gan.generate_from(z), wanted, atol=1e-5)


def test_exported_networks_are_channels_last() -> None:
    """TensorFlow Serving may be without oneDNN, wherever the file was made."""
    gan = zoo.create("gan", SHAPE, LATENT, network="mlp", generator=decoder("sigmoid"))
    (network,) = endpoints(gan, functions=["generate"])[0].networks
    assert not channels.has_channels_first(network)
    z = gan.sample_latents(4, seed=0)
    np.testing.assert_allclose(network(z), gan.generate_from(z), atol=1e-6)


@pytest.mark.slow
def test_exports_run_everywhere(tmp_path: Path) -> None:
    """The graph in the file, too."""
    needs_channels_first()
    vae = zoo.create("vae", SHAPE, LATENT, encoder=shaken(encoder()), decoder=shaken(decoder()))
    folder = export_model(vae, tmp_path / "model")
    graph = tf.saved_model.load(folder).signatures["generate"].graph
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    convolutions = [node for node in nodes if node.op.startswith("Conv2D")]
    assert convolutions
    assert {node.attr["data_format"].s for node in convolutions} == {b"NHWC"}
    assert verify(folder, vae).passed


def test_build_keeps_channels_first_where_it_runs() -> None:
    needs_channels_first()
    assert channels.has_channels_first(build(read(decoder())))
    assert not channels.has_channels_first(build(read(decoder()), "float64"))
