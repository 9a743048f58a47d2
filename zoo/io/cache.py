"""Where downloads are kept."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """The folder `ZOO_HOME`, or else the platform's cache folder, such as ~/.cache/vaegan-zoo."""
    chosen = os.environ.get("ZOO_HOME")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("vaegan-zoo")
