"""A trained model as a deployable artefact, and the proof that it computes what the model does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.metadata import read_export
from export.spec import Endpoint, endpoints
from export.verification import Report, verify

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORMATS", "Endpoint", "Report", "endpoints", "export_model", "read_export", "verify"]

FORMATS = ("saved_model", "onnx")


def export_model(model: Any, path: str | Path, format: str = "saved_model", **options: Any) -> Path:  # noqa: A002
    """Exports a model of the zoo.

    Args:
        model: The model.
        path: A SavedModel's model folder (TF Serving's, with a folder for each version in it), or
            a new folder for ONNX files.
        format: `"saved_model"` or `"onnx"`.
        **options: `run` (the run folder it comes from); `version` of a SavedModel; `opset` of ONNX.

    Returns:
        The folder written: the version's, or `path`.

    Raises:
        ValueError: If the format is unknown or the model cannot be converted; nothing is written.
        FileExistsError: If the artefact exists.
    """
    if format == "saved_model":
        from export.saved_model import export_saved_model  # noqa: PLC0415

        return export_saved_model(model, path, **options)
    if format == "onnx":
        from export.onnx_files import export_onnx  # noqa: PLC0415  (tf2onnx is slow to import)

        return export_onnx(model, path, **options)
    msg = f"format={format!r}: expected one of {FORMATS}."
    raise ValueError(msg)
