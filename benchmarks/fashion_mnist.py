"""The figures of the headline models: each model for 10 epochs on the full Fashion-MNIST.

    python benchmarks/fashion_mnist.py

It goes on where it was stopped: what a run folder holds already is not done again. It writes the
table of docs/benchmarks.md, and copies the sample grids into results/.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from sklearn.decomposition import PCA
from tables import RESULTS, ROOT, write_section

from zoo import data
from zoo.bench.run import processor
from zoo.evaluation.report import metrics_rows
from zoo.io import schemas
from zoo.io.records import read_json, write_json

START, END = "<!-- fashion_mnist figures -->", "<!-- end of figures -->"
RUNS = {
    "vae": ["vae", "--network", "mlp", "--latent-dim", "8"],
    "vae_64": ["vae"],
    "dcgan": ["dcgan", "--option", "ema=0.999"],
    "wgan_gp": ["wgan_gp", "--option", "ema=0.999", "--batch-size", "16"],
}


def main() -> None:
    """Trains and evaluates; then writes tables and pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "fashion_mnist")
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    for name, arguments in RUNS.items():
        train(args.out / name, arguments, args.epochs)
    folders = [args.out / name for name in RUNS]
    for folder in folders:
        if not (folder / "metrics.json").exists():
            zoo("evaluate", folder)
    publish(folders)


def train(out: Path, arguments: list[str], epochs: int) -> None:
    """Trains to `epochs`, noting the time it takes on this machine."""
    history = out / "history.json"
    if history.exists() and len(read_json(history, schemas.HISTORY)) >= epochs:
        return
    resume = ["--resume"] if (out / "model.keras").exists() else ["--data", "fashion_mnist"]
    begun = time.time()
    zoo("train", *arguments, "--out", out, "--epochs", epochs, *resume)
    write_json(out / "machine.json", {
        "seconds": round(time.time() - begun),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "resumed": "--resume" in resume,
    })  # fmt: skip


def publish(folders: list[Path]) -> None:
    """Copies metrics and pictures to `results`, and writes the table into its document."""
    RESULTS.mkdir(exist_ok=True)
    for folder in folders:
        samples = sorted((folder / "samples").glob("*.png"))[-1]
        shutil.copy(samples, RESULTS / f"{folder.name}_samples.png")
        for name in ("config", "metrics", "machine"):
            shutil.copy(folder / f"{name}.json", RESULTS / f"{folder.name}_{name}.json")
    pictures = sorted((folders[0] / "reconstructions").glob("*.png"))[-1]
    shutil.copy(pictures, RESULTS / "vae_reconstructions.png")
    header, rows = metrics_rows(folders)
    table = [header, ["---"] * len(header), *rows]
    lines = ["| " + " | ".join(cells) + " |" for cells in table]
    times = [
        f"{f.name} {m['seconds'] / 60:.0f} min{' (resumed part)' if m['resumed'] else ''}"
        for f in folders
        for m in [read_json(f / "machine.json", schemas.TIMED)]
    ]
    machine = read_json(folders[0] / "machine.json", schemas.TIMED)
    lines += [
        "",
        f"Seed 0, {machine['cores']} cores of {machine['processor']}: {', '.join(times)}.",
        f"For comparison, probabilistic PCA: {'; '.join(linear_models())}.",
    ]
    write_section(START, END, lines)


def linear_models() -> list[str]:
    """Likelihood and error of probabilistic PCA, the exact linear VAE, by scikit-learn."""
    train, test = (
        data.to_array("fashion_mnist", split=split).reshape(-1, 784) for split in ("train", "test")
    )
    lines = []
    for latents in (8, 64):
        model = PCA(latents).fit(train)
        error = float(((model.inverse_transform(model.transform(test)) - test) ** 2).mean())
        lines.append(f"{latents} latents, {model.score(test):.4g} nats, MSE {error:.4g}")
    return lines


def zoo(*arguments: object) -> None:
    """Runs a `zoo` command."""
    command = [sys.executable, "-m", "zoo", *map(str, arguments)]
    print("$ zoo", *map(str, arguments), flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
