"""From a source of images to batches of float32 NHWC in [0, 1].

A source is a TFDS name (`"fashion_mnist"`), a folder of image files, an `.npz` or `.npy` file or an
array. Decoded images are held in memory as bytes (Fashion-MNIST 47 MB, CelebA at 64 × 64 2.5 GB),
so every epoch after the first costs no reading.
"""

from zoo.data.images import Images
from zoo.data.pipeline import load, to_array, training_stream, untuned
from zoo.data.sources import (
    DEFAULT_SOURCE,
    class_names,
    describe,
    image_shape,
    number_of_classes,
    read,
    source_name,
)
from zoo.data.unchanged import check_classes, check_unchanged, fingerprint

__all__ = [
    "DEFAULT_SOURCE",
    "Images",
    "check_classes",
    "check_unchanged",
    "class_names",
    "describe",
    "fingerprint",
    "image_shape",
    "load",
    "number_of_classes",
    "read",
    "source_name",
    "to_array",
    "training_stream",
    "untuned",
]
