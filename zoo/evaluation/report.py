"""One self-contained HTML page about runs: samples, metrics, curves, conversions, exports.

It needs no network, no script and no TensorFlow.
"""

from __future__ import annotations

import base64
from collections import Counter
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.evaluation.charts import curves
from zoo.io import schemas
from zoo.io.files import replacing
from zoo.io.records import read_json
from zoo.training.run_files import read_config, read_metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1rem;
       color: #1a1a1a; background: #fff; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.3rem; margin: 2rem 0 .5rem; }
a { color: #1f5f9e; }
section { border-top: 1px solid #ccc; margin-top: 2rem; }
.grid { display: grid; gap: 1rem;
        grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); }
figure { margin: 0; } figcaption { font-size: .85rem; }
img { width: 100%; image-rendering: pixelated; }
svg { width: 100%; } svg line { stroke: #999; } svg text { font-size: 11px; fill: #555; }
svg polyline { fill: none; stroke-width: 2; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; overflow-wrap: normal; }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .75rem .25rem 0; text-align: left;
         vertical-align: top; }
.table tr > :first-child { position: sticky; left: 0; background: #fff; }
details { margin: .5rem 0; } summary { cursor: pointer; }
.failed { color: #b00020; font-weight: bold; }
"""
# Titles of the metrics shown, and how to read them.
COLUMNS = {
    "frechet_distance": "Fréchet distance ↓",
    "kernel_distance": "kernel distance ↓",
    "precision": "precision ↑",
    "recall": "recall ↑",
    "density": "density ↑",
    "coverage": "coverage ↑",
    "class_accuracy": "class accuracy ↑",
    "perceptual_diversity": "perceptual diversity",
    "mse": "MSE of reconstructions ↓",
    "psnr": "PSNR of reconstructions, dB ↑",
    "ssim": "SSIM of reconstructions ↑",
    "perceptual_distance": "perceptual distance of reconstructions ↓",
    "elbo": "ELBO, nats per image ↑",
    "iwae_bound": "IWAE bound, nats per image ↑",
    "bits_per_dim": "bits per dimension ↓",
    "active_units": "active units",
}
# What a conversion was proven to keep.
EQUIVALENCES = {
    "bitwise": "the same images, bit for bit",
    "tolerance": "the same images, to within rounding",
    "distributional": "the same images, to within rounding, of latents carried to another prior",
    "approximate": "similar images",
}


class _Run(NamedTuple):
    """What the page tells of a run, or of a preset."""

    folder: Path
    name: str
    anchor: str
    config: dict[str, Any]  # with the facts of a preset
    metrics: dict[str, Any] | None

    @property
    def link(self) -> str:
        return f"<a href='#{self.anchor}'>{escape(self.name)}</a>"


def write_report(runs: Sequence[str | Path], out: str | Path) -> None:
    """Writes the page.

    Args:
        runs: Folders of runs or presets. Exports are reported if they lie inside their run folder.
        out: The HTML file.

    Raises:
        FileNotFoundError: If a folder is no run.
        ValueError: If a file in it is damaged.

    Example:
        >>> from pathlib import Path
        >>> from zoo.evaluation.report import write_report
        >>> from zoo.hub import resolve
        >>> write_report([resolve("vae_fashion_mnist")], "report.html")
        >>> "vae_fashion_mnist" in Path("report.html").read_text(encoding="utf-8")
        True
    """
    described = _describe([Path(run) for run in runs])
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>VAE/GAN zoo report</title><style>{STYLE}</style></head><body>",
        "<h1>VAE/GAN zoo report</h1>",
        _samples(described),
        _conversions(described),
        _metrics(described),
        *(_section(run) for run in described),
        "</body></html>",
    ]
    with replacing(out) as temporary:
        temporary.write_text("\n".join(parts) + "\n", encoding="utf-8", errors="backslashreplace")


def metrics_rows(folders: Iterable[Path]) -> tuple[list[str], list[list[str]]]:
    """Header and one row of text per evaluated run, for tables of HTML or Markdown.

    Example:
        >>> from zoo.evaluation.report import metrics_rows
        >>> metrics_rows([])[1]
        []
    """
    return _rows(_describe(list(folders)))


def _describe(folders: Sequence[Path]) -> list[_Run]:
    names = Counter(folder.absolute().name for folder in folders)
    runs = []
    for i, folder in enumerate(folders):
        config = read_config(folder)
        name = folder.absolute().name
        name = name if names[name] == 1 else str(folder)  # seed_0 of several models, say
        facts = {**config, **config.get("facts", {})}
        runs.append(_Run(folder, name, f"run-{i}", facts, read_metrics(folder)))
    return runs


def _rows(runs: Sequence[_Run]) -> tuple[list[str], list[list[str]]]:
    measured = [(run, run.metrics) for run in runs if run.metrics is not None]
    names = [name for name in COLUMNS if any(name in each["metrics"] for _, each in measured)]
    rows = []
    for run, each in measured:
        values = [each["metrics"].get(name) for name in names]
        resized = f" ({each['resize']})" if each.get("resize") else ""
        protocol = f"{each['samples']:,} samples, {each['extractor'] or 'no extractor'}{resized}"
        epochs = "" if _trained_since(run) else run.config.get("epochs", "")
        settings = [run.config["model"], run.config["latent_dim"], epochs]
        cells = [run.name, *map(str, settings), protocol]
        rows.append(cells + ["" if value is None else f"{value:.4g}" for value in values])
    return ["run", "model", "latents", "epochs", "protocol", *(COLUMNS[n] for n in names)], rows


def _samples(runs: Sequence[_Run]) -> str:
    """The last samples of every run, side by side."""
    figures = []
    for run in runs:
        path = _last_picture(run.folder, "samples")
        if path is not None:
            caption = f"<b>{run.link}</b><br>{escape(run.config['model'])}, {_progress(run, path)}"
            distance = (run.metrics or {"metrics": {}})["metrics"].get("frechet_distance")
            if distance is not None and not _trained_since(run):
                caption += f", Fréchet distance {distance:.4g}"
            figures.append(_figure(path, f"samples of {run.name}", caption))
    return f"<h2>Samples</h2><div class='grid'>{''.join(figures)}</div>" if figures else ""


def _progress(run: _Run, picture: Path) -> str:
    """How far a run had come when its picture was drawn."""
    kind, _, number = picture.stem.partition("_")
    epochs = int(number) if kind == "epoch" and number.isdigit() else run.config.get("epochs")
    return "trained" if epochs is None else f"{epochs} epoch{'s' if epochs != 1 else ''}"


def _conversions(runs: Sequence[_Run]) -> str:
    """What was converted into what."""
    items = []
    for run in runs:
        report = _conversion_of(run)
        if report is not None:
            source = _source(run, runs, report)
            items.append(f"<li>{source} → <b>{run.link}</b>: {_kept(report)}</li>")
    return f"<h2>What became of what</h2><ul>{''.join(items)}</ul>" if items else ""


def _source(run: _Run, runs: Sequence[_Run], report: dict[str, Any]) -> str:
    """The run that another was made of, by name; a link if it is on the page."""
    given = run.config.get("converted_from")
    if given is None:
        return escape(report["source"])
    places = {each.folder.absolute(): each for each in runs}
    source = places.get(Path(given).absolute())
    return escape(Path(given).name or given) if source is None else source.link


def _conversion_of(run: _Run) -> dict[str, Any] | None:
    path = run.folder / "conversion.json"
    return read_json(path, schemas.CONVERSION) if path.exists() else None


def _kept(report: dict[str, Any]) -> str:
    network = escape(report.get("network", "decoder"))
    source = escape(report.get("source_network", "generator"))
    kept = EQUIVALENCES.get(report["equivalence"], report["equivalence"])
    return (
        f"{report['coverage']:.0%} of the {network}'s parameters come from the {source} "
        f"({escape(report['weights'])} weights); {escape(kept)}"
    )


def _metrics(runs: Sequence[_Run]) -> str:
    """A row per metric and a column per run: that is narrow enough for a phone."""
    header, rows = _rows(runs)
    parts = ["<h2>Test set</h2>"]
    if rows:
        first, *others = zip(header, *rows, strict=True)
        parts.append(_table(first, others))
    missing = [run for run in runs if run.metrics is None]
    if missing:
        names = ", ".join(run.link for run in missing)
        parts.append(f"<p>Not evaluated: {names}. <code>zoo evaluate RUN</code> does it.</p>")
    old = [run for run in runs if _trained_since(run)]
    if old:
        names = ", ".join(run.link for run in old)
        parts.append(
            f"<p>Trained further since it was evaluated: {names}. <code>zoo evaluate RUN</code> "
            "measures again.</p>"
        )
    return "".join(parts)


def _trained_since(run: _Run) -> bool:
    """Whether a run was trained further after it was evaluated."""
    step, history = (run.metrics or {}).get("step"), run.folder / "history.json"
    if step is None or not history.exists():
        return False
    return bool(read_json(history, schemas.HISTORY)[-1].get("step", step) > step)


def _section(run: _Run) -> str:
    """A run's curves and reconstructions; conversion, exports and settings unfold."""
    config = run.config
    shape = " × ".join(map(str, config["image_shape"]))
    what = [config["model"], f"{shape} images", f"{config['latent_dim']} latents"]
    what += [f"{config['parameters']:,} parameters"] if "parameters" in config else []
    what += [f"data: {config['data']}"] if config.get("data") else []
    parts = [
        f"<section id='{run.anchor}'><h2>{escape(run.name)}</h2>",
        f"<p>{escape('; '.join(what))}</p>",
    ]
    figures = []
    if (run.folder / "history.json").exists():
        figures += curves(read_json(run.folder / "history.json", schemas.HISTORY))
    path = _last_picture(run.folder, "reconstructions")
    if path is not None:
        text = "test images, each with its reconstruction"
        figures.append(_figure(path, text, text))
    if figures:
        parts.append(f"<div class='grid'>{''.join(figures)}</div>")
    report = _conversion_of(run)
    if report is not None:
        parts.append(_conversion(report))
    parts += [_export(path, run.folder) for path in sorted(run.folder.rglob("verification.json"))]
    if isinstance(config.get("versions"), dict):
        versions = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
        config = {**config, "versions": versions}
    settings = _table(["key", "value"], config.items())
    parts.append(f"<details><summary>Settings</summary>{settings}</details></section>")
    return "\n".join(parts)


def _conversion(report: dict[str, Any]) -> str:
    equality = report["equality"]
    source = escape(report.get("source_network", "generator"))
    rows = ([row[key] for key in ("target", "source", "rule", "status")] for row in report["rows"])
    return (
        f"<details><summary>Converted: {_kept(report)}</summary>"
        f"<p>On {equality['latents']:,} latents the largest difference is "
        f"{equality['max_error']:.2g}, the tolerance {equality['tolerance']:.2g}, "
        f"the {source}'s own float32 noise {equality['noise_floor']:.2g}.</p>"
        f"{_table(['target', 'source', 'rule', 'status'], rows)}</details>"
    )


def _export(path: Path, run: Path) -> str:
    """One line, which unfolds into the comparisons."""
    report = read_json(path, schemas.VERIFICATION)
    rows = report["rows"]
    runtimes = ", ".join(dict.fromkeys(row["runtime"] for row in rows))
    place = path.parent.parent if path.parent.name == "assets.extra" else path.parent
    verdict = "equal" if report["passed"] else "<span class='failed'>NOT equal</span>"
    line = (
        f"Export {escape(report['format'])}: {verdict} in {escape(runtimes) or 'no runtime'} "
        f"(<code>{escape(str(place.relative_to(run)))}</code>)"
    )
    problems = "".join(f"<p class='failed'>{escape(text)}</p>" for text in report["problems"])
    names = list(rows[0]) if rows else []
    cells = ([_cell(row[name]) for name in names] for row in rows)
    table = _table([name.replace("_", " ") for name in names], cells)
    unfolded = "" if report["passed"] else " open"
    return f"<details{unfolded}><summary>{line}</summary>{problems}{table}</details>"


def _cell(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _last_picture(folder: Path, kind: str) -> Path | None:
    """The last of a run's pictures, or a preset's only one."""
    pictures = sorted((folder / kind).glob("*.png")) or [folder / f"{kind}.png"]
    return pictures[-1] if pictures[-1].exists() else None


def _figure(path: Path, text: str, caption: str) -> str:
    """A picture inside the page; `caption` is HTML."""
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f"<figure><img alt='{escape(text)}' src='data:image/png;base64,{data}'>"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _table(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    head = "".join(f"<th>{escape(str(cell))}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<div class='table'><table><tr>{head}</tr>{body}</table></div>"
