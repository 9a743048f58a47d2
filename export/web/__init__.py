"""A static folder in which a model can be played with in a browser, without a network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.functions import as_model, endpoints, model_facts
from export.metadata import check_new, provenance, write_metadata
from export.onnx.files import export_onnx
from export.verification import check_export
from export.web.directions import strongest_directions
from export.web.runtime import PACKAGE, VERSION, fetch_runtime, write_runtime
from zoo.io.files import replacing

if TYPE_CHECKING:
    import numpy as np

PAGE = Path(__file__).parent / "page"
SAMPLES = 240  # whole grids of 12


def export_web(
    model: Any, path: str | Path, run: str | Path | None = None, *, verify: bool = True
) -> Path:
    """Writes the playground of a model: a page, the model as ONNX files, and ONNX Runtime.

    Any static server will do, from any path: `python -m http.server -d PATH`. It needs no network
    and no special headers. A browser that opens index.html as a file refuses to load the model.

    The latents of the samples are those of `model.generate(240, seed=0)`, of every prior.

    Args:
        model: A model of the zoo or a Keras generator. Of more than three channels the first three
            are drawn, of two each in grey.
        path: The folder; must not exist.
        run: The run folder it comes from, for the metadata.
        verify: Whether to run the files before they are put in their place, as `check_export` does.

    Returns:
        The folder.

    Raises:
        ValueError: If an operation has no ONNX form, what npm downloads is not ONNX Runtime's
            release, or a file does not compute what the model computes.
        OSError: If ONNX Runtime is not in the cache and npm is not there or fails.
        FileExistsError: If the folder exists.
    """
    path = Path(path)
    check_new(path)
    model = as_model(model)
    tarball = fetch_runtime()
    directions, shares = strongest_directions(model)
    with replacing(path) as folder:
        shutil.copytree(PAGE, folder)
        write_runtime(tarball, folder / "onnxruntime")
        # The page draws images of the model's own size.
        export_onnx(model, folder / "models", run=run, every_size=False, verify=False)
        latents = {
            "samples": _numbers(model.sample_latents(SAMPLES, seed=0)),
            "directions": _numbers(directions),
            "shares": shares.tolist(),
        }
        (folder / "latents.json").write_text(json.dumps(latents, allow_nan=False), encoding="utf-8")
        entries = {**model_facts(model, endpoints(model, every_size=False)), **provenance(run)}
        entries["versions"][PACKAGE] = VERSION
        write_metadata(folder, path, "web", run, entries)
        if verify:
            check_export(folder, model)
    return path


def _numbers(array: np.ndarray) -> list[list[float]]:
    """Float32 as the shortest decimals that are read back as the same."""
    return [[float(str(value)) for value in row] for row in array]
