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

import zoo

# isort: split
import keras

from zoo.evaluation.report import write_report
from zoo.io.records import write_json

DATA = "fashion_mnist_sample"  # 10,000 training images, 2,000 test images
IMAGE_SHAPE = (28, 28, 1)
OUT = Path(sys.argv[1] if sys.argv[1:] else "runs/demo")


def main() -> None:
    """Walks."""
    shutil.rmtree(OUT, ignore_errors=True)
    keras.utils.set_random_seed(0)

    step("Train a VAE")
    vae = zoo.create("vae", IMAGE_SHAPE, latent_dim=8, network="mlp", seed=0)
    vae.compile()
    zoo.train(vae, DATA, OUT / "vae", epochs=6, verbose=2)

    step("Train a GAN")
    gan = zoo.create("lsgan", IMAGE_SHAPE, latent_dim=64, network="conv-16", ema=0.99, seed=0)
    gan.compile()
    zoo.train(gan, DATA, OUT / "gan", epochs=6, verbose=2)

    step("Make the GAN's generator the decoder of a VAE, and train on")
    zoo.convert.convert_run(OUT / "gan", "vae", OUT / "gan_to_vae")
    zoo.resume(OUT / "gan_to_vae", epochs=2, verbose=2)

    step("Make the VAE's decoder the generator of a GAN, and train on")
    zoo.convert.convert_run(OUT / "vae", "gan", OUT / "vae_to_gan", ema=0.99)
    zoo.resume(OUT / "vae_to_gan", epochs=3, verbose=2)

    formats = {
        "vae": "saved_model",
        "gan": "onnx",
        "gan_to_vae": "onnx",
        "vae_to_gan": "saved_model",
    }
    runs = [OUT / name for name in formats]
    for run in runs:
        step(f"Measure, export and verify {run.name}")
        model = zoo.load(run)
        results = zoo.evaluate(model, DATA, importance_samples=10)
        write_json(run / "metrics.json", results)
        print(f"Fréchet distance {results['metrics']['frechet_distance']:.1f}")
        format_ = formats[run.name]
        path = zoo.export_model(model, run / "export" / format_, format=format_, run=str(run))
        if not zoo.verify(path, model).passed:
            sys.exit(f"{path} does not compute what the model computes.")
        print(f"{path} computes what the model computes")
    write_report(runs, OUT / "report.html")
    step(f"Done. Open {OUT / 'report.html'}")


def step(text: str) -> None:
    """Says what comes next, and how much time the walk has taken of the processor."""
    print(f"\n{time.process_time():4.0f} s: {text}", flush=True)


if __name__ == "__main__":
    main()
