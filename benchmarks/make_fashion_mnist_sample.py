"""Makes the sample of Fashion-MNIST that ships inside the package.

The first 1,000 training and 200 test images of each of the ten classes in TFDS's order, in
TFDS's on-disk form. Run with the full data set at hand:

    python benchmarks/make_fashion_mnist_sample.py
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow_datasets as tfds

from zoo import data
from zoo.data.tfds_source import SAMPLE, SAMPLE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

PER_CLASS = {"train": 1000, "test": 200}


def examples(split: str) -> Iterator[tuple[str, dict[str, object]]]:
    """(key, example) of the first images of each class."""
    images = data.read("fashion_mnist", split=split)
    seen = np.zeros(10, int)
    for i, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        if seen[label] < PER_CLASS[split]:
            seen[label] += 1
            yield f"{i:05d}", {"image": pixels, "label": int(label)}


def main() -> None:
    """Writes the sample, leaving its LICENSE in place."""
    for path in SAMPLE_FOLDER.iterdir():
        if path.name != "LICENSE":
            path.unlink()
    scratch = Path("build") / SAMPLE
    shutil.rmtree(scratch, ignore_errors=True)
    features = {
        "image": tfds.features.Image(shape=(28, 28, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
    }
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name=SAMPLE,
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={split: list(examples(split)) for split in PER_CLASS},
        description="The first 1,000 training and 200 test images of each class of Fashion-MNIST.",
        homepage="https://github.com/zalandoresearch/fashion-mnist",
        data_dir=scratch,
        disable_shuffling=True,
    )
    for path in Path(builder.data_path).iterdir():
        shutil.move(path, SAMPLE_FOLDER / path.name)
        print(path.name)


if __name__ == "__main__":
    main()
