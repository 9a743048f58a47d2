"""Does a start from a trained model help with 500 images? Fréchet distance at equal steps.

    python benchmarks/finetune.py                    # everything: about two hours on two cores
    python benchmarks/finetune.py --seeds 0          # a part

A DCGAN is trained on five classes of Fashion-MNIST (tops and dresses). Then others train on 500
images of the five remaining classes (shoes, shirts and bags): from random weights, from the first
model, and from it with the first block of the discriminator frozen (FreezeD). The distance is that
of samples from the test images of these five classes. Resumable: a run goes on where it stopped,
and what has been measured is not measured again. Writes results/finetune.json, and the table into
the document that has its markers.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import zoo  # before Keras: it turns on oneDNN

# isort: split
import keras
import numpy as np
from tables import RESULTS, write_section

from zoo.bench.run import processor
from zoo.io.records import parse_json, write_json

ROOT = Path(__file__).resolve().parent.parent
BEFORE, AFTER = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)
ARMS = {
    "from random weights": None,
    "from the trained model": {},
    "from it, one block of the discriminator frozen": {"freeze_discriminator": 1},
}
START, END = "<!-- finetune figures -->", "<!-- /finetune figures -->"


def main() -> None:
    """Trains, measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "finetune")
    parser.add_argument("--result", type=Path, default=RESULTS / "finetune.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=500, help="Of the other classes.")
    parser.add_argument("--source-epochs", type=int, default=10)
    parser.add_argument("--source-images", type=int, default=30_000)
    parser.add_argument("--epochs", type=int, nargs="+", default=[20, 60, 200, 600])
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--network", default="conv")
    parser.add_argument("--data", default="fashion_mnist")
    parser.add_argument("--no-table", action="store_true", help="Only the JSON.")
    args = parser.parse_args()
    source_data = subset(args, BEFORE, args.source_images, "before")
    data = subset(args, AFTER, args.images, "after")
    results: dict[str, Any] = {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        **{name: getattr(args, name) for name in ("images", "source_epochs", "samples", "seeds")},
        "batch_size": args.batch_size,
        "epochs": args.epochs,
        "steps_per_epoch": args.images // args.batch_size,
        "frechet_distance": {},
    }
    for seed in args.seeds:
        folder = args.out / f"seed_{seed}"
        source = train_source(args, source_data, folder / "source", seed)
        for name, options in ARMS.items():
            values = run_arm(args, data, source, folder / name.replace(" ", "_"), seed, options)
            results["frechet_distance"].setdefault(name, {})[str(seed)] = values
    write_json(args.result, results)
    lines = table(results)
    print("\n".join(lines))
    if not args.no_table:
        write_section(START, END, lines)


def subset(args: Any, classes: tuple[int, ...], count: int, name: str) -> Path:
    """An .npz file of so many training images of some classes, and all their test images."""
    path: Path = args.out / f"{name}.npz"
    if not path.exists():
        arrays = {}
        for split, most in (("train", count), ("test", args.samples)):
            images = zoo.data.read(args.data, split=split)
            chosen = np.flatnonzero(np.isin(images.labels, classes))
            chosen = np.random.default_rng(0).permutation(chosen)[:most]
            arrays[f"x_{split}"] = images.pixels[chosen]
        args.out.mkdir(parents=True, exist_ok=True)
        np.savez(path, **arrays)
    return path


def new_gan(args: Any, seed: int) -> Any:
    """An untrained GAN."""
    keras.utils.set_random_seed(seed)
    return zoo.create("dcgan", (28, 28, 1), 64, network=args.network, ema=0.99, seed=seed)


def train_source(args: Any, data: Path, out: Path, seed: int) -> Path:
    """The run of the model that others start from."""
    if (out / "model.keras").exists():
        zoo.resume(out, epochs=args.source_epochs, source=data, verbose=0)
        return out
    gan = new_gan(args, seed)
    gan.compile()
    zoo.train(gan, data, out, epochs=args.source_epochs, batch_size=128, seed=seed, verbose=0)
    return out


def run_arm(
    args: Any, data: Path, source: Path, out: Path, seed: int, options: dict[str, Any] | None
) -> dict[str, float]:
    """The distance after each number of epochs."""
    place = out / "distances.json"
    values: dict[str, float] = {}
    if place.exists():
        values = parse_json(place.read_bytes(), str(place))
    for epochs in args.epochs:
        if str(epochs) in values:
            continue
        if (out / "model.keras").exists():
            model = zoo.resume(out, epochs=epochs, source=data, verbose=0)
        else:
            if options is None:
                model = new_gan(args, seed)
            else:
                model, _ = zoo.finetune(source, data, seed=seed, **options)
            model.compile()
            settings = {"batch_size": args.batch_size, "seed": seed, "verbose": 0}
            zoo.train(model, data, out, epochs=epochs, **settings)
        measured = zoo.evaluate(
            model,
            data,
            split="test",
            samples=args.samples,
            extractor="fashion_mnist_classifier",
            seed=seed,
        )
        values[str(epochs)] = measured["metrics"]["frechet_distance"]
        write_json(place, values)
        print(f"{out}: {epochs} epochs, {values[str(epochs)]:.1f}", flush=True)
    return values


def table(results: dict[str, Any]) -> list[str]:
    """Lines of Markdown."""
    steps = [epochs * results["steps_per_epoch"] for epochs in results["epochs"]]
    lines = [
        (
            f"Fréchet distance on {results['images']} images of five classes of Fashion-MNIST, by "
            f"steps of {results['batch_size']} images, mean and range over "
            f"{len(results['seeds'])} seeds; the start was trained for "
            f"{results['source_epochs']} epochs on the five other classes:"
        ),
        "",
        f"| start | {' | '.join(f'{count:,} steps' for count in steps)} |",
        f"| --- |{' --- |' * len(steps)}",
    ]
    for name, seeds in results["frechet_distance"].items():
        cells = []
        for epochs in results["epochs"]:
            values = [each[str(epochs)] for each in seeds.values()]
            cells.append(f"{np.mean(values):.0f} ({min(values):.0f} to {max(values):.0f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
