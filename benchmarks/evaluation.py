"""How fast a FID is computed, beside pytorch-fid and torch-fidelity on the same processor.

    python benchmarks/evaluation.py               # 10,000 images: an hour and a half on two cores
    python benchmarks/evaluation.py --images 2000  # 20 minutes

Half of the images are measured against the other half: all go through the Inception network, and
then comes the distance. The three take turns on the same PNG files, with the same weights; those
are random, since the time does not depend on them. Where other processes share the processor, look
at the processor time. Also prints how long the Fréchet distance itself takes, beside SciPy's square
root of a general matrix.

Needs `pip install 'vaegan-zoo[references]'`.
"""

# ruff: noqa: E402  (the order matters)

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

# TensorFlow goes first, and Triton not at all: each brings an LLVM, and two in a process crash.
import zoo
from zoo import metrics
from zoo.bench.run import processor
from zoo.io.torch_files import read_state_dict
from zoo.metrics.features import FeatureExtractor, inception_features
from zoo.metrics.inception import FEATURES, inception, set_weights

sys.modules.setdefault("triton", None)  # type: ignore[arg-type]

# isort: split
import pytorch_fid.fid_score
import pytorch_fid.inception
import scipy.linalg
import torch
import torch_fidelity
import torchvision
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 50  # pytorch-fid's


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000, help="Through the network, in all.")
    parser.add_argument("--size", type=int, default=32, help="Their height and width.")
    parser.add_argument("--rounds", type=int, default=1, help="Turns of each; medians are shown.")
    parser.add_argument("--dim", type=int, default=FEATURES, help="Of the distance alone.")
    args = parser.parse_args()
    print(f"{processor()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    print(f"vaegan-zoo {zoo.__version__}, torch {torch.__version__}, NumPy {np.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        weights = random_weights(Path(folder) / "inception.pth")
        halves = [write_images(Path(folder) / name, args.images // 2, args.size) for name in "ab"]
        turns = {
            "vaegan-zoo": ours(weights),
            "pytorch-fid": of_pytorch_fid(weights),
            "torch-fidelity": of_torch_fidelity(weights),
        }
        seconds: dict[str, list[float]] = {name: [] for name in turns}
        busy: dict[str, list[float]] = {name: [] for name in turns}
        values = {}
        for _ in range(args.rounds):
            for name, turn in turns.items():
                start, start_busy = time.perf_counter(), time.process_time()
                values[name] = turn(*halves)
                seconds[name].append(time.perf_counter() - start)
                busy[name].append(time.process_time() - start_busy)
    for name, each in seconds.items():
        print(
            f"{name}: {median(each):.1f} s, {args.images / median(each):.2f} images/s, "
            f"{median(busy[name]):.1f} s of processor time, FID {values[name]:.6g}"
        )
    print_distances(args.dim)


def random_weights(path: Path) -> Path:
    """Weights in the layout of the published file, scaled so that signals stay alive."""
    torch.manual_seed(0)
    network = torchvision.models.inception_v3(
        weights=None, num_classes=1008, aux_logits=False, init_weights=False
    )
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data *= 6.0**0.5  # from PyTorch's variance, 1 / 3n, to He's, 2 / n
    torch.save(network.state_dict(), path)
    return path


def write_images(folder: Path, n: int, size: int) -> Path:
    """A folder of PNG files of noise, brighter in folder b."""
    folder.mkdir()
    rng = np.random.default_rng(ord(folder.name))
    for i in range(n):
        pixels = rng.integers(0, 156, (size, size, 3), np.uint8)
        pixels += np.uint8(rng.integers(0, 100) if folder.name == "b" else 50)
        Image.fromarray(pixels).save(folder / f"{i:06}.png")
    return folder


def ours(weights: Path) -> Callable[[Path, Path], float]:
    """Each of these makes a function from two folders to their FID."""
    network = inception()
    set_weights(network, read_state_dict(weights))
    extractor = inception_features(network, "tf1-bilinear")
    return lambda a, b: metrics.frechet_distance_of(*(statistics(extractor, x) for x in (a, b)))


def statistics(extractor: FeatureExtractor, folder: Path) -> metrics.GaussianStatistics:
    """Those of the features of a folder's images, of which a batch is held at a time."""
    sums = metrics.GaussianStatistics.empty(extractor.dim)
    files = sorted(folder.glob("*.png"))
    for start in range(0, len(files), BATCH):
        pixels = np.stack([np.asarray(Image.open(file)) for file in files[start : start + BATCH]])
        sums.add(extractor(pixels / np.float32(255.0)))
    return sums


def of_pytorch_fid(weights: Path) -> Callable[[Path, Path], float]:
    """pytorch-fid with its own defaults, but for a keyword that SciPy has no more."""
    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: torch.load(weights)
    pytorch_fid.fid_score.linalg = SquareRoot
    calculate = pytorch_fid.fid_score.calculate_fid_given_paths
    return lambda a, b: calculate([str(a), str(b)], BATCH, "cpu", FEATURES, num_workers=1)


class SquareRoot:
    """`scipy.linalg` as pytorch-fid calls it: with a keyword that SciPy has no more."""

    @staticmethod
    def sqrtm(matrix: Any, *, disp: bool = True) -> Any:
        """The square root, and None for the error that is no more given."""
        root = scipy.linalg.sqrtm(matrix)
        return root if disp else (root, None)


def of_torch_fidelity(weights: Path) -> Callable[[Path, Path], float]:
    """torch-fidelity without its cache, and without processes that read files.

    It would fork them from this one, whose TensorFlow has threads: they can wait for ever.
    """
    options = {"fid": True, "cuda": False, "cache": False, "verbose": False, "batch_size": BATCH}
    options["save_cpu_ram"] = True
    options["feature_extractor_weights_path"] = str(weights)

    def calculate(a: Path, b: Path) -> float:
        measured = torch_fidelity.calculate_metrics(input1=str(a), input2=str(b), **options)
        return measured["frechet_inception_distance"]

    return calculate


def print_distances(dim: int) -> None:
    """The Fréchet distance of given statistics, ours and by SciPy's square root of a matrix."""
    features = np.random.default_rng(0).normal(size=(2, 2 * dim, dim))
    a, b = (metrics.GaussianStatistics.of(x @ np.diag(np.linspace(0.1, 2, dim))) for x in features)

    def by_scipy() -> float:
        root = np.real(scipy.linalg.sqrtm(a.covariance @ b.covariance))
        shift = a.mean - b.mean
        return float(shift @ shift + np.trace(a.covariance + b.covariance - 2.0 * root))

    results = {}
    for name, distance in (
        ("ours", lambda: metrics.frechet_distance_of(a, b)),
        ("SciPy", by_scipy),
    ):
        start = time.perf_counter()
        results[name] = (distance(), time.perf_counter() - start)
    (first, quick), (second, slow) = results.values()
    print(
        f"Fréchet distance of {dim} dimensions: {quick:.2f} s, by scipy.linalg.sqrtm {slow:.2f} s: "
        f"{slow / quick:.1f} times as long; they differ by {abs(first / second - 1.0):.1e}"
    )


if __name__ == "__main__":
    main()
