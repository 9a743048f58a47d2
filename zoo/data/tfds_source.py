"""Data sets of TensorFlow Datasets, and the sample of Fashion-MNIST inside this package.

TFDS takes two seconds to import: it waits until a data set is asked for.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data import folder

SAMPLE = "fashion_mnist_sample"
SAMPLE_FOLDER = Path(__file__).parent / SAMPLE
# Where Debian's package dataset-fashion-mnist puts the full data.
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
MAX_BYTES = 8 << 30


def read(name: str, split: str, shape: folder.Shape | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels uint8 [n, height, width, channels] in the data set's order, and labels int32 [n]."""
    builder = _builder(name)
    height, width, channels = shape or _feature_shape(builder)
    if height is None or width is None:
        msg = f"The images of {name} differ in size. Say which to resize to (--image-size)."
        raise ValueError(msg)
    source = (height, width, channels)
    builder = _prepared(name, builder)
    known = list(builder.info.splits)
    if split.partition("[")[0] not in known:
        msg = f"{name} has no split {split!r}; it has {known}."
        raise ValueError(msg)
    size = builder.info.splits[split].num_examples * int(np.prod(source))
    if size > MAX_BYTES:
        msg = (
            f"{name} ({split}) would take {size / (1 << 30):.0f} GiB of memory. Choose a smaller "
            "--image-size, or a slice such as 'train[:10%]'."
        )
        raise ValueError(msg)
    keys = ["image", *(["label"] if "label" in builder.info.features else [])]
    pixels, labels = [], []
    for example in builder.as_dataset(split=split).batch(1 if None in _raw(builder) else 1000):
        arrays = [np.asarray(example[key]) for key in keys]
        batch = arrays[0]
        if batch.shape[1:] != source:
            batch = np.stack([folder.convert(folder.from_array(p), source) for p in batch])
        pixels.append(batch)
        labels.extend(arrays[1:])
    return np.concatenate(pixels), np.concatenate(labels).astype(np.int32) if labels else None


def shape(name: str) -> tuple[int | None, int | None, int]:
    """(height, width, channels) as declared; None where images differ."""
    return _feature_shape(_builder(name))


def _builder(name: str) -> Any:
    import tensorflow_datasets as tfds  # noqa: PLC0415

    if name == SAMPLE:
        return tfds.builder_from_directory(SAMPLE_FOLDER)
    try:
        return tfds.builder(name)
    except tfds.core.DatasetNotFoundError as error:
        names = [*tfds.list_builders(), SAMPLE]
        near = difflib.get_close_matches(name, names) or [SAMPLE]
        msg = (
            f"Unknown data set {name!r}: neither a TFDS name nor a folder or .npz file. "
            f"Did you mean {' or '.join(near)}?"
        )
        raise ValueError(msg) from error


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
