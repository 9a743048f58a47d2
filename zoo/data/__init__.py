"""From a source of images to batches of float32 NHWC in [0, 1].

A source is a TFDS name (`"fashion_mnist"`), a folder or an archive of image files, a folder that
`prepare` wrote, a folder of parquet files, an `.npz` or `.npy` file, or an array. Small ones are
held in memory once decoded (Fashion-MNIST takes 47 MB), where a batch costs no reading; others are
read anew each epoch, by several threads.
"""

from zoo.data.images import Images, cached, in_memory
from zoo.data.info import contact_sheet, statistics, verify
from zoo.data.pipeline import load, named_faults, to_array, to_floats, training_stream, untuned
from zoo.data.preparation import prepare
from zoo.data.records import Records
from zoo.data.sources import (
    DEFAULT_SOURCE,
    class_names,
    describe,
    image_shape,
    number_of_classes,
    open,  # noqa: A004  (called as zoo.data.open)
    read,
    source_name,
)
from zoo.data.unchanged import check_classes, check_unchanged, fingerprint

__all__ = [
    "DEFAULT_SOURCE",
    "Images",
    "Records",
    "cached",
    "check_classes",
    "check_unchanged",
    "class_names",
    "contact_sheet",
    "describe",
    "fingerprint",
    "image_shape",
    "in_memory",
    "load",
    "named_faults",
    "number_of_classes",
    "open",
    "prepare",
    "read",
    "source_name",
    "statistics",
    "to_array",
    "to_floats",
    "training_stream",
    "untuned",
    "verify",
]
