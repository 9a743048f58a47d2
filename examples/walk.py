"""The whole walk in one process: train, evaluate, convert, train on, export, verify, report.

    python examples/walk.py               # writes runs/demo, and ends with its report's path

It trains a small VAE and a small GAN on the data inside the package, turns each into a model of the
other kind, trains these on, and measures, exports and verifies all four.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import zoo

# isort: split
import keras

from export import export_model, verify
from zoo.evaluation.measure import evaluate
from zoo.evaluation.report import write_report
from zoo.io.records import write_json
from zoo.training.recipes import prepare
from zoo.training.runs import save_run
from zoo.training.train import train

DATA = "fashion_mnist_sample"  # 10,000 training images, 2,000 test images
IMAGE_SHAPE = (28, 28, 1)
OUT = Path(sys.argv[1] if sys.argv[1:] else "runs/demo")


def main() -> None:
    """Walks."""
    shutil.rmtree(OUT, ignore_errors=True)
    keras.utils.set_random_seed(0)
    vae = zoo.create("vae", IMAGE_SHAPE, latent_dim=8, network="mlp", seed=0)
    vae.compile()
    step("Train a VAE")
    train(vae, DATA, OUT / "vae", epochs=8, verbose=2)

    gan = zoo.create("lsgan", IMAGE_SHAPE, latent_dim=64, network="conv-32", ema=0.99, seed=0)
    gan.compile()
    step("Train a GAN")
    train(gan, DATA, OUT / "gan", epochs=8, verbose=2)

    step("Make the GAN's generator the decoder of a VAE, and train on")
    train_on(*zoo.convert.gan_to_vae(gan), OUT / "gan", OUT / "gan_to_vae", "joint", 2)
    step("Make the VAE's decoder the generator of a GAN, and train on")
    images = zoo.data.to_array(DATA, split="train")
    converted = zoo.convert.vae_to_gan(vae, images=images, ema=0.99)
    train_on(*converted, OUT / "vae", OUT / "vae_to_gan", "warm-up", 3)

    runs = [OUT / name for name in ("vae", "gan", "gan_to_vae", "vae_to_gan")]
    for run in runs:
        step(f"Measure, export and verify {run.name}")
        model = zoo.load_run(run)
        results = evaluate(model, DATA, importance_samples=10)
        write_json(run / "metrics.json", results)
        print(f"Fréchet distance {results['metrics']['frechet_distance']:.1f}")
        for format_ in ("saved_model", "onnx"):
            path = export_model(model, run / "export" / format_, format=format_, run=str(run))
            verification = verify(path, model)
            print(f"{path}: {'equal' if verification.passed else 'NOT EQUAL'}")
            if not verification.passed:
                sys.exit(1)
    write_report(runs, OUT / "report.html")
    step(f"Done. Open {OUT / 'report.html'}")


def train_on(model: Any, report: Any, source: Path, run: Path, recipe: str, epochs: int) -> None:
    """Writes a converted model as a run, and trains it as its recipe says."""
    model.compile()
    facts = {"data": DATA, "seed": 0, "epochs": 0, "converted_from": str(source)}
    save_run(model, run, facts, report.to_dict())
    begin = prepare(model, recipe)
    facts = {"converted_from": str(source), "recipe": recipe}
    train(model, DATA, run, epochs=epochs, recipe=begin, facts=facts, verbose=2)


def step(text: str) -> None:
    """Says what comes next, and how long the walk has taken."""
    print(f"\n{time.process_time():4.0f} s of CPU time: {text}", flush=True)


if __name__ == "__main__":
    main()
