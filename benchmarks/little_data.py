"""Which of DiffAugment, ADA and LeCam helps a GAN that has 500 or 2,000 images?

    python benchmarks/little_data.py                   # everything: half a day on two cores
    python benchmarks/little_data.py --seeds 0         # a part; parts may run beside each other
    python benchmarks/little_data.py --publish         # docs/training.md from what is there

A DCGAN at half width, all arms at equal steps and with the same images of a seed. Measures 5,000
samples, or as many as there are test images: the Fréchet distance to images that were held out, and
the memorisation score. Resumable: an arm goes on from its last checkpoint, and one with a
result.json is not run again. `--data` takes any source of `zoo.data`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoo  # before Keras: it turns on oneDNN

# isort: split
import keras
import numpy as np
from tables import RESULTS, write_section

from zoo import data, metrics
from zoo.bench.run import processor
from zoo.bench.table import markdown
from zoo.evaluation.extractors import needed_extractor
from zoo.io.records import read_json, write_json
from zoo.training.loop import train
from zoo.training.runs import load_run

if TYPE_CHECKING:
    from collections.abc import Sequence

# Python looks here first, and would take export.py for the package `export`.
sys.path.remove(str(Path(__file__).resolve().parent))

ROOT = Path(__file__).resolve().parent.parent
LATENTS, BATCH, SAMPLES = 64, 50, 5_000
START, END = "<!-- little data figures -->", "<!-- /little data figures -->"
# p can reach 1 within a fifth of a run, as in the paper's longest runs in a fiftieth.
ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "DiffAugment": {"diff_augment": "color,translation,cutout"},
    "ADA": {"ada": "bgc", "augment_images": 100_000},
    "LeCam": {"lecam": 0.3},
}


def main() -> None:
    """Runs arms, or publishes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "little_data")
    parser.add_argument("--data", nargs="+", default=["fashion_mnist"])
    parser.add_argument("--size", type=int, help="Height and width to resize to.")
    parser.add_argument("--images", type=int, nargs="+", default=[500, 2_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=32, help="Of the networks.")
    parser.add_argument("--publish", action="store_true", help="Only write what was measured.")
    args = parser.parse_args()
    if args.publish:
        results = collected(args.out)
        write_json(RESULTS / "little_data.json", results)
        write_section(START, END, section(results))
        return
    for source in args.data:
        for seed in args.seeds:
            for n in args.images:
                for arm in args.arms:
                    run(args, source, n, arm, seed)
    print("\n".join(section(collected(args.out))))


def run(args: argparse.Namespace, source: str, n: int, arm: str, seed: int) -> None:
    """Trains and measures an arm, unless it has been."""
    out = args.out / Path(source).name / str(n) / f"seed_{seed}" / arm
    if (out / "result.json").exists():
        return
    print(out, flush=True)
    images, tests = images_of(source, args.size)
    images = images[np.random.default_rng(seed).permutation(len(images))[:n]]
    keras.utils.set_random_seed(seed)
    if (out / "model.keras").exists():
        model = load_run(out)
    else:
        options = {"network": f"conv-{args.width}", "ema": 0.999, "seed": seed, **ARMS[arm]}
        model = zoo.create("dcgan", images.shape[1:], LATENTS, **options)
        model.compile()
    epochs = max(args.steps // (n // BATCH), 1)
    diverged = False
    try:
        train(model, images, out, epochs=epochs, batch_size=BATCH, seed=seed, keep=1, verbose=0)
    except FloatingPointError as error:
        print(error, flush=True)
        diverged = True
    write_json(out / "result.json", {
        "data": Path(source).name,
        "images": n,
        "arm": arm,
        "options": ARMS[arm],
        "seed": seed,
        "steps": model.steps_done,
        "diverged": diverged,
        "augment_p": float(model.augment_p.numpy()) if "ada" in ARMS[arm] else None,
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "metrics": {} if diverged else measured(model, source, images, tests, seed),
    })  # fmt: skip


def images_of(source: str, size: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Training images, and at most `SAMPLES` test images."""
    shape = data.image_shape(source, size)
    images = data.to_array(source, split="train", image_shape=shape)
    return images, data.to_array(source, split="test", image_shape=shape, limit=SAMPLES)


def measured(
    model: Any, source: str, images: np.ndarray, tests: np.ndarray, seed: int
) -> dict[str, float]:
    """The Fréchet distance to test images, and the memorisation score."""
    extractor = needed_extractor(source, None, model.image_shape, what="The distance")
    of_tests, of_images = extractor(tests), extractor(images)
    samples = extractor(model.generate(len(tests), seed=seed))
    distances, _ = metrics.nearest_neighbours(np.concatenate([samples, of_tests]), [of_images])
    nearest = distances[:, 0]
    return {
        "frechet_distance": metrics.frechet_distance(of_tests, samples),
        "memorization_score": metrics.memorization_score(
            nearest[: len(samples)], nearest[len(samples) :]
        ),
    }


def collected(out: Path) -> list[dict[str, Any]]:
    """Every result that is there."""
    paths = sorted(out.glob("*/*/seed_*/*/result.json"))
    return [read_json(path) for path in paths]


def section(results: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown: mean ± standard deviation over the seeds of each arm."""
    cells: dict[tuple[str, int], dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for each in results:
        cells[each["data"], each["images"]].setdefault(each["arm"], []).append(each)
    names = ("frechet_distance", "memorization_score")
    rows = []
    for (source, n), arms in sorted(cells.items()):
        for arm in (name for name in ARMS if name in arms):
            sound = [each for each in arms[arm] if not each["diverged"]]
            values = [[each["metrics"][name] for each in sound] for name in names]
            rates = [each["augment_p"] for each in sound if each["augment_p"] is not None]
            rows.append([
                source, f"{n:,}", arm,
                *(f"{np.mean(x):.3g} ± {np.std(x):.2g}" if x else "" for x in values),
                f"{np.mean(rates):.2f}" if rates else "",
                f"{len(sound)} of {len(arms[arm])}",
            ])  # fmt: skip
    steps = sorted({each["steps"] for each in results})
    title = (
        f"{' to '.join(f'{n:,}' for n in dict.fromkeys((steps[0], steps[-1])))} steps with batches "
        f"of {BATCH} images, mean ± standard deviation over the runs that did not diverge:"
    )
    header = ["data", "images", "with", "Fréchet distance", "memorisation", "last p", "runs"]
    return [title, "", *markdown(header, rows)]


if __name__ == "__main__":
    main()
