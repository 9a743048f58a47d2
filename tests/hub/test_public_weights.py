"""The guide on public weights, on random ones of Stable Diffusion's configuration: 83.7 million."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import zoo
from tests.support.command import run_zoo

# In a process of its own, whose memory does not count.
WRITE = """
import sys, diffusers, torch
torch.manual_seed(0)
diffusers.AutoencoderKL(
    down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    block_out_channels=[128, 256, 512, 512], layers_per_block=2, latent_channels=4, sample_size=256,
).save_pretrained(sys.argv[1])
"""


@pytest.mark.slow
def test_the_guide(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Its commands, how long they take, and what they write."""
    pytest.importorskip("diffusers")
    subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / "theirs")], check=True)
    rows: list[tuple[str, float, str]] = []

    def timed(what: str, function: Callable[[], Any], written: Path | None = None) -> Any:
        start = time.perf_counter()
        result = function()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        size = f"{_size(written) / 1e6:,.0f} MB" if written else ""
        rows.append((what, seconds, f"{size} | {peak:.1f} GB"))
        return result

    preset, onnx = tmp_path / "sd_vae", tmp_path / "sd_vae_onnx"
    command = ("import", tmp_path / "theirs", "--out", preset, "--image-size", 32)
    timed("`zoo import`", lambda: run_zoo(*command), preset)
    assert "all 248 weights" in " ".join(capsys.readouterr().out.split())
    model = timed("`zoo.load`", lambda: zoo.load(preset))
    weights = (*model.encoder.weights, *model.decoder.weights)
    assert sum(int(np.prod(weight.shape)) for weight in weights) == 83_653_863

    images = np.random.default_rng(0).random((1, 512, 512, 3), np.float32)
    mean, log_variance = timed("`encode`, 512 × 512", lambda: model.encode(images))
    decoded = timed("`decode`, 512 × 512", lambda: np.asarray(model.decode(mean)))
    assert mean.shape == log_variance.shape == (1, 64, 64, 4)
    assert decoded.shape == images.shape

    functions = ("--function", "encode", "--function", "decode")
    command = ("export", preset, "--format", "onnx", "--out", onnx, *functions)
    timed("`zoo export`, ONNX", lambda: run_zoo(*command), onnx)
    timed("`zoo verify`", lambda: run_zoo("verify", onnx, "--runtime", "ONNX Runtime"))

    def in_onnx(name: str, **feeds: np.ndarray) -> dict[str, np.ndarray]:
        session = onnxruntime.InferenceSession(onnx / f"{name}.onnx")
        given = timed(f"{name}.onnx, 512 × 512", lambda: session.run(None, feeds))
        return dict(zip((output.name for output in session.get_outputs()), given, strict=True))

    np.testing.assert_allclose(in_onnx("encode", image=images)["mean"], mean, atol=1e-4)
    found = in_onnx("decode", latent=np.asarray(mean))["image"]
    np.testing.assert_allclose(found, decoded, atol=1e-4)
    with capsys.disabled():
        print("\n| command | seconds | written | peak of the process so far |")
        print("| --- | --- | --- | --- |")
        for what, seconds, rest in rows:
            print(f"| {what} | {seconds:.1f} | {rest} |")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
