"""What a source holds, measured; and what is wrong with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data import prepared, sources
from zoo.data.floats import as_floats
from zoo.data.records import CHUNK
from zoo.io.names import as_path
from zoo.io.pictures import save_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from zoo.data.records import Records

SHOWN = 100  # images of a contact sheet


@dataclass(frozen=True)
class Statistics:
    """What the pixels of a split are.

    Attributes:
        mean: Mean of each channel, over all pixels of all images, in [0, 1]; float64 [channels].
        deviation: The standard deviation, likewise.
        duplicates: Groups of images with the same pixels, each int64 [≥ 2], numbers in the split.
    """

    mean: np.ndarray
    deviation: np.ndarray
    duplicates: list[np.ndarray]

    @property
    def repeated(self) -> int:
        """The images that equal an earlier one."""
        return sum(len(group) - 1 for group in self.duplicates)


def statistics(
    records: Records | Any, progress: Callable[[int, int], None] | None = None
) -> Statistics:
    """Measures a split in one pass, which keeps 8 bytes per image in memory.

    Images count as the same if 64 bits of the BLAKE2b hash of their pixels are: a million different
    images give a wrong pair with a probability of 3e-8.

    Args:
        records: As `zoo.data.open` returns them; or a source, whose training split is opened.
        progress: Called with (images done, images) now and then.

    Raises:
        ValueError: If an image cannot be read; it is named.

    Example:
        >>> import numpy as np, zoo
        >>> pixels = np.zeros((3, 8, 8, 1), "float32")
        >>> pixels[1] = 1.0
        >>> facts = zoo.data.statistics(zoo.data.open(pixels))
        >>> [group.tolist() for group in facts.duplicates]
        [[0, 2]]
    """
    records = sources.open(records)
    channels = records.shape[-1]
    total, squares = np.zeros(channels), np.zeros(channels)
    hashes = np.empty(len(records), np.uint64)
    done = 0
    for images in records.chunks():
        for image in images:
            hashes[done] = pixel_hash(image)
            values = image.reshape(-1, channels).astype(np.float64)
            total += values.sum(axis=0)
            squares += np.square(values).sum(axis=0)
            done += 1
        if progress is not None:
            progress(done, len(records))
    pixels = len(records) * records.shape[0] * records.shape[1]
    scale = 255.0 if records.dtype == np.uint8 else 1.0
    mean = total / pixels
    deviation = np.sqrt(np.maximum(squares / pixels - mean**2, 0.0))
    return Statistics(mean / scale, deviation / scale, _same(hashes))


def pixel_hash(image: np.ndarray) -> int:
    """64 bits of the BLAKE2b hash of an image's pixels; equal images of one type have the same.

    Example:
        >>> import numpy as np
        >>> from zoo.data.info import pixel_hash
        >>> pixel_hash(np.zeros((8, 8, 1))) == pixel_hash(np.ones((8, 8, 1)))
        False
    """
    digest = hashlib.blake2b(image.tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def verify(
    source: Any,
    *,
    splits: Sequence[str] | None = None,
    image_shape: Sequence[int] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[str]:
    """Reads all of a source, and names what is wrong with it.

    Args:
        source: As for `zoo.data.open`. The files of a prepared folder are first compared with
            their SHA-256.
        splits: Names of the splits; by default all that there are.
        image_shape: (height, width, channels) to convert to, where images differ in size.
        progress: Called with (split, images done, images of the split) now and then.

    Returns:
        A sentence for each fault; none if there is none.

    Raises:
        FileNotFoundError, ConnectionError, ValueError: As `zoo.data.open`.

    Example:
        >>> import numpy as np, zoo
        >>> zoo.data.verify(np.zeros((3, 8, 8), "float32"))
        []
    """
    folder = sources.prepared_folder(source)
    if folder is not None:
        in_shards = list(prepared.faults(folder, prepared.read_dataset(folder)["splits"]))
        if in_shards:
            return in_shards
    faults: list[str] = []
    for split in splits or sources.splits(source):
        records = sources.open_in_order(source, split, image_shape)
        faults += _unreadable(records, split, progress)
    return faults


def contact_sheet(records: Records | Any, path: str | Path) -> None:
    """Writes a PNG of 100 images, or all if there are fewer, at even distances over the split.

    Example:
        >>> import numpy as np, tempfile, zoo
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     images = zoo.data.open(np.zeros((3, 8, 8), "float32"))
        ...     zoo.data.contact_sheet(images, f"{folder}/sheet.png")
    """
    path = as_path(path, "path")
    records = sources.open(records)
    images = records.take(np.linspace(0, len(records) - 1, min(SHOWN, len(records))).astype(int))
    save_grid(path, as_floats(images))


def _same(hashes: np.ndarray) -> list[np.ndarray]:
    """Groups of indices of equal hashes, in the order of their first ones."""
    order = np.argsort(hashes, kind="stable")
    starts = np.flatnonzero(np.diff(hashes[order], prepend=~hashes[order[:1]]))
    lengths = np.diff(starts, append=len(order))
    several = lengths > 1  # nearly all stand alone, and are no arrays of their own
    ends = (starts + lengths)[several]
    groups = [order[start:end] for start, end in zip(starts[several], ends, strict=True)]
    return sorted(groups, key=lambda group: int(group[0]))


def _unreadable(
    records: Records, split: str, progress: Callable[[str, int, int], None] | None
) -> list[str]:
    """Why images cannot be read, in sentences."""
    faults: list[str] = []
    step = max(1, CHUNK * len(records) // records.nbytes)
    for start in range(0, len(records), step):
        part = range(start, min(start + step, len(records)))
        try:
            records.take(np.array(part))
        except ValueError:
            faults += [why for number in part if (why := _fault(records, number))]
        if progress is not None:
            progress(split, part.stop, len(records))
    return faults


def _fault(records: Records, number: int) -> str:
    try:
        records.take(np.array([number]))
    except ValueError as error:
        return str(error)
    return ""
