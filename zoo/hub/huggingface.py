"""Models on Hugging Face: presets, and autoencoders in the layout of the package diffusers.

Its package finds, caches and transports the small files. The weights are large: they are fetched by
`zoo.io.downloads`, for the package begins anew what was cut off.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.hub import diffusers
from zoo.hub.repositories import PIPELINE, SUBFOLDER, autoencoder_in
from zoo.io.cache import home
from zoo.io.downloads import fetch_file
from zoo.presets import FILES
from zoo.presets.files import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HANDLE = re.compile(r"hf://([\w.-]+/[\w.-]+?)((?:/[\w.-]+?)*)(?:@([\w./-]+))?/?")
SMALL = (*(name for name in FILES if name != WEIGHTS), PIPELINE)


class Handle(NamedTuple):
    """The parts of `hf://org/repo/subfolder@revision`; the last two may be "" and None."""

    repo: str
    subfolder: str
    revision: str | None


class Snapshot(NamedTuple):
    """What a handle leads to, on this machine.

    Attributes:
        root: The folder of the repository.
        folder: That of the handle, the root or in it.
        commit: The commit.
    """

    root: Path
    folder: Path
    commit: str


def download(handle: str) -> Snapshot:
    """Downloads a preset, or an autoencoder of diffusers, of `hf://org/repo/subfolder@revision`.

    For an autoencoder these are its config.json, one file of weights and the README.md. Nothing is
    asked of the network for weights that are here.

    Raises:
        ValueError: If the handle does not have this form, or leads to a model of diffusers that
            cannot be read, whose weights are not downloaded then.
        FileNotFoundError: If it leads to no model, or to one without weights.
        OSError: If the repository does not exist or is private.
        ConnectionError: If it cannot be reached, or breaks off. The next call goes on from there.
        ImportError: If huggingface_hub is not installed.
    """
    parts = parse(handle)
    package = huggingface_hub()
    prefix = f"{parts.subfolder}/" if parts.subfolder else ""
    patterns = [f"{prefix}{name}" for name in (*SMALL, f"{SUBFOLDER}/{CONFIG}")]
    root = Path(
        _ask(
            handle, package.snapshot_download, parts.repo, revision=parts.revision,
            cache_dir=home() / "hub", allow_patterns=[*dict.fromkeys([*patterns, "README.md"])],
        )
    )  # fmt: skip
    folder = root / parts.subfolder
    place = autoencoder_in(folder)
    if place is not None:
        diffusers.checked_config(place / CONFIG)
    elif not (folder / CONFIG).is_file():
        msg = (
            f"{handle} has no {CONFIG}. Expected a preset, or a model in the layout of diffusers; "
            f"one in a folder of the repository is hf://{parts.repo}/FOLDER."
        )
        raise FileNotFoundError(msg)
    names = (WEIGHTS,) if place is None else diffusers.WEIGHTS
    place = place or folder
    if not any((place / name).is_file() for name in names):
        _fetch_weights(handle, root, place, names)
    return Snapshot(root, folder, root.name)


def _fetch_weights(handle: str, root: Path, place: Path, names: Sequence[str]) -> None:
    """Downloads the first of some files that the repository has."""
    package, repo = huggingface_hub(), parse(handle).repo
    paths = [(place / name).relative_to(root).as_posix() for name in names]
    infos = _ask(handle, package.HfApi().get_paths_info, repo, paths, revision=root.name)
    found = {info.path: info for info in infos}
    path = next((each for each in paths if each in found), None)
    if path is None:
        msg = f"{handle} has a {CONFIG}, but no weights. Expected one of {', '.join(paths)}."
        raise FileNotFoundError(msg)
    large = getattr(found[path], "lfs", None)
    if large is None:  # small enough to begin anew
        options = {"revision": root.name, "cache_dir": home() / "hub"}
        _ask(handle, package.hf_hub_download, repo, path, **options)
        return
    url = package.hf_hub_url(repo, path, revision=root.name)
    fetch_file(url, root / path, large.sha256, package.get_token())


def _ask(handle: str, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Calls a function of the package, whose errors become sentences."""
    try:
        return call(*args, **options)
    except (ValueError, KeyboardInterrupt):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:  # of the disk
            raise
        raise _worded(handle, error) from error


def _worded(handle: str, error: Exception) -> OSError:
    """What an error of the package means. Its names are older than what they derive from."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    repo = parse(handle).repo
    if "GatedRepoError" in kinds:
        terms = f"accept its terms at https://huggingface.co/{repo}, and log in: hf auth login."
        return OSError(f"{handle} asks you to {terms}")
    if "RepositoryNotFoundError" in kinds:
        known = "Check the name; if it is private, log in: hf auth login."
        return OSError(f"{handle}: Hugging Face has no such repository that you may read. {known}")
    if "RevisionNotFoundError" in kinds:
        return OSError(f"{handle}: the repository has no such revision. Check the name.")
    text = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    if "LocalEntryNotFoundError" in kinds:
        fault = f"is not on this machine, and Hugging Face cannot be reached: {text}"
        return ConnectionError(f"{handle} {fault}. Check the network, and try again.")
    return ConnectionError(f"{handle} could not be downloaded: {text}. Try again.")


def parse(handle: str) -> Handle:
    """Splits `hf://org/repo/subfolder@revision`.

    Raises:
        ValueError: If the handle does not have this form.
    """
    match = _HANDLE.fullmatch(handle)
    if match is None or any(not part.strip(".") for part in (match[1] + match[2]).split("/")):
        msg = f"{handle}: expected hf://org/repo, hf://org/repo/subfolder, or either @revision."
        raise ValueError(msg)
    return Handle(match[1], match[2].strip("/"), match[3])


def huggingface_hub() -> Any:
    """The module `huggingface_hub`, which is an optional dependency.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import huggingface_hub  # noqa: PLC0415  (optional)
    except ImportError as error:
        msg = (
            "hf:// needs the package huggingface_hub. "
            "Install it with: pip install 'vaegan-zoo[hub]'"
        )
        raise ImportError(msg) from error
    return huggingface_hub
