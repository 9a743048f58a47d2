"""Presets on Hugging Face, whose package transports and caches them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from zoo.hub.diffusers import WEIGHTS
from zoo.io.cache import home
from zoo.presets import FILES

_HANDLE = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?/?")


def download(handle: str) -> Path:
    """Downloads a preset's files, or diffusers', of `hf://org/repo` or `hf://org/repo@revision`.

    Returns:
        The local folder.

    Raises:
        ValueError: If the handle does not have this form.
        OSError: If the repository does not exist or is private.
        ConnectionError: If it cannot be reached.
        ImportError: If huggingface_hub is not installed.
    """
    repo, revision = parse(handle)
    package = huggingface_hub()
    try:
        folder = package.snapshot_download(
            repo, revision=revision, cache_dir=home() / "hub", allow_patterns=[*FILES, WEIGHTS[0]]
        )
    except package.errors.LocalEntryNotFoundError as error:
        msg = (
            f"{handle} is not on this machine, and Hugging Face cannot be reached: "
            f"{str(error).splitlines()[0].rstrip('.')}. Check the network, and try again."
        )
        raise ConnectionError(msg) from error
    return Path(folder)


def parse(handle: str) -> tuple[str, str | None]:
    """Splits `hf://org/repo@revision` into org/repo and the revision, None if it has none.

    Raises:
        ValueError: If the handle does not have this form.
    """
    match = _HANDLE.fullmatch(handle)
    if match is None:
        msg = f"{handle}: expected hf://org/repo, or hf://org/repo@revision."
        raise ValueError(msg)
    return match[1], match[2]


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
