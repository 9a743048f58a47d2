"""A trained model as a deployable artefact, and the proof that it computes what the model does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zoo  # noqa: F401  (first: it turns on oneDNN, before TensorFlow is imported)
from export.endpoints import Endpoint, endpoints
from export.metadata import read_export
from export.report import Report, read_report
from export.verification import verify

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "FORMATS",
    "Endpoint",
    "Report",
    "endpoints",
    "export_model",
    "read_export",
    "read_report",
    "verify",
]

FORMATS = ("saved_model", "onnx", "web", "triton")


def export_model(model: Any, path: str | Path, format: str = "saved_model", **options: Any) -> Path:  # noqa: A002
    """Exports a model of the zoo, and compares what was written with the model.

    The comparison is a quick one, of few inputs in one runtime; `verify` is thorough.

    Args:
        model: The model.
        path: A SavedModel's model folder (TF Serving's, with a folder for each version in it), or
            a new folder for ONNX files, a web page or a model repository.
        format: `"saved_model"`, `"onnx"`, `"web"` (a playground for browsers) or `"triton"` (a
            model repository for NVIDIA's server).
        **options: `run` (the run folder it comes from); `verify=False`, not to compare; `version`
            of a SavedModel; `opset`, `precision` and `external_data` of ONNX.

    Returns:
        The folder written: the version's, or `path`.

    Raises:
        ValueError: If the format is unknown, the model cannot be converted, or what was written
            does not compute what the model computes; then nothing is left behind.
        FileExistsError: If the artefact exists.

    Example:
        >>> import tempfile, zoo
        >>> from export import export_model
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_model(model, f"{folder}/vae", functions=["generate"]).name  # its version
        '1'
    """
    if format == "saved_model":
        from export.saved_model import export_saved_model  # noqa: PLC0415

        return export_saved_model(model, path, **options)
    if format == "onnx":
        from export.onnx.files import export_onnx  # noqa: PLC0415  (tf2onnx is slow to import)

        return export_onnx(model, path, **options)
    if format == "web":
        from export.web import export_web  # noqa: PLC0415

        return export_web(model, path, **options)
    if format == "triton":
        from export.serving.triton import export_triton  # noqa: PLC0415

        return export_triton(model, path, **options)
    msg = f"format={format!r}: expected one of {FORMATS}."
    raise ValueError(msg)
