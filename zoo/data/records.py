"""A split with random access: its images by index, and its labels."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.checked import checked_labels, count_classes
from zoo.data.contents import Contents, Shape, unlabelled_note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CHUNK = 32 << 20  # bytes of decoded images that are read at once, where a split is read in order


@dataclass(frozen=True)
class GivenLabels:
    """Labels as a source has them, before they are checked.

    Attributes:
        values: As `zoo.data.checked.checked_labels` takes them; a function that reads them; or None
            where there are none.
        what: What they are, for errors.
        fault: The message of the error that asking for labels raises; empty for none.
    """

    values: Any = None
    what: str = "The labels"
    fault: str = ""


class Records:
    """A split of a data set, of which any images can be read in any order.

    A kind of source is a subclass with `take`. Nothing is decoded before `take` is called, and what
    `take` returned is not kept.

    Attributes:
        shape: (height, width, channels) of every image, once converted.
        dtype: np.uint8 or np.float32, of what `take` returns.
        class_names: Name of each class, in the order of their numbers; None where classes are only
            numbered, or there are none.
        notes: What was skipped or taken otherwise than one might think, in sentences.
        what: What the images are, for errors, such as "x.npz: x_train".
        only_whole: Whether one image costs the reading of all.
        fault: What a pipeline of batches met when it read them; None while nothing was wrong.

    Example:
        >>> import numpy as np, zoo
        >>> records = zoo.data.open(np.zeros((5, 8, 8), "float32"))
        >>> len(records), records.shape, records.take([3, 0]).shape
        (5, (8, 8, 1), (2, 8, 8, 1))
    """

    only_whole = False

    def __init__(
        self,
        count: int,
        shape: Sequence[int],
        dtype: Any = np.uint8,
        given: GivenLabels | None = None,
        class_names: Sequence[str] | None = None,
        *,
        what: str = "The images",
        notes: Sequence[str] = (),
    ) -> None:
        """Keeps what is known of a split; labels are checked once someone asks for them.

        Args:
            count: Number of images.
            shape: (height, width, channels) of each.
            dtype: np.uint8 or np.float32.
            given: Its labels.
            class_names: Name of each class.
            what: What the images are, for errors.
            notes: Sentences for `zoo.data.describe`.
        """
        self._count = count
        height, width, channels = shape
        self.shape: Shape = (int(height), int(width), int(channels))
        self.dtype = np.dtype(dtype)
        self.given = given or GivenLabels()
        self.class_names = None if class_names is None else tuple(class_names)
        self.what = what
        self.notes = tuple(notes)
        self.fault: Exception | None = None

    def __len__(self) -> int:
        """The number of images."""
        return self._count

    def take(self, indices: Any) -> np.ndarray:
        """The images of these numbers, in the order asked. Several threads may call it at once.

        Args:
            indices: int64 [k], each from 0 to `len(self) - 1`.

        Returns:
            uint8 in 0..255 or float32 in [0, 1], [k, height, width, channels].

        Raises:
            ValueError: If an image cannot be read; it is named.
        """
        raise NotImplementedError

    def image_name(self, number: int) -> str:
        """What a person knows an image by: its file, where it has one; else its number."""
        return str(number)

    def take_all(self) -> np.ndarray:
        """All images in order, as `take` returns them: a kind may have a quicker way."""
        return self.take(np.arange(len(self)))

    def chunks(self, limit: int | None = None) -> Iterator[np.ndarray]:
        """All images in order, a few megabytes at a time.

        Args:
            limit: Stop after so many images; None takes all.

        Yields:
            As `take` returns them.
        """
        step = max(1, CHUNK * len(self) // max(self.nbytes, 1))
        stop = len(self) if limit is None else min(limit, len(self))
        for start in range(0, stop, step):
            yield self.take(np.arange(start, min(start + step, stop)))

    def index(self) -> str | None:
        """SHA-256, in hexadecimal, of what tells these records from others without decoding them.

        None where there is nothing but the pixels.
        """
        return None

    def sampled(self) -> str | None:
        """SHA-256 of the first bytes of some files, which an index of names and sizes cannot tell.

        None where the index is of all bytes, or where there is none.
        """
        return None

    @property
    def nbytes(self) -> int:
        """The bytes that all images take once decoded."""
        return len(self) * int(np.prod(self.shape)) * self.dtype.itemsize

    @functools.cached_property
    def labels(self) -> np.ndarray | None:
        """int32 [n], or None where the source has none.

        Raises:
            ValueError: If the source's labels are not class numbers, one per image.
        """
        if self.given.fault:
            raise ValueError(self.given.fault)
        values = self.given.values() if callable(self.given.values) else self.given.values
        if values is None:
            return None
        classes = None if self.class_names is None else len(self.class_names)
        labels = checked_labels(values, classes, self.given.what)
        if len(labels) != len(self):
            msg = f"{self.given.what}: {len(labels)} labels for {len(self)} images."
            raise ValueError(msg)
        return labels

    def number_of_classes(self) -> int:
        """The number of names, or one more than the largest label; 0 if there are no labels.

        Raises:
            ValueError: As `labels`, and as `zoo.data.checked.count_classes`.
        """
        if self.labels is None:
            return 0
        if self.class_names is not None:
            return len(self.class_names)
        return count_classes(self.labels, self.given.what)

    def contents(self) -> Contents:
        """What the images are, in short."""
        classes, counts, notes = 0, None, list(self.notes)
        try:
            classes = self.number_of_classes()
            if self.labels is not None:
                counts = np.bincount(self.labels, minlength=classes)
        except ValueError as error:
            notes.append(unlabelled_note(error))
        return Contents(len(self), self.shape, classes, self.class_names, counts, notes)


def stacked(read: Callable[[int], np.ndarray], indices: Any, shape: Shape, dtype: Any) -> Any:
    """What a function makes of each index, computed by as many threads as there are cores.

    Decoding lets go of Python's lock, so the threads decode at the same time.

    Args:
        read: From an index to an image of `shape`.
        indices: int64 [k].
        shape: (height, width, channels).
        dtype: What the images are made of: np.uint8 or np.float32.

    Returns:
        [k, height, width, channels], in the order asked.
    """
    indices = np.asarray(indices, np.int64)
    images = np.empty((len(indices), *shape), dtype)

    def fill(places: range) -> None:
        for place in places:
            images[place] = read(int(indices[place]))

    workers = _cores()
    step = -(-len(indices) // workers) or 1
    parts = [range(len(indices))[start : start + step] for start in range(0, len(indices), step)]
    if len(parts) < 2:
        fill(range(len(indices)))
    else:
        list(_pool().map(fill, parts))  # which raises what a thread has raised
    return images


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_cores(), thread_name_prefix="zoo.data")
