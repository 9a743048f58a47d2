"""Random images, and folders of images of known values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)


def random_pixels(n: int = 20, shape: tuple[int, int, int] = (6, 5, 1)) -> np.ndarray:
    return RNG.integers(0, 256, (n, *shape)).astype(np.uint8)


def save_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def image_tree(root: Path, *files: str, size: int = 4) -> Path:
    """A folder of grey images of as many values as there are files, in the order given."""
    for number, file in enumerate(files):
        save_image(root / file, np.full((size, size), 10 + number, np.uint8))
    return root
