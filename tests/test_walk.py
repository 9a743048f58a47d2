"""`make demo`: examples/walk.py walks every stage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_demo(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "walk.py"), str(out)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.rstrip().endswith(str(out / "report.html"))
    runs = {path.parent.name for path in out.glob("*/metrics.json")}
    assert runs == {"vae", "gan", "gan_to_vae", "vae_to_gan"}
    converted = {path.parent.name for path in out.glob("*/conversion.json")}
    assert converted == {"gan_to_vae", "vae_to_gan"}
    verified = [json.loads(path.read_text()) for path in out.rglob("verification.json")]
    assert sorted(each["format"] for each in verified) == ["onnx"] * 2 + ["saved_model"] * 2
    assert all(each["passed"] for each in verified)
    page = (out / "report.html").read_text()
    assert page.count("<summary>Export ") == 4
    assert "Not evaluated" not in page
