"""Ships the linear weights of LPIPS in the package: 1,472 numbers of the package lpips (BSD).

python benchmarks/convert_lpips.py …/lpips/weights/v0.1/vgg.pth
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from zoo.io.files import replacing, sha256
from zoo.io.torch_files import read_state_dict
from zoo.metrics.vgg import LINEAR

PUBLISHED = "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"


def main() -> None:
    """Writes `vgg16.npz`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, help="v0.1/vgg.pth of lpips 0.1.4.")
    args = parser.parse_args()
    if sha256(args.weights) != PUBLISHED:
        parser.error(f"{args.weights} has sha256 {sha256(args.weights)}; expected {PUBLISHED}.")
    state = read_state_dict(args.weights)
    levels = {f"level_{i + 1}": state[f"lin{i}.model.1.weight"].ravel() for i in range(len(state))}
    with replacing(LINEAR) as path:
        np.savez(path, **levels)
    print({name: weights.shape for name, weights in levels.items()})


if __name__ == "__main__":
    main()
