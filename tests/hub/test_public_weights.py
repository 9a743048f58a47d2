"""The guide on public weights, on random ones of Stable Diffusion's configuration: 83.7 million."""

from __future__ import annotations

import json
import os
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

WRITE = """
import sys, diffusers, torch
torch.manual_seed(0)
diffusers.AutoencoderKL(
    down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    block_out_channels=[128, 256, 512, 512], layers_per_block=2, latent_channels=4, sample_size=256,
).save_pretrained(sys.argv[1])
"""
# In a process of its own: without oneDNN, as the guide says, and for the peak of its memory.
COMPUTE = """
import json, resource, sys, time
import numpy as np, zoo
model, images = zoo.load(sys.argv[1]), np.load(sys.argv[2])
start = time.perf_counter()
mean, log_variance = model.encode(images)
half = time.perf_counter()
again = np.asarray(model.decode(mean))
end = time.perf_counter()
np.savez(sys.argv[3], mean=mean, again=again)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([half - start, end - half, peak]))
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
        rows.append((what, seconds, f"{_size(written) / 1e6:,.0f} MB" if written else ""))
        return result

    preset, onnx = tmp_path / "sd_vae", tmp_path / "sd_vae_onnx"
    command = ("import", tmp_path / "theirs", "--out", preset, "--image-size", 32)
    timed("`zoo import`", lambda: run_zoo(*command), preset)
    assert "all 248 weights" in " ".join(capsys.readouterr().out.split())
    model = timed("`zoo.load`", lambda: zoo.load(preset))
    weights = (*model.encoder.weights, *model.decoder.weights)
    assert sum(int(np.prod(weight.shape)) for weight in weights) == 83_653_863

    images = np.random.default_rng(0).random((1, 512, 512, 3), np.float32)
    np.save(tmp_path / "images.npy", images)
    script = [sys.executable, "-c", COMPUTE, preset, tmp_path / "images.npy", tmp_path / "done.npz"]
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        list(map(str, script)), env=environment, check=True, capture_output=True, text=True
    )
    encode, decode, peak = json.loads(done.stdout.splitlines()[-1])
    rows += [("`model.encode`", encode, ""), ("`model.decode`", decode, f"{peak / 1e9:.1f} GB")]
    wanted = np.load(tmp_path / "done.npz")
    assert wanted["mean"].shape == (1, 64, 64, 4)
    assert wanted["again"].shape == images.shape

    functions = ("--function", "encode", "--function", "decode")
    command = ("export", preset, "--format", "onnx", "--out", onnx, *functions)
    timed("`zoo export`, ONNX", lambda: run_zoo(*command), onnx)
    timed("`zoo verify`", lambda: run_zoo("verify", onnx, "--runtime", "ONNX Runtime"))

    def in_onnx(name: str, **feeds: np.ndarray) -> dict[str, np.ndarray]:
        session = onnxruntime.InferenceSession(onnx / f"{name}.onnx")
        given = timed(f"`{name}.onnx`", lambda: session.run(None, feeds))
        return dict(zip((output.name for output in session.get_outputs()), given, strict=True))

    mean = in_onnx("encode", image=images)["mean"]
    np.testing.assert_allclose(mean, wanted["mean"], atol=1e-4)
    image = in_onnx("decode", latent=wanted["mean"])["image"]
    np.testing.assert_allclose(image, wanted["again"], atol=1e-4)
    with capsys.disabled():
        print("\n| command | seconds | written, or peak of memory |\n| --- | --- | --- |")
        for what, seconds, size in rows:
            print(f"| {what} | {seconds:.1f} | {size} |")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
