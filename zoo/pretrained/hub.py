"""Presets on Hugging Face; its package does the transport, to and from its own cache layout."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.pretrained.cache import home
from zoo.pretrained.publishing import save_run_as_preset
from zoo.training.presets import FILES, is_preset, load_preset

if TYPE_CHECKING:
    from zoo.training.model import ZooModel

_HANDLE = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?/?")


def download(handle: str) -> Path:
    """The local folder of `hf://org/repo` or `hf://org/repo@revision`; only a preset's files.

    Raises:
        ValueError: If the handle has another form.
        OSError: If the repository does not exist, is private, or cannot be reached.
        ImportError: If huggingface_hub is not installed.
    """
    repo, revision = _parse(handle)
    folder = _huggingface_hub().snapshot_download(
        repo, revision=revision, cache_dir=home() / "hub", allow_patterns=list(FILES)
    )
    return Path(folder)


def push(source: str | Path | ZooModel, handle: str, *, private: bool = False) -> str:
    """Publishes a preset on Hugging Face, in a repository that is made if need be.

    Args:
        source: A preset's folder, a run folder, or a model.
        handle: `hf://org/repo`.
        private: Whether a new repository is private.

    Returns:
        The address of the commit.

    Raises:
        ValueError: If the handle has another form, or the preset cannot be loaded.
        OSError: If it cannot be uploaded: log in with `hf auth login`.
        ImportError: If huggingface_hub is not installed.
    """
    repo, revision = _parse(handle)
    if revision is not None:
        msg = f"{handle}: a revision cannot be pushed to; expected hf://org/repo."
        raise ValueError(msg)
    api = _huggingface_hub().HfApi()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / repo.split("/")[1]
        if not isinstance(source, (str, Path)):
            source.save_preset(folder)
        elif is_preset(source):
            folder = Path(source)
        else:
            save_run_as_preset(source, folder)
        load_preset(folder)  # what others could not load is not published
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=list(FILES),
            commit_message=f"Preset {folder.name}",
        )
    return str(done.commit_url)


def _parse(handle: str) -> tuple[str, str | None]:
    found = _HANDLE.fullmatch(handle)
    if found is None:
        msg = f"{handle}: expected hf://org/repo, or hf://org/repo@revision."
        raise ValueError(msg)
    return found[1], found[2]


def _huggingface_hub() -> Any:
    try:
        import huggingface_hub  # noqa: PLC0415  (optional)
    except ImportError as error:
        msg = (
            "hf:// needs the package huggingface_hub. "
            "Install it with: pip install 'vaegan-zoo[hub]'"
        )
        raise ImportError(msg) from error
    return huggingface_hub
