"""Networks aligned by structure: what fits, what is refused and why, and who gets which tensor."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from zoo.convert.align import Alignment, align, normal
from zoo.convert.blocks import Network
from zoo.convert.building import build
from zoo.convert.reading import read
from zoo.convert.writing import commit, variables

X = np.random.default_rng(1).normal(size=(64, 5)).astype(np.float32)


def _model(function: Callable, shape: tuple[int, ...] = (5,), seed: int = 0) -> keras.Model:
    """A model with random weights, BatchNorm's included."""
    inputs = keras.Input(shape, name="latent")
    model = keras.Model(inputs, function(inputs))
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        positive = "variance" in weight.name or "gamma" in weight.name
        draw = rng.uniform(0.5, 2.0, weight.shape) if positive else rng.normal(size=weight.shape)
        weight.assign(draw)
    return model


def _stack(*stack: layers.Layer, seed: int = 0) -> keras.Model:
    def function(x: object) -> object:
        for layer in stack:
            x = layer(x)
        return x

    return _model(function, seed=seed)


def _equal(source: keras.Model | Network, target: keras.Model, **options: object) -> Alignment:
    """Aligns and commits, and checks that the target then computes the source's function."""
    network = source if isinstance(source, Network) else read(source)
    found = align(network, read(target), **options)
    commit(target, found.arrays)
    wanted = np.asarray(build(network)(X))
    scale = np.sqrt(np.mean(wanted**2))
    np.testing.assert_allclose(np.asarray(target(X)) / scale, wanted / scale, atol=3e-6)
    return found


def _decoder(names: str, *, fused: bool, seed: int) -> keras.Model:
    """Dense, reshape and two convolutions; activations within layers or behind them."""
    a, b, c = names
    relu = {"activation": "relu"} if fused else {}
    between = [] if fused else [layers.ReLU()]
    leaky = layers.LeakyReLU(0.2) if fused else layers.ReLU(negative_slope=0.2)
    return _stack(
        layers.Dense(18, name=a, **relu),
        *between,
        layers.Flatten() if fused else layers.Activation("linear"),
        layers.Reshape((3, 3, 2)) if fused else layers.Reshape((3, 3, -1)),
        layers.Conv2DTranspose(2, 4, 2, padding="same", name=b),
        leaky,
        layers.Conv2DTranspose(2, 4, 2, padding="same", name=c),
        seed=seed,
    )


def test_names_count_for_nothing() -> None:
    source = _decoder("abc", fused=True, seed=0)
    target = _decoder("cab", fused=False, seed=1)
    found = _equal(source, target)
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
    _equal(_stack(layers.Dense(4), ours), _stack(*dense, theirs, seed=1))
    _equal(_stack(*dense, theirs), _stack(layers.Dense(4), ours, seed=1))


def _image(*stack: layers.Layer) -> Callable[[], keras.Model]:
    def make(seed: int = 0) -> keras.Model:
        fresh = [type(layer).from_config(layer.get_config()) for layer in stack]
        return _stack(layers.Dense(32), layers.Reshape((4, 4, 2)), *fresh, seed=seed)

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


# Merges and branches


def _branches(order: int = 1, *, merge: Callable = layers.Add, seed: int = 0) -> keras.Model:
    """Two branches of equal form, and a merge."""

    def function(x: object) -> object:
        a, b = layers.Dense(4, name="a")(x), layers.Dense(4, name="b")(x)
        return layers.Dense(2, name="out")(merge()([a, b][::order]))

    return _model(function, seed=seed)


def test_parallel_branches_are_ambiguous() -> None:
    with pytest.raises(ValueError, match=r"'a' could take the weights of any of a, b") as error:
        align(read(_branches()), read(_branches(seed=1)))
    assert re.search(r"for example mapping={'[ab]': 'a'}", str(error.value))


@pytest.mark.parametrize("mapping", [{"a": "b"}, {"a": "a"}, {"([ab])": r"\1"}], ids=str)
def test_a_mapping_resolves_them(mapping: dict[str, str]) -> None:
    found = _equal(read(_branches()), _branches(seed=1), mapping=mapping)
    partner = {s: t for t, s in found.pairs.items()}
    assert partner["a"] == mapping.get("a", "a")
    assert partner["b"] == {"a": "b", "b": "a"}[partner["a"]]


@pytest.mark.parametrize("merge", [layers.Concatenate, layers.Subtract])
def test_the_order_of_a_merge_counts(merge: type) -> None:
    """The branches are told apart by where they go: the second is the first's partner."""
    source, target = _branches(merge=merge), _branches(-1, merge=merge, seed=1)
    found = _equal(source, target)
    assert (found.pairs["a"], found.pairs["b"]) == ("b", "a")
    with pytest.raises(ValueError, match="or in another order"):
        align(read(source), read(target), mapping={"a": "a"})


def test_the_order_of_a_sum_does_not() -> None:
    source, target = _branches(merge=layers.Add), _branches(-1, merge=layers.Add, seed=1)
    _equal(source, target, mapping={"a": "a"})


def test_weightless_twins_are_no_ambiguity() -> None:
    def function(x: object) -> object:
        y = layers.Dense(4)(x)
        return layers.Dense(2)(layers.Add()([layers.ReLU()(y), layers.Activation("relu")(y)]))

    _equal(_model(function), _model(function, seed=1))


def test_shared_layers_stay_shared() -> None:
    def shared(x: object) -> object:
        dense = layers.Dense(5, name="twice")
        return dense(layers.ReLU()(dense(x)))

    def separate(x: object) -> object:
        return layers.Dense(5)(layers.ReLU()(layers.Dense(5)(x)))

    _equal(_model(shared), _model(shared, seed=1))
    _equal(_model(shared), _model(separate, seed=1))
    with pytest.raises(ValueError, match="share layers between them differently"):
        align(read(_model(separate)), read(_model(shared)))


# Mapping


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        (
            {"outt": "a"},
            r"'outt' matches no source block. .*: out\.",
        ),
        ({"a": "aa"}, r"partner 'aa', but the target has no such block.*: a\."),
        ({"[ab]": "a"}, r"gives 'a' to several source blocks: a, b"),
        ({"a": "a", "[a]": "b"}, r"gives 'a' two partners: 'a' and 'b'"),
        ({"a": "out"}, r"'out' with the source's 'a', which do not fit: kernel shape \(4, 2\)"),
        ({"a": "add"}, "which do not fit: kind Add against Dense"),
        ({"(": "a"}, "no regular expression"),
        ({"a": r"\1"}, "no regular expression"),
    ],
    ids=str,
)
def test_mappings_that_do_not_hold(mapping: dict[str, str], reason: str) -> None:
    def named_add() -> layers.Layer:
        return layers.Add(name="add")

    source, target = read(_branches(merge=named_add)), read(_branches(merge=named_add, seed=1))
    with pytest.raises(ValueError, match=reason):
        align(source, target, mapping)


def test_a_mapping_may_name_the_networks() -> None:
    found = _equal(_branches(), _branches(seed=1), mapping={r"gen/(a)": r"dec/\1"})
    assert found.pairs["a"] == "a"


def test_a_mapping_may_name_blocks_that_a_rule_took_away() -> None:
    original = read(_stack(layers.Dense(4), layers.BatchNormalization(name="norm_1")))
    target = read(_stack(layers.Dense(4, name="out")))
    found = align(
        original.without("norm_1"), target, {r"norm_\d": "out"}, latents=X, original=original
    )
    assert [row.source for row in found.rows if row.status == "UNUSED"] == [
        f"norm_1/{key}" for key in original["norm_1"].arrays
    ]


def test_mode_is_checked() -> None:
    network = read(_branches())
    with pytest.raises(ValueError, match="'loose': expected 'exact' or 'partial'"):
        align(network, network, mode="loose")


# BatchNorm and biases that only one has


NORMS: Mapping[str, Callable[[bool], list[layers.Layer]]] = {
    "dense": lambda bias: [layers.Dense(4, use_bias=bias)],
    "convolution": lambda bias: [
        layers.Dense(18, activation="relu"),
        layers.Reshape((3, 3, 2)),
        layers.Conv2D(3, 3, use_bias=bias),
    ],
    "dense on an image": lambda bias: [
        layers.Dense(12, activation="relu"),
        layers.Reshape((3, 2, 2)),
        layers.Permute((1, 3, 2)),
        layers.Dense(4, use_bias=bias),
    ],
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("make", NORMS.values(), ids=NORMS.keys())
def test_a_new_norm_is_the_identity(make: Callable, bias: bool) -> None:
    source = _stack(*make(True), layers.ReLU(), layers.Flatten(), layers.Dense(3))
    norm = layers.BatchNormalization(epsilon=1e-5, name="norm")
    target = _stack(*make(bias), norm, layers.ReLU(), layers.Flatten(), layers.Dense(3), seed=1)
    found = _equal(source, target, latents=X)
    # In training it standardises what it takes, and so does little.
    inner = keras.Model(target.input, norm.input)(X)
    axes = tuple(range(len(inner.shape) - 1))
    np.testing.assert_allclose(norm.moving_mean, np.mean(inner, axes), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, np.var(inner, axes), rtol=1e-4)
    assert {row.status for row in found.rows if row.target.startswith("norm/")} == {"TRANSFORMED"}
    assert all(row.rule == "identity BatchNorm" for row in found.rows if "norm/" in row.target)
    assert found.complete
    assert "norm" in found.pairs


def test_a_new_norm_behind_a_reshape() -> None:
    """The dense layer's bias differs between pixels, so that no BatchNorm can take it."""

    def model(*norm: layers.Layer, bias: bool = True, seed: int = 0) -> keras.Model:
        dense, reshape = layers.Dense(18, use_bias=bias, name="project"), layers.Reshape((3, 3, 2))
        return _stack(dense, reshape, *norm, layers.ReLU(), layers.Conv2D(1, 3), seed=seed)

    def norm() -> layers.Layer:
        return layers.BatchNormalization(name="norm")

    _equal(model(), model(norm(), seed=1), latents=X)
    with pytest.raises(ValueError, match="use_bias=True in 'project'"):
        align(read(model()), read(model(norm(), bias=False)), latents=X)
    source = model()
    source.get_layer("project").bias.assign(np.tile([0.5, -2.0], 9))
    _equal(source, model(norm(), bias=False, seed=1), latents=X)


def test_a_new_norm_needs_latents_and_both_parameters() -> None:
    source = read(_stack(layers.Dense(4)))
    target = read(_stack(layers.Dense(4), layers.BatchNormalization()))
    with pytest.raises(ValueError, match="Give the latents"):
        align(source, target)
    target = read(_stack(layers.Dense(4), layers.BatchNormalization(scale=False)))
    with pytest.raises(ValueError, match="scale=True and center=True"):
        align(source, target, latents=X)


def test_a_bias_that_only_one_has() -> None:
    def model(*norm: layers.Layer, bias: bool, seed: int = 0) -> keras.Model:
        return _stack(layers.Dense(4, use_bias=bias, name="dense"), *norm, seed=seed)

    found = _equal(model(bias=False), model(bias=True, seed=1))
    assert found.arrays["dense/bias"].tolist() == [0, 0, 0, 0]
    assert found.rows[1].rule == "zero bias"
    source = model(bias=True)
    with pytest.raises(ValueError, match="no BatchNorm behind it to take it"):
        align(read(source), read(model(bias=False)))
    source.get_layer("dense").bias.assign(np.zeros(4))
    found = _equal(source, model(bias=False, seed=1))
    assert [row.source for row in found.rows if row.status == "UNUSED"] == ["dense/bias"]
    norms = [layers.BatchNormalization(name="norm") for _ in range(2)]
    found = _equal(model(norms[0], bias=True), model(norms[1], bias=False, seed=1))
    assert "dense" not in found.pairs
    assert found.pairs["norm"] == "norm"


# Partial mode


def _partial(source: keras.Model, target: keras.Model, **options: object) -> tuple[Alignment, dict]:
    before = {path: np.asarray(v).copy() for path, v in variables(target).items()}
    found = align(read(source), read(target), mode="partial", **options)
    commit(target, found.arrays)
    for path, variable in variables(target).items():
        kept = found.arrays[path] is None
        np.testing.assert_array_equal(variable, before[path] if kept else found.arrays[path])
    return found, {row.target or row.source: row for row in found.rows}


def test_sizes_that_differ_are_sliced() -> None:
    source = _stack(layers.Dense(4, name="in"), layers.ReLU(), layers.Dense(3, name="out"))
    target = _stack(layers.Dense(6, name="in"), layers.ReLU(), layers.Dense(3, name="out"), seed=1)
    own = np.asarray(target.get_layer("in").kernel).copy()
    found, rows = _partial(source, target)
    kernel = np.asarray(target.get_layer("in").kernel)
    np.testing.assert_array_equal(kernel[:, :4], source.get_layer("in").kernel)
    np.testing.assert_array_equal(kernel[:, 4:], own[:, 4:])
    assert rows["in/kernel"].status == rows["out/kernel"].status == "SLICED"
    assert (rows["in/kernel"].shape, rows["in/kernel"].source_shape) == ((5, 6), (5, 4))
    assert rows["out/bias"].status == "COPIED"
    assert not found.complete


def test_other_kinds_keep_their_values() -> None:
    source = _stack(layers.Dense(8, name="a"), layers.Dense(4, name="b"))
    target = _stack(
        layers.Dense(8, name="x"), layers.Reshape((2, 2, 2)), layers.Conv2D(4, 1, name="y"), seed=1
    )
    found, rows = _partial(source, target)
    assert found.arrays["y/kernel"] is None
    assert rows["y/kernel"].status == rows["y/bias"].status == "MISMATCH"
    assert (rows["y/kernel"].source, rows["y/kernel"].source_shape) == ("b/kernel", (8, 4))
    assert rows["x/kernel"].status == "COPIED"
    assert "UNUSED" not in {row.status for row in found.rows}


def _chain(*units: int, seed: int = 0) -> keras.Model:
    stack = [layers.Dense(n, name=f"d{i}") for i, n in enumerate(units)]
    return _stack(*stack, seed=seed)


def test_common_ends_are_paired_and_the_rest_is_new() -> None:
    found, rows = _partial(_chain(5, 7, 3), _chain(5, 7, 9, 7, 3, seed=1), mapping={"d1": "d1"})
    assert found.pairs == {"d0": "d0", "d1": "d1", "d4": "d2"}
    assert rows["d2/kernel"].status == "REINITIALISED"
    found, rows = _partial(_chain(5, 7, 8, 3), _chain(5, 7, 3, seed=1), mapping={"d3": "d2"})
    assert found.pairs == {"d0": "d0", "d1": "d1", "d2": "d3"}
    assert found.rows[-1].status == found.rows[-2].status == "UNUSED"
    assert [row.source for row in found.rows[-2:]] == ["d2/kernel", "d2/bias"]


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ((5, 5, 5, 3), (5, 5, 3), "'d0' could take the weights of any of d0, d1, d2"),
        ((6, 3), (8, 6, 3), "'d0' could give its weights to any of d0, d1"),
        ((4, 6, 8), (5, 7), "'d0' could take the weights of any of d0, d1, d2"),
    ],
)
def test_partial_mode_does_not_guess(ours: tuple, theirs: tuple, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        align(read(_chain(*ours)), read(_chain(*theirs)), mode="partial")


def test_a_norm_without_a_partner_keeps_its_values() -> None:
    def norm(name: str) -> layers.Layer:
        return layers.BatchNormalization(name=name)

    source = _stack(layers.Dense(4, name="a"), norm("n"), layers.Dense(3, name="b"))
    target = _stack(layers.Dense(4, name="a"), layers.Dense(3, name="b"), norm("m"), seed=1)
    _, rows = _partial(source, target)
    assert rows["m/gamma"].status == "REINITIALISED"
    assert rows["n/gamma"].status == "UNUSED"
    assert rows["b/kernel"].status == "COPIED"


# Rows


@pytest.mark.parametrize("mode", ["exact", "partial"])
def test_every_tensor_is_in_the_rows_once(mode: str) -> None:
    def norm() -> layers.Layer:
        return layers.BatchNormalization(name="norm")

    def model(*norms: layers.Layer, seed: int = 0) -> keras.Model:
        return _stack(
            layers.Dense(18, name="p"), layers.Reshape((3, 3, 2)), *norms,
            layers.Conv2D(2, 3, name="c"), seed=seed,
        )  # fmt: skip

    for ours, theirs in [(model(), model(norm())), (model(norm()), model(norm()))]:
        source, target = read(ours), read(theirs)
        # As a rule would: one array computed from two, and a tensor that is in no block any more.
        changed = {key: 2 * array for key, array in source["c"].arrays.items()}
        conv = source["c"].with_arrays(changed, "a rule", source["p"])
        rewritten = source.replaced(conv)
        found = align(rewritten, target, mode=mode, latents=X, original=source)
        targets = [row.target for row in found.rows if row.target]
        assert targets == [f"{b.name}/{key}" for b in target for key in b.arrays]
        assert set(found.arrays) == set(targets)
        unused = [row.source for row in found.rows if row.status == "UNUSED"]
        assert len(unused) == len(set(unused))
        rows = {row.target: row for row in found.rows}
        assert rows["c/kernel"].source == "c/kernel · p/{kernel, bias}"
        assert (rows["c/kernel"].status, rows["c/kernel"].rule) == ("TRANSFORMED", "a rule")
        assert rows["p/kernel"].status == "COPIED"
        assert rows["p/kernel"].source_shape == rows["p/kernel"].shape == (5, 18)
        assert not unused
    without = source.without("norm")
    found = align(without, target, mode="partial", original=source)
    unused = [row.source for row in found.rows if row.status == "UNUSED"]
    assert unused == [f"norm/{key}" for key in source["norm"].arrays]
    assert all(row.shape == (2,) for row in found.rows if row.status == "UNUSED")


# Writing


def test_weights_in_models_within_models() -> None:
    inner = _stack(layers.Dense(4, name="dense"), layers.Dropout(0.5), layers.Dense(5, name="last"))
    outer = keras.Sequential([keras.Input((5,)), layers.Dense(5, name="first"), inner])
    found = variables(outer)
    assert set(found) == {f"{b.name}/{key}" for b in read(outer) for key in b.arrays}
    assert found["dense/kernel"] is inner.get_layer("dense").kernel
    _equal(_chain(5, 4, 5, seed=2), outer)


def test_a_failed_commit_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    target = _chain(4, 4, 3, seed=1)
    arrays = align(read(_chain(4, 4, 3)), read(target)).arrays
    before = [np.asarray(w).tobytes() for w in target.weights]
    for weight in target.weights:

        def broken(value: object, assign: Callable = weight.assign) -> None:
            assign(value)
            monkeypatch.undo()
            raise RuntimeError("out of memory")

        monkeypatch.setattr(weight, "assign", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            commit(target, arrays)
        assert [np.asarray(w).tobytes() for w in target.weights] == before
    commit(target, arrays)
    assert [np.asarray(w).tobytes() for w in target.weights] != before


@pytest.mark.parametrize(
    ("path", "array", "reason"),
    [
        ("d1/kernal", np.zeros((4, 3)), r"no weight 'd1/kernal'. The nearest: d1/kernel"),
        ("d1/kernel", np.zeros((3, 4)), r"d1/kernel has shape \(4, 3\), but its array \(3, 4\)"),
        ("d1/kernel", np.full((4, 3), np.nan), "d1/kernel is not finite"),
        ("d1/kernel", np.full((4, 3), 1e300), "d1/kernel is not finite in float32"),
    ],
)
def test_bad_arrays_are_refused_before_any_is_written(
    path: str, array: np.ndarray, reason: str
) -> None:
    target = _chain(4, 3)
    before = [np.asarray(w).copy() for w in target.weights]
    with pytest.raises(ValueError, match=reason):
        commit(target, {"d0/kernel": np.ones((5, 4)), path: array})
    for weight, value in zip(target.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_the_normal_form_computes_the_same() -> None:
    model = _decoder("abc", fused=True, seed=0)
    network = normal(read(model))
    np.testing.assert_array_equal(np.asarray(build(network)(X)), np.asarray(model(X)))
    assert [b.layer for b in network if b.layer is layers.Flatten] == []
    assert network["a"].activation == "linear"
