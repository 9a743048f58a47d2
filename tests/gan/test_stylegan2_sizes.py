"""StyleGAN2 of configuration F at the sizes it is made for, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEP = """
import resource
import numpy as np
import tensorflow as tf
import zoo
gan = zoo.create("stylegan2", (256, 256, 3), 512, network="stylegan2", ema=None)
gan.compile()
images = np.random.default_rng(0).random((2, 256, 256, 3), np.float32)
logs = gan.fit(images, batch_size=2, verbose=0).history  # step 0 has both penalties
assert all(np.isfinite(value).all() for value in logs.values()), logs
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
LARGEST = """
import sys
import numpy as np
import export
import zoo
gan = zoo.create("stylegan2", (1024, 1024, 3), 512, network="stylegan2", ema=None)
images = gan.generate(1, seed=0)
assert images.shape == (1, 1024, 1024, 3)
assert 0.0 <= images.min() < images.max() <= 1.0
path = export.export_model(gan, sys.argv[1] + "/saved", functions=())
assert (path / "saved_model.pb").is_file()
print(images.mean())
"""


def _run(code: str, *arguments: str) -> float:
    """What a script prints at last."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return float(done.stdout.split()[-1])


@pytest.mark.slow
def test_a_step_at_256_pixels_fits_into_16_gb() -> None:
    """Two images, both penalties, the paper's width."""
    gib = _run(STEP)
    print(f"stylegan2 at 256 pixels, 2 images: {gib:.1f} GiB")
    assert gib < 14.9  # 16 GB


@pytest.mark.slow
def test_1024_pixels_generate_and_export(tmp_path: Path) -> None:
    _run(LARGEST, str(tmp_path))
