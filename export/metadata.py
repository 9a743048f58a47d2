"""`zoo_export.json`: what an artefact is, where it comes from, and the hash of each file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from zoo.io import schemas
from zoo.io.files import sha256
from zoo.io.names import as_path, printable
from zoo.io.records import read_json, write_json
from zoo.presets import is_preset
from zoo.training.run_files import class_names, read_config, read_metrics, run_folder

NAME = "zoo_export.json"
REPORT = "verification.json"
# TF Serving leaves this folder of a SavedModel alone.
EXTRA = "assets.extra"


def provenance(run: str | Path | None) -> dict[str, Any]:
    """What is known of the training: `data`, `class_names`, `metrics`; `preset` and `license`.

    A preset of others' weights also has `imported_from`.

    Args:
        run: As for `zoo.load_run`. None, or a folder of no run: nothing is.
    """
    if run is None or not (run_folder(run) / "config.json").exists():
        return {}
    config, folder = read_config(run), run_folder(run)
    facts: dict[str, Any] = {}
    if is_preset(folder):
        licence = config["facts"].get("license", "mit")
        facts = {"preset": folder.resolve().name, "license": licence}
        more = ("license_name", "license_link", "imported_from")
        facts |= {key: config["facts"][key] for key in more if key in config["facts"]}
    if config.get("data"):
        # Of a folder or file; its place says nothing. ONNX files hold text in UTF-8 alone.
        facts["data"] = printable(Path(config["data"]).name)
    if class_names(config):
        facts["class_names"] = class_names(config)
    origin = config.get("finetuned_from") or config.get("facts", {}).get("finetuned_from")
    if origin:
        facts["finetuned_from"] = origin
    measured = read_metrics(run)
    if measured is not None:
        protocol = {name: measured.get(name) for name in ("split", "samples", "extractor")}
        facts["metrics"] = {**measured["metrics"], **protocol}
    return facts


def write_metadata(
    folder: Path, final: Path, format_name: str, run: str | Path | None, entries: dict[str, Any]
) -> None:
    """Writes the metadata of the artefact in `folder`, which will be renamed to `final`."""
    # Relative, so that a run folder with its exports inside may move.
    source = None if run is None else os.path.relpath(Path(run).resolve(), final.resolve())
    place = folder / EXTRA if format_name == "saved_model" else folder
    place.mkdir(exist_ok=True)
    write_json(
        place / NAME, {"format": format_name, "run": source, **entries, "files": hashes(folder)}
    )


def check_new(path: Path) -> None:
    """Raises FileExistsError if there is something where a folder is to be written."""
    if path.exists():
        msg = f"{path} exists. Choose another folder, or remove it."
        raise FileExistsError(msg)


def changed_files(folder: Path, wanted: dict[str, str]) -> dict[str, str]:
    """What is wrong with the files of an artefact, by name, given the hashes of its metadata."""
    present = hashes(folder)
    return {
        name: "missing" if name not in present else "not what was exported"
        for name in sorted(wanted.keys() | present.keys())
        if wanted.get(name) != present.get(name)
    }


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of an artefact, by relative path, its metadata aside."""
    return {
        file.relative_to(folder).as_posix(): sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in (NAME, REPORT)
    }


def read_export(path: str | Path) -> dict[str, Any]:
    """Reads the metadata of an artefact.

    Args:
        path: A folder of ONNX files, a SavedModel's version folder, or its model folder, whose
            latest version is taken.

    Returns:
        The metadata, with `folder` (the artefact's) and `run` as absolute paths.

    Raises:
        FileNotFoundError: If `path` is no export.
        ValueError: If its metadata cannot be read.

    Example:
        >>> import tempfile, zoo
        >>> from export import export_model, read_export
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> options = {"functions": ["generate"], "verify": False, "warmup": False}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     facts = read_export(export_model(model, f"{folder}/vae", **options))
        >>> facts["format"], facts["model"], facts["latent_dim"]
        ('saved_model', 'vae', 2)
    """
    path = as_path(path, "path")
    versions = sorted(
        (p for p in path.glob("*") if p.name.isdigit()), key=lambda p: int(p.name), reverse=True
    )
    for folder in (path, *versions):
        for file in (folder / NAME, folder / EXTRA / NAME):
            if file.exists():
                facts = read_json(file, schemas.EXPORT)
                run = facts["run"]
                source = None if run is None else (folder / run).resolve()
                return {**facts, "folder": folder, "run": source}
    msg = f"{path} is not an export (no {NAME} in it). `zoo export` makes them."
    raise FileNotFoundError(msg)


def place_of(folder: Path, name: str) -> Path:
    """Where a file about the artefact lies: beside its metadata."""
    return (folder / EXTRA if (folder / EXTRA / NAME).exists() else folder) / name
