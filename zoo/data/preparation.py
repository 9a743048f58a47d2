"""Decoding a source once, into a prepared folder (`zoo.data.prepared` says what that is).

While it is under way, `preparation.json` says what is being prepared and which shards are whole.
A preparation that was killed goes on from there; it ends with the same bytes.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data import sources
from zoo.data.checked import count_classes
from zoo.data.contents import shortened
from zoo.data.images import Images
from zoo.data.prepared import (
    DATASET,
    PREPARATION,
    ends_sha256,
    fault,
    faults,
    labels_name,
    read_dataset,
    shard_name,
)
from zoo.data.trees import is_remote
from zoo.data.unchanged import fingerprint
from zoo.io import schemas
from zoo.io.files import LOCK, SCRATCH, replacing, sha256
from zoo.io.locks import locked
from zoo.io.names import as_path, printable
from zoo.io.records import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from zoo.data.records import Records

FORMAT = 1
SKIPPED = "skipped.txt"
ON_ERROR = ("fail", "skip")
SHARD_BYTES = 1 << 28  # of decoded images: a killed preparation loses no more than one shard
MOST_SHARDS = 256  # of a split: all of them are open while it is read
CHUNK_BYTES = 1 << 24  # of decoded images that are read at once
WRITING = "group_size:1"  # each image for itself, so that it can be read alone
CONVERSION = "cropped around the centre to the aspect of image_shape, resized with antialiasing"
PACKAGES = ("vaegan-zoo", "array_record", "numpy", "pillow")


def prepare(
    source: Any,
    out: str | Path,
    *,
    image_shape: Sequence[int] | None = None,
    splits: Sequence[str] | None = None,
    on_error: str = "fail",
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Decodes a source once, into a folder that is a source itself and is read at random fast.

    The images are converted to one shape and stored without loss. If it is killed, call it again
    with the same arguments: whole shards are kept, and the folder gets the same bytes as if it had
    not been killed. Damaged or missing files of a prepared folder are written anew.

    Args:
        source: As for `zoo.data.open`. A data set of TFDS is read in order, never held as a whole.
        out: The folder, new or begun by the same call.
        image_shape: (height, width, channels) to convert to; None keeps the source's.
        splits: Names of the splits, such as `["train", "test"]`; by default all that there are.
            A slice of a TFDS split, such as `"train[:10%]"`, is stored under the split's name.
        on_error: What to do about an image that cannot be read: `"fail"`, or `"skip"`, which leaves
            it out and names it in `skipped.txt`.
        progress: Called with (split, images done, images of the split) now and then.

    Returns:
        What `dataset.json` in the folder holds.

    Raises:
        BlockingIOError: If another process is preparing into the folder.
        FileExistsError: If the folder holds something else.
        TypeError: If `out` is no path.
        ValueError: If an image cannot be read, the source has no such split, or its labels are no
            classes; and as `zoo.data.open`.
        OSError: If it cannot be written. Whole shards are kept, and nothing is half-written.

    Example:
        >>> import numpy as np, tempfile, zoo
        >>> pixels = np.zeros((5, 8, 8), "uint8")
        >>> pixels[0] = 255
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dataset = zoo.data.prepare(pixels, f"{folder}/prepared")
        ...     zoo.data.read(f"{folder}/prepared").pixels.shape
        (5, 8, 8, 1)
    """
    if on_error not in ON_ERROR:
        msg = f"on_error={on_error!r}: expected one of {', '.join(ON_ERROR)}."
        raise ValueError(msg)
    if is_remote(out):
        msg = f"{out} is no place on a disk. Prepare into a folder on one, and copy that."
        raise ValueError(msg)
    out = as_path(out, "out").expanduser()
    opened = _opened(source, splits, image_shape)
    _check_classes(opened)
    settings = _settings(source, opened)
    with locked(out):
        ended = _ended(out, settings)
        if ended is not None and next(faults(out, ended["splits"]), None) is None:
            (out / PREPARATION).unlink(missing_ok=True)  # if it was killed at the very end
            return ended
        shards = _begun(out, settings) if ended is None else _undamaged(out, ended)
        try:
            for split, records in opened.items():
                per_shard = settings["planned"][split]["images_per_shard"]
                for name, numbers in _planned(split, len(records), per_shard):
                    if not _is_whole(out / name, shards.get(name)):
                        tell = _told(progress, split, numbers.start, len(records))
                        shards[name] = _write_shard(out / name, records, numbers, on_error, tell)
                        write_json(out / PREPARATION, {**settings, "shards": shards})
            return _finish(out, settings, shards, opened)
        except BaseException:
            if not shards:  # nothing to go on from: other options may be tried
                (out / PREPARATION).unlink(missing_ok=True)
            raise


def _opened(
    source: Any, splits: Sequence[str] | None, image_shape: Sequence[int] | None
) -> dict[str, Records]:
    """The records of each split, by the split's name; all of the same shape and kind."""
    names = list(splits) if splits is not None else sources.splits(source)
    opened = {}
    for split in names:
        name = split.partition("[")[0]
        if name in opened:
            msg = f"The split {name} was given twice. Give each split once."
            raise ValueError(msg)
        opened[name] = sources.open_in_order(source, split, image_shape)
    shapes = {(records.shape, records.dtype.name) for records in opened.values()}
    if len(shapes) > 1:
        msg = (
            f"The splits of {printable(sources.source_name(source))} differ: {sorted(shapes)}. Say "
            "which size to convert to (image_shape, or --image-size)."
        )
        raise ValueError(msg)
    return opened


def _check_classes(opened: dict[str, Records]) -> None:
    """Refuses labels that are no classes, before anything is decoded.

    All splits are looked at together: a small one may lack some of the classes.
    """
    first = next(iter(opened.values()))
    labels = [each.labels for each in opened.values() if each.labels is not None]
    if not labels or first.class_names is not None:
        return
    try:
        count_classes(np.concatenate(labels), first.given.what)
    except ValueError as error:
        msg = f"{error} A prepared folder has no num_classes: number the classes before."
        raise ValueError(msg) from error


def _settings(source: Any, opened: dict[str, Records]) -> dict[str, Any]:
    """What must be the same for a preparation to go on."""
    first = next(iter(opened.values()))
    names = first.class_names
    return {
        "format": FORMAT,
        "source": printable(sources.source_name(source)),
        "image_shape": list(first.shape),
        "dtype": first.dtype.name,
        "conversion": CONVERSION,
        "class_names": None if names is None else list(names),
        "planned": {split: _plan(records) for split, records in opened.items()},
    }


def _plan(records: Records) -> dict[str, Any]:
    """The images of each shard, and marks that tell these images from others."""
    of_one = records.nbytes // len(records)
    per_shard = max(SHARD_BYTES // of_one, -(-len(records) // MOST_SHARDS), 1)
    cheap = records.index() is not None or isinstance(records, Images)  # no decoding for it
    like = {"index": ""}  # the marks that every dataset.json has
    marks = fingerprint(records, labels=True, like=like) if cheap else {"images": len(records)}
    return {"images_per_shard": per_shard, **marks}


def _planned(split: str, images: int, per_shard: int) -> Iterator[tuple[str, range]]:
    """The name of each shard, and the numbers of its images in the source."""
    shards = -(-images // per_shard)
    for number in range(shards):
        start = number * per_shard
        yield shard_name(split, number, shards), range(start, min(start + per_shard, images))


def _ended(out: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The dataset.json of the folder, if the same was prepared before."""
    if not (out / DATASET).exists():
        return None
    there = read_dataset(out)
    _check_same(out, there, settings, "other prepared data")
    return there


def _undamaged(out: Path, dataset: dict[str, Any]) -> dict[str, Any]:
    """The shards of a prepared folder that are what they were."""
    return {
        name: marks
        for split in dataset["splits"].values()
        for name, marks in split["shards"].items()
        if not fault(out / name, marks, whole=True)
    }


def _begun(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The shards that are whole; the folder is marked as one under preparation."""
    if (out / PREPARATION).exists():
        begun = read_json(out / PREPARATION, schemas.PREPARATION)
        _check_same(out, begun, settings, "the beginning of another preparation")
        return begun["shards"]
    others = [each.name for each in out.iterdir() if each.name != LOCK and SCRATCH not in each.name]
    if others:
        msg = f"{out} holds other files: {shortened(sorted(others))}. Choose a new folder."
        raise FileExistsError(msg)
    write_json(out / PREPARATION, {**settings, "shards": {}})
    return {}


def _check_same(out: Path, there: dict[str, Any], settings: dict[str, Any], what: str) -> None:
    different = [name for name, value in settings.items() if there.get(name) != value]
    if different:
        listed = "; ".join(
            f"{name} ({there.get(name)}, now {settings[name]})"
            if name != "planned"
            else "the images, their labels or their number"
            for name in different
        )
        msg = (
            f"{out} holds {what}. These differ: {listed}. Give the same source and options, or "
            "another folder; or remove this one."
        )
        raise FileExistsError(msg)


def _is_whole(path: Path, marks: dict[str, Any] | None) -> bool:
    """Whether a shard is the one that was written."""
    return (
        marks is not None
        and path.is_file()
        and path.stat().st_size == marks["bytes"]
        and ends_sha256(path) == marks["ends_sha256"]
    )


def _told(
    progress: Callable[[str, int, int], None] | None, split: str, before: int, images: int
) -> Callable[[int], None]:
    """A function of the images of a shard that are done."""

    def tell(done: int) -> None:
        if progress is not None:
            progress(split, before + done, images)

    return tell


def _write_shard(
    path: Path, records: Records, numbers: range, on_error: str, tell: Callable[[int], None]
) -> dict[str, Any]:
    """Writes the images of these numbers into a file, and returns its entry of dataset.json."""
    from array_record.python import array_record_module  # noqa: PLC0415  (not to read others)

    skipped: dict[str, str] = {}
    done = written = 0
    with replacing(path) as scratch:
        writer = array_record_module.ArrayRecordWriter(os.fsencode(scratch), WRITING)
        try:
            for part, images in _decoded(records, numbers, on_error, skipped):
                for image in images:
                    writer.write(image.tobytes())
                done, written = done + len(part), written + len(images)
                tell(done)
        finally:
            writer.close()
        marks: dict[str, Any] = {
            "images": written,
            "bytes": scratch.stat().st_size,
            "sha256": sha256(scratch),
            "ends_sha256": ends_sha256(scratch),
        }
    if skipped:
        marks["skipped"] = skipped
    return marks


def _decoded(
    records: Records, numbers: range, on_error: str, skipped: dict[str, str]
) -> Iterator[tuple[range, np.ndarray]]:
    """Parts of the numbers with their images: while one is written, the next is decoded."""
    step = max(1, CHUNK_BYTES * len(records) // records.nbytes)
    parts = [numbers[start : start + step] for start in range(0, len(numbers), step)]
    with ThreadPoolExecutor(1) as ahead:
        waiting = None
        for part in parts:
            following = part, ahead.submit(_taken, records, part, on_error, skipped)
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = following
        if waiting is not None:
            yield waiting[0], waiting[1].result()


def _taken(records: Records, numbers: range, on_error: str, skipped: dict[str, str]) -> np.ndarray:
    """The images of these numbers; without those that cannot be read, if they are skipped."""
    try:
        return records.take(np.array(numbers))
    except ValueError as error:
        if on_error == "fail":
            msg = f"{error} To leave out what cannot be read, take --on-error skip."
            raise ValueError(msg) from error
    kept = [image for number in numbers for image in _one(records, number, skipped)]
    return np.concatenate([np.empty((0, *records.shape), records.dtype), *kept])


def _one(records: Records, number: int, skipped: dict[str, str]) -> list[np.ndarray]:
    """The image of a number, [1, height, width, channels]; none if it cannot be read."""
    try:
        return [records.take(np.array([number]))]
    except ValueError as error:
        skipped[str(number)] = str(error)
        return []


def _finish(
    out: Path, settings: dict[str, Any], shards: dict[str, Any], opened: dict[str, Records]
) -> dict[str, Any]:
    """Writes what the shards do not hold: labels, what was skipped, and dataset.json at last."""
    splits: dict[str, Any] = {}
    unreadable: list[str] = []
    for split, records in opened.items():
        per_shard = settings["planned"][split]["images_per_shard"]
        its = {name: shards[name] for name, _ in _planned(split, len(records), per_shard)}
        skipped = {
            int(n): why for shard in its.values() for n, why in shard.get("skipped", {}).items()
        }
        unreadable += skipped.values()
        splits[split] = {"images": len(records) - len(skipped), "shards": its}
        if not splits[split]["images"]:
            others = " ".join(f"--split {name}" for name in opened if name != split)
            remedy = f" Or take {others}, and a new folder." if others else ""
            msg = f"No image of the split {split} can be read, such as: {unreadable[-1]}{remedy}"
            raise ValueError(msg)
        if records.labels is not None:
            labels = np.delete(records.labels, sorted(skipped)).astype("<i4")
            with replacing(out / labels_name(split)) as scratch:
                np.save(scratch, labels)
            classes = len(records.class_names or ()) or int(records.labels.max()) + 1
            counts = np.bincount(labels, minlength=classes)
            marks = {"sha256": sha256(out / labels_name(split)), "counts": counts.tolist()}
            splits[split]["labels"] = marks
    if unreadable:
        with replacing(out / SKIPPED) as scratch:
            scratch.write_text("".join(f"{why}\n" for why in unreadable), encoding="utf-8")
    versions = {name: version(name) for name in PACKAGES}
    dataset = {**settings, "splits": splits, "versions": versions}
    write_json(out / DATASET, dataset)
    (out / PREPARATION).unlink(missing_ok=True)  # if nothing but labels was damaged
    return dataset
