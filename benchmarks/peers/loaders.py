"""One contestant of `benchmarks/data.py`, in a process of its own that takes turns.

    python benchmarks/peers/loaders.py CONTESTANT FOLDER SIZE BATCHES

FOLDER is what `benchmarks/data.py` made. Says {"turns": [...]} on standard output once all streams
are open, or {"error": "..."}. Then each line of standard input names a turn: so many batches are
taken, and {"seconds"} said. Every stream shuffles, yields float32 images and their labels, and has
as many workers as this process has cores.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BATCH = 64
CORES = len(os.sched_getaffinity(0))
STEPS = ("vae", "dcgan")  # models whose training step is timed on one batch in memory


def main() -> None:
    """Takes turns until standard input ends."""
    contestant, folder, size, batches = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")  # whatever else is printed must not get between them
    os.dup2(2, 1)

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        turns = CONTESTANTS[contestant](Path(folder), int(size))
        for take in turns.values():
            take(2)
    except (ImportError, RuntimeError, ValueError) as error:
        say(error=f"{type(error).__name__}: {error}")
        return
    say(turns=list(turns))
    for line in sys.stdin:
        begun = time.perf_counter()
        turns[line.strip()](int(batches))
        say(seconds=time.perf_counter() - begun)


def taking(stream: Iterator[Any]) -> Callable[[int], None]:
    """A turn that takes batches of a stream."""

    def take(batches: int) -> None:
        for _ in range(batches):
            next(stream)

    return take


def this_project(folder: Path, size: int) -> dict[str, Callable[[int], None]]:
    """Every kind of source, streamed; and one that is small enough to be kept in memory."""
    import zoo  # noqa: PLC0415
    from zoo.data import images  # noqa: PLC0415

    def stream(source: Path) -> Callable[[int], None]:
        shape = (size, size, 3)
        batches, _ = zoo.data.training_stream(
            source, batch_size=BATCH, image_shape=shape, labels=True
        )
        return taking(iter(batches))

    turns = {"in memory": stream(folder / "images.npz")}
    images.MEMORY_LIMIT = 0  # from now on every source is streamed
    for name, source in sources(folder).items():
        turns[name] = stream(source)
    return {f"this project, {name}": take for name, take in turns.items()}


def sources(folder: Path) -> dict[str, Path]:
    """The sources that are there, by the name of their kind."""
    names = {
        "a prepared folder": "prepared",
        "an .npz file": "images.npz",
        "a folder of files": "files",
        "larger JPEG files": "photographs",
        "a .zip archive": "files.zip",
        "a .tar archive": "files.tar",
        "ArrayRecord of TFDS": "tfds",
        "Parquet": "parquet",
    }
    return {name: folder / file for name, file in names.items() if (folder / file).exists()}


def torchvision(folder: Path, size: int) -> dict[str, Callable[[int], None]]:
    """ImageFolder and DataLoader, with worker processes."""
    import torch  # noqa: PLC0415
    from torch.utils.data import DataLoader  # noqa: PLC0415
    from torchvision import transforms  # noqa: PLC0415
    from torchvision.datasets import ImageFolder  # noqa: PLC0415

    torch.set_num_threads(1)  # those of the workers count

    def loader(name: str, *steps: Any) -> Callable[[int], None]:
        transform = transforms.Compose([*steps, transforms.ToTensor()])
        data = ImageFolder(str(folder / name / "train"), transform)
        batches = DataLoader(
            data, BATCH, shuffle=True, drop_last=True, num_workers=CORES, persistent_workers=True
        )
        return taking(again(batches))

    cut = (transforms.Resize(size), transforms.CenterCrop(size))
    return {
        "torchvision's ImageFolder and DataLoader": loader("files"),
        "torchvision's, larger JPEG files": loader("photographs", *cut),
    }


def keras(folder: Path, size: int) -> dict[str, Callable[[int], None]]:
    """`image_dataset_from_directory`, as Keras's guides go on from there."""
    import tensorflow as tf  # noqa: PLC0415

    tf.config.threading.set_inter_op_parallelism_threads(CORES)
    tf.config.threading.set_intra_op_parallelism_threads(CORES)
    parallel = tf.data.AUTOTUNE
    options = {"batch_size": BATCH, "image_size": (size, size), "verbose": False}

    def loader(name: str, **more: Any) -> Callable[[int], None]:
        data = tf.keras.utils.image_dataset_from_directory(
            str(folder / name / "train"), **options, **more
        )
        data = data.map(lambda x, y: (x / 255.0, y), num_parallel_calls=parallel)
        return taking(again(data.prefetch(parallel)))

    def antialiased(path: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        height, width = tf.shape(image)[0], tf.shape(image)[1]
        side = tf.minimum(height, width)
        image = tf.image.crop_to_bounding_box(
            image, (height - side) // 2, (width - side) // 2, side, side
        )
        return tf.image.resize(image, (size, size), antialias=True) / 255.0

    files = sorted(map(str, (folder / "photographs").rglob("*.jpg")))
    by_hand = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files))
    by_hand = by_hand.map(antialiased, num_parallel_calls=parallel).batch(
        BATCH, drop_remainder=True
    )
    return {
        "image_dataset_from_directory of Keras": loader("files"),
        "Keras's, larger JPEG files, without antialiasing": loader(
            "photographs", crop_to_aspect_ratio=True
        ),
        "tf.data, larger JPEG files, with antialiasing": taking(again(by_hand.prefetch(parallel))),
    }


def pythae(folder: Path, size: int) -> dict[str, Callable[[int], None]]:  # noqa: ARG001
    """The loader of Pythae's trainer, whose images are all in memory."""
    import torch  # noqa: PLC0415
    from pythae.data.preprocessors import DataProcessor  # noqa: PLC0415
    from torch.utils.data import DataLoader  # noqa: PLC0415

    with np.load(folder / "images.npz") as arrays:
        pixels = arrays["x_train"].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255.0)
    data = DataProcessor().to_dataset(torch.from_numpy(pixels))
    from pythae.data.datasets import collate_dataset_output  # noqa: PLC0415

    loader = DataLoader(
        data, BATCH, shuffle=True, drop_last=True, num_workers=CORES, persistent_workers=True,
        collate_fn=collate_dataset_output,
    )  # fmt: skip
    return {"Pythae's loader, in memory": taking(again(loader))}


def again(batches: Any) -> Iterator[Any]:
    """One epoch after the other."""
    while True:
        yield from batches


def training_steps(folder: Path, size: int) -> dict[str, Callable[[int], None]]:  # noqa: ARG001
    """Steps of models on one batch in memory: what the data must keep up with."""
    import zoo  # noqa: I001, PLC0415  (first: it turns on oneDNN)
    import tensorflow as tf  # noqa: PLC0415

    images = np.random.default_rng(0).random((BATCH, size, size, 3), np.float32)
    batch = zoo.data.untuned(tf.data.Dataset.from_tensors(images).repeat())

    def step(name: str) -> Callable[[int], None]:
        model = zoo.create(name, (size, size, 3), 64)
        model.compile()
        return lambda steps: model.fit(batch, steps_per_epoch=steps, verbose=0, shuffle=False)

    return {f"a training step of {name}": step(name) for name in STEPS}


CONTESTANTS: dict[str, Callable[[Path, int], dict[str, Callable[[int], None]]]] = {
    "zoo": this_project,
    "torchvision": torchvision,
    "keras": keras,
    "pythae": pythae,
    "steps": training_steps,
}

if __name__ == "__main__":
    main()
