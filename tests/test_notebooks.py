"""The notebooks of examples/ run from the first cell to the last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documents import ROOT

NOTEBOOKS = ("train_and_look", "gan_to_vae", "export_and_serve")


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    """In a process of its own, from any directory; its cells hold assertions of their own."""
    notebook = ROOT / "examples" / f"{name}.py"
    assert notebook.read_text(encoding="utf-8").count("# %%") > 5
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, str(notebook)], check=True, cwd=tmp_path, env=environment)
