"""Images per second of the data alone, beside torchvision, Keras and Pythae; and peak memory.

    python benchmarks/data.py

Every source kind at 28, 64 and 128 pixels holds the same colour images: PNG files of that size, and
what is made of them. A folder of larger JPEG files is cropped and resized: with antialiasing by
this project and torchvision; without by Keras, whose loader has none, and with it by steps of
tf.data. Each contestant is a process of its own with as many workers as this process has cores;
they take turns, so that other work on the machine slows all alike. Medians over the turns. The
steps of models on one batch in memory say what the data must keep up with.

Then a synthetic set of 6 GB, once decoded, is prepared and trained on, each in a process of its
own, whose peaks of memory are compared with that of a process that imports TensorFlow alone. It
lies in a temporary folder of as many bytes: TMPDIR says where.

Prints tables, and writes every number to results/data.json and the tables into the document that
has their markers. A run that was interrupted goes on after the last size that it has measured: what
it has is in results/data.partial.json. Peers take part where they are installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from contestants import Contestant, versions
from PIL import Image
from tables import RESULTS, write_section

from zoo.bench.run import processor
from zoo.io.records import write_json

# Python looks here first, and would take export.py for the package `export`.
sys.path.remove(str(Path(__file__).resolve().parent))

PEERS = Path(__file__).resolve().parent / "peers"
CONTESTANTS = ("zoo", "torchvision", "keras", "pythae", "steps")
PACKAGES = ("tensorflow", "pillow", "torch", "torchvision", "pythae")
SIZES = (28, 64, 128)
PHOTOGRAPH = (218, 178)  # height and width of JPEG files, those of CelebA
CLASSES = 10
BATCH = 64
START, END = "<!-- data figures -->", "<!-- /data figures -->"


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="Pixels.")
    parser.add_argument("--images", type=int, default=4000, help="Images of each size.")
    parser.add_argument("--batches", type=int, default=30, help="Batches of a turn.")
    parser.add_argument("--rounds", type=int, default=9, help="Turns of each contestant.")
    parser.add_argument("--gigabytes", type=float, default=6.0, help="The large set, decoded.")
    parser.add_argument("--steps", type=int, default=400, help="Steps on the large set.")
    parser.add_argument("--out", type=Path, default=RESULTS / "data.json")
    args = parser.parse_args()
    results: dict[str, Any] = {
        "processor": processor(),
        "threads": len(os.sched_getaffinity(0)),
        "versions": versions(PACKAGES),
        "batch_size": BATCH,
        "images": args.images,
        "rounds": args.rounds,
        "batches": args.batches,
        "gigabytes": args.gigabytes,
        "steps": args.steps,
    }
    partial = args.out.with_suffix(".partial.json")
    if partial.exists():  # go on with what a run of these settings has measured
        before = json.loads(partial.read_text(encoding="utf-8"))
        if results.items() <= before.items():
            results = before
    results.setdefault("sizes", {})
    if "memory" not in results:
        results["memory"] = measure_memory(args.gigabytes, args.steps)
        write_json(partial, results)
    for size in args.sizes:
        if str(size) in results["sizes"]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            make_sources(Path(folder), size, args.images)
            speeds, absent = measure(Path(folder), size, args.batches, args.rounds)
        results["sizes"][str(size)] = {"images_per_second": speeds, "absent": absent}
        write_json(partial, results)
    results["sizes"] = {str(size): results["sizes"][str(size)] for size in args.sizes}
    write_json(args.out, results)
    partial.unlink()
    lines = section(results)
    print("\n".join(lines))
    if args.out.parent == RESULTS:
        write_section(START, END, lines)


# The sources


def make_sources(folder: Path, size: int, count: int) -> None:
    """The same images as every kind of source."""
    from zoo import data  # noqa: PLC0415  (TensorFlow, once arguments are right)

    pixels, labels = images(count, size), np.arange(count) % CLASSES
    train = folder / "files" / "train"
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = train / f"class_{label}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    few = max(BATCH, count // 4)
    for number, image in enumerate(
        images(few, max(PHOTOGRAPH))[:, : PHOTOGRAPH[0], : PHOTOGRAPH[1]]
    ):
        path = folder / "photographs" / "train" / f"class_{number % CLASSES}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=90)
    # Without a compression, an .npz file is as its arrays are.
    np.savez(folder / "images.npz", x_train=pixels, y_train=labels)
    data.prepare(folder / "images.npz", folder / "prepared")
    files = sorted(train.rglob("*.png"))
    with zipfile.ZipFile(folder / "files.zip", "w") as archive:
        for path in files:
            archive.write(path, path.relative_to(folder / "files"))
    with tarfile.open(folder / "files.tar", "w") as archive:
        for path in files:
            archive.add(path, path.relative_to(folder / "files"))
    numbers = [int(path.parent.name.removeprefix("class_")) for path in files]
    make_array_records(folder, files, numbers, size)
    make_parquet(folder, files, numbers)


def make_array_records(folder: Path, files: list[Path], labels: list[int], size: int) -> None:
    """The files as a data set of TFDS that is prepared in ArrayRecord form."""
    import tensorflow_datasets as tfds  # noqa: PLC0415  (TensorFlow)

    with tfds.core.registered.skip_registration():  # there is one of each size

        class Pictures(tfds.core.GeneratorBasedBuilder):
            """The files, under their names."""

            VERSION = tfds.core.Version("1.0.0")
            pkg_dir_path = folder

            def _info(self) -> Any:
                features = {
                    "image": tfds.features.Image(shape=(size, size, 3)),
                    "label": tfds.features.ClassLabel(num_classes=CLASSES),
                }
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features)
                )

            def _split_generators(self, dl_manager: Any) -> dict[str, Any]:  # noqa: ARG002
                return {"train": self._generate_examples()}

            def _generate_examples(self) -> Any:
                for path, label in zip(files, labels, strict=True):
                    yield path.name, {"image": str(path), "label": label}

    builder = Pictures(data_dir=folder / "tfds_data", file_format="array_record")
    builder.download_and_prepare()
    Path(builder.data_path).rename(folder / "tfds")


def make_parquet(folder: Path, files: list[Path], labels: list[int]) -> None:
    """The files as `datasets` of Hugging Face saves them, where pyarrow is installed."""
    with suppress(ImportError):
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415

        column = [{"bytes": path.read_bytes(), "path": path.name} for path in files]
        (folder / "parquet").mkdir()
        table = pa.table({"image": column, "label": labels})
        parquet.write_table(table, folder / "parquet" / "train-00000-of-00001.parquet")


def images(count: int, size: int) -> np.ndarray:
    """Smooth colours with some noise, whose PNG files are as large as those of photographs."""
    rng = np.random.default_rng(0)
    pixels = np.empty((count, size, size, 3), np.uint8)
    for image in pixels:
        few = Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8))
        smooth = np.asarray(few.resize((size, size), Image.Resampling.BICUBIC), np.float32)
        image[...] = np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255)
    return pixels


# Speed


def measure(
    folder: Path, size: int, batches: int, rounds: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Images per second of each turn; and why contestants do not compete, by their names.

    Raises:
        RuntimeError: If this project is one of these, or a contestant dies.
    """
    contestants: dict[str, Contestant] = {}
    seconds: dict[str, list[float]] = {}
    try:
        for name in CONTESTANTS:
            count = batches_of(name, batches)
            command = [str(PEERS / "loaders.py"), name, str(folder), str(size), str(count)]
            contestants[name] = Contestant(command)
        if contestants["zoo"].error:
            raise RuntimeError(contestants["zoo"].error)
        for _ in range(rounds):
            for name, contestant in contestants.items():
                for turn in contestant.turns:
                    each = contestant.take(turn)["seconds"] / batches_of(name, batches)
                    seconds.setdefault(turn, []).append(each)
    finally:
        for contestant in contestants.values():
            contestant.stop()
    speeds = {turn: BATCH / float(np.median(each)) for turn, each in seconds.items()}
    return speeds, {name: c.error for name, c in contestants.items() if c.error}


def batches_of(contestant: str, batches: int) -> int:
    """Batches of a turn: fewer for training steps, each of which takes seconds at 128 pixels."""
    return max(1, batches // 10) if contestant == "steps" else batches


# Memory


def measure_memory(gigabytes: float, steps: int) -> dict[str, float]:
    """Bytes of the decoded set, and the most bytes that each process had in memory at once."""
    of_one = 128 * 128 * 3
    images = max(BATCH, int(gigabytes * 1e9 / of_one))
    result = {"decoded": float(images * of_one)}
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    with tempfile.TemporaryDirectory() as folder:
        for what in ("empty", "prepare", "train"):
            program = [sys.executable, str(PEERS / "memory.py"), what]
            command = [*program, f"{folder}/prepared", str(images), str(steps)]
            done = subprocess.run(
                command, check=True, env=environment, stdout=subprocess.PIPE, text=True
            )
            result[what] = float(done.stdout.split()[-1])
    return result


def section(results: dict[str, Any]) -> list[str]:
    """Lines of Markdown."""
    sizes = results["sizes"]
    names = dict.fromkeys(name for each in sizes.values() for name in each["images_per_second"])
    packages = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    title = (
        f"Images per second on {results['threads']} cores of {results['processor']} ({packages}), "
        f"as many workers each, batches of {results['batch_size']}, {results['images']:,} colour "
        f"images, medians of {results['rounds']} turns:"
    )
    lines = [
        title,
        "",
        f"|  | {' | '.join(f'{size} × {size}' for size in sizes)} |",
        f"| --- |{' --- |' * len(sizes)}",
    ]
    for name in names:
        speeds = (each["images_per_second"].get(name) for each in sizes.values())
        cells = ("" if speed is None else f"{speed:,.0f}" for speed in speeds)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    absent = {name: why for each in sizes.values() for name, why in each["absent"].items()}
    if absent:
        lines += ["", *(f"Without {name}: {why}" for name, why in absent.items())]
    memory = {name: value / 1e9 for name, value in results["memory"].items()}
    peaks = (
        f"Peak memory for a set of {memory['decoded']:.1f} GB, once decoded: training takes "
        f"{memory['train'] - memory['empty']:.2f} GB and preparing "
        f"{memory['prepare'] - memory['empty']:.2f} GB more than the {memory['empty']:.2f} GB of "
        "a process that imports TensorFlow alone."
    )
    return [*lines, "", peaks]


if __name__ == "__main__":
    main()
