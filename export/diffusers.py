"""The layout that the package diffusers has for its class `AutoencoderKL`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.functions import endpoints, model_facts
from export.metadata import check_new, provenance, write_metadata
from export.verification import check_export
from zoo.hub.diffusers import write_autoencoder
from zoo.io.files import replacing
from zoo.vae.autoencoder_kl import AutoencoderKL

FUNCTIONS = ("encode", "decode", "reconstruct")


def export_diffusers(
    model: Any, path: str | Path, run: str | Path | None = None, *, verify: bool = True
) -> Path:
    """Writes a folder that diffusers loads with `AutoencoderKL.from_pretrained`.

    Beside its config.json and its weights the folder has the metadata of an export, which diffusers
    passes over.

    Args:
        model: An `autoencoder_kl`.
        path: The folder; must not exist.
        run: The run folder it comes from, for the metadata.
        verify: Whether to read the folder and to compare, as `check_export` does.

    Returns:
        The folder.

    Raises:
        TypeError: If it is another model.
        ValueError: If its likelihood is not "laplace_linear".
        FileExistsError: If the folder exists.
    """
    path = Path(path)
    check_new(path)
    if not isinstance(model, AutoencoderKL):
        name = getattr(model, "model_name", type(model).__name__)
        msg = (
            f"format 'diffusers' is a layout for an autoencoder_kl, and this is a {name}. Export "
            "it in another format."
        )
        raise TypeError(msg)
    with replacing(path) as folder:
        write_autoencoder(model, folder)
        facts = model_facts(model, endpoints(model, functions=FUNCTIONS))
        write_metadata(folder, path, "diffusers", run, {**facts, **provenance(run)})
        if verify:
            check_export(folder, model)
    return path
