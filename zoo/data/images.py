"""Images in memory, and what a split holds, in words."""

from __future__ import annotations

import copy
import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.checked import checked_labels, checked_pixels, count_classes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# Names that others give the splits; for folders, in any capitals.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "val", "valid"),
}
LISTED = 12  # classes that a description lists before it leaves some out

Shape = tuple[int, int, int]


class Images:
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
            pixels: As `zoo.data.checked.checked_pixels` takes them, [n, height, width, 1 or 3] or
                [n, height, width].
            labels: As `zoo.data.checked.checked_labels` takes them, or None.
            class_names: Name of each class.
            what: What the images are, for errors, such as "x.npz: x_train".
            what_labels: What the labels are, likewise.
            notes: Sentences for `describe`.
            unlabelled: The message of the error that asking for labels raises; empty for none.

        Raises:
            ValueError: If pixels are of another shape, or out of range.
        """
        self.pixels = _of_four_axes(checked_pixels(pixels, what), what)
        self.class_names = None if class_names is None else tuple(class_names)
        self._what_labels = what_labels
        self.notes = tuple(notes)
        self._labels = labels
        self._unlabelled = unlabelled

    @functools.cached_property
    def labels(self) -> np.ndarray | None:
        """int32 [n], or None where the source has none.

        Raises:
            ValueError: If the source's labels are not class numbers, one per image.
        """
        if self._unlabelled:
            raise ValueError(self._unlabelled)
        if self._labels is None:
            return None
        classes = None if self.class_names is None else len(self.class_names)
        labels = checked_labels(self._labels, classes, self._what_labels)
        if len(labels) != len(self.pixels):
            msg = f"{self._what_labels}: {len(labels)} labels for {len(self.pixels)} images."
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
        return count_classes(self.labels, self._what_labels)

    def with_pixels(self, pixels: np.ndarray) -> Images:
        """The same images with other pixels, such as resized ones; pixels are not checked again."""
        other = copy.copy(self)
        other.pixels = pixels
        return other

    def contents(self) -> Contents:
        """What the images are, in short."""
        classes, counts, notes = 0, None, list(self.notes)
        try:
            classes = self.number_of_classes()
            if self.labels is not None:
                counts = np.bincount(self.labels, minlength=classes)
        except ValueError as error:
            notes.append(unlabelled_note(error))
        height, width, channels = self.pixels.shape[1:]
        size = (height, width, channels)
        return Contents(len(self.pixels), size, classes, self.class_names, counts, notes)


@dataclass(frozen=True)
class Contents:
    """What a split holds, which can be known without decoding it.

    Attributes:
        images: Their number.
        shape: (height, width, channels); None where images differ.
        classes: Number of classes; 0 if there are no labels.
        class_names: Name of each class, or None where they are only numbered.
        counts: Images of each class, int [classes], where known.
        notes: What was skipped or taken otherwise than one might think, in sentences.
    """

    images: int
    shape: tuple[int | None, int | None, int]
    classes: int = 0
    class_names: Sequence[str] | None = None
    counts: np.ndarray | None = None
    notes: Sequence[str] = ()

    def text(self, name: str, split: str, image_shape: Shape | None = None) -> str:
        """A line on the images and classes, and one for each note.

        Args:
            name: The source's name.
            split: The split that the images are of.
            image_shape: What they are converted to.
        """
        count = counted(self.images, "image")
        size = " × ".join(map(str, self.shape))
        if None in self.shape:
            size = f"different sizes, {counted(self.shape[2], 'channel')}"
        lines = [f"Data: {name}, {split}: {count} of {size}, {self._classes()}."]
        if image_shape is not None and tuple(image_shape) != tuple(self.shape):
            wanted = " × ".join(str(side) for side in image_shape)
            lines.append(f"  Converted to {wanted}: cropped to that aspect, resized.")
        if self.counts is not None and not self.counts.all():
            empty = [self._name(i, "") for i in np.flatnonzero(self.counts == 0).tolist()]
            lines.append(f"  No images in {split}: {shortened(empty)}.")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def _classes(self) -> str:
        if not self.classes:
            return "no classes"
        if self.class_names is None:
            return f"{counted(self.classes, 'class')} (0 to {self.classes - 1})"
        counts = [""] * self.classes if self.counts is None else [f" ({n})" for n in self.counts]
        names = [self._name(number, count) for number, count in enumerate(counts)]
        return f"{counted(self.classes, 'class')}: {shortened(names)}"

    def _name(self, number: int, count: str) -> str:
        return f"{number} = {self.class_names[number]}{count}" if self.class_names else str(number)


def split_to_read(split: str, there: Collection[str]) -> tuple[str, list[str]]:
    """The split that is read for another: where there is no test split, the validation split.

    Args:
        split: What is asked for; perhaps with a slice, such as "test[:100]".
        there: The names of the splits there are.

    Returns:
        The split, and what is to be noted.
    """
    name, bracket, rest = split.partition("[")
    if name in there or name != "test":
        return split, []
    for other in SPLIT_NAMES["validation"]:
        if other in there:
            return f"{other}{bracket}{rest}", [f"There is no split test: {other} stands in."]
    return split, []


def known_size(shape: tuple[int | None, int | None, int], name: str) -> Shape:
    """A shape without None, which images of several sizes have in it.

    Args:
        shape: (height, width, channels).
        name: Name of the source, for the error.

    Raises:
        ValueError: If height or width is None.
    """
    height, width, channels = shape
    if height is None or width is None:
        msg = (
            f"The images of {name} differ in size. Say which to resize to (image_shape, or "
            "--image-size)."
        )
        raise ValueError(msg)
    return height, width, channels


def printable(name: str | os.PathLike[str]) -> str:
    r"""A file name, in which bytes that are no UTF-8 are shown as "\xff"."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def unlabelled_note(error: Exception | str) -> str:
    """For a description of data whose labels only a conditional model would need."""
    return f"No conditional model can take the labels: {error}"


def counted(n: int, noun: str) -> str:
    """Such as "1 image", "2 classes" or "3 entries"."""
    plural = f"{noun}s"
    if noun.endswith("y"):
        plural = f"{noun[:-1]}ies"
    elif noun.endswith("s"):
        plural = f"{noun}es"
    return f"{n:,} {noun if n == 1 else plural}"


def shortened(texts: Sequence[str]) -> str:
    """The texts; if there are many, the first ones and the last."""
    if len(texts) <= LISTED:
        return ", ".join(texts)
    return ", ".join([*texts[: LISTED - 2], "…", texts[-1]])


def _of_four_axes(pixels: np.ndarray, what: str) -> np.ndarray:
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
    if pixels.shape[-1] not in (1, 3):
        remedy = ""
        if pixels.shape[-1] == 4:
            remedy = " Leave the alpha out, `x[..., :3]`."
        elif pixels.shape[1] in (1, 3):
            remedy = " Put the channels last, `np.moveaxis(x, 1, -1)`."
        msg = (
            f"{what}: {pixels.shape[-1]} channels (shape {pixels.shape}); expected 1 or 3.{remedy}"
        )
        raise ValueError(msg)
    return pixels
