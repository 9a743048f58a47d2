"""Writes generated tables into README.md and docs/, between the markers there.

python benchmarks/tables.py               # those of the presets, from saved_models/
python benchmarks/tables.py runs/bench    # and that of `zoo bench --out runs/bench`
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.bench.table import METRICS, markdown, read_measured, table
from zoo.hub import Preset, list_pretrained, write_registry
from zoo.hub.catalog import saved_models
from zoo.io import schemas
from zoo.io.files import replacing
from zoo.io.records import read_json
from zoo.presets import read_config, read_metrics
from zoo.presets.cards import SOURCES, card
from zoo.presets.files import CARD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
FIGURES = ROOT / "docs" / "benchmarks.md"
PRESETS = ("<!-- presets -->", "<!-- /presets -->")
# Our models beside the peers: the same networks, batches and epochs, and no classes either.
BASELINES = ("dcgan", "vae_64")
PROJECTS = {"torch": "PyTorch", "pythae": "Pythae"}  # what a peer's file name begins with
USUAL = "fashion_mnist_classifier"  # the extractor of most presets: only others are named beside
ERRORS = (
    "Distances compare only over the same features. "
    "± is the standard deviation over the seeds of the samples."
)


def main() -> None:
    """Writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", nargs="?", type=Path, help="A folder that `zoo bench` wrote.")
    args = parser.parse_args()
    write_presets()
    if args.bench:
        lines = table(args.bench)
        data = read_measured(args.bench)[0]["data"]
        write_section(f"<!-- bench {data} -->", f"<!-- /bench {data} -->", lines)


def write_presets() -> None:
    """Writes the presets' cards and registry, and their tables: in README.md a short one."""
    for path in saved_models().glob("*/config.json"):
        folder = path.parent
        config = read_config(folder)
        text = card(folder.name, config, read_metrics(folder, config))
        (folder / CARD).write_text(text, encoding="utf-8")
    write_registry()
    presets = list_pretrained()
    write_between(README, *PRESETS, short_table(presets))
    lines = [*full_table(presets), "", ERRORS + " `zoo bench --pretrained` measures anew."]
    lines += ["", "Unconditional models of the same networks, latents, batches and epochs:", ""]
    write_between(FIGURES, *PRESETS, [*lines, *peers_table(RESULTS)])


def write_section(first: str, last: str, lines: Iterable[str]) -> None:
    """Replaces what is between two markers, in the one document that has them.

    Raises:
        ValueError: If README.md and the files of docs/ have not both markers, once each.
    """
    documents = [README, *sorted((ROOT / "docs").glob("*.md"))]
    there = [path for path in documents if first in path.read_text(encoding="utf-8")]
    if len(there) != 1:
        msg = f"{first} is in {[str(path) for path in there]}; expected one of README.md and docs/."
        raise ValueError(msg)
    write_between(there[0], first, last, lines)


def write_between(document: Path, first: str, last: str, lines: Iterable[str]) -> None:
    """Replaces what a document has between two markers.

    Raises:
        ValueError: If the document has not both markers, once each.
    """
    text = document.read_text(encoding="utf-8")
    before, start, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not start or not end or first in rest or last in before + after:
        msg = f"{document}: expected a line {first} and after it a line {last}, once each."
        raise ValueError(msg)
    content = "\n".join(lines)
    with replacing(document) as temporary:
        temporary.write_text(f"{before}{first}\n\n{content}\n\n{last}{after}", encoding="utf-8")


def short_table(presets: Sequence[Preset]) -> list[str]:
    """Lines of Markdown: what each preset draws, and how well."""
    rows = []
    for preset in sorted(presets, key=_order):
        values = _measured(preset)["metrics"]
        distance = f"{values['frechet_distance']:.3g}" if "frechet_distance" in values else ""
        if "frechet_distance_gmm" in values:
            distance += f" ({values['frechet_distance_gmm']:.3g})"
        if distance and _measured(preset)["extractor"] != USUAL:
            distance += f", over `{_measured(preset)['extractor']}`"
        height, width, _ = preset.image_shape
        source = SOURCES[preset.data or ""]
        title = source.title.partition(",")[0]
        draws = f"{title}, {height} × {width}"
        rows.append([preset.name, draws, _classes(preset), distance, source.license])
    return markdown(
        ["preset", "draws", "classes", "Fréchet distance (GMM)", "licence of the data"], rows
    )


def full_table(presets: Sequence[Preset]) -> list[str]:
    """Lines of Markdown: every figure of every preset, unconditional ones apart from the others."""
    measured = [(preset, _measured(preset)) for preset in sorted(presets, key=_order)]
    names = _names(each for _, each in measured)
    rows = [
        [preset.name, preset.family.upper(), preset.data or "", _classes(preset),
         str(each["epochs"]), each["extractor"] or "", *(_with_error(each, name) for name in names)]
        for preset, each in measured
    ]  # fmt: skip
    header = ["preset", "family", "data", "classes", "epochs", "features"]
    return markdown([*header, *(METRICS[name] for name in names)], rows)


def peers_table(results: Path) -> list[str]:
    """Lines of Markdown: other projects' models beside our baselines; none has classes.

    Args:
        results: The folder `benchmarks/results`, or one like it.
    """
    measured = [
        (path.stem, PROJECTS[path.stem.partition("_")[0]], read_json(path, schemas.METRICS))
        for path in (results / "peers").glob("*.json")
    ]
    for name in BASELINES:
        epochs = read_json(results / f"{name}_config.json", schemas.RUN)["epochs"]
        metrics = read_json(results / f"{name}_metrics.json", schemas.METRICS)
        measured.append((name, "this project", {**metrics, "epochs": epochs}))
    measured.sort(key=lambda row: row[2]["metrics"]["frechet_distance"])
    names = _names(each for *_, each in measured)
    rows = [
        [name, whose, each["data"], str(each["epochs"]), *(_with_error(each, n) for n in names)]
        for name, whose, each in measured
    ]
    return markdown(["model", "by", "data", "epochs", *(METRICS[name] for name in names)], rows)


def _measured(preset: Preset) -> dict[str, Any]:
    """Its metrics, and how long it was trained."""
    folder = saved_models() / preset.name
    config = read_config(folder)
    metrics = read_metrics(folder, config)
    if metrics is None:
        msg = f"{folder} has no metrics.json, which the table is made of. Measure the preset."
        raise ValueError(msg)
    return {**metrics, "epochs": config["facts"].get("epochs", "")}


def _order(preset: Preset) -> tuple[str, bool, str, float]:
    """By data; those without classes first; GANs before VAEs; the best of each first."""
    distance = _measured(preset)["metrics"].get("frechet_distance", float("inf"))
    return preset.data or "", preset.num_classes > 0, preset.family, distance


def _classes(preset: Preset) -> str:
    return str(preset.num_classes) if preset.num_classes else "none"


def _names(measured: Iterable[dict[str, Any]]) -> list[str]:
    """The metrics that one of them has, in the order of the columns."""
    there = {name for each in measured for name in each["metrics"]}
    return [name for name in METRICS if name in there]


def _with_error(measured: dict[str, Any], name: str) -> str:
    if name not in measured["metrics"]:
        return ""
    error = measured.get("sampling_error", {}).get(name)
    value = f"{measured['metrics'][name]:.4g}"
    return value if error is None else f"{value} ± {error:.2g}"


if __name__ == "__main__":
    main()
