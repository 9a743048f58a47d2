"""The report page: complete, in one file, and made without TensorFlow."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.evaluation.charts import HEIGHT, LEFT, TOP, WIDTH, curves
from zoo.evaluation.report import write_report
from zoo.io.pictures import save_grid
from zoo.io.records import write_json

FROZEN = Path(__file__).parents[1] / "frozen_preset" / "dcgan"
CONFIG = {
    "format": 1, "model": "vae", "image_shape": [8, 8, 1], "latent_dim": 2, "versions": {"a": "1"},
    "data": "<b>odd</b>", "parameters": 1234, "epochs": 2,
}  # fmt: skip
MEASURED = {
    "data": "x", "split": "test", "images": 9, "samples": 9, "extractor": "e",
    "metrics": {"frechet_distance": 12.5, "elbo": -3.0},
}  # fmt: skip
HISTORY = [
    {"epoch": 1, "step": 5, "loss": 4.0, "val_loss": 6.0, "rate": float("nan")},
    {"epoch": 2, "step": 10, "loss": 2.0, "val_loss": 5.0, "rate": 1.0},
]
EQUALITY = {
    "latents": 9, "max_error": 1e-6, "rms_error": 1e-7, "noise_floor": 1e-6, "batch_error": 0.0,
    "tolerance": 5e-6,
}  # fmt: skip
CONVERSION = {
    "source": "dcgan", "weights": "ema", "equivalence": "tolerance", "coverage": 1.0,
    "equality": EQUALITY, "target": "vae", "passed": True,
    "rows": [{"target": "decoder/x", "source": "generator/x", "rule": "copy", "shape": [2],
              "status": "COPIED", "source_shape": [2]}],
}  # fmt: skip
VERIFIED = {
    "path": "x", "format": "onnx", "problems": [], "passed": True,
    "rows": [{"runtime": "ONNX Runtime", "function": "generate", "output": "image",
              "max_error": 1e-7, "rms_error": 1e-8, "noise_floor": 1e-7, "tolerance": 5e-6,
              "passed": True}],
}  # fmt: skip


def _run(folder: Path, **config: Any) -> Path:
    write_json(folder / "config.json", {**CONFIG, **config})
    write_json(folder / "history.json", HISTORY)
    save_grid(folder / "samples" / "epoch_0002.png", np.zeros((4, 8, 8, 1), np.float32), 2)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    gan = _run(tmp_path / "gan", model="dcgan")
    write_json(gan / "metrics.json", MEASURED)
    vae = _run(tmp_path / "vae", converted_from=str(gan))
    write_json(vae / "conversion.json", CONVERSION)
    write_json(vae / "export" / "onnx" / "verification.json", VERIFIED)
    return [gan, vae]


class _Page(HTMLParser):
    """Tags that are open, to see that each is closed, and what the page asks for."""

    VOID = ("br", "meta", "img", "line", "polyline", "circle")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asked: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.asked += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page(runs: list[Path], tmp_path: Path) -> None:
    write_report(runs, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    page = _Page(text)
    assert page.open == []
    assert "<script" not in text
    assert all(asked.startswith(("data:image/png", "#run-")) for asked in page.asked)
    assert "width=device-width" in text
    assert text.count("data:image/png") == 2
    # Samples first, then conversions, then figures, then each run.
    places = [text.index(each) for each in ("Samples", "What became", "Test set", "id='run-0'")]
    assert places == sorted(places)
    assert "<a href='#run-0'>gan</a> → <b><a href='#run-1'>vae</a></b>: 100% of the" in text
    assert "<td>Fréchet distance ↓</td><td>12.5</td>" in text
    assert "Not evaluated: <a href='#run-1'>vae</a>." in text
    assert "<b>odd</b>" not in text
    assert "<details><summary>Export onnx: equal in ONNX Runtime (<code>export/onnx</code>" in text
    assert "<details><summary>Settings</summary>" in text


def test_a_failed_export_is_unfolded(runs: list[Path], tmp_path: Path) -> None:
    failed = {**VERIFIED, "passed": False, "problems": ["x is <wrong>"], "rows": []}
    write_json(runs[1] / "export" / "onnx" / "verification.json", failed)
    write_report(runs, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    assert "<details open><summary>Export onnx: <span class='failed'>NOT equal</span>" in text
    assert "x is &lt;wrong&gt;" in text


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [_run(tmp_path / model / "seed_0") for model in ("a", "b")]
    write_report(runs, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    assert all(f"<h2>{run}</h2>" in text for run in runs)


def test_a_preset_shows_its_pictures(tmp_path: Path) -> None:
    write_report([FROZEN], tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    assert text.count("data:image/png") == 1
    assert "Fréchet distance 1.5" in text


def test_nothing_is_written_of_what_is_no_run(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none does not exist"):
        write_report([*runs, tmp_path / "none"], tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_a_chart_by_hand() -> None:
    """Losses of 4 and 6, then 2 and 5: the frame is 6 at the top and 2 at the bottom."""
    chart, lone = curves(HISTORY)
    left, right, top, bottom = LEFT, LEFT + WIDTH, TOP, TOP + HEIGHT
    own, validation = re.findall(r"<polyline points='(.*?)'", chart)
    assert own == f"{left:.1f},{(top + bottom) / 2:.1f} {right:.1f},{bottom:.1f}"
    assert validation == f"{left:.1f},{top:.1f} {right:.1f},{top + HEIGHT / 4:.1f}"
    assert ">6</text>" in chart
    assert ">2</text>" in chart
    assert "loss 2</span>" in chart
    assert "val loss 5</span>" in chart
    # A value that is no number is left out; a single one has a place too.
    assert re.findall(r"<polyline points='(.*?)'", lone) == [
        f"{(left + right) / 2:.1f},{(top + bottom) / 2:.1f}"
    ]


def test_no_tensorflow_is_imported(runs: list[Path], tmp_path: Path) -> None:
    code = (
        "import sys; from zoo.evaluation.report import write_report; "
        f"write_report({[str(run) for run in runs]!r}, {str(tmp_path / 'x.html')!r}); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert json.loads((runs[0] / "metrics.json").read_text()) == MEASURED


def test_a_link_to_a_run_that_has_gone(runs: list[Path], tmp_path: Path) -> None:
    shutil.rmtree(runs[0])
    write_report(runs[1:], tmp_path / "x.html")
    assert "<li>gan → " in (tmp_path / "x.html").read_text()
