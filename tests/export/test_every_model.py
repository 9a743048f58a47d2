"""Every function of every model computes the same in every runtime of its format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest

from export import Report, endpoints, export_model, read_export, verify
from export.functions import INTEGERS, axes_of, names_of
from export.metadata import place_of
from export.verification import check_export
from tests.cases import CASES, IMAGE_SHAPE, Case
from tests.support.exports import shaken, shaken_case
from zoo.core.model import ZooModel

# The fullest GAN is exported to SavedModel.
ONNX = [case for case in CASES if case.name == "cvae"]


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c.id, marks=[] if c in ONNX else pytest.mark.slow) for c in CASES],
)
def test_every_model_is_exported_to_onnx(case: Case, tmp_path: Path) -> None:
    _check_onnx(shaken(case.create()), case_functions(case), ["ONNX Runtime"], tmp_path)


def case_functions(case: Case) -> tuple[str, ...]:
    """All of the core ones; of the others, what differs between models: all is a slow test."""
    if case.core:
        return (*case.endpoints, "sample")
    return tuple(name for name in case.endpoints if name in ("generate", "encode"))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_function_runs_in_every_runtime(case: Case, tmp_path: Path) -> None:
    model = shaken(case.create())
    names = tuple(names_of(model))
    report = _check_onnx(model, names, ["ONNX Runtime", "ONNX reference", "OpenVINO"], tmp_path)
    # The loop of a PixelCNN is the one thing that a runtime cannot load.
    assert bool(report.notes) == (case.name in ("vq_vae", "vqgan")), report.notes
    assert all(note.startswith("OpenVINO cannot load") for note in report.notes)
    check_export(tmp_path / "x", model)
    path = export_model(model, tmp_path / "saved_model", functions=names)
    assert verify(path, model).passed


def test_every_model_is_exported_to_saved_model(full_gan: Case, tmp_path: Path) -> None:
    model = shaken(full_gan.create())
    path = export_model(model, tmp_path / "x", verify=False)
    found = (*full_gan.endpoints, "sample", "interpolate", "generate_uint8", "generate_png")
    assert tuple(read_export(path)["endpoints"]) == found
    report = verify(path, model)
    assert report.passed, report.problems
    assert _functions_of(report) == {*found, "serving_default"}
    _check_report(report, path)


def _functions_of(report: Report) -> set[str]:
    """Each once: some are tried at further sizes, in rows of their own."""
    return {row.function.partition(" at ")[0] for row in report.rows}


def _check_onnx(
    model: ZooModel, functions: tuple[str, ...], runtimes: list[str], tmp_path: Path
) -> Report:
    path = export_model(model, tmp_path / "x", format="onnx", functions=functions, verify=False)
    assert tuple(read_export(path)["endpoints"]) == functions
    report = verify(path, model, runtimes=runtimes)
    assert report.passed, report.problems
    assert _functions_of(report) == {*functions}
    _check_report(report, path)
    for endpoint in endpoints(model, functions=functions):
        proto = onnx.load(path / f"{endpoint.name}.onnx")
        assert "BatchNormalization" not in {node.op_type for node in proto.graph.node}
        _check_named(proto, endpoint)
    return report


def _check_report(report: Report, path: Path) -> None:
    floats = [r for r in report.rows if r.output not in INTEGERS and "_uint8" not in r.function]
    assert all(row.noise_floor > 0.0 for row in floats if row.output != "image_bytes")
    assert json.loads(place_of(path, "verification.json").read_text())["passed"]


def _check_named(proto: onnx.ModelProto, endpoint: object) -> None:
    onnx.checker.check_model(proto, full_check=True)
    assert proto.opset_import[0].version == 18
    assert {p.key: p.value for p in proto.metadata_props}["opset"] == "18"
    for values, wanted in (
        (proto.graph.input, endpoint.inputs),
        (proto.graph.output, endpoint.outputs),
    ):
        assert {v.name for v in values} == set(wanted)
        for value in values:
            dims = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            assert dims == axes_of(value.name, wanted[value.name]), value.name


def test_folding_left_no_scale_and_shift(tmp_path: Path) -> None:
    """BatchNorm must be gone, not spelled as Mul and Add: only tanh's rescaling is left."""
    path = export_model(shaken_case("dcgan"), tmp_path / "x", format="onnx", functions=["generate"])
    kinds = [node.op_type for node in onnx.load(path / "generate.onnx").graph.node]
    assert kinds.count("Mul") == 1, kinds
    assert kinds.count("Sub") == 0, kinds


def test_the_averaged_generator_is_exported(tmp_path: Path) -> None:
    model = shaken_case("dcgan", ema=0.9)
    path = export_model(model, tmp_path / "x", format="onnx", functions=["generate"])
    session = onnxruntime.InferenceSession(path / "generate.onnx")
    latents = model.sample_latents(5, seed=1)
    (found,) = session.run(None, {"latent": latents})
    averaged, raw = (
        np.asarray(g(latents, training=False)) for g in (model.ema_generator, model.generator)
    )
    np.testing.assert_allclose(found, averaged, atol=1e-5)
    assert np.abs(found - raw).max() > 1e-2


@pytest.mark.slow
def test_onnx_reference_evaluator_agrees(tmp_path: Path) -> None:
    """The ONNX project's own interpreter, which shares no kernel with ONNX Runtime."""
    model = shaken_case("vae")
    path = export_model(model, tmp_path / "x", format="onnx")
    images = np.random.default_rng(0).random((3, *IMAGE_SHAPE), np.float32)
    evaluator = onnx.reference.ReferenceEvaluator(str(path / "encode.onnx"))
    found = dict(zip(evaluator.output_names, evaluator.run(None, {"image": images}), strict=True))
    for name, wanted in zip(("mean", "log_variance"), model.encode(images), strict=True):
        np.testing.assert_allclose(found[name], wanted, atol=1e-4)


def test_another_opset(tmp_path: Path) -> None:
    model = shaken_case("dcgan")
    path = export_model(model, tmp_path / "x", format="onnx", opset=15, functions=["generate"])
    assert onnx.load(path / "generate.onnx").opset_import[0].version == 15
    assert verify(path, model, runtimes=["ONNX Runtime"]).passed
