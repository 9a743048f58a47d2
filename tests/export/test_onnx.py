"""ONNX files: nothing needless in them, nothing wrong written, and what less precision costs."""

from __future__ import annotations

import collections
import json
from pathlib import Path

import keras
import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

import zoo
from export import endpoints, export_model, read_export, verify
from export.metadata import hashes
from export.onnx import files as onnx_files
from export.onnx import preflight
from export.onnx.reduced import exact_nodes
from export.onnx.simplify import simplify
from export.onnx.subpixel import split_transposed_convolutions
from tests.support.exports import shaken
from tests.support.full_disk import full_disk

SHAPE, LATENT_DIM = (16, 16, 3), 3


def _small(name: str = "dcgan", network: str = "conv-8", **options: object) -> keras.Model:
    return shaken(zoo.create(name, SHAPE, LATENT_DIM, network=network, **options))


def _kinds(proto: onnx.ModelProto) -> collections.Counter[str]:
    return collections.Counter(node.op_type for node in proto.graph.node)


def _run(proto: onnx.ModelProto | Path, **feeds: np.ndarray) -> np.ndarray:
    source = proto if isinstance(proto, Path) else proto.SerializeToString()
    return onnxruntime.InferenceSession(source).run(None, feeds)[0]


# Rewrites


def _transposed_convolution(
    k: int, stride: int, pads: list[int], extra: list[int], channels: int = 8
) -> onnx.ModelProto:
    """A ConvTranspose of 4 × 6 images, then ReLU, with random weights."""
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.standard_normal((5, channels, k, k)).astype(np.float32),
        "bias": rng.standard_normal(channels).astype(np.float32),
    }
    nodes = [
        helper.make_node(
            "ConvTranspose", ["x", "kernel", "bias"], ["h"], "up", strides=[stride, stride],
            pads=pads, output_padding=extra,
        ),
        helper.make_node("Relu", ["h"], ["y"], "relu"),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "up",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 5, 4, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", channels, None, None])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(
    ("k", "stride", "pads", "extra"),
    [
        (4, 2, [1, 1, 1, 1], [0, 0]),
        (3, 2, [0, 0, 1, 1], [0, 0]),
        (3, 2, [1, 1, 1, 1], [1, 1]),
        (5, 2, [1, 1, 2, 2], [0, 0]),
        (2, 2, [0, 0, 0, 0], [0, 0]),
        (5, 3, [1, 1, 1, 1], [0, 0]),
        (4, 2, [0, 2, 2, 0], [0, 0]),
    ],
)
def test_transposed_convolutions_become_plain_ones(
    k: int, stride: int, pads: list[int], extra: list[int]
) -> None:
    """ONNX Runtime computes the transposed convolution itself, with a kernel of its own."""
    proto = _transposed_convolution(k, stride, pads, extra)
    split = split_transposed_convolutions(proto)
    onnx.checker.check_model(split, full_check=True)
    kinds = _kinds(split)
    assert (kinds["ConvTranspose"], kinds["Conv"], kinds["Relu"]) == (0, stride**2, stride**2)
    x = np.random.default_rng(1).standard_normal((2, 5, 4, 6)).astype(np.float32)
    np.testing.assert_allclose(_run(split, x=x), _run(proto, x=x), atol=1e-5)


def test_transposed_convolutions_that_stay() -> None:
    """Few channels, stride 1, or an image that is not multiplied by the stride."""
    for proto in (
        _transposed_convolution(4, 2, [1, 1, 1, 1], [0, 0], channels=3),
        _transposed_convolution(3, 1, [1, 1, 1, 1], [0, 0]),
        _transposed_convolution(5, 2, [0, 0, 0, 0], [0, 0]),
        _transposed_convolution(2, 3, [0, 0, 0, 0], [1, 1]),
    ):
        assert _kinds(split_transposed_convolutions(proto))["ConvTranspose"] == 1


def _converted(model: keras.Model, name: str = "generate") -> onnx.ModelProto:
    functions = endpoints(model, onnx_files._rewritten, [name])
    return simplify(preflight.preflight(functions, 18)[name])


@pytest.mark.parametrize(
    ("name", "network", "channels", "transposes"),
    [
        ("dcgan", "conv-8", 3, 1),
        ("dcgan", "conv-8", 1, 0),
        pytest.param("sngan", "resnet-8", 3, 1, marks=pytest.mark.slow),
        pytest.param("sngan", "resnet-8", 1, 0, marks=pytest.mark.slow),
        # Its learned constant is broadcast, then convolved.
        pytest.param("stylegan2", "style-8", 3, 2, marks=pytest.mark.slow),
    ],
)
def test_no_transposes_but_at_the_ends(
    name: str, network: str, channels: int, transposes: int
) -> None:
    """Images go out channels last, which of one channel is a reshape."""
    model = shaken(zoo.create(name, (16, 16, channels), LATENT_DIM, network=network))
    proto = _converted(model)
    kinds = _kinds(proto)
    assert kinds["Transpose"] == transposes
    assert not kinds.keys() & {"BatchNormalization", "Tile"}
    assert kinds["Shape"] == (name == "stylegan2")
    latents = model.sample_latents(9, seed=0)
    images = model.generate_from(latents)
    np.testing.assert_allclose(_run(proto, latent=latents), images, atol=1e-5)
    evaluator = onnx.reference.ReferenceEvaluator(proto)
    (found,) = evaluator.run(None, {"latent": latents[:2]})
    np.testing.assert_allclose(found, images[:2], atol=1e-5)


@pytest.mark.slow
def test_an_encoder_has_one_transpose() -> None:
    """Convolutions, then a dense layer that takes their channels-first features."""
    model = _small("vae")
    proto = _converted(model, "encode")
    assert _kinds(proto)["Transpose"] == 1
    assert "Shape" not in _kinds(proto)
    images = np.random.default_rng(0).random((5, *SHAPE), np.float32)
    names = [output.name for output in proto.graph.output]
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    found = dict(zip(names, session.run(None, {"image": images}), strict=True))
    for name, wanted in zip(("mean", "log_variance"), model.encode(images), strict=True):
        np.testing.assert_allclose(found[name], wanted, atol=1e-4)


# Preflight


def _generator(*layers: keras.layers.Layer) -> keras.Model:
    """A GAN whose generator has these layers, that keep the shape [batch, 8, 8, 4]."""
    latents = keras.Input((LATENT_DIM,))
    x = keras.layers.Reshape((8, 8, 4))(keras.layers.Dense(256)(latents))
    for layer in layers:
        x = layer(x)
    x = keras.layers.Conv2D(1, 1, activation="sigmoid")(x)
    return zoo.create("dcgan", (8, 8, 1), LATENT_DIM, generator=keras.Model(latents, x))


class Noise(keras.layers.Layer):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x + tf.random.normal(tf.shape(x))


class ScatterAdd(keras.layers.Layer):
    """Needs opset 16."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.tensor_scatter_nd_add(x, [[0]], x[:1])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            lambda: keras.layers.Activation("gelu", name="smooth"),
            r"generate .* Erfc \(layer 'smooth'\): .* approximate=True",
        ),
        (
            lambda: keras.layers.Conv2D(4, 3, groups=2, padding="same", name="grouped"),
            r"PartitionedCall \(layer 'grouped'\): .* tf.nn.conv2d",
        ),
        # tf2onnx would write a RandomNormalLike that draws other numbers.
        (lambda: Noise(name="noisy"), r"RandomStandardNormal \(layer 'noisy'\): .* outside"),
    ],
)
def test_what_cannot_be_exported_is_named(layer: object, message: str, tmp_path: Path) -> None:
    model = _generator(layer())
    with pytest.raises(ValueError, match=message):
        export_model(model, tmp_path / "x", format="onnx", functions=["generate"])
    assert not list(tmp_path.iterdir())


def test_an_opset_too_old_for_an_operation() -> None:
    functions = endpoints(_generator(ScatterAdd(name="adding")), functions=["generate"])
    with pytest.raises(ValueError, match=r"opset 13: .*'adding'\)\. It can of opset 16\."):
        preflight.preflight(functions, 13)
    assert "ScatterND" in _kinds(preflight.preflight(functions, 16)["generate"])


def test_other_types_than_promised(tmp_path: Path) -> None:
    """A network whose call cannot be read keeps its own mixed precision."""

    @keras.saving.register_keras_serializable("tests")
    class Half(keras.Model):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            images = tf.sigmoid(tf.tile(x[:, :1], [1, 64]))
            return tf.cast(tf.reshape(images, [-1, 8, 8, 1]), tf.float16)

    model = zoo.create("dcgan", (8, 8, 1), LATENT_DIM, generator=Half())
    with pytest.raises(ValueError, match="generate puts out image as float16 .*float32"):
        export_model(model, tmp_path / "x", format="onnx", functions=["generate"])
    assert not list(tmp_path.iterdir())


def test_weights_that_no_file_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "LARGEST", 1000)
    with pytest.raises(ValueError, match="GB of weights"):
        preflight.preflight(endpoints(_small(), functions=["generate"]), 18)


# Files


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return _small()


@pytest.fixture(scope="module")
def plain(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export(model, tmp_path_factory.mktemp("plain"))


def _export(model: keras.Model, folder: Path, **options: object) -> Path:
    options = {"functions": ["generate"], **options}
    return export_model(model, folder / "x", format="onnx", **options)


def test_a_full_disk_leaves_nothing(model: keras.Model, tmp_path: Path) -> None:
    told = pytest.raises(OSError, match="x could not be written, and nothing of it was kept")
    with full_disk(3000), told:
        _export(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_external_data(model: keras.Model, plain: Path, tmp_path: Path) -> None:
    """Weights lie beside the file, are hashed, and are found wherever the folder is."""
    path = _export(model, tmp_path, external_data=True)
    assert read_export(path)["files"].keys() == {"generate.onnx", "generate.weights"}
    assert read_export(path)["files"] == hashes(path)
    proto = onnx.load(path / "generate.onnx", load_external_data=False)
    beside = [t for t in proto.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    size = (path / "generate.weights").stat().st_size
    assert size >= sum(4 * int(np.prod(tensor.dims)) for tensor in beside) > 10_000
    assert (path / "generate.onnx").stat().st_size < (
        plain / "generate.onnx"
    ).stat().st_size - 0.9 * size
    path = path.rename(tmp_path / "moved")
    latents = model.sample_latents(4, seed=0)
    found, wanted = (_run(p / "generate.onnx", latent=latents) for p in (path, plain))
    np.testing.assert_array_equal(found, wanted)


def test_large_files_have_external_data(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "LARGE", 1000)
    assert (_export(model, tmp_path) / "generate.weights").exists()


# Precision


@pytest.mark.parametrize(("precision", "psnr"), [("float16", 65.0), ("int8", 40.0)])
def test_reduced_precision(
    model: keras.Model, plain: Path, tmp_path: Path, precision: str, psnr: float
) -> None:
    path = _export(model, tmp_path, precision=precision)
    proto = onnx.load(path / "generate.onnx")
    assert {p.key: p.value for p in proto.metadata_props}["precision"] == precision
    for value in (*proto.graph.input, *proto.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    kernels = [numpy_helper.to_array(t) for t in proto.graph.initializer if len(t.dims) == 4]
    assert precision in {kernel.dtype.name for kernel in kernels}
    quality = read_export(path)["quality"]["generate"]["image"]
    latents = model.sample_latents(256, seed=1)
    found, wanted = (_run(p / "generate.onnx", latent=latents) for p in (path, plain))
    error = np.abs(found.astype(np.float64) - wanted)
    rms = np.sqrt(np.mean(error**2))
    assert quality["max_error"] == pytest.approx(error.max(), rel=1e-3)
    assert quality["rms_error"] == pytest.approx(rms, rel=1e-3)
    assert quality["psnr"] == pytest.approx(10 * np.log10(1 / rms**2), abs=0.01)
    assert quality["max_error"] > 0
    assert quality["psnr"] > psnr
    report = verify(path, model, runtimes=["ONNX Runtime"])
    assert report.passed
    (note,) = report.notes
    assert note.startswith(f"generate in {precision}: PSNR ")
    # Of other latents than above, the extremes among them.
    assert float(note.split()[-2]) == pytest.approx(quality["psnr"], abs=10)
    other = _small()
    for weight in other.generator.trainable_variables:
        weight.assign(weight + 0.1)
    assert not verify(path, other, runtimes=["ONNX Runtime"]).passed


def test_unknown_precision(model: keras.Model, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="precision='float8': expected one of float32, float16"):
        _export(model, tmp_path, precision="float8")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_drawing_stays_exact(precision: str, tmp_path: Path) -> None:
    """`sample` hashes integers and computes normal numbers of them: no rounding may enter."""
    model = _small()
    path = _export(model, tmp_path, precision=precision, functions=["generate", "sample"])
    proto = onnx.load(path / "sample.onnx")
    first = next(n for n in proto.graph.node if n.op_type in ("MatMul", "Gemm"))
    before = first.input[0].removesuffix("_cast_to_fp16")
    exact = _converted(model, "sample")
    matmul = next(n for n in exact.graph.node if n.op_type == "MatMul")
    feeds = {"n": np.array(64, np.int32), "seed": np.array(5, np.int32)}
    exact.graph.output.append(onnx.ValueInfoProto(name=matmul.input[0]))
    proto.graph.output.append(onnx.ValueInfoProto(name=before))
    latents = [
        onnxruntime.InferenceSession(p.SerializeToString()).run(None, feeds)[-1].astype(np.float32)
        for p in (exact, proto)
    ]
    rounding = 0.0 if precision == "int8" else 5e-3  # of the last cast alone
    np.testing.assert_allclose(latents[1], latents[0], atol=rounding)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_codes_stay_exact(precision: str, tmp_path: Path) -> None:
    model = _small(
        "vq_vae", "grid-8", num_codes=5, prior_width=8, prior_layers=1
    )  # fmt: skip
    path = _export(model, tmp_path, precision=precision, functions=["generate", "encode"])
    assert read_export(path)["quality"]["encode"] == {"codes": {"different": 0.0}}
    images = np.random.default_rng(0).random((20, *SHAPE), np.float32)
    found = _run(path / "encode.onnx", image=images)
    wanted = onnxruntime.InferenceSession(_converted(model, "encode").SerializeToString())
    np.testing.assert_array_equal(found, wanted.run(None, {"image": images})[0])
    assert len(np.unique(found)) > 1


@pytest.mark.slow
def test_roots_of_squares_stay_float32(tmp_path: Path) -> None:
    """A latent of zeros, whose normalisation divides by √1e-8, is a number in float16 too."""
    model = _small("stylegan2", "style-8")
    path = _export(model, tmp_path, precision="float16")
    latents = np.stack([np.full(LATENT_DIM, x, np.float32) for x in (0.0, 4.0, -4.0)])
    found = _run(path / "generate.onnx", latent=latents)
    np.testing.assert_allclose(found, model.generate_from(latents), atol=5e-3)
    exact = exact_nodes(_converted(model))
    assert any("Sqrt" in name or "Rsqrt" in name for name in exact)
    assert json.loads(json.dumps(read_export(path)["quality"]))["generate"]["image"]["psnr"] > 60
