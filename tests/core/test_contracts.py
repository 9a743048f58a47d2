"""What a user's own networks must give: logits, images in [0, 1], log-variances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import zoo
from tests.cases import CASES
from zoo.core import contracts
from zoo.core.network_tools import check_network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.cases import Case

SHAPE, LATENT = (8, 8, 1), 3


def _network(function: Callable[[Any], Any], inputs: Sequence[int] = (LATENT,)) -> keras.Model:
    x = keras.Input(inputs)
    return keras.Model(x, function(x))


def _flat(x: Any, activation: Any = None, units: int = 64) -> Any:
    return layers.Dense(units, activation=activation)(layers.Flatten()(x))


def _image(x: Any) -> Any:
    return layers.Reshape(SHAPE)(x)


def _score(activation: Any) -> keras.Model:
    return _network(lambda x: _flat(x, activation, 1), SHAPE)


class Subclassed(keras.Model):
    """A network without a graph, of any last function."""

    def __init__(self, last: Callable[[Any], Any], shape: Sequence[int] = SHAPE) -> None:
        super().__init__()
        self.hidden = layers.Dense(20, activation="relu")
        self.out = layers.Dense(int(np.prod(shape)))
        self.last, self.shape_, self.flat = last, tuple(shape), layers.Flatten()

    def call(self, x: Any) -> Any:
        return ops.reshape(self.last(self.out(self.hidden(self.flat(x)))), (-1, *self.shape_))


def _within() -> keras.Model:
    squashed = keras.Sequential([keras.Input((LATENT,)), layers.Dense(64, activation="sigmoid")])
    after = [_LAYERS(), layers.Dropout(0.1), layers.Identity(), layers.Activation("linear")]
    return keras.Sequential([keras.Input((LATENT,)), squashed, *after])


def _LAYERS() -> keras.Model:  # noqa: N802
    return keras.Sequential(
        [keras.Input((64,)), layers.Reshape((1, 64)), layers.Permute((2, 1)), layers.Reshape(SHAPE)]
    )


SQUASHED = {
    "sigmoid, reshape": (lambda: _network(lambda x: _image(_flat(x, "sigmoid"))), "sigmoid"),
    "model within a model": (_within, "sigmoid"),
    "keras.ops": (
        lambda: _network(
            lambda x: ops.cast(ops.reshape(ops.sigmoid(_flat(x)), (-1, *SHAPE)), "float32")
        ),
        "sigmoid",
    ),
    "upsampled": (
        lambda: _network(
            lambda x: layers.UpSampling2D(2)(layers.Reshape((4, 4, 1))(_flat(x, "sigmoid", 16)))
        ),
        "sigmoid",
    ),
    "to [-1, 1]": (
        lambda: _network(lambda x: ops.sigmoid(_image(_flat(x))) * 2.0 - 1.0),
        "sigmoid",
    ),
    "negative": (lambda: _network(lambda x: 1.0 - ops.sigmoid(_image(_flat(x)))), "sigmoid"),
    "hard": (lambda: _network(lambda x: _image(_flat(x, "hard_sigmoid"))), "hard_sigmoid"),
    "clipped": (lambda: _network(lambda x: ops.clip(_image(_flat(x)), 0.0, 1.0)), "clip"),
    "tanh": (lambda: _network(lambda x: layers.Activation("tanh")(_image(_flat(x)))), "tanh"),
    "relu": (lambda: _network(lambda x: layers.ReLU()(_image(_flat(x)))), "ReLU"),
    "subclassed": (lambda: Subclassed(ops.sigmoid), "sigmoid"),
    "a function": (
        lambda: _network(lambda x: _image(_flat(x, lambda x: 1.0 / (1.0 + ops.exp(-x))))),
        "sigmoid",
    ),
}


def _check_decoder(network: keras.Model) -> None:
    check_network(network, "decoder", (LATENT,), [SHAPE], values=[contracts.LOGITS])


@pytest.mark.parametrize("name", SQUASHED)
def test_decoders_squashed_already(name: str) -> None:
    make, cause = SQUASHED[name]
    with pytest.raises(ValueError, match=f"decoder ends in {cause} .*expected logits.*Remove the"):
        _check_decoder(make())


def test_models_check_their_decoders() -> None:
    make, _ = SQUASHED["sigmoid, reshape"]
    for model in ("vae", "vae_gan"):
        with pytest.raises(ValueError, match="decoder ends in sigmoid"):
            zoo.create(model, SHAPE, LATENT, network="conv-8", decoder=make())


LOGITS = {
    "linear": lambda: _network(lambda x: _image(_flat(x))),
    "far clip": lambda: _network(lambda x: ops.clip(_image(_flat(x)), -10.0, 10.0)),
    "wide tanh": lambda: _network(lambda x: 8.0 * ops.tanh(_image(_flat(x)))),
    "leaky": lambda: _network(lambda x: layers.LeakyReLU()(_image(_flat(x)))),
    "sum": lambda: _network(lambda x: _image(layers.Add()([_flat(x), _flat(x, "sigmoid")]))),
    "subclassed": lambda: Subclassed(lambda x: x),
    # All logits lie in (0, 1) at first, and may leave it.
    "small": lambda: _network(
        lambda x: _image(
            layers.Dense(64, kernel_initializer="zeros", bias_initializer="ones")(x) * 0.5
        )
    ),
    "small, subclassed": lambda: Subclassed(lambda x: 0.5 + 1e-9 * x),
    "zero, subclassed": lambda: Subclassed(lambda x: 0.0 * x),
}


@pytest.mark.parametrize("name", LOGITS)
def test_decoders_to_logits(name: str) -> None:
    _check_decoder(LOGITS[name]())


@pytest.mark.parametrize("model", ["dcgan", "wgan", "wgan_gp", "lsgan"])
def test_squashed_discriminators(model: str) -> None:
    with pytest.raises(ValueError, match=r"discriminator ends in sigmoid .*expected logits"):
        zoo.create(model, SHAPE, LATENT, network="conv-8", discriminator=_score("sigmoid"))


def test_squashed_discriminators_of_other_forms() -> None:
    spectral = layers.SpectralNormalization(layers.Dense(1, activation="sigmoid"))
    patches = layers.Conv2D(1, 3, activation="sigmoid")
    for network in (
        _network(lambda x: spectral(layers.Flatten()(x)), SHAPE),
        _network(lambda x: layers.GlobalAveragePooling2D()(patches(x)), SHAPE),
        Subclassed(ops.sigmoid, (1,)),
    ):
        with pytest.raises(ValueError, match="discriminator ends in sigmoid"):
            zoo.create("dcgan", SHAPE, LATENT, network="conv-8", discriminator=network)
        with pytest.raises(ValueError, match="discriminator ends in sigmoid"):
            zoo.create("vae_gan", SHAPE, LATENT, network="conv-8", discriminator=network)
    classes = _network(lambda x: [_flat(x, None, 1), _flat(x, "softmax", 3)], SHAPE)
    with pytest.raises(ValueError, match="discriminator ends in softmax"):
        zoo.create("acgan", SHAPE, LATENT, network="conv-8", num_classes=3, discriminator=classes)
    latent, image = keras.Input((LATENT,)), keras.Input(SHAPE)
    both = layers.Concatenate()([layers.Flatten()(image), latent])
    pairs = keras.Model([image, latent], layers.Dense(1, activation="sigmoid")(both))
    with pytest.raises(ValueError, match="discriminator ends in sigmoid"):
        zoo.create("bigan", SHAPE, LATENT, network="conv-8", discriminator=pairs)


def test_discriminators_of_logits() -> None:
    for network in (_score(None), Subclassed(lambda x: x, (1,))):
        zoo.create("dcgan", SHAPE, LATENT, network="conv-8", discriminator=network)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            lambda: _network(lambda x: _image(_flat(x, "tanh"))),
            r"ends in tanh .*\[-1, 1\]; .*Rescaling\(0.5, 0.5\)",
        ),
        (
            lambda: _network(lambda x: 255.0 * _image(_flat(x, "sigmoid"))),
            r"\[0, 255\].*Rescaling\(0.0039",
        ),
        (lambda: _network(lambda x: _image(_flat(x))), r"draws values from -.*\[0, 1\].*Rescaling"),
        (lambda: Subclassed(ops.tanh), r"draws values from -.*to 0?.*\[0, 1\]"),
        (lambda: Subclassed(lambda x: x * np.nan), "draws values from nan"),
    ],
)
def test_generators_beyond_the_unit_range(network: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zoo.create("dcgan", SHAPE, LATENT, network="conv-8", generator=network())


def test_the_remedy_for_a_generator_helps() -> None:
    def rescaled(x: Any) -> Any:
        return layers.Rescaling(0.5, 0.5)(_image(_flat(x, "tanh")))

    for network in (
        _network(rescaled),
        _network(lambda x: (ops.tanh(_image(_flat(x))) + 1.0) / 2.0),
        _network(lambda x: ops.clip(_image(_flat(x)), 0.0, 1.0)),
        Subclassed(ops.sigmoid),
    ):
        model = zoo.create("dcgan", SHAPE, LATENT, network="conv-8", generator=network)
        assert model.generate(4, seed=0).min() >= 0.0


def test_an_encoder_of_deviations() -> None:
    own = _network(lambda x: [_flat(x, None, LATENT), _flat(x, "softplus", LATENT)], SHAPE)
    for name in ("vae", "bigan"):
        with pytest.raises(ValueError, match="encoder's log-variance ends in softplus .*log σ²"):
            zoo.create(name, SHAPE, LATENT, network="conv-8", encoder=own)


# One for each kind of network; of the other models in the slow suite.
KINDS = ("vae", "dcgan", "projection_gan", "stylegan2", "vq_vae")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.id, marks=[] if case.name in KINDS else [pytest.mark.slow])
        for case in CASES
    ],
)
def test_graphs_tell_of_all_networks_of_the_zoo(case: Case, monkeypatch: Any) -> None:
    found: list[Any] = []
    check = contracts.check_values

    def noted(network: Any, role: str, kinds: Any, run: Any, inputs: Any) -> None:
        found.extend(contracts.range_of(network, i) for i, kind in enumerate(kinds) if kind)
        check(network, role, kinds, run, inputs)

    monkeypatch.setattr(contracts, "check_values", noted)
    case.create()
    assert found
    assert None not in found


def test_bounds_are_those_of_keras() -> None:
    x = np.linspace(-30.0, 30.0, 6001, dtype=np.float32)[:, None]
    names = {contracts._plain(name): name for name in dir(keras.activations) if name[0] != "_"}
    checked = 0
    for plain, (low, high) in contracts.BOUNDS.items():
        if plain in names and plain not in ("softmax", "sparsemax", "logsoftmax"):
            values = np.asarray(keras.activations.get(names[plain])(x))
            assert low - 1e-3 <= values.min() <= low + 0.1 or low == -np.inf
            assert high - 0.1 <= values.max() <= high + 1e-3 or high == np.inf
            checked += 1
    assert checked > 15
    for plain in contracts.FREE[:-1]:  # a threshold takes arguments
        values = np.asarray(keras.activations.get(names[plain])(x))
        assert values.min() < -2.0
        assert values.max() > 2.0


def test_what_a_file_holds_is_taken_as_it_was(tmp_path: Any, monkeypatch: Any) -> None:
    """Networks of a file have random weights when the model is made: no run says anything."""
    generator = _network(lambda x: _image(_flat(x, "tanh")))
    with contracts.unchecked():  # as a version before these checks let it pass
        model = zoo.create("dcgan", SHAPE, LATENT, network="conv-8", generator=generator)
    model.save(tmp_path / "old.keras")
    loaded = keras.models.load_model(tmp_path / "old.keras")
    np.testing.assert_array_equal(loaded.generate(2, seed=0), model.generate(2, seed=0))
