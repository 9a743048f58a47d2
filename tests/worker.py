"""One of two workers over gRPC: trains every case, and writes what came out.

TF_CONFIG=… python -m tests.worker FOLDER True|False
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.cases import CASES
from tests.equivalence import train
from zoo.training import strategy


def main(folder: Path, *, guarded: bool) -> None:
    devices = strategy("multi-worker")
    assert devices.num_replicas_in_sync == 2
    found = {
        f"{case.id}|{name}": value
        for case in CASES
        for name, value in train(case, devices, guarded=guarded).items()
    }
    with devices.scope():
        model = CASES[0].create()
    noise = tf.function(lambda: devices.run(lambda: model.noise("latent", tf.constant(4), [5])))
    found["noise"] = np.asarray(noise())
    np.savez(folder / f"{devices.cluster_resolver.task_id}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), guarded=sys.argv[2] == "True")
