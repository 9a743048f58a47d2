"""A prepared folder: images that `zoo data prepare` decoded once, in ArrayRecord shards.

    dataset.json                         what is there, and the SHA-256 of every file
    train-00000-of-00012.array_record    pixels, one record per image, compressed without loss
    train-labels.npy                     int32 [n], if there are labels

A record is the bytes of one image's pixels, row by row, uint8 or little-endian float32. Shards are
written with "group_size:1", so that reading one image reads nothing of the others.
"""

from __future__ import annotations

import functools
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.checked import count_classes
from zoo.data.contents import Contents, split_to_read
from zoo.data.records import GivenLabels, Records
from zoo.data.trees import named_store, read_remote
from zoo.io import schemas
from zoo.io.files import sha256
from zoo.io.names import printable
from zoo.io.records import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATASET, PREPARATION = "dataset.json", "preparation.json"
EVERY = "all"  # the split of a source that serves as every split
READING = "readahead_buffer_size:0,max_parallelism:0"  # one record at a time, anywhere
AT_ONCE = 32  # records of one shard; a reader keeps memory for as many as it ever read at once
ENDS = 1 << 16  # bytes at either end of a shard that are hashed whenever it is opened
HASHED = 1 << 30  # bytes of a split's shards up to which all of them are
REMEDY = "Copy it again, or prepare the data again."


def is_prepared(folder: Path) -> bool:
    """Whether a folder is one that `zoo data prepare` wrote, or began to write."""
    for name in (DATASET, PREPARATION):
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:  # others write files of this name too
                return b'"image_shape"' in file.read(4096)
    return False


def check_not_prepared(address: str) -> None:
    """Refuses a prepared folder in a store: its shards are read from a disk.

    Raises:
        ValueError: If it is one; what to do is said.
    """
    import tensorflow as tf  # noqa: PLC0415  (for stores alone)

    place = f"{address.rstrip('/')}/{DATASET}"
    with named_store(address):
        there = tf.io.gfile.exists(place)
    if there and b'"image_shape"' in read_remote(place)[:4096]:
        msg = (
            f"{address} is a prepared folder, which is read at random from a disk. Copy it to "
            "one, as by `gcloud storage cp --recursive`, and give the copy."
        )
        raise ValueError(msg)


def shard_name(split: str, number: int, shards: int) -> str:
    """The file name of a shard."""
    return f"{split}-{number:05d}-of-{shards:05d}.array_record"


def labels_name(split: str) -> str:
    """The file name of a split's labels."""
    return f"{split}-labels.npy"


def ends_sha256(path: Path) -> str:
    """The SHA-256 of the first and last 64 KiB of a file: what tells shards apart in no time."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(ENDS))
        file.seek(max(ENDS, path.stat().st_size - ENDS))
        digest.update(file.read(ENDS))
    return digest.hexdigest()


def read_dataset(folder: Path) -> dict[str, Any]:
    """The dataset.json of a prepared folder.

    Raises:
        FileNotFoundError: If the preparation has not ended.
        ValueError: If it is no such file.
    """
    if not (folder / DATASET).exists():
        msg = (
            f"{printable(folder)} is not prepared to its end. Run `zoo data prepare` again with "
            "the same options: it goes on."
        )
        raise FileNotFoundError(msg)
    dataset = read_json(folder / DATASET, schemas.DATASET)
    names = dataset["class_names"]
    for name, split in dataset["splits"].items():
        classes = len(split["labels"]["counts"]) if "labels" in split else 0
        if classes and names is not None and classes != len(names):
            msg = (
                f"{printable(folder / DATASET)}: {len(names)} names for the {classes} classes of "
                f"the split {name}. Was it edited? {REMEDY}"
            )
            raise ValueError(msg)
    return dataset


def contents(folder: Path, split: str) -> Contents:
    """What dataset.json says of a split; nothing else is read."""
    dataset = read_dataset(folder)
    split, notes = _chosen(dataset, folder, split)
    marks, names = dataset["splits"][split], dataset["class_names"]
    counts = np.array(marks["labels"]["counts"]) if "labels" in marks else None
    height, width, channels = dataset["image_shape"]
    classes = 0 if counts is None else len(counts)
    return Contents(marks["images"], (height, width, channels), classes, names, counts, notes)


def number_of_classes(folder: Path) -> int:
    """The classes that dataset.json names or counts; 0 if the training split has no labels.

    Raises:
        ValueError: If classes are only numbered, and the training split lacks most or the first.
    """
    train = contents(folder, "train")
    if train.counts is None or train.class_names is not None:
        return train.classes
    return count_classes(np.flatnonzero(train.counts), f"The labels of {printable(folder)}")


def _chosen(dataset: dict[str, Any], folder: Path, split: str) -> tuple[str, list[str]]:
    """The split to read for another, and notes.

    Raises:
        ValueError: If there is none.
    """
    there = dataset["splits"]
    if EVERY in there:
        return EVERY, []
    chosen, notes = split_to_read(split, there)
    if chosen not in there:
        msg = (
            f"{printable(folder)} has no split {split!r}; it has {sorted(there)}. Prepare that "
            "split too, into another folder."
        )
        raise ValueError(msg)
    return chosen, notes


def faults(folder: Path, splits: dict[str, Any], *, hashed: int | None = None) -> Iterator[str]:
    """What is wrong with the files of a prepared folder, in sentences.

    Args:
        folder: The folder.
        splits: The splits to look at, as its dataset.json has them.
        hashed: Hash whole shards if all together have no more bytes than this; None hashes all.
            Else only sizes, ends and labels are looked at.
    """
    files: list[tuple[Path, dict[str, Any]]] = []
    for name, split in splits.items():
        files += [(folder / file, shard) for file, shard in split["shards"].items()]
        if "labels" in split:
            files.append((folder / labels_name(name), split["labels"]))
    total = sum(marks.get("bytes", 0) for _, marks in files)
    whole = hashed is None or total <= hashed
    with ThreadPoolExecutor() as pool:
        answers = pool.map(lambda each: fault(*each, whole=whole), files)
        yield from (each for each in answers if each)
    for name, split in splits.items():
        counted = sum(shard["images"] for shard in split["shards"].values())
        of_classes = sum(split["labels"]["counts"]) if "labels" in split else split["images"]
        for there, where in ((counted, "shards"), (of_classes, "classes")):
            if there != split["images"]:
                yield (
                    f"{printable(folder / DATASET)}: {split['images']} images in the split {name}, "
                    f"but {there} in its {where}. Was it edited? {REMEDY}"
                )


def fault(path: Path, marks: dict[str, Any], *, whole: bool) -> str:
    """What is wrong with a file, or nothing.

    Args:
        path: A shard, or the labels of a split.
        marks: Its entry of dataset.json.
        whole: Hash all of a shard, and not its ends alone.
    """
    name = printable(path)
    if not path.is_file():
        return f"{name} is missing. {REMEDY}"
    size, expected = path.stat().st_size, marks.get("bytes")
    if expected is not None and size != expected:
        return f"{name} has {size:,} bytes; expected {expected:,}. Is it cut short? {REMEDY}"
    if "ends_sha256" in marks and ends_sha256(path) != marks["ends_sha256"]:
        return f"{name} is not the file that {DATASET} tells of (SHA-256 of its ends). {REMEDY}"
    if (whole or expected is None) and _sha256(path) != marks["sha256"]:
        return f"{name} is not the file that {DATASET} tells of (SHA-256). {REMEDY}"
    return ""


def _sha256(path: Path) -> str:
    """The SHA-256 of a file; a process that opens a folder several times computes it once."""
    status = path.stat()
    return _sha256_of(path, status.st_size, status.st_mtime_ns, status.st_ino)


@functools.lru_cache(maxsize=1024)
def _sha256_of(path: Path, *_: int) -> str:
    return sha256(path)


class Prepared(Records):
    """A split of a prepared folder. Reading an image reads nothing of the others."""

    def __init__(self, folder: Path, split: str) -> None:
        """Opens the shards, and checks that they are those of dataset.json.

        Raises:
            FileNotFoundError: If the preparation has not ended.
            ValueError: If there is no such split, or a file is missing or another than it was.
        """
        dataset = read_dataset(folder)
        split, notes = _chosen(dataset, folder, split)
        marks = dataset["splits"][split]
        for each in faults(folder, {split: marks}, hashed=HASHED):
            raise ValueError(each)
        labels = GivenLabels()
        if "labels" in marks:
            path = folder / labels_name(split)
            labels = GivenLabels(lambda: np.load(path), what=printable(path))
        super().__init__(
            marks["images"],
            dataset["image_shape"],
            np.dtype(dataset["dtype"]),
            labels,
            dataset["class_names"],
            what=printable(folder),
            notes=notes,
        )
        self._hashes = [shard["sha256"] for shard in marks["shards"].values()]
        self._paths = [folder / file for file in marks["shards"]]
        counts = [shard["images"] for shard in marks["shards"].values()]
        self._starts = np.cumsum([0, *counts])
        self._readers = [_reader(*each) for each in zip(self._paths, counts, strict=True)]
        first = int(np.argmax(np.array(counts) > 0))  # of the shards that hold any
        size, expected = len(self._read(first, np.array([0]))[0]), self.nbytes // len(self)
        if size != expected:
            msg = (
                f"{printable(folder / DATASET)}: images of shape {self.shape}, {self.dtype.name}, "
                f"have {expected} bytes, but those in the shards {size}. Was it edited? {REMEDY}"
            )
            raise ValueError(msg)

    def take(self, indices: Any) -> np.ndarray:
        """The images of these numbers, in the order asked."""
        indices = np.asarray(indices, np.int64)
        pixels = np.empty((len(indices), *self.shape), self.dtype)
        shards = np.searchsorted(self._starts, indices, "right") - 1
        for shard in np.unique(shards):
            places = np.flatnonzero(shards == shard)
            for start in range(0, len(places), AT_ONCE):
                some = places[start : start + AT_ONCE]
                for place, record in zip(some, self._read(shard, indices[some]), strict=True):
                    pixels[place] = np.frombuffer(record, self.dtype).reshape(self.shape)
        return pixels

    def _read(self, shard: int, indices: np.ndarray) -> list[bytes]:
        """The records of these images, all of one shard."""
        try:
            return self._readers[shard].read((indices - self._starts[shard]).tolist())
        except RuntimeError as error:  # such as a checksum that does not match
            msg = f"{printable(self._paths[shard])} is damaged ({error}). {REMEDY}"
            raise ValueError(msg) from error

    def index(self) -> str:
        """SHA-256 of those of the shards, which are the same wherever the folder is copied to."""
        return hashlib.sha256(" ".join(self._hashes).encode()).hexdigest()


def _reader(path: Path, images: int) -> Any:
    """A shard's reader, if it holds so many images."""
    from array_record.python import array_record_module  # noqa: PLC0415  (not with every source)

    reader = array_record_module.ArrayRecordReader(os.fsencode(path), READING)
    there = reader.num_records()
    if there != images:  # what is cut short has none
        msg = f"{printable(path)} holds {there} images; expected {images}. {REMEDY}"
        raise ValueError(msg)
    return reader
