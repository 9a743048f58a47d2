"""Reading README.md, CONTRIBUTING.md and docs/."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def documents() -> dict[str, str]:
    """The text of each document, by its path in the repository."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in paths}


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language; "" for those that name none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [code for name, code in found if name == language]


def shorter(code: str) -> str:
    """The same code or commands, for one epoch, and measured in it."""
    return re.sub(r"(epochs[= ]|metric-every )\d+", r"\g<1>1", code)


def model_rows(text: str) -> dict[str, str]:
    """Rows of a table of models, by the name of the model."""
    return dict(re.findall(r"^\| `(\w+)` \| (.*arxiv\.org/abs/.*) \|$", text, re.MULTILINE))


def arxiv(row: str) -> list[str]:
    """The papers that a row names."""
    return re.findall(r"arxiv\.org/abs/([\d.]+)", row)


def anchors(text: str) -> set[str]:
    """What links can lead to within a document: its headings, as GitHub and the site name them."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).strip().replace(" ", "-") for t in titles}
