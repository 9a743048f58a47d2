"""No rewrite of an export's graph changes what it computes: what it needs, it checks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import zoo
from export import endpoints, export_model, triton, verify
from export.onnx import files as onnx_files
from export.onnx import preflight
from export.onnx.graphs import tensors_of
from export.onnx.layout import channels_first
from export.onnx.reduced import N, _float16, _int8, _with_named_nodes, exact_nodes
from export.onnx.simplify import simplify
from export.onnx.subpixel import split_transposed_convolutions
from tests.support.random_graphs import RandomGraph
from tests.support.random_networks import LATENT_DIM, random_generator

FAST_GRAPHS, SLOW_GRAPHS = range(100), range(100, 1100)
FAST_NETWORKS, SLOW_NETWORKS = range(4), range(4, 204)


def _run(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """As the graph says, without ONNX Runtime's own rewrites."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, feeds)


def _feeds(proto: onnx.ModelProto, n: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    sizes = {
        value.name: [d.dim_value or n for d in value.type.tensor_type.shape.dim]
        for value in proto.graph.input
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in sizes.items()}


def _kinds(proto: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)


def _assert_same(found: onnx.ModelProto, wanted: onnx.ModelProto, name: object = "") -> None:
    onnx.checker.check_model(found, full_check=True)
    assert found.graph.output == wanted.graph.output, name
    feeds = _feeds(wanted)
    for x, y in zip(_run(found, feeds), _run(wanted, feeds), strict=True):
        scale = max(1.0, float(np.abs(y).max()))
        np.testing.assert_allclose(x / scale, y / scale, atol=1e-4, err_msg=str(name))


# Random graphs


def _check_graphs(seeds: range) -> Counter[str]:
    """How often each rewrite found something."""
    done: Counter[str] = Counter()
    for seed in seeds:
        wanted = RandomGraph(seed).proto()
        onnx.checker.check_model(wanted, full_check=True)
        found, turned = simplify(wanted), channels_first(wanted)
        for each in (found, turned):
            _assert_same(each, wanted, f"seed {seed}")
        constants = {tensor.name for tensor in wanted.graph.initializer}
        added = {t.name for t in turned.graph.initializer if t.name not in constants}
        done["dense"] += any("_constant" in name for name in added)
        done["operands"] += any("_first" in name for name in added)
        before, after = _kinds(wanted), _kinds(found)
        for kind in ("Transpose", "ConvTranspose", "Slice", "Shape"):
            done[kind] += after[kind] < before[kind]
    return done


@pytest.mark.slow
def test_rewrites_keep_random_graphs() -> None:
    """Whose tensors have names that a rewrite would give to others, and serve as outputs too."""
    done = _check_graphs(FAST_GRAPHS)
    often = ("dense", "operands", "Transpose", "ConvTranspose", "Slice", "Shape")
    few = [kind for kind in often if done[kind] < len(FAST_GRAPHS) / 20]
    assert not few, f"too few graphs in which these were rewritten: {done}"


@pytest.mark.slow
def test_rewrites_keep_many_random_graphs() -> None:
    _check_graphs(SLOW_GRAPHS)


# Random networks


def _check_network(seed: int) -> None:
    """The ONNX file in ONNX Runtime and the ONNX project's evaluator gives what Keras gives."""
    model = random_generator(seed)
    functions = endpoints(model, onnx_files._rewritten, ["generate"])
    proto = simplify(preflight.preflight(functions, 18)["generate"])
    onnx.checker.check_model(proto, full_check=True)
    latents = np.random.default_rng(seed).standard_normal((3, LATENT_DIM)).astype(np.float32)
    wanted = model.generator(latents, training=False).numpy()
    found = {
        "ONNX Runtime": onnxruntime.InferenceSession(proto.SerializeToString()).run,
        "ONNX reference": ReferenceEvaluator(proto).run,
    }
    for runtime, run in found.items():
        (images,) = run(None, {"latent": latents})
        np.testing.assert_allclose(images, wanted, atol=2e-5, err_msg=f"seed {seed}, {runtime}")


@pytest.mark.slow
def test_random_networks_are_exported() -> None:
    for seed in FAST_NETWORKS:
        _check_network(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", SLOW_NETWORKS[::10])
def test_200_random_networks_are_exported(first: int, tmp_path: Path) -> None:
    """Each in both runtimes; one of ten through the whole export and its verification too."""
    for seed in range(first, first + 10):
        _check_network(seed)
        keras.backend.clear_session()
    model = random_generator(first)
    path = export_model(model, tmp_path / "x", format="onnx", functions=["generate"])
    report = verify(path, model)
    assert report.passed, (first, report.problems, report.rows)


def test_a_dense_layer_on_tokens(tmp_path: Path) -> None:
    """Four tokens make an image: the layer's units are channels, and not places of an image."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.layers.Input((32,)),
            keras.layers.Reshape((4, 8)),
            keras.layers.Dense(16),
            keras.layers.Reshape((4, 4, 4)),
            keras.layers.Conv2DTranspose(1, 4, 2, "same", activation="sigmoid"),
        ]
    )
    model = zoo.create("dcgan", (8, 8, 1), 32, generator=network, network="mlp")
    path = export_model(model, tmp_path / "x", format="onnx", functions=["generate"])
    latents = np.random.default_rng(0).standard_normal((5, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(path / "generate.onnx")
    (found,) = session.run(None, {"latent": latents})
    np.testing.assert_allclose(found, network(latents), atol=1e-5)


@pytest.mark.slow
def test_transposed_convolutions_behind_dense_feature_maps() -> None:
    """Their input's size is not known to tf2onnx, which leaves ONNX to choose the padding."""
    keras.utils.set_random_seed(0)
    x = latents = keras.Input((LATENT_DIM,))
    x = keras.layers.Reshape((3, 2, 2))(keras.layers.Dense(12)(x))
    for k, strides, padding in ((3, 2, "same"), (4, 1, "same"), (1, 3, "valid"), (2, 1, "same")):
        x = keras.layers.Dense(2)(x)
        x = keras.layers.Conv2DTranspose(3, k, strides, padding)(x)
        x = keras.layers.Conv2DTranspose(3, 2 // k + 1, 3, padding)(x) if k == 2 else x
    x = keras.layers.Conv2D(1, 1, activation="sigmoid")(x)
    _check_generator(keras.Model(latents, x))


def _check_generator(network: keras.Model) -> None:
    model = zoo.create(
        "gan", network.output_shape[1:], LATENT_DIM, generator=network, network="mlp"
    )
    functions = endpoints(model, onnx_files._rewritten, ["generate"])
    proto = simplify(preflight.preflight(functions, 18)["generate"])
    latents = np.random.default_rng(0).standard_normal((3, LATENT_DIM)).astype(np.float32)
    for run in (
        onnxruntime.InferenceSession(proto.SerializeToString()).run,
        ReferenceEvaluator(proto).run,
    ):
        (found,) = run(None, {"latent": latents})
        np.testing.assert_allclose(found, network(latents), atol=1e-5)


@pytest.mark.parametrize("layer", ["norm", "convolution"])
def test_upsampling_of_columns_and_channels(layer: str) -> None:
    """Channels first, it repeats what a BatchNorm or a convolution behind it takes for channels."""
    keras.utils.set_random_seed(0)
    x = latents = keras.Input((LATENT_DIM,))
    x = keras.layers.Reshape((2, 2, 3))(keras.layers.Dense(12)(x))
    x = keras.layers.UpSampling2D(2, data_format="channels_first")(x)
    if layer == "norm":
        x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x)
    network = keras.Model(latents, x)
    for weight in network.weights:
        if "moving" in weight.name or "gamma" in weight.name:
            weight.assign(np.random.default_rng(0).uniform(0.5, 1.5, weight.shape))
    _check_generator(network)


# What a rewrite needs, taken away


def _graph(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list],
    outputs: dict[str, list],
    constants: dict[str, np.ndarray],
    opset: int = 18,
) -> onnx.ModelProto:
    def values(named: dict[str, list]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in named.items()]

    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", values(inputs), values(outputs), tensors)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _dense_image(shape: list[int], bias: int = 0, opset: int = 18) -> onnx.ModelProto:
    """Dense layer, perhaps a bias, reshape to 4 × 4 × 4 images, convolution."""
    units = 64 if len(shape) == 2 else 16
    constants = {
        "w": _noise(shape[-1], units),
        "shape": np.array([-1, 4, 4, 4]),
        "kernel": _noise(2, 4, 1, 1),
        "b": _noise(bias or 1),
    }
    nodes = [helper.make_node("MatMul", ["x", "w"], ["d"], "MatMul")]
    if bias:
        nodes += [helper.make_node("Add", ["d", "b"], ["s"], "Add")]
    nodes += [
        helper.make_node("Reshape", ["s" if bias else "d", "shape"], ["r"], "Reshape"),
        helper.make_node("Transpose", ["r"], ["t"], "Transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "kernel"], ["y"], "Conv"),
    ]
    inputs, outputs = {"x": ["batch", *shape[1:]]}, {"y": ["batch", 2, 4, 4]}
    return _graph(nodes, inputs, outputs, constants, opset)


@pytest.mark.parametrize(
    ("shape", "bias", "turned"),
    [
        ([3, 8], 0, True),
        ([3, 8], 64, True),
        ([3, 8], 1, False),  # one number for all units
        ([3, 4, 8], 0, False),  # tokens
        ([3, 4, 8], 16, False),
    ],
)
def test_only_the_projection_of_a_whole_image_is_permuted(
    shape: list[int], bias: int, turned: bool
) -> None:
    wanted = _dense_image(shape, bias)
    found = channels_first(wanted)
    assert _kinds(found)["Transpose"] == (not turned)
    _assert_same(found, wanted)


@pytest.mark.parametrize(
    ("flat", "units", "turned"),
    [([-1, 32], 32, True), ([0, 1, 32], 32, False), ([-1, 8], 8, False), ([1, -1, 32], 32, False)],
)
def test_only_the_whole_image_is_taken_channels_first(
    flat: list[int], units: int, turned: bool
) -> None:
    constants = {"kernel": _noise(8, 3, 1, 1), "flat": np.array(flat), "w": _noise(units, 5)}
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"], "Conv"),
        helper.make_node("Transpose", ["c"], ["t"], "Transpose", perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["t", "flat"], ["f"], "Reshape"),
        helper.make_node("MatMul", ["f", "w"], ["y"], "MatMul"),
    ]
    shape = ["rows", 5] if len(flat) == 2 else ["rows", "columns", 5]
    wanted = _graph(nodes, {"x": ["batch", 3, 2, 2]}, {"y": shape}, constants)
    found = channels_first(wanted)
    assert _kinds(found)["Transpose"] == (not turned)
    _assert_same(found, wanted)


def test_a_constant_that_a_caller_may_replace_is_none() -> None:
    """It is an input too, with a value by default."""
    wanted = _dense_image([3, 8])
    wanted.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [8, 64]))
    _assert_same(simplify(wanted), wanted)


def test_an_opset_whose_forms_are_not_known_stays() -> None:
    for opset in (12, 19):
        proto = _dense_image([3, 8], opset=opset)
        assert simplify(proto) is proto


def test_the_shape_of_a_reshape_can_be_its_data() -> None:
    """Only the shape becomes a constant."""
    one = [helper.make_tensor_value_info("s", TensorProto.INT64, [1])]
    nodes = [
        helper.make_node("Reshape", ["s", "s"], ["r"], "Reshape"),
        helper.make_node("Cast", ["r"], ["y"], "Cast", to=TensorProto.FLOAT),
    ]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])]
    graph = helper.make_graph(nodes, "graph", one, out)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    for each in (proto, simplify(proto)):
        (found,) = _run(each, {"s": np.array([1])})
        np.testing.assert_array_equal(found, [1.0])


@pytest.mark.parametrize("extra", [{"output_shape": [8, 8]}, {"auto_pad": "SAME_UPPER"}, {}])
def test_only_stated_padding_is_split(extra: dict) -> None:
    """`output_shape` makes ONNX choose the padding, whatever `pads` says."""
    pads = {} if "auto_pad" in extra else {"pads": [1, 1, 1, 1]}
    k = 5 if extra else 4
    node = helper.make_node(
        "ConvTranspose", ["x", "kernel"], ["y"], "up", strides=[2, 2], **pads, **extra
    )
    kernel = {"kernel": _noise(3, 8, k, k)}
    wanted = _graph([node], {"x": ["batch", 3, 4, 4]}, {"y": ["batch", 8, 8, 8]}, kernel)
    found = split_transposed_convolutions(wanted)
    assert _kinds(found)["ConvTranspose"] == bool(extra)
    _assert_same(found, wanted)


def _with_branches(name: str) -> onnx.ModelProto:
    """y = x + name, or x − name where the sum of x is negative: both in graphs inside a node."""
    branches = {
        f"{side}_branch": helper.make_graph(
            [helper.make_node(kind, ["x:0", name], [side], side)],
            side,
            [],
            [helper.make_tensor_value_info(side, TensorProto.FLOAT, None)],
        )
        for side, kind in (("then", "Add"), ("else", "Sub"))
    }
    nodes = [
        helper.make_node("ReduceSum", ["x:0"], ["latent"], "sum", keepdims=0),
        helper.make_node("Greater", ["latent", "zero"], ["image"], "greater"),
        helper.make_node("If", ["image"], ["y:0"], "if", **branches),
    ]
    inputs = {"x:0": ["batch", 2], name: []}
    zero = {"zero": np.array(0.0, np.float32)}
    return _graph(nodes, inputs, {"y:0": ["batch", 2]}, zero)


def test_names_reach_the_graphs_inside_nodes() -> None:
    """And a tensor that has such a name already gets another."""
    proto = _with_branches("c:0")
    inputs = {"latent": tf.TensorSpec([None, 2]), "weight": tf.TensorSpec([])}
    preflight._name(proto, inputs, {"image": tf.TensorSpec([None, 2])})
    onnx.checker.check_model(proto, full_check=True)
    assert [v.name for v in (*proto.graph.input, *proto.graph.output)] == [
        "latent", "weight", "image",
    ]  # fmt: skip
    for sign in (1, -1):
        x = np.full((3, 2), sign, np.float32)
        (found,) = _run(proto, {"latent": x, "weight": np.array(5.0, np.float32)})
        np.testing.assert_array_equal(found, x + sign * 5.0)


def test_scalars_become_vectors_inside_nodes_too(tmp_path: Path) -> None:
    onnx.save(_with_branches("c"), tmp_path / "model.onnx")
    triton._without_scalars(tmp_path / "model.onnx", {"c": {"shape": []}})
    proto = onnx.load(tmp_path / "model.onnx")
    x = np.ones((3, 2), np.float32)
    (found,) = _run(proto, {"x:0": x, "c": np.array([5.0], np.float32)})
    np.testing.assert_array_equal(found, x + 5.0)


def test_what_stays_float32_is_told_by_name() -> None:
    """Nodes without a name, or of one name, would all stay, or none.

    An index and an image are computed of the same features with the same weights: only those of the
    image are rounded.
    """
    proto, names = _with_an_index()
    assert len(set(names)) == len(names) == 6
    assert {names[0], names[3], names[4]} <= set(exact_nodes(proto))
    assert not {names[1], names[2]} & set(exact_nodes(proto))
    half = _float16(proto)
    types = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    used = {node.name: types[node.input[1]] for node in half.graph.node if len(node.input) > 1}
    rounded = {name for name in names[:4] if used[name] == TensorProto.FLOAT16}
    assert rounded == {names[1], names[2]}
    feeds = _feeds(proto, 200)
    np.testing.assert_array_equal(_run(half, feeds)[1], _run(proto, feeds)[1])


def test_what_an_index_is_computed_of_is_not_quantized() -> None:
    proto, names = _with_an_index()
    feeds = {"x": _noise(N, 8)}
    found = _int8(proto, feeds)
    (image, index), (wanted, exact) = _run(found, feeds), _run(proto, feeds)
    np.testing.assert_array_equal(index, exact)
    assert np.abs(image - wanted).max() > 1e-4
    made = {name: node.op_type for node in found.graph.node for name in node.output}
    quantized = {
        node.name
        for node in found.graph.node
        if any(made.get(name) == "DequantizeLinear" for name in node.input)
    }
    assert {names[1], names[2]} <= quantized
    assert not {names[0], names[3], names[4]} & quantized


def _with_an_index() -> tuple[onnx.ModelProto, list[str]]:
    """y = x u w v, and z the place of the largest of x u w; and the names of its nodes."""
    constants = {"u": _noise(8, 8), "w": _noise(8, 64), "v": _noise(64, 5)}
    nodes = [
        helper.make_node("MatMul", ["x", "u"], ["h"], "one"),
        helper.make_node("MatMul", ["h", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "v"], ["y"], "one"),
        helper.make_node("MatMul", ["h", "w"], ["c"], "one"),
        helper.make_node("ArgMax", ["c"], ["i"], axis=1),
        helper.make_node("Cast", ["i"], ["z"], to=TensorProto.FLOAT),
    ]
    outputs = {"y": ["batch", 5], "z": ["batch", 1]}
    proto = _with_named_nodes(_graph(nodes, {"x": ["batch", 8]}, outputs, constants))
    return proto, [node.name for node in proto.graph.node]


def test_names_of_rewrites_are_new() -> None:
    """That of the channels-first twin of `d` is taken, by another tensor."""
    proto = _dense_image([3, 8], 64)
    for node in proto.graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = ["r_first" if name == "d" else name for name in tensors]
    found = channels_first(proto)
    tensors = [name for node in found.graph.node for name in node.output]
    assert len(set(tensors)) == len(tensors)
    assert {*tensors} < {*tensors_of(found.graph)}
    _assert_same(found, proto)
