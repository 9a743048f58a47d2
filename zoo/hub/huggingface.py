"""Presets on Hugging Face; its package does the transport, to and from its own cache layout."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from zoo.hub.cache import home
from zoo.presets import FILES

_HANDLE = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?/?")


def download(handle: str) -> Path:
    """The local folder of `hf://org/repo` or `hf://org/repo@revision`; only a preset's files.

    Raises:
        ValueError: If the handle has another form.
        OSError: If the repository does not exist, is private, or cannot be reached.
        ImportError: If huggingface_hub is not installed.
    """
    repo, revision = parse(handle)
    folder = huggingface_hub().snapshot_download(
        repo, revision=revision, cache_dir=home() / "hub", allow_patterns=list(FILES)
    )
    return Path(folder)


def parse(handle: str) -> tuple[str, str | None]:
    """(org/repo, revision or None) of `hf://org/repo@revision`.

    Raises:
        ValueError: If the handle has another form.
    """
    found = _HANDLE.fullmatch(handle)
    if found is None:
        msg = f"{handle}: expected hf://org/repo, or hf://org/repo@revision."
        raise ValueError(msg)
    return found[1], found[2]


def huggingface_hub() -> Any:
    """The package.

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
