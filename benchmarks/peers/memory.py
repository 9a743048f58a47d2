"""One process of `benchmarks/data.py`, whose peak of memory it says in the end (Linux).

    python benchmarks/peers/memory.py empty|prepare|train FOLDER IMAGES STEPS

`prepare` prepares so many synthetic colour images into FOLDER; `train` takes so many steps on them.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from contestant import peak_memory

import zoo

SIZE = 128  # height and width
BATCH = 64


class Synthetic(zoo.data.Records):
    """Blocks of random colours: any image at any time, and none in memory."""

    def take(self, indices: Any) -> np.ndarray:
        """The images of these numbers."""
        images = np.empty((len(indices), *self.shape), np.uint8)
        for image, index in zip(images, indices, strict=True):
            colours = np.random.default_rng(index).integers(0, 256, (32, 32, 3)).astype(np.uint8)
            image[...] = colours.repeat(SIZE // 32, axis=0).repeat(SIZE // 32, axis=1)
        return images

    def index(self) -> str:
        """There is one such set of each length."""
        return f"{len(self)} synthetic images"


def main(what: str, folder: str, images: int, steps: int) -> None:
    """Does it, and prints the peak in bytes."""
    shape = (SIZE, SIZE, 3)
    if what == "empty":
        import tensorflow as tf  # noqa: PLC0415

        tf.zeros(()) + 1.0  # TensorFlow starts its threads
    elif what == "prepare":
        zoo.data.prepare(Synthetic(images, shape), folder)
    else:
        model = zoo.create("vae", shape, 8, network="conv-8")
        stream, _ = zoo.data.training_stream(folder, batch_size=BATCH)
        model.compile()
        model.fit(stream, steps_per_epoch=steps, verbose=0, shuffle=False)
    print(peak_memory())


if __name__ == "__main__":
    kind, into, number, of_steps = sys.argv[1:]
    main(kind, into, int(number), int(of_steps))
