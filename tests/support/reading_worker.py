"""One of two workers over gRPC: trains on images that are not in memory, and says what it read.

TF_CONFIG=… python -m tests.support.reading_worker FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from zoo.data import images
from zoo.data.records import Records
from zoo.training import strategy

COUNT, BATCH, STEPS = 40, 8, 5


class Counted(Records):
    """Images of noise; keeps the numbers of those that are read, a list for each reading."""

    def __init__(self) -> None:
        super().__init__(COUNT, (8, 8, 1))
        self.read: list[list[int]] = []

    def take(self, indices: Any) -> np.ndarray:
        self.read.append(np.asarray(indices).tolist())
        noise = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 1))
        return noise.astype(np.uint8)[indices]

    def index(self) -> str:
        return "known without reading them"


def main(folder: Path) -> None:
    images.MEMORY_LIMIT = 0
    devices = strategy("multi-worker")
    source = Counted()
    with devices.scope():
        model = zoo.create("gan", (8, 8, 1), 2, network="mlp")
        model.compile()
    zoo.train(model, source, folder / "run", epochs=1, batch_size=BATCH, verbose=0)
    np.save(folder / f"{devices.cluster_resolver.task_id}.npy", np.array(source.read))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
