"""Networks that take a label: added, fixed, and as one-hot."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
from keras import layers

from tests.support.networks import assert_equal, draws, kinds, norm, shake, stack
from zoo import networks
from zoo.convert import rules
from zoo.convert.building import build
from zoo.convert.reading import read
from zoo.layers import FeatureModulation, FeatureSlice

CLASSES = 4


def _head(x: object) -> object:
    x = layers.Dense(18, name="project")(x)
    x = layers.ReLU()(norm(name="norm")(layers.Reshape((3, 3, 2))(x)))
    x = layers.Conv2DTranspose(1, 4, 2, padding="same", activation="tanh", name="last")(x)
    return layers.Rescaling(0.5, 0.5)(x)


def embedded(*, joined_by: str = "concatenate", label_shape: tuple[int, ...] = ()) -> keras.Model:
    latent, label = (
        keras.Input((5,), name="latent"),
        keras.Input(label_shape, dtype="int32", name="y"),
    )
    size = 3 if joined_by == "concatenate" else 5
    e = layers.Embedding(CLASSES, size, name="table")(label)
    if label_shape:
        e = layers.Flatten()(e)
    merge = {
        "concatenate": layers.Concatenate,
        "multiply": layers.Multiply,
        "add": layers.Add,
    }[joined_by]
    return shake(keras.Model([latent, label], _head(merge()([latent, e]))))


def one_hot() -> keras.Model:
    latent, label = keras.Input((5,), name="latent"), keras.Input((CLASSES,), name="label")
    return shake(keras.Model([latent, label], _head(layers.Concatenate()([label, latent]))))


def encoded(*, by_layer: bool) -> keras.Model:
    """An integer that the network makes one-hot itself, and a layer on it alone."""
    latent, label = keras.Input((5,), name="latent"), keras.Input((), dtype="int32", name="which")
    if by_layer:
        c = layers.CategoryEncoding(CLASSES, output_mode="one_hot")(label)
    else:
        c = keras.ops.one_hot(label, CLASSES)
    c = layers.Dense(5, activation="relu")(c)
    return shake(keras.Model([latent, label], _head(keras.ops.multiply(latent, c))))


CONDITIONAL: dict[str, Callable[[], keras.Model]] = {
    "embedding": embedded,
    "embedding, flattened": lambda: embedded(label_shape=(1,)),
    "embedding × latent": lambda: embedded(joined_by="multiply"),
    "embedding + latent": lambda: embedded(joined_by="add"),
    "one-hot": one_hot,
    "category encoding": lambda: encoded(by_layer=True),
    "ops.one_hot": lambda: encoded(by_layer=False),
}


def labelled(model: keras.Model, labels: np.ndarray) -> list[np.ndarray]:
    """Latents and labels as the network takes them."""
    latents = np.random.default_rng(5).normal(size=(len(labels), 5)).astype(np.float32)
    shape = model.input_shape[1][1:]
    if shape == (CLASSES,):
        return [latents, np.eye(CLASSES, dtype=np.float32)[labels]]
    return [latents, labels.reshape(-1, *shape).astype(np.int32)]


LABELS = np.arange(16) % CLASSES


@pytest.mark.parametrize("make", CONDITIONAL.values(), ids=CONDITIONAL.keys())
def test_conditional_generators_as_conditional_decoders(make: Callable[[], keras.Model]) -> None:
    model = make()
    network = rules.logits_from_images(rules.fold_norms(read(model)))
    assert "BatchNormalization" not in kinds(network)
    assert [block.name for block in network.inputs] == [tensor.name for tensor in model.inputs]
    assert_equal(network, model, labelled(model, LABELS), then=scipy.special.expit)


@pytest.mark.parametrize("make", CONDITIONAL.values(), ids=CONDITIONAL.keys())
@pytest.mark.parametrize("label", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_one_class_of_a_conditional_generator(make: Callable[[], keras.Model], label: int) -> None:
    model = make()
    given = labelled(model, np.full(16, label))
    found = rules.fix_label(read(model), label)
    assert [block.name for block in found.inputs] == ["latent"]
    assert not {"Embedding", "Concatenate", "Multiply", "Add"} & set(kinds(found))
    assert_equal(found, model, given[0], given)
    assert "fix label" in found["project"].origins["kernel"].rules
    for wrong in (-1, CLASSES, 1.0):
        with pytest.raises(ValueError, match=f"label={wrong}: expected a class from 0 to 3"):
            rules.fix_label(read(model), wrong)


def test_one_class_where_the_embedding_joins_several_vectors() -> None:
    """As in BigGAN: each chunk of the latent, and each of their Dense layers, has a bias of it."""
    latent, label = keras.Input((5,), name="latent"), keras.Input((), dtype="int32", name="label")
    c = layers.CategoryEncoding(CLASSES, output_mode="one_hot")(label)
    c = layers.Dense(3, use_bias=False, name="embedding")(c)
    one = layers.Concatenate()([FeatureSlice(0, 2)(latent), c])
    other = layers.Concatenate()([c, FeatureSlice(2, 5)(latent)])
    x = layers.Reshape((1, 1, 4))(layers.Dense(4)(one))
    gains, biases = (layers.Dense(4, use_bias=False)(other) for _ in range(2))
    model = shake(keras.Model([latent, label], FeatureModulation()(x, gains, biases)))
    given = labelled(model, np.full(16, 2))
    found = rules.fix_label(read(model), 2)
    assert not {"Concatenate", "CategoryEncoding"} & set(kinds(found))
    assert_equal(found, model, given[0], given)


@pytest.mark.parametrize("network", ["conv-4", "resnet-4"])
def test_one_class_of_a_conditional_generator_of_the_zoo(network: str) -> None:
    model = shake(networks.build(network, "generator", (8, 8, 1), 5, num_classes=CLASSES))
    given = labelled(model, np.full(16, 3))
    found = rules.fix_label(read(model), 3)
    assert "ConditionalBatchNormalization" not in kinds(found)
    assert_equal(found, model, given[0], given)
    others = labelled(model, np.full(16, 0))
    assert np.abs(model(others) - model(given)).max() > 0.01
    assert_equal(rules.fold_norms(found), model, given[0], given)
    with pytest.raises(ValueError, match="expected a class from 0 to 3"):
        rules.fix_label(read(model), CLASSES)


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("joined_by", ["concatenate", "multiply"])
def test_embeddings_as_one_hot(joined_by: str, shape: tuple[int, ...]) -> None:
    model = embedded(joined_by=joined_by, label_shape=shape)
    found = rules.embedding_to_one_hot(read(model))
    latents, labels = labelled(model, LABELS)
    one_hot = np.eye(CLASSES, dtype=np.float32)[LABELS]
    assert_equal(found, model, [latents, one_hot], [latents, labels])
    built = build(found)
    assert built.input_shape == [(None, 5), (None, CLASSES)]
    if joined_by == "concatenate":
        assert built.get_layer("project").kernel.shape == (5 + CLASSES, 18)
        assert found["project"].origins["kernel"].sources == ("project/kernel", "table/embeddings")
        assert found["project"].origins["bias"].rules == ()
    # And one class of that is one class of the generator.
    fixed = rules.fix_label(found, 2, "y")
    given = labelled(model, np.full(16, 2))
    assert_equal(fixed, model, given[0], given)


@pytest.mark.parametrize(
    "network", ["conv-4", "resnet-4", pytest.param("mlp", marks=pytest.mark.slow)]
)
def test_a_new_label_changes_nothing_yet(network: str) -> None:
    model = shake(networks.build(network, "generator", (8, 8, 1), 5))
    found = rules.add_label(read(model), CLASSES)
    latents = draws(model)
    assert_equal(found, model, [latents, LABELS[: len(latents)]], latents)
    for label in (0, CLASSES - 1):  # and it is the inverse of
        assert_equal(rules.fix_label(found, label), model)


@pytest.mark.parametrize("network", ["conv-4", "resnet-4"])
def test_a_new_label_is_that_of_the_zoos_generators(network: str) -> None:
    model = shake(networks.build(network, "generator", (8, 8, 1), 5))
    wanted = networks.build(network, "generator", (8, 8, 1), 5, num_classes=CLASSES)
    found = build(rules.add_label(read(model), CLASSES))
    assert {tuple(w.shape) for w in found.weights} == {tuple(w.shape) for w in wanted.weights}
    assert found.count_params() == wanted.count_params()
    assert [tuple(x.shape) for x in found.inputs] == [tuple(x.shape) for x in wanted.inputs]
    # Each class's weights move its own images alone.
    latents = draws(model)
    before = [np.asarray(found([latents, np.full(16, label)])) for label in (0, 1)]
    name = next(block.name for block in read(found) if "Conditional" in block.kind)
    gamma = found.get_layer(name).gamma
    gamma.assign(gamma.numpy() + np.eye(CLASSES)[:, :1])
    after = [np.asarray(found([latents, np.full(16, label)])) for label in (0, 1)]
    assert np.abs(after[0] - before[0]).max() > 1e-3
    np.testing.assert_array_equal(after[1], before[1])


def test_labels_that_cannot_be_added() -> None:
    with pytest.raises(ValueError, match=r"\['latent', 'label'\]: expected one, for latents"):
        rules.add_label(read(networks.build("mlp", "decoder", (8, 8, 1), 5, num_classes=3)), 3)
    with pytest.raises(ValueError, match="expected Dense layers"):
        rules.add_label(read(stack((5,), layers.Activation("relu"), layers.Dense(3))), 3)
    # A BatchNorm of other settings stays.
    model = stack((5,), layers.Dense(6), norm(epsilon=0.1), layers.Dense(3))
    found = rules.add_label(read(model), 3)
    assert "BatchNormalization" in kinds(found)
    latents = draws(model)
    assert_equal(found, model, [latents, np.arange(len(latents)) % 3], latents)


def test_labels_that_cannot_be_fixed() -> None:
    with pytest.raises(ValueError, match="Which of the inputs"):
        rules.fix_label(read(stack((5,), layers.Dense(3))), 0)
    a, b = keras.Input((5,), name="a"), keras.Input((4,), name="b")
    unnamed = shake(keras.Model([a, b], layers.Dense(3, name="d")(layers.Concatenate()([a, b]))))
    with pytest.raises(ValueError, match="Give its name"):
        rules.fix_label(read(unnamed), 0)
    x = draws(keras.Model(a, a))
    found = rules.fix_label(read(unnamed), 1, "b")
    assert_equal(found, unnamed, x, [x, np.tile(np.eye(4, dtype=np.float32)[1], (16, 1))])

    latent, label = keras.Input((5,), name="latent"), keras.Input((), dtype="int32", name="label")
    plane = layers.Reshape((3, 3, 1))(layers.Dense(9)(layers.Embedding(4, 2)(label)))
    image = layers.Reshape((3, 3, 2))(layers.Dense(18)(latent))
    deep = keras.Model([latent, label], layers.Conv2D(1, 3)(layers.Concatenate()([image, plane])))
    with pytest.raises(ValueError, match=r"meets the latent in 'concatenate.*shape \(3, 3, 3\)"):
        rules.fix_label(read(deep), 0)
    with pytest.raises(ValueError, match="expected one Embedding"):
        rules.embedding_to_one_hot(read(one_hot()))
