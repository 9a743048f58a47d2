"""Images as PNG grids."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from zoo.io.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

GAP = 2  # white pixels between images


def grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Tiles images, row by row.

    Images of one channel are grey. Those of two are two grey panels, side by side. Of three and
    more channels the first three are drawn as red, green and blue.

    Args:
        images: float32 [n, height, width, channels] in [0, 1].
        columns: Images per row; by default the grid is about square.

    Returns:
        uint8 [grid height, grid width, 3].

    Raises:
        ValueError: If `images` has another shape.
    """
    images = np.asarray(images)
    if images.ndim != 4 or not images.shape[-1]:
        msg = f"Images of shape {images.shape}: expected [n, height, width, channels]."
        raise ValueError(msg)
    if images.shape[-1] == 2:
        images = np.concatenate([images[..., :1], images[..., 1:]], axis=2)
    images = images[..., :3]
    n, height, width, _ = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    canvas = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 255, np.uint8)
    pixels = np.round(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)
    for i, image in enumerate(pixels):
        top, left = (
            (k * (size + GAP)) + GAP
            for k, size in zip(divmod(i, columns), (height, width), strict=True)
        )
        canvas[top : top + height, left : left + width] = image
    return canvas


def save_grid(
    path: str | Path, images: np.ndarray, columns: int | None = None, min_width: int = 480
) -> None:
    """Writes a grid as PNG, enlarged by a whole factor until `min_width` pixels wide."""
    picture = Image.fromarray(grid(images, columns))
    factor = max(1, math.ceil(min_width / picture.width))
    picture = picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
    )
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")


def pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Interleaves two batches of images, for grids of an even number of columns."""
    return np.stack([first, second], axis=1).reshape(-1, *first.shape[1:])
