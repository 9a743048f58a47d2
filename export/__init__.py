"""A trained model as a deployable artefact, and the proof that it computes what the model does.

`saved_model`, `onnx`, `web`, `triton` and `diffusers` write a format each; `verification` compares
what they wrote with the model; `serving` answers requests with it.
"""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

import zoo  # noqa: F401  (first: it turns on oneDNN, before TensorFlow is imported)
from zoo.io.lazy import lazy
from zoo.io.names import as_path

if TYPE_CHECKING:
    from pathlib import Path

    from export.functions import Endpoint, endpoints
    from export.metadata import read_export
    from export.report import Report, read_report
    from export.verification import verify

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
# What reads an export needs no TensorFlow, which is slow to import.
_HOMES = {"Endpoint": "export.functions", "endpoints": "export.functions"}
_HOMES |= {"Report": "export.report", "read_report": "export.report"}
_HOMES |= {"read_export": "export.metadata", "verify": "export.verification"}
__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__


# By format, what writes it: imported when it is asked for, as tf2onnx is slow to import.
WRITERS = {
    "saved_model": ("export.saved_model", "export_saved_model"),
    "onnx": ("export.onnx.files", "export_onnx"),
    "web": ("export.web", "export_web"),
    "triton": ("export.triton", "export_triton"),
    "diffusers": ("export.diffusers", "export_diffusers"),
}
FORMATS = tuple(WRITERS)


def export_model(model: Any, path: str | Path, format: str = "saved_model", **options: Any) -> Path:  # noqa: A002
    """Exports a model of the zoo, and compares what was written with the model.

    The comparison is a quick one, of few inputs in one runtime; `verify` is thorough.

    Args:
        model: The model.
        path: The model folder of a SavedModel, in TF Serving's layout with one folder per version;
            or a new folder for the other formats.
        format: `"saved_model"`, `"onnx"`, `"web"` (a playground for browsers), `"triton"` (a
            model repository for NVIDIA's server) or `"diffusers"` (an autoencoder_kl in the layout
            of that package).
        **options: `run`, the run folder that the model comes from; `verify=False` to skip the
            comparison; `functions`, the names of those wanted besides `generate`, except for a web
            page and diffusers; `version` and `warmup` for a SavedModel; `opset`, `precision` and
            `external_data` for ONNX and Triton.

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
    if format not in WRITERS:
        msg = f"format={format!r}: expected one of {FORMATS}."
        raise ValueError(msg)
    module, function = WRITERS[format]
    write = getattr(import_module(module), function)
    unknown = options.keys() - _options_of(format)
    if unknown:
        msg = (
            f"{', '.join(sorted(unknown))}: a {format} export takes "
            f"{', '.join(sorted(_options_of(format)))}."
        )
        raise ValueError(msg)
    return write(model, as_path(path, "path"), **options)


def _options_of(format: str) -> set[str]:  # noqa: A002
    """The options of a format, as its writer takes them."""
    module, function = WRITERS[format]
    names = set(signature(getattr(import_module(module), function)).parameters)
    if "options" in names:  # Triton's are those of its ONNX files
        names |= _options_of("onnx")
    return names - {"model", "path", "options"}
