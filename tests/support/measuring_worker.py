"""One of two workers over gRPC: measures a model while it trains, and writes what it found.

TF_CONFIG=… python -m tests.support.measuring_worker FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

import zoo
from zoo import metrics
from zoo.evaluation import streams
from zoo.training import strategy


def found(devices: object, folder: Path, name: str) -> None:
    """Features of samples, and the run of a training that measures."""
    with devices.scope():  # type: ignore[attr-defined]
        keras.utils.set_random_seed(0)
        model = zoo.create("cvae", (8, 8, 1), 2, network="mlp", num_classes=3)
        model.compile()
    flat = metrics.FeatureExtractor("flat", 64, None, lambda x: np.asarray(x).reshape(-1, 64))
    metrics.register_extractor("flat", lambda: flat)
    latents, labels = model.sample_latents(700, seed=1), model.sample_labels(700, 1)
    parts = list(streams.seen_in_samples(model, latents, labels, flat))
    np.savez(
        folder / f"{name}.npz",
        features=np.concatenate([part.features for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
    )
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    images = zoo.data.Images(pixels, np.arange(60) % 3)
    measured = zoo.evaluation.EpochMetrics(["fid70_full"], images, extractor="flat")
    zoo.train(
        model, images, folder / f"run_{name}", epochs=2, batch_size=20, callbacks=[measured],
        best="fid70_full", verbose=0,
    )  # fmt: skip


if __name__ == "__main__":
    devices = strategy("multi-worker")
    # Only the chief writes its run.
    found(devices, Path(sys.argv[1]), f"worker_{devices.cluster_resolver.task_id}")
