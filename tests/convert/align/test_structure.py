"""Networks that are the same graph are aligned whatever their names; others are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from tests.support.alignments import X, assert_aligned, branches, functional, small_decoder, stack
from zoo.convert.align import align
from zoo.convert.blocks import Network
from zoo.convert.reading import read


def test_names_count_for_nothing() -> None:
    source = small_decoder("abc", fused=True, seed=0)
    target = small_decoder("cab", fused=False, seed=1)
    found = assert_aligned(source, target)
    np.testing.assert_array_equal(np.asarray(target(X)), np.asarray(source(X)))
    assert {t: s for t, s in found.pairs.items() if t in "abc"} == {"c": "a", "a": "b", "b": "c"}
    assert found.complete
    assert {row.status for row in found.rows} == {"COPIED"}
    assert found.rows[0].source == "a/kernel"
    assert found.rows[0].target == "c/kernel"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (layers.ReLU(), layers.Activation("relu")),
        (layers.ReLU(negative_slope=0.2), layers.Activation("leaky_relu")),
        (layers.ReLU(max_value=6), layers.Activation("relu6")),
        (layers.LeakyReLU(0.3), layers.ReLU(negative_slope=0.3)),
        (layers.Activation("swish"), layers.Activation("silu")),
        (layers.ELU(), layers.Activation("elu")),
        (layers.LeakyReLU(0.1), layers.Dense(4, activation=layers.LeakyReLU(0.1))),
        (layers.Softmax(), layers.Dense(4, activation="softmax")),
    ],
)
def test_one_function_written_in_two_ways(ours: layers.Layer, theirs: layers.Layer) -> None:
    dense = [] if isinstance(theirs, layers.Dense) else [layers.Dense(4)]
    assert_aligned(stack(layers.Dense(4), ours), stack(*dense, theirs, seed=1))
    assert_aligned(stack(*dense, theirs), stack(layers.Dense(4), ours, seed=1))


def _image(*parts: layers.Layer) -> Callable[[], keras.Model]:
    def make(seed: int = 0) -> keras.Model:
        fresh = [type(layer).from_config(layer.get_config()) for layer in parts]
        return stack(layers.Dense(32), layers.Reshape((4, 4, 2)), *fresh, seed=seed)

    return make


UNLIKE = {
    "activation": (_image(layers.ReLU()), _image(layers.Activation("tanh")), "activation tanh"),
    "slope": (
        _image(layers.LeakyReLU(0.2)),
        _image(layers.LeakyReLU(0.3)),
        "slope 0.3 against 0.2",
    ),
    "slope within": (
        _image(layers.Conv2D(2, 1, activation="leaky_relu")),
        _image(layers.Conv2D(2, 1, activation="relu")),
        "slope 0.0 against 0.2",
    ),
    "stride": (
        _image(layers.Conv2DTranspose(2, 4, 1, padding="same")),
        _image(layers.Conv2DTranspose(2, 4, 2, padding="same")),
        r"'other_1'.*\n.*'other_1': strides \(2, 2\) against \(1, 1\)",
    ),
    "padding": (
        _image(layers.Conv2D(2, 3, padding="same")),
        _image(layers.Conv2D(2, 3, padding="valid")),
        "padding valid against same",
    ),
    "dilation": (
        _image(layers.Conv2D(2, 3, padding="same")),
        _image(layers.Conv2D(2, 3, padding="same", dilation_rate=2)),
        r"dilation_rate \(2, 2\) against \(1, 1\)",
    ),
    "epsilon": (
        _image(layers.Conv2D(2, 1), layers.BatchNormalization(epsilon=1e-3)),
        _image(layers.Conv2D(2, 1), layers.BatchNormalization(epsilon=1e-5)),
        "BatchNorm's epsilon 1e-05 against 0.001",
    ),
    "axis": (
        _image(layers.ReLU(), layers.BatchNormalization(axis=1)),
        _image(layers.ReLU(), layers.BatchNormalization(axis=2)),
        "axis 2 against 1",
    ),
    "epsilon of a group norm": (
        _image(layers.GroupNormalization(2, epsilon=1e-3)),
        _image(layers.GroupNormalization(2, epsilon=1e-5)),
        "epsilon 1e-05 against 0.001",
    ),
    "interpolation": (
        _image(layers.UpSampling2D(2, interpolation="nearest")),
        _image(layers.UpSampling2D(2, interpolation="bilinear")),
        "interpolation bilinear against nearest",
    ),
    "rescaling": (
        _image(layers.Rescaling(0.5, 0.5)),
        _image(layers.Rescaling(0.5, 0.25)),
        "offset 0.25 against 0.5",
    ),
    "width": (
        _image(layers.Conv2D(2, 3)),
        _image(layers.Conv2D(3, 3)),
        r"kernel shape \(3, 3, 2, 3\) against \(3, 3, 2, 2\)",
    ),
    "kind": (_image(layers.Conv2D(2, 1)), _image(layers.Conv2DTranspose(2, 1)), "kind Conv2DTr"),
    "norm not folded": (
        _image(layers.Conv2D(2, 1), layers.BatchNormalization()),
        _image(layers.Conv2D(2, 1)),
        "no BatchNorm behind it against one, which has to be folded first",
    ),
    "one more": (
        _image(),
        _image(layers.Conv2D(2, 1)),
        r"'reshape_\d+' \(Reshape\).*\n.*network outputs \(\) against \(0,\)",
    ),
    "one fewer": (_image(layers.Conv2D(2, 1)), _image(), r"network outputs \(0,\) against \(\)"),
}


def _renamed(model: keras.Model) -> Network:
    """The network with the blocks after the first three named other_1, other_2, …"""
    network = read(model)
    names = list(network.blocks)
    new = {name: name if i < 3 else f"other_{i - 2}" for i, name in enumerate(names)}

    def renamed(structure: object) -> object:
        return keras.tree.map_structure(
            lambda ref: replace(ref, block=new[ref.block]) if hasattr(ref, "block") else ref,
            structure,
        )

    blocks = {
        new[name]: replace(block, name=new[name], args=renamed(block.args))
        for name, block in network.blocks.items()
    }
    return replace(network, blocks=blocks, outputs=renamed(network.outputs))


@pytest.mark.parametrize(("ours", "theirs", "reason"), UNLIKE.values(), ids=UNLIKE.keys())
def test_shapes_alone_do_not_make_blocks_alike(
    ours: Callable, theirs: Callable, reason: str
) -> None:
    align(_renamed(ours()), _renamed(ours()))
    align(_renamed(theirs()), _renamed(theirs()), latents=X)
    with pytest.raises(ValueError, match=reason) as error:
        align(_renamed(ours()), _renamed(theirs()))
    assert "finds no partner in the source" in str(error.value)


def test_parallel_branches_are_ambiguous() -> None:
    with pytest.raises(ValueError, match=r"'a' could take the weights of any of a, b") as error:
        align(read(branches()), read(branches(seed=1)))
    assert re.search(r"for example mapping={'[ab]': 'a'}", str(error.value))


@pytest.mark.parametrize("mapping", [{"a": "b"}, {"a": "a"}, {"([ab])": r"\1"}], ids=str)
def test_a_mapping_resolves_them(mapping: dict[str, str]) -> None:
    found = assert_aligned(read(branches()), branches(seed=1), mapping=mapping)
    partner = {s: t for t, s in found.pairs.items()}
    assert partner["a"] == mapping.get("a", "a")
    assert partner["b"] == {"a": "b", "b": "a"}[partner["a"]]


@pytest.mark.parametrize("merge", [layers.Concatenate, layers.Subtract])
def test_the_order_of_a_merge_counts(merge: type) -> None:
    """The branches are told apart by where they go: the second is the first's partner."""
    source, target = branches(merge=merge), branches(-1, merge=merge, seed=1)
    found = assert_aligned(source, target)
    assert (found.pairs["a"], found.pairs["b"]) == ("b", "a")
    with pytest.raises(ValueError, match="or in another order"):
        align(read(source), read(target), mapping={"a": "a"})


def test_the_order_of_a_sum_does_not() -> None:
    source, target = branches(merge=layers.Add), branches(-1, merge=layers.Add, seed=1)
    assert_aligned(source, target, mapping={"a": "a"})


def test_weightless_twins_are_no_ambiguity() -> None:
    def function(x: object) -> object:
        y = layers.Dense(4)(x)
        return layers.Dense(2)(layers.Add()([layers.ReLU()(y), layers.Activation("relu")(y)]))

    assert_aligned(functional(function), functional(function, seed=1))


def test_shared_layers_stay_shared() -> None:
    def shared(x: object) -> object:
        dense = layers.Dense(5, name="twice")
        return dense(layers.ReLU()(dense(x)))

    def separate(x: object) -> object:
        return layers.Dense(5)(layers.ReLU()(layers.Dense(5)(x)))

    assert_aligned(functional(shared), functional(shared, seed=1))
    assert_aligned(functional(shared), functional(separate, seed=1))
    with pytest.raises(ValueError, match="share layers between them differently"):
        align(read(functional(separate)), read(functional(shared)))
