"""Images in memory: arrays, and what small sources become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.checked import checked_pixels
from zoo.data.contents import KINDS
from zoo.data.image_files import check_channels, fit
from zoo.data.records import GivenLabels, Records, stacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.data.contents import Shape

# Decoded images up to so many bytes are kept in memory, where a batch costs no decoding; others are
# read anew each epoch. TensorFlow holds a copy: 4 GiB in all, which a machine of 8 GiB has.
MEMORY_LIMIT = 2 << 30
MOST_CHANNELS = 16


class Images(Records):
    """A split of a data set in memory.

    Attributes:
        pixels: uint8 in 0..255 or float32 in [0, 1], [n, height, width, channels].
        class_names: Name of each class, in the order of their numbers; None where classes are only
            numbered, or there are none.
        notes: What was skipped or taken otherwise than one might think, in sentences.

    Example:
        >>> import numpy as np, zoo
        >>> images = zoo.data.Images(np.zeros((3, 8, 8), bool), [0, 1, 1], ["bag", "shoe"])
        >>> images.pixels.shape, images.labels.tolist(), images.number_of_classes()
        ((3, 8, 8, 1), [0, 1, 1], 2)
    """

    def __init__(
        self,
        pixels: Any,
        labels: Any = None,
        class_names: Sequence[str] | None = None,
        *,
        what: str = "The images",
        what_labels: str = "The labels",
        notes: Sequence[str] = (),
        unlabelled: str = "",
    ) -> None:
        """Checks the pixels; labels are checked once someone asks for them.

        Args:
            pixels: As `zoo.data.checked.checked_pixels` takes them, [n, height, width, 1 to 16
                channels] or [n, height, width].
            labels: As `zoo.data.checked.checked_labels` takes them, or None.
            class_names: Name of each class.
            what: What the images are, for errors, such as "x.npz: x_train".
            what_labels: What the labels are, likewise.
            notes: Sentences for `describe`.
            unlabelled: The message of the error that asking for labels raises; empty for none.

        Raises:
            ValueError: If pixels are of another shape, or out of range.
        """
        self.pixels = of_four_axes(checked_pixels(pixels, what), what)
        super().__init__(
            len(self.pixels),
            self.pixels.shape[1:],
            self.pixels.dtype,
            GivenLabels(labels, what_labels, unlabelled),
            class_names,
            what=what,
            notes=notes,
        )

    def take(self, indices: Any) -> np.ndarray:
        """The images of these numbers, in the order asked."""
        return self.pixels[np.asarray(indices)]

    def take_all(self) -> np.ndarray:
        """`pixels`."""
        return self.pixels


class Converted(Records):
    """The images of other records, each converted to another shape when it is read."""

    def __init__(self, records: Records, shape: Shape) -> None:
        """Checks that the images can be converted; arguments as for `converted`."""
        check_channels(records.shape[2], shape[2])
        super().__init__(
            len(records),
            shape,
            records.dtype,
            records.given,
            records.class_names,
            what=records.what,
            notes=records.notes,
        )
        self._records = records

    def take(self, indices: Any) -> np.ndarray:
        """The images of these numbers, in the order asked."""
        images = self._records.take(indices)
        places = np.arange(len(images))
        return stacked(lambda i: fit(images[i], self.shape), places, self.shape, self.dtype)

    def image_name(self, number: int) -> str:
        """That of the other records."""
        return self._records.image_name(number)

    def index(self) -> str | None:
        """That of the other records."""
        return self._records.index()

    def sampled(self) -> str | None:
        """That of the other records."""
        return self._records.sampled()


def converted(records: Records, shape: Shape | None) -> Records:
    """The same images in a shape, centre-cropped to its aspect and resized with antialiasing.

    Args:
        records: A split.
        shape: (height, width, channels); None leaves them as they are.

    Raises:
        ValueError: If their channels cannot be made so many.
    """
    if shape is None or records.shape == shape:
        return records
    changed = Converted(records, shape)
    return in_memory(changed) if isinstance(records, Images) else changed


def in_memory(records: Records) -> Images:
    """The same images, all of them decoded.

    Raises:
        ValueError: If one cannot be read; it is named.

    Example:
        >>> import numpy as np, zoo
        >>> zoo.data.in_memory(zoo.data.open(np.zeros((5, 8, 8), "float32"))).pixels.shape
        (5, 8, 8, 1)
    """
    if isinstance(records, Images):
        return records
    return Images(
        records.take_all(),
        records.given.values,
        records.class_names,
        what=records.what,
        what_labels=records.given.what,
        notes=records.notes,
        unlabelled=records.given.fault,
    )


def cached(records: Records) -> Records:
    """The same images in memory if they are small, up to `MEMORY_LIMIT`; else as they are.

    Images that can only be read as a whole are held too, as far as their kind of source allows.

    Raises:
        ValueError: As `in_memory`.

    Example:
        >>> import zoo
        >>> type(zoo.data.cached(zoo.data.open("sprites"))).__name__
        'Images'
    """
    held = records.only_whole or records.nbytes <= MEMORY_LIMIT
    return in_memory(records) if held else records


def of_four_axes(pixels: np.ndarray, what: str) -> np.ndarray:
    """[n, height, width, channels]."""
    expected = "expected [n, height, width, channels], n ≥ 1"
    if pixels.ndim == 3 and pixels.shape[-1] in (1, 3):
        msg = f"{what}: shape {pixels.shape}; {expected}. Give a single image as `x[None]`."
        raise ValueError(msg)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or not pixels.size:
        msg = f"{what}: shape {pixels.shape}; {expected}."
        raise ValueError(msg)
    channels_first = pixels.shape[1] in (1, 3) and pixels.shape[-1] > max(KINDS)
    if pixels.shape[-1] > MOST_CHANNELS or channels_first:
        remedy = " Put the channels last, `np.moveaxis(x, 1, -1)`." if channels_first else ""
        msg = (
            f"{what}: {pixels.shape[-1]} channels (shape {pixels.shape}); expected 1 to "
            f"{MOST_CHANNELS}.{remedy}"
        )
        raise ValueError(msg)
    return pixels
