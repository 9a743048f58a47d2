"""Triton's model repository: its configurations are the published message, and fit the files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format

import zoo
from export import export_model, read_export, triton
from export.metadata import hashes
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.support.scalars import write_scalars

TYPES = {"TYPE_FP32": onnx.TensorProto.FLOAT, "TYPE_INT32": onnx.TensorProto.INT32}
FUNCTIONS = ("generate", "encode")


@pytest.fixture(scope="module")
def published() -> ModuleType:
    """The message as NVIDIA's client has it; its package itself wants another protobuf."""
    spec = importlib.util.find_spec("tritonclient")
    if spec is None or spec.origin is None:
        pytest.skip("tritonclient, which has the published model_config.proto, is not installed")
    file = Path(spec.origin).parent / "grpc" / "model_config_pb2.py"
    found = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return zoo.create("cvae", IMAGE_SHAPE, LATENT_DIM, num_classes=3)


@pytest.fixture(scope="module")
def repository(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("triton") / "repository"
    return export_model(model, path, format="triton", functions=FUNCTIONS)


def _check(config: Any, folder: Path) -> None:
    """The configuration describes the file's own tensors."""
    assert config.name == folder.name
    assert config.backend == "onnxruntime"
    graph = onnx.load(folder / "1" / "model.onnx").graph
    for described, values in ((config.input, graph.input), (config.output, graph.output)):
        assert {t.name for t in described} == {v.name for v in values}
        by_name = {v.name: v.type.tensor_type for v in values}
        for tensor in described:
            own = by_name[tensor.name]
            kind = tensor.DESCRIPTOR.fields_by_name["data_type"].enum_type
            assert TYPES[kind.values_by_number[tensor.data_type].name] == own.elem_type
            dims = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
            batch = [-1] if config.max_batch_size else []
            assert [*batch, *dims] == [d.dim_value or -1 for d in own.shape.dim]
            assert list(tensor.dims)  # Triton takes none without


def test_each_configuration_fits_its_file(repository: Path, published: ModuleType) -> None:
    folders = [path for path in sorted(repository.iterdir()) if path.is_dir()]
    assert [folder.name for folder in folders] == sorted(f"cvae_{name}" for name in FUNCTIONS)
    for folder in folders:
        text = (folder / "config.pbtxt").read_text()
        config = text_format.Parse(text, published.ModelConfig())
        _check(config, folder)
        assert config.HasField("dynamic_batching")
        assert config.max_batch_size == 256
        preferred = config.dynamic_batching.preferred_batch_size
        assert all(0 < size <= config.max_batch_size for size in preferred)


def test_a_label_is_a_column(repository: Path, published: ModuleType) -> None:
    """Triton's tensors have a dimension beside the batch; the file's labels have none."""
    text = (repository / "cvae_generate" / "config.pbtxt").read_text()
    config = text_format.Parse(text, published.ModelConfig())
    (label,) = (tensor for tensor in config.input if tensor.name == "label")
    assert list(label.dims) == [1]
    assert label.HasField("reshape")
    assert not label.reshape.shape


def test_the_files_compute_what_the_model_does(repository: Path, model: keras.Model) -> None:
    latents, labels = model.sample_latents(3, seed=0), np.array([0, 1, 2], np.int32)
    session = onnxruntime.InferenceSession(repository / "cvae_generate" / "1" / "model.onnx")
    (found,) = session.run(None, {"latent": latents, "label": labels})
    np.testing.assert_allclose(found, model.generate_from(latents, labels), atol=1e-5)
    facts = read_export(repository)
    assert (facts["format"], facts["model"], facts["latent_dim"]) == ("triton", "cvae", LATENT_DIM)
    assert facts["files"] == hashes(repository)


def test_scalars_become_vectors_of_one(
    tmp_path: Path, published: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton, "export_onnx", lambda _, path, **__: write_scalars(path))
    folder = triton.export_triton(None, tmp_path / "repository", verify=False) / "toy_sample"
    config = text_format.Parse((folder / "config.pbtxt").read_text(), published.ModelConfig())
    _check(config, folder)
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    session = onnxruntime.InferenceSession(folder / "1" / "model.onnx")
    numbers = {"n": np.array([3], np.int32), "seed": np.array([25], np.int32)}
    (found,) = session.run(None, numbers)
    np.testing.assert_allclose(found, np.full((3, 2, 2, 1), 0.25))


def test_weights_beside_a_file_come_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def outside(_: None, path: Path, **__: object) -> Path:
        file = write_scalars(path) / "sample.onnx"
        proto = onnx.load(file)
        (weight,) = (value for value in proto.graph.initializer if value.name == "hundredth")
        onnx.external_data_helper.set_external_data(weight, "sample.weights")
        onnx.save(proto, file)
        return path

    monkeypatch.setattr(triton, "export_onnx", outside)
    folder = triton.export_triton(None, tmp_path / "repository", verify=False) / "toy_sample" / "1"
    assert {file.name for file in folder.iterdir()} == {"model.onnx", "sample.weights"}
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    numbers = {"n": np.array([1], np.int32), "seed": np.array([50], np.int32)}
    np.testing.assert_allclose(session.run(None, numbers)[0], np.full((1, 2, 2, 1), 0.5))


def test_what_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("full")

    monkeypatch.setattr(triton, "export_onnx", lambda _, path, **__: write_scalars(path))
    monkeypatch.setattr(triton, "config_of", fail)
    with pytest.raises(ValueError, match="full"):
        triton.export_triton(None, tmp_path / "repository", verify=False)
    assert not list(tmp_path.iterdir())
    (tmp_path / "repository").mkdir()
    with pytest.raises(FileExistsError, match="exists"):
        triton.export_triton(None, tmp_path / "repository", verify=False)
