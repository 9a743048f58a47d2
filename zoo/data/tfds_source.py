"""Data sets of TensorFlow Datasets, and the sample of Fashion-MNIST inside this package.

TFDS takes two seconds to import: it waits until a data set is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.contents import Contents, Shape, known_size, split_to_read
from zoo.data.image_files import fit, read_file
from zoo.data.records import GivenLabels, Records, stacked
from zoo.io.names import nearest

SAMPLE = "fashion_mnist_sample"
SAMPLE_FOLDER = Path(__file__).parent / SAMPLE
# Where Debian's package dataset-fashion-mnist puts the full data.
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
MAX_BYTES = 8 << 30


class TfRecords(Records):
    """A split prepared as TFRecord files, which are read in order and as a whole, into memory."""

    only_whole = True

    def __init__(self, name: str, builder: Any, split: str, shape: Shape | None) -> None:
        """Asks TFDS for the split; its feature `label` is the labels, if any."""
        source = shape or known_size(_feature_shape(builder), name)
        split, notes = _split(name, builder, split)
        label = _label(builder)
        fault = ""
        if label is not None and label.shape != ():
            fault = f"{name}: its feature `label` has shape {label.shape}; expected one number."
        super().__init__(
            builder.info.splits[split].num_examples,
            source,
            _dtype(builder),
            GivenLabels(
                None if label is None else lambda: self._all[1],
                what=f"{name}: label",
                fault=fault,
            ),
            _class_names(builder),
            what=name,
            notes=notes,
        )
        self._builder, self._split = builder, split

    def take(self, indices: Any) -> np.ndarray:
        """The images of these numbers, in the order asked."""
        return self.take_all()[np.asarray(indices)]

    def take_all(self) -> np.ndarray:
        """All images, in the data set's order."""
        return self._all[0]

    @functools.cached_property
    def _all(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixels and labels, which one reading gives."""
        if self.nbytes > MAX_BYTES:
            msg = (
                f"{self.what} ({self._split}) would take {self.nbytes / (1 << 30):.0f} GiB of "
                "memory, as it is in TFRecord files, which are read as a whole. Run `zoo data "
                f"prepare {self.what} --out FOLDER`, and train on that folder; or choose a smaller "
                "--image-size, or a slice such as 'train[:10%]'."
            )
            raise ValueError(msg)
        label = _label(self._builder)
        keys = ["image", *(["label"] if label is not None and not self.given.fault else [])]
        pixels, labels = [], []
        examples = self._builder.as_dataset(split=self._split)
        for example in examples.batch(1 if None in _raw(self._builder) else 1000):
            batch, *batch_labels = (np.asarray(example[key]) for key in keys)
            if batch.shape[1:] != self.shape and batch.dtype == np.uint8:
                batch = np.stack([fit(p, self.shape) for p in batch])
            pixels.append(batch)
            labels.extend(batch_labels)
        return np.concatenate(pixels), np.concatenate(labels) if labels else None


class ArrayRecords(TfRecords):
    """A split prepared as ArrayRecord files, of which any image is read alone."""

    only_whole = False

    def __init__(self, name: str, builder: Any, split: str, shape: Shape | None) -> None:
        """As `TfRecords`; labels are read by a pass that decodes no images."""
        super().__init__(name, builder, split, shape)
        import tensorflow_datasets as tfds  # noqa: PLC0415

        undecoded = {"image": tfds.decode.SkipDecoding()}
        self._examples = builder.as_data_source(self._split, decoders=undecoded)
        if self.given.values is not None:
            self.given = dataclasses.replace(self.given, values=self._read_labels)

    def take(self, indices: Any) -> np.ndarray:
        """The images of these numbers, in the order asked."""
        indices = np.asarray(indices, np.int64)
        examples = self._read(indices.tolist())

        def decode(place: int) -> np.ndarray:
            def name() -> str:
                return f"{self.what} ({self._split}): image {indices[place]}"

            return read_file(examples[place]["image"], self.shape, self.dtype, name=name)

        return stacked(decode, np.arange(len(indices)), self.shape, self.dtype)

    def take_all(self) -> np.ndarray:
        """All images in order."""
        return np.concatenate(list(self.chunks()))

    def index(self) -> str:
        """SHA-256 of what TFDS knows of the files."""
        return _index(self._builder, self._split)

    def _read(self, indices: list[int]) -> list[Any]:
        try:
            return self._examples.__getitems__(indices) if indices else []
        except (OSError, RuntimeError, ValueError) as error:
            where = self._builder.data_path
            msg = f"{self.what}: files in {where} are damaged ({error}). Prepare it again."
            raise ValueError(msg) from error

    def _read_labels(self) -> np.ndarray:
        starts = range(0, len(self), 1000)
        parts = (range(start, min(start + 1000, len(self))) for start in starts)
        return np.array([example["label"] for part in parts for example in self._read([*part])])


class InOrder(TfRecords):
    """The same, read from the beginning to the end, and never held as a whole."""

    only_whole = False

    def __init__(self, name: str, builder: Any, split: str, shape: Shape | None) -> None:
        """As `TfRecords`; the labels are read by a pass that decodes no images."""
        super().__init__(name, builder, split, shape)
        if self.given.values is not None:
            self.given = dataclasses.replace(self.given, values=self._read_labels)
        self._examples: Any = None
        self._first, self._read = 0, list[Any]()  # the examples read last, and the first's number

    def take(self, indices: Any) -> np.ndarray:
        """The images of numbers that follow one another; quick if they follow those before."""
        indices = np.asarray(indices, np.int64)
        if np.any(np.diff(indices) != 1):
            msg = f"{self.what} is read in order; expected numbers that follow one another."
            raise ValueError(msg)
        first, stop = int(indices[0]), int(indices[-1]) + 1
        if not self._first <= first < stop <= self._first + len(self._read):
            self._read_on(first, stop)
        encoded = self._read[first - self._first : stop - self._first]
        return stacked(
            lambda i: self._decoded(encoded[i], first + i),
            range(stop - first),
            self.shape,
            self.dtype,
        )

    def index(self) -> str:
        """SHA-256 of what TFDS knows of the files."""
        return _index(self._builder, self._split)

    def _read_on(self, first: int, stop: int) -> None:
        import tensorflow_datasets as tfds  # noqa: PLC0415

        if self._examples is None or first != self._first + len(self._read):
            undecoded = {"image": tfds.decode.SkipDecoding()}
            examples = self._builder.as_dataset(split=self._split, decoders=undecoded)
            self._examples = examples.skip(first).as_numpy_iterator()
        self._first = first
        self._read = [next(self._examples)["image"] for _ in range(first, stop)]

    def _decoded(self, encoded: Any, number: int) -> np.ndarray:
        import tensorflow as tf  # noqa: PLC0415  (as TFDS)

        try:
            image = self._builder.info.features["image"].decode_example(encoded).numpy()
        except (tf.errors.OpError, ValueError) as error:
            msg = f"{self.what} ({self._split}): image {number} cannot be read ({error})."
            raise ValueError(msg) from error
        return image if image.shape == self.shape else fit(image, self.shape)

    def _read_labels(self) -> np.ndarray:
        import tensorflow_datasets as tfds  # noqa: PLC0415

        only = tfds.decode.PartialDecoding({"label": True})
        examples = self._builder.as_dataset(split=self._split, decoders=only)
        batches = examples.batch(1000).as_numpy_iterator()
        return np.concatenate([example["label"] for example in batches])


def open_in_order(name: str, split: str, shape: Shape | None) -> Records:
    """The images of a split, for reading them in order: then no memory is too small."""
    records = open_split(name, split, shape)
    if isinstance(records, ArrayRecords):
        return records
    return InOrder(name, _prepared(name, _builder(name)), split, shape)


def splits(name: str) -> list[str]:
    """The names of the splits."""
    return sorted(_prepared(name, _builder(name)).info.splits)


def open_split(name: str, split: str, shape: Shape | None) -> Records:
    """The images of a split, which is prepared if it was not."""
    builder = _builder(name)
    if shape is None:
        known_size(_feature_shape(builder), name)
    builder = _prepared(name, builder)
    by_index = str(getattr(builder.info, "file_format", "")).endswith("ARRAY_RECORD")
    if by_index and _dtype(builder) == np.uint8:
        return ArrayRecords(name, builder, split, shape)
    return TfRecords(name, builder, split, shape)


def contents(name: str, split: str) -> Contents:
    """What `open_split` would find, from what TFDS knows of the data set."""
    builder = _prepared(name, _builder(name))
    split, notes = _split(name, builder, split)
    return Contents(
        builder.info.splits[split].num_examples,
        _feature_shape(builder),
        _number_of_classes(builder),
        _class_names(builder),
        notes=notes,
    )


def number_of_classes(name: str) -> int:
    """The classes that a data set declares; 0 if it does not."""
    return _number_of_classes(_builder(name))


def class_names(name: str) -> list[str] | None:
    """The names of its classes, unless they are their numbers."""
    return _class_names(_builder(name))


def shape(name: str) -> tuple[int | None, int | None, int]:
    """(height, width, channels) as declared; None where images differ."""
    return _feature_shape(_builder(name))


def is_prepared(folder: Path) -> bool:
    """Whether a folder is a data set that TFDS has prepared."""
    return all((folder / name).is_file() for name in ("dataset_info.json", "features.json"))


def _builder(name: str) -> Any:
    import tensorflow_datasets as tfds  # noqa: PLC0415

    if Path(name).is_absolute():
        try:
            return tfds.builder_from_directory(name)
        except Exception as error:  # TFDS and protobuf raise many kinds
            msg = (
                f"{name}: what TFDS wrote of the data set, such as dataset_info.json, cannot be "
                f"read ({error}). Prepare it again."
            )
            raise ValueError(msg) from error
    if name == SAMPLE:
        return tfds.builder_from_directory(SAMPLE_FOLDER)
    try:
        return tfds.builder(name)
    except ValueError as error:  # as DatasetNotFoundError is one; or of what is no name at all
        unparsed = str(error).startswith("Parsing builder name")
        if not unparsed and not isinstance(error, tfds.core.DatasetNotFoundError):
            raise
        names = [*tfds.list_builders(), SAMPLE]
        near = nearest(name, names) or [SAMPLE]
        msg = (
            f"Unknown data set {name!r}: neither a TFDS name, nor a folder, nor a file. "
            f"Did you mean {' or '.join(near)}?"
        )
        raise ValueError(msg) from error


def _index(builder: Any, split: str) -> str:
    info = builder.info
    lengths = {name: each.shard_lengths for name, each in info.splits.items()}
    return hashlib.sha256(f"{info.full_name} {split} {lengths}".encode()).hexdigest()


def _split(name: str, builder: Any, split: str) -> tuple[str, list[str]]:
    """The split to read, and notes."""
    known = list(builder.info.splits)
    split, notes = split_to_read(split, known)
    if split.partition("[")[0] not in known:
        msg = f"{name} has no split {split!r}; it has {known}."
        raise ValueError(msg)
    return split, notes


def _label(builder: Any) -> Any:
    """The feature `label`, or None."""
    features = builder.info.features or {}
    return features["label"] if "label" in features else None  # noqa: SIM401  (no mapping: no get)


def _number_of_classes(builder: Any) -> int:
    return getattr(_label(builder), "num_classes", None) or 0


def _class_names(builder: Any) -> list[str] | None:
    """The names of its classes, unless they are their numbers."""
    names = getattr(_label(builder), "names", None)
    if not names or names == [str(number) for number in range(len(names))]:
        return None
    return list(names)


def _raw(builder: Any) -> tuple[int | None, ...]:
    if "image" not in (builder.info.features or {}):
        msg = f"{builder.name} has features {list(builder.info.features or {})}; expected `image`."
        raise ValueError(msg)
    return builder.info.features["image"].shape


def _dtype(builder: Any) -> Any:
    floats = np.issubdtype(
        getattr(builder.info.features["image"], "np_dtype", np.uint8), np.floating
    )
    return np.float32 if floats else np.uint8


def _feature_shape(builder: Any) -> tuple[int | None, int | None, int]:
    height, width, channels = _raw(builder)
    return height, width, 1 if channels == 1 else 3


def _prepared(name: str, builder: Any) -> Any:
    """Prepares a data set that is not on disk yet: TFDS does so in a temporary folder."""
    if builder.data_path.exists():
        return builder
    import tensorflow_datasets as tfds  # noqa: PLC0415

    config = None
    if builder.name == "fashion_mnist" and DEBIAN.is_dir():
        builder.URL = f"{DEBIAN.as_uri()}/"
        # Debian compressed the files anew: other checksums, the same images.
        config = tfds.download.DownloadConfig(force_checksums_validation=False)
    try:
        builder.download_and_prepare(download_config=config)
    except (OSError, tfds.download.DownloadError) as error:
        if builder.data_path.exists():  # another process has been faster
            return _builder(name)
        debian = " or install Debian's package dataset-fashion-mnist"
        hint = debian if builder.name == "fashion_mnist" else ""
        msg = (
            f"{builder.name} is not prepared in {builder.data_path.parent} and cannot be "
            f"downloaded ({type(error).__name__}: {error}). Connect to the network,{hint} copy a "
            f"prepared data set there, or use {SAMPLE}, which needs none."
        )
        raise ConnectionError(msg) from error
    return builder
