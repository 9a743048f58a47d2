"""Data sets of TensorFlow Datasets, and the sample of Fashion-MNIST inside this package.

TFDS takes two seconds to import: it waits until a data set is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.image_files import convert, from_array
from zoo.data.images import Contents, Images, Shape, known_size, split_to_read
from zoo.io.names import nearest

SAMPLE = "fashion_mnist_sample"
SAMPLE_FOLDER = Path(__file__).parent / SAMPLE
# Where Debian's package dataset-fashion-mnist puts the full data.
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
MAX_BYTES = 8 << 30


def read(name: str, split: str, shape: Shape | None) -> Images:
    """The images of a split, uint8 in the data set's order, with its feature `label` if any."""
    builder = _builder(name)
    source = shape or known_size(_feature_shape(builder), name)
    builder = _prepared(name, builder)
    split, notes = _split(name, builder, split)
    size = builder.info.splits[split].num_examples * int(np.prod(source))
    if size > MAX_BYTES:
        msg = (
            f"{name} ({split}) would take {size / (1 << 30):.0f} GiB of memory. Choose a smaller "
            "--image-size, or a slice such as 'train[:10%]'."
        )
        raise ValueError(msg)
    label = _label(builder)
    unlabelled = ""
    if label is not None and label.shape != ():
        unlabelled = f"{name}: its feature `label` has shape {label.shape}; expected one number."
    keys = ["image", *(["label"] if label is not None and not unlabelled else [])]
    pixels, labels = [], []
    for example in builder.as_dataset(split=split).batch(1 if None in _raw(builder) else 1000):
        batch, *batch_labels = (np.asarray(example[key]) for key in keys)
        if batch.shape[1:] != source and batch.dtype == np.uint8:
            batch = np.stack([convert(from_array(p), source) for p in batch])
        pixels.append(batch)
        labels.extend(batch_labels)
    return Images(
        np.concatenate(pixels),
        np.concatenate(labels) if labels else None,
        _class_names(builder),
        what=name,
        what_labels=f"{name}: label",
        notes=notes,
        unlabelled=unlabelled,
    )


def contents(name: str, split: str) -> Contents:
    """What `read` would find, from what TFDS knows of the data set."""
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


def _builder(name: str) -> Any:
    import tensorflow_datasets as tfds  # noqa: PLC0415

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
            f"Unknown data set {name!r}: neither a TFDS name nor a folder, .npz or .npy file. "
            f"Did you mean {' or '.join(near)}?"
        )
        raise ValueError(msg) from error


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
