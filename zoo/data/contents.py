"""What a split holds, in words; and the words that descriptions and errors share."""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.io.names import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

# Names that others give the splits; for folders, in any capitals.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "val", "valid"),
}
KINDS = (1, 3, 4)  # channels of grey, colour, and colour with alpha: each is made of the others
LISTED = 12  # classes that a description lists before it leaves some out
VERIFY = (
    "`zoo data verify` names all such images; `zoo data prepare --on-error skip` leaves them out."
)

Shape = tuple[int, int, int]

_held: dict[bytes, np.ndarray] = {}  # by a hash of the names, which images are the test split


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


def held_out(names: Sequence[bytes], what: str, by: str = "names") -> tuple[np.ndarray, str]:
    """Which images are the test split of a set that has none: a tenth, by a hash.

    Args:
        names: A name of each image.
        what: What has no test split, for the error.
        by: What the names are, for the note.

    Returns:
        bool [n], and a note.

    Raises:
        ValueError: If there is only one image.
    """
    if len(names) < 2:
        msg = f"{what} has {len(names)} image; expected at least 2, to hold one out as test."
        raise ValueError(msg)
    held = _held_out(names)
    count = int(held.sum())
    note = (
        f"{counted(count, 'image')}, a tenth, chosen by a hash of the {by}, "
        f"{'is' if count == 1 else 'are'} the test split."
    )
    return held, note


def _held_out(names: Sequence[bytes]) -> np.ndarray:
    """Bool [n]: the tenth of the names with the lowest hashes, found once for the same names."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(b"%d:%s" % (len(name), name))
    key = digest.digest()
    if key not in _held:
        ranked = sorted(range(len(names)), key=lambda i: hashlib.sha256(names[i]).digest())
        held = np.zeros(len(names), bool)
        held[ranked[: max(1, len(names) // 10)]] = True
        held.setflags(write=False)
        _held[key] = held
    return _held[key]


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


def remedy_for_shards(text: str) -> str:
    """What to do about files of records that nothing describes, where a text names any."""
    if re.search(r"\.(array_?record|tfrecords?)", text, re.IGNORECASE) is None:
        return ""
    return (
        " Files of ArrayRecord or TFRecord do not say what their records hold. Give the folder "
        "that `zoo data prepare` or TFDS wrote, with its dataset.json or dataset_info.json."
    )


def shown(parts: Sequence[str]) -> str:
    """A path that is given by its parts, as `printable`."""
    return printable(Path(*parts))


@contextmanager
def named_damage(name: str) -> Iterator[None]:
    """Makes every error name the file: NumPy, zipfile and pyarrow raise many kinds on damaged ones.

    Raises:
        ValueError: In place of any error.
    """
    try:
        yield
    except Exception as error:
        what = f"{error}" or type(error).__name__
        msg = (
            f"{name} cannot be read: {what}. Is the file cut short or damaged? Copy or write it "
            "again."
        )
        raise ValueError(msg) from error


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
