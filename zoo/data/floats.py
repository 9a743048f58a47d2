"""Images as floats, read where they are sliced: for what looks at a split batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from zoo.data.records import Records


class Floats:
    """What an array float32 [n, height, width, channels] in [0, 1] is, but never held as a whole.

    A slice gives such an array. Indices or a mask give the same of fewer images, which are read
    when that is sliced.

    Attributes:
        shape: (n, height, width, channels).
        ndim: 4.

    Example:
        >>> import numpy as np, zoo
        >>> from zoo.data.floats import Floats
        >>> images = Floats(zoo.data.open(np.full((5, 8, 8), 255, np.uint8)))
        >>> len(images), images[1:3].shape, float(images[1:3].max()), len(images[[0, 4]])
        (5, (2, 8, 8, 1), 1.0, 2)
    """

    ndim = 4

    def __init__(self, records: Records, rows: np.ndarray | None = None) -> None:
        """Takes images of these numbers, int [n]; None takes all."""
        self._records = records
        self._rows = np.arange(len(records)) if rows is None else rows
        self.shape = (len(self._rows), *records.shape)

    def __len__(self) -> int:
        """The number of images."""
        return len(self._rows)

    def __getitem__(self, chosen: Any) -> Any:
        """The images of a slice; of indices or a mask another of these."""
        rows = self._rows[chosen]
        if isinstance(chosen, slice):
            return as_floats(self._records.take(rows))
        return Floats(self._records, rows)


def as_floats(pixels: np.ndarray) -> np.ndarray:
    """uint8 in 0..255 as float32 in [0, 1]; floats as they are.

    Example:
        >>> import numpy as np
        >>> from zoo.data.floats import as_floats
        >>> as_floats(np.array([0, 255], np.uint8)).tolist()
        [0.0, 1.0]
    """
    if pixels.dtype != np.uint8:
        return pixels
    floats = pixels.astype(np.float32)
    floats /= np.float32(255.0)
    return floats
