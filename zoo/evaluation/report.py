"""One self-contained HTML page about runs: metrics, pictures, conversions, exports."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.io import schemas
from zoo.io.files import replacing
from zoo.io.records import read_json
from zoo.training.run_files import read_config, read_metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; display: block;
        overflow-x: auto; }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .75rem; text-align: left; }
figure { display: inline-block; margin: 0 1rem 1rem 0; max-width: 100%; }
img { max-width: 100%; image-rendering: pixelated; }
.failed { color: #b00020; font-weight: bold; }
"""
COLUMNS = (
    "frechet_distance",
    "kernel_distance",
    "precision",
    "recall",
    "density",
    "coverage",
    "mse",
    "elbo",
    "iwae_bound",
    "bits_per_dim",
    "active_units",
)


def write_report(runs: Sequence[str | Path], out: str | Path) -> None:
    """Writes the page.

    Args:
        runs: Run folders. Exports are reported if they lie inside their run folder.
        out: The HTML file.

    Raises:
        FileNotFoundError: If a folder is no run.
    """
    folders = [Path(run) for run in runs]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>VAE/GAN zoo report</title><style>{STYLE}</style><h1>VAE/GAN zoo report</h1>",
        _metrics(folders),
        *(_run(folder) for folder in folders),
    ]
    with replacing(out) as temporary:
        temporary.write_text("\n".join(parts) + "\n", encoding="utf-8", errors="backslashreplace")


def metrics_rows(folders: Iterable[Path]) -> tuple[list[str], list[list[str]]]:
    """Header and one row of text per evaluated run, for HTML and Markdown tables."""
    measured = [
        (folder, read_config(folder), metrics)
        for folder in folders
        if (metrics := read_metrics(folder)) is not None
    ]
    names = [name for name in COLUMNS if any(name in m["metrics"] for _, _, m in measured)]
    rows = []
    for folder, config, found in measured:
        values = [found["metrics"].get(name) for name in names]
        protocol = f"{found['samples']:,} samples, {found['extractor']}"
        epochs = {**config, **config.get("facts", {})}.get("epochs", "")  # facts: of a preset
        settings = [config["model"], config["latent_dim"], epochs]
        cells = [folder.name, *map(str, settings), protocol]
        rows.append(cells + ["" if v is None else f"{v:.4g}" for v in values])
    titles = [name.replace("_", " ") for name in names]
    return ["run", "model", "latents", "epochs", "protocol", *titles], rows


def _metrics(folders: Iterable[Path]) -> str:
    header, rows = metrics_rows(folders)
    if not rows:
        return "<p>No run was evaluated.</p>"
    return (
        "<h2>Test set</h2>"
        + _table(header, rows)
        + "<p>Distances: smaller is better. Likelihoods in nats per image.</p>"
    )


def _run(folder: Path) -> str:
    config = read_config(folder)
    facts = {**config, **config.get("facts", {})}  # the second of a preset
    if isinstance(facts.get("versions"), dict):
        facts["versions"] = ", ".join(f"{k} {v}" for k, v in facts["versions"].items())
    parts = [f"<h2>{escape(folder.name)}</h2>"]
    captions = {
        "samples": "samples",
        "reconstructions": "test images, each with its reconstruction",
    }
    parts += [
        _figure(pictures[-1], f"{caption}, {pictures[-1].stem.replace('_', ' ')}")
        for kind, caption in captions.items()
        if (pictures := sorted((folder / kind).glob("*.png")))
    ]
    if (folder / "conversion.json").exists():
        parts.append(_conversion(read_json(folder / "conversion.json", schemas.CONVERSION)))
    parts += [_verification(path) for path in sorted(folder.rglob("verification.json"))]
    parts.append("<h3>Settings</h3>" + _table(["key", "value"], facts.items()))
    return "\n".join(parts)


def _conversion(report: dict[str, Any]) -> str:
    equality = report["equality"]
    network = escape(report.get("network", "decoder"))
    source = escape(report.get("source_network", "generator"))
    return (
        f"<h3>Converted from {escape(report['source'])}</h3>"
        f"<p>{report['coverage']:.0%} of the {network}'s parameters come from the {source} "
        f"({escape(report['weights'])} weights). On {equality['latents']:,} latents the largest "
        f"difference is {equality['max_error']:.2g}, the tolerance {equality['tolerance']:.2g}, "
        f"the {source}'s own float32 noise {equality['noise_floor']:.2g}: "
        f"{escape(report['equivalence'])}.</p>"
        + _table(
            ["target", "source", "rule", "status"],
            ([r["target"], r["source"], r["rule"], r["status"]] for r in report["rows"]),
        )
    )


def _verification(path: Path) -> str:
    report = read_json(path, schemas.VERIFICATION)
    verdict = "equal" if report["passed"] else "<span class='failed'>NOT equal</span>"
    rows = report["rows"]
    names = list(rows[0]) if rows else []
    cells = ([_cell(row[name]) for name in names] for row in rows)
    problems = "".join(f"<p class='failed'>{escape(text)}</p>" for text in report["problems"])
    return f"<h3>Export {escape(report['format'])}: {verdict}</h3>{problems}" + _table(
        [n.replace("_", " ") for n in names], cells
    )


def _cell(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _figure(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    text = escape(caption)
    return (
        f"<figure><img alt='{text}' src='data:image/png;base64,{data}'>"
        f"<figcaption>{text}</figcaption></figure>"
    )


def _table(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    head = "".join(f"<th>{escape(str(cell))}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"
