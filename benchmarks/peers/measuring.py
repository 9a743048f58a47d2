"""What the peers' training has in common: options, and the project's metrics of their images."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import data, metrics
from zoo.bench.run import processor
from zoo.evaluation.extractors import needed_extractor
from zoo.io.records import write_json

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).resolve().parent.parent / "results" / "peers"
DATA = ("fashion_mnist", "fashion_mnist_sample")
LATENT_DIM = 64
BATCH = 128
SEED = 0


def run(description: str | None, **peers: Callable[[np.ndarray, int], Any]) -> None:
    """Trains peers as the command line says, measures them and writes results/peers/NAME.json.

    Args:
        description: The command's help.
        **peers: By name, what maps images float32 [n, channels, height, width] in [0, 1] and a
            number of epochs to the last three arguments of `measure`.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", choices=DATA, default="fashion_mnist")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS, help="Folder of the results.")
    args = parser.parse_args()
    images = data.to_array(args.data, split="train").transpose(0, 3, 1, 2)
    images = np.ascontiguousarray(images)
    for name, train in peers.items():
        begun = time.perf_counter()
        trained = train(images, args.epochs)
        seconds = time.perf_counter() - begun
        result = {
            "model": name,
            "latent_dim": LATENT_DIM,
            "epochs": args.epochs,
            "batch_size": BATCH,
            **measure(args.data, *trained),
            "machine": {
                "seconds": round(seconds, 1),
                "processor": processor(),
                "cores": len(os.sched_getaffinity(0)),
            },
        }
        write_json(args.out / f"{name}.json", result)
        print(f"{name}: {result['metrics']}, {seconds:.0f} s", flush=True)


def measure(
    source: str,
    generate: Callable[[Any], Any],
    reconstruct: Callable[[Any], Any] | None = None,
    draw_gmm: Callable[[int], Any] | None = None,
) -> dict[str, Any]:
    """The metrics of `evaluation.measure.sample_metrics`, on as many images as the test set has.

    Args:
        source: One of `DATA`.
        generate: Latents float32 [n, LATENT_DIM] to images float32 [n, channels, height, width].
        reconstruct: Such images to such images; None for a model without reconstructions.
        draw_gmm: Number of images to such images, of latents of a Gaussian mixture of a VAE's
            posteriors.

    Returns:
        The protocol and, as `metrics`, what was measured; with `reconstruct`, `mse` per pixel too,
        and what `draw_gmm` draws as `…_gmm`.
    """
    test = data.to_array(source, split="test")
    latents = np.random.default_rng(SEED).standard_normal((len(test), LATENT_DIM), np.float32)
    features = needed_extractor(source, None, test.shape[1:], what="The comparison")
    real = features(test)
    fakes = generate(latents).transpose(0, 2, 3, 1)
    values = metrics.generation_metrics(real, features(fakes))
    if draw_gmm is not None:
        drawn = features(draw_gmm(len(test)).transpose(0, 2, 3, 1))
        of_mixture = metrics.generation_metrics(real, drawn)
        values |= {f"{name}_gmm": value for name, value in of_mixture.items()}
    if reconstruct is not None:
        rebuilt = reconstruct(test.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
        values["mse"] = float(np.mean(np.square(rebuilt - test)))
    return {
        "data": source,
        "split": "test",
        "images": len(test),
        "samples": len(fakes),
        "extractor": features.name,
        "seed": SEED,
        "metrics": values,
    }
