"""Files of the repository outside docs/ that the site shows: README.md is its first page.

Links work on both: `../benchmarks/results/x.png` in docs/x.md is `benchmarks/results/x.png` there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md"}
SHOWN = (
    "LICENSE",
    "examples/*.py",
    "benchmarks/results/*.png",
    "saved_models/*/samples.png",
    "zoo/data/fashion_mnist_sample/LICENSE",
    "zoo/metrics/classifiers/efficientnet_lite0/NOTICE",
    "zoo/metrics/lpips_weights/LICENSE",
)


def on_files(files: Files, config: Any) -> Files:
    """Adds them under their paths in the repository."""
    shown = {p.relative_to(ROOT).as_posix(): "" for each in SHOWN for p in ROOT.glob(each)}
    for path, page in {**shown, **PAGES}.items():
        files.append(File.generated(config, page or path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Makes links that lead out of or into docs/ links within the site."""
    if page.file.src_uri in PAGES.values():
        return markdown.replace("](docs/", "](").replace("](README.md", "](index.md")
    if "/" in page.file.src_uri:  # docs/api/: nothing there leads out of docs/
        return markdown
    return markdown.replace("](../README.md", "](index.md").replace("](../", "](")
