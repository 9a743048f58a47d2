"""Nothing depends on `image_data_format` of keras.json, which may be channels first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from export import export_model, verify
from export.onnx.files import _rewritten
from tests.cases import LATENT_DIM, Case
from zoo import convert, networks
from zoo.convert import rules
from zoo.convert.building import build
from zoo.convert.reading import read
from zoo.layers import SpectralConv2D
from zoo.layers.style import Blur, EqualizedConv2D, ModulatedConv2D
from zoo.metrics import features
from zoo.networks import pixelcnn

FROZEN = Path(__file__).parents[1] / "frozen_preset" / "dcgan"
SHAPE = (8, 12, 3)  # three numbers that tell the axes apart
FORMATS = ("channels_last", "channels_first")


@contextmanager
def data_format(name: str) -> Iterator[None]:
    """Keras with this in its keras.json."""
    outside = keras.config.image_data_format()
    keras.config.set_image_data_format(name)
    try:
        yield
    finally:
        keras.config.set_image_data_format(outside)


@pytest.fixture
def channels_first() -> Iterator[None]:
    with data_format("channels_first"):
        yield


def inputs_of(model: keras.Model) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(4, *(side or 8 for side in x.shape[1:])) for x in model.inputs]  # None: any
    return [
        rng.integers(0, 3, shape).astype(np.int32)
        if "int" in x.dtype
        else rng.random(shape, np.float32)
        for x, shape in zip(model.inputs, shapes, strict=True)
    ]


def made(make: Any) -> list[tuple[Any, list[np.ndarray]]]:
    """What `make` builds under each format: configuration and outputs."""
    found = []
    for name in FORMATS:
        keras.backend.clear_session()  # layers are named as the first time
        keras.utils.set_random_seed(0)
        with data_format(name):
            model = make()
            inputs = inputs_of(model)
            outputs = model(inputs if len(inputs) > 1 else inputs[0])
        found.append((model.get_config(), [np.asarray(x) for x in keras.tree.flatten(outputs)]))
    return found


def assert_the_same(make: Any) -> None:
    (config, outputs), (other_config, others) = made(make)
    assert "channels_first" not in str(other_config)
    assert str(config) == str(other_config)
    for a, b in zip(outputs, others, strict=True):
        np.testing.assert_array_equal(a, b)


NETWORKS = [
    *((name, role) for name in ("conv-8", "resnet-8", "sagan-8", "mlp") for role in networks.ROLES),
    *(
        (name, role)
        for name in ("biggan-4", "biggan_deep-4", "fastgan-2", "r3gan-8")
        for role in networks.ROLES
    ),
    ("style-8", "generator"),
    ("style-8", "discriminator"),
    ("stylegan2-4", "generator"),
    ("stylegan2-4", "discriminator"),
    ("autoencoder_kl", "encoder"),
    ("autoencoder_kl", "decoder"),
    ("grid-8", "encoder"),
    ("grid-8", "decoder"),
    ("vdvae-4", "encoder"),
    ("vdvae-4", "decoder"),
]


def built(name: str, role: str) -> keras.Model:
    """With labels, where there are any, which encoders take as planes beside the image."""
    latent = () if role == "discriminator" or (name, role) == ("vdvae-4", "encoder") else (5,)
    options = {} if name.startswith(("autoencoder_kl", "grid", "vdvae")) else {"num_classes": 3}
    return networks.build(name, role, SHAPE, *latent, **options)


@pytest.mark.usefixtures("channels_first")
@pytest.mark.parametrize(("name", "role"), NETWORKS, ids=str)
def test_architectures(name: str, role: str) -> None:
    model = built(name, role)
    assert "channels_first" not in str(model.get_config())
    shapes = [tuple(x.shape) for x in (model.inputs if role == "encoder" else model.outputs)]
    size = (None, None) if name == "autoencoder_kl" else SHAPE[:2]
    assert role == "discriminator" or shapes[0] == (None, *size, SHAPE[2])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "role"), NETWORKS, ids=str)
def test_architectures_compute_the_same(name: str, role: str) -> None:
    assert_the_same(lambda: built(name, role))


def test_every_architecture_is_tested() -> None:
    own = (*networks.GAN_ONLY, *networks.GRID_ONLY, *networks.DEEP_ONLY)
    known = {*networks.list_networks(), *own}
    assert known == {name.partition("-")[0] for name, _ in NETWORKS}


@pytest.mark.slow
def test_pixelcnn() -> None:
    assert_the_same(lambda: pixelcnn.prior((2, 3), 4, width=4, layers=1, num_classes=3))


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["batch", "spectral", "none"])
@pytest.mark.parametrize("name", ["conv-8", "resnet-8"])
def test_discriminators(name: str, normalization: str) -> None:
    assert_the_same(lambda: networks.build(name, "discriminator", SHAPE, normalization, heads=(2,)))


@pytest.mark.slow
def test_the_classifier() -> None:
    assert_the_same(lambda: features.classifier(SHAPE, 10))


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(lambda: SpectralConv2D(4, 3), marks=pytest.mark.slow),
        lambda: EqualizedConv2D(4, 3),
        pytest.param(lambda: Blur(1, strides=2), marks=pytest.mark.slow),
    ],
    ids=["spectral", "equalized", "blur"],
)
def test_layers_by_themselves(layer: Any) -> None:
    def network() -> keras.Model:
        images = keras.Input(SHAPE)
        return keras.Model(images, layer()(images))

    assert_the_same(network)


@pytest.mark.slow
def test_modulated_layers_by_themselves() -> None:
    def network() -> keras.Model:
        images, styles = keras.Input(SHAPE), keras.Input((SHAPE[-1],))
        return keras.Model([images, styles], ModulatedConv2D(4, 3)(images, styles))

    assert_the_same(network)


@pytest.mark.slow
@pytest.mark.usefixtures("channels_first")
def test_models(each: Case, images: np.ndarray) -> None:
    """They draw and train."""
    model = each.create()
    model.compile()
    model.fit(*each.data(images[:20]), batch_size=20, verbose=0)
    assert model.generate(2, seed=0).shape == (2, *each.image_shape)


@pytest.mark.usefixtures("channels_first")
def test_a_preset_from_before() -> None:
    drawn = zoo.load_pretrained(FROZEN).generate(4, seed=0)
    np.testing.assert_allclose(drawn, np.load(FROZEN.with_suffix(".npy")), atol=1e-5)


@pytest.mark.usefixtures("channels_first")
def test_a_model_saved_before(tmp_path: Path) -> None:
    """Under the other format, in Keras's own file."""
    with data_format("channels_last"):
        gan = zoo.create("gan", SHAPE, LATENT_DIM, network="conv-8")
        gan.save(tmp_path / "model.keras")
        wanted = gan.generate(4, seed=0)
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.generate(4, seed=0), wanted)


@pytest.mark.usefixtures("channels_first")
def test_extractors(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).random((3, 28, 28, 1), np.float32)
    found = features.load_extractor("fashion_mnist_classifier")(images)
    with data_format("channels_last"):
        wanted = features.load_extractor("fashion_mnist_classifier")(images)
    np.testing.assert_array_equal(found, wanted)
    formats = []
    monkeypatch.setattr(
        keras.applications, "InceptionV3",
        lambda **_: formats.append(keras.config.image_data_format()) or layers.Flatten(),
    )  # fmt: skip
    features.load_extractor("inception_v3")
    assert formats == ["channels_last"]
    assert keras.config.image_data_format() == "channels_first"


def assert_equal_networks(make: Any) -> None:
    """Of several networks, which `make` makes under each format."""
    found = []
    for name in FORMATS:
        with data_format(name):
            keras.utils.set_random_seed(0)
            models = make()
        assert all("channels_first" not in str(model.get_config()) for model in models)
        found.append([model(inputs_of(model)[0]) for model in models])
    for a, b in zip(*found, strict=True):
        for x, y in zip(keras.tree.flatten(a), keras.tree.flatten(b), strict=True):
            np.testing.assert_array_equal(x, y)


def test_rules_and_exported_networks() -> None:
    """Layers that rules make: upsampling split and merged."""
    last = {"data_format": "channels_last"}
    upsampling = [layers.UpSampling2D(2, **last), layers.Conv2D(3, 3, padding="same", **last)]
    network = keras.Sequential([keras.Input((2, 3, 4)), *upsampling])
    merged = rules.upsample_conv_to_conv_transpose(read(network))
    assert_equal_networks(
        lambda: [build(rules.conv_transpose_to_upsample_conv(merged)), _rewritten(network)]
    )


@pytest.mark.slow
def test_conversions() -> None:
    generator = networks.build("conv-8", "generator", SHAPE, LATENT_DIM)

    def there_and_back() -> list[keras.Model]:
        vae, _ = convert.gan_to_vae(generator, network="conv-8")
        gan, _ = convert.vae_to_gan(vae, whiten_posterior=False, model="gan")
        return [vae.encoder, vae.decoder, gan.generator, gan.discriminator]

    assert_equal_networks(there_and_back)


@pytest.mark.slow
@pytest.mark.usefixtures("channels_first")
@pytest.mark.parametrize("format", ["onnx", "saved_model"])
def test_exports(format: str, tmp_path: Path) -> None:  # noqa: A002
    vae = zoo.create("vae", SHAPE, LATENT_DIM, network="resnet-8")
    assert verify(export_model(vae, tmp_path / "model", format=format), vae).passed
