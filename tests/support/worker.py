"""One of two workers over gRPC: trains the cases, and writes what came out.

TF_CONFIG=… python -m tests.support.worker FOLDER True|False CASE_ID...
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tests.cases import CASES
from tests.support.equivalence import structured_images, train
from zoo.training import strategy


def main(folder: Path, ids: list[str], *, guarded: bool) -> None:
    devices = strategy("multi-worker")
    assert devices.num_replicas_in_sync == 2
    found = {
        f"{case.id}|{name}": value
        for case in CASES
        if case.id in ids
        for name, value in train(case, devices, guarded=guarded).items()
    }
    with devices.scope():
        model = CASES[0].create()
    noise = tf.function(lambda: devices.run(lambda: model.noise("latent", tf.constant(4), [5])))
    found["noise"] = np.asarray(noise())
    if not guarded and len(ids) > 1:  # a slow test
        plain_callbacks(devices, folder)
    np.savez(folder / f"{devices.cluster_resolver.task_id}.npz", **found)


def plain_callbacks(devices: tf.distribute.Strategy, folder: Path) -> None:
    """Keras's own callbacks work, and all workers stop at the same epoch."""
    with devices.scope():
        model = CASES[0].create_with_sgd()
    path = folder / f"saved_by_{devices.cluster_resolver.task_id}.keras"
    history = model.fit(
        structured_images(), batch_size=20, epochs=9, verbose=0,
        callbacks=[
            keras.callbacks.ModelCheckpoint(path, monitor="loss"),
            keras.callbacks.EarlyStopping("loss", patience=1, min_delta=1e9),
        ],
    ).history  # fmt: skip
    assert len(history["loss"]) == 2
    assert keras.models.load_model(path).step.numpy() == model.step.numpy()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[3:], guarded=sys.argv[2] == "True")
