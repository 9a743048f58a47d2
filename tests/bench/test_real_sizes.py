"""`benchmarks/real_sizes.py` compares equal work, or refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.convert.writing import variables

torch = pytest.importorskip("torch")

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SETTINGS = {"model": "stylegan2", "size": 8, "width": 8, "batch": 4, "steps": 1, "seed": 0}
BIGGAN = {**SETTINGS, "model": "biggan_deep", "size": 16}


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS / "peers")


def numbers_of(settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """As the benchmark's, without training and export: images, and logits of the real ones."""
    import sized_zoo

    model = sized_zoo.model_of(settings)
    sized_zoo.shake(model, 0)
    reals, labels = sized_zoo.data_of(settings)
    latents = model.sample_latents(4, seed=0)
    given = (labels,) if model.num_classes else ()
    numbers = {"latent": latents, "label": labels, "reals": reals}
    numbers["images"] = model.generate_from(latents, *given)
    numbers["logits"] = np.asarray(model.discriminate(reals, *given))
    for role in ("generator", "discriminator"):
        weights = variables(getattr(model, role))
        numbers |= {f"{role}:{name}": np.asarray(value) for name, value in weights.items()}
    return numbers


@pytest.mark.parametrize("settings", [SETTINGS, pytest.param(BIGGAN, marks=pytest.mark.slow)])
def test_the_port_computes_our_images_and_logits(settings: dict[str, Any]) -> None:
    import sized_torch
    from torch_named import load

    numbers = numbers_of(settings)
    generator, discriminator = (each.eval() for each in sized_torch.networks(settings))
    load(generator, sized_torch.part(numbers, "generator"))
    load(discriminator, sized_torch.part(numbers, "discriminator"))
    rows = sized_torch.rows_of(numbers, settings)
    images = sized_torch.generate(generator, (torch.from_numpy(numbers["latent"]), *rows))
    assert numbers["images"].std() > 0.01
    np.testing.assert_allclose(sized_torch.to_numpy(images), numbers["images"], atol=2e-5)
    with torch.no_grad():
        logits = discriminator(sized_torch.first(numbers["reals"]), *rows)
    assert numbers["logits"].std() > 1e-3
    np.testing.assert_allclose(logits[:, 0].numpy(), numbers["logits"], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_pytorch_pretrained_biggan_computes_our_images() -> None:
    pytest.importorskip("pytorch_pretrained_biggan")
    import pretrained_biggan
    import sized

    settings = {**BIGGAN, "size": 128}
    numbers = numbers_of(settings)
    draw = pretrained_biggan.drawing(numbers, settings, sized.CLASSES, sized.LATENT_DIM)
    assert numbers["images"].std() > 0.01
    found = draw().permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, numbers["images"], atol=2e-5)


def test_other_numbers_are_refused(tmp_path: Path) -> None:
    import sized
    import sized_torch

    with pytest.raises(ValueError, match="images from the same weights differ by 0.002"):
        sized_torch.check(np.array([0.502]), np.array([0.5]), 1e-3, "images")
    with pytest.raises(ValueError, match="differ by nan"):
        sized_torch.check(np.array([np.nan]), np.array([0.5]), 1e-3, "images")
    images = np.random.default_rng(0).random((2, 4, 4, 3))
    np.savez(tmp_path / sized.NUMBERS, images=images)
    sized.check_images(images + 1e-4, tmp_path)
    with pytest.raises(ValueError, match=r"images .* differ by 0\.01"):
        sized.check_images(images + 0.01, tmp_path)
    np.savez(tmp_path / sized.NUMBERS, images=np.ones_like(images))
    with pytest.raises(ValueError, match="their deviation is 0"):
        sized.check_images(np.ones_like(images), tmp_path)


def test_the_table_has_ratios_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import real_sizes

    rows = {
        "training, this project": {"seconds_a_step": 3.21, "times_ours": 1.0},
        "training, PyTorch": {"seconds_a_step": 4.56, "times_ours": 1.42},
        "generation, this project in ONNX Runtime": {"seconds_a_step": 0.98, "times_ours": 1.0},
        "generation, PyTorch": {"seconds_a_step": 0.87, "times_ours": 0.89},
    }
    results = {
        "processor": "P", "vector_instructions": ["avx2"], "onednn": True, "threads": 2,
        "versions": {"torch": "2"}, "widths": {"stylegan2": 512}, "batch_size": 8, "rounds": 7,
        "steps": 1, "seed": 0,
        "measured": {"stylegan2 64": {"rows": rows, "absent": {"pretrained": "no"}}},
    }  # fmt: skip
    lines = real_sizes.section(results)
    assert lines[2:] == [
        "| model and pixels | what | peer | × ours | aim |",
        "| --- | --- | --- | --- | --- |",
        "| stylegan2 64 | training | PyTorch | × 1.42 | × 1.2 |",
        "| stylegan2 64 | generation | PyTorch | × 0.89 | × 1.5 |",
        "",
        "Without pretrained for stylegan2 64: no",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["stylegan2", "biggan_deep"])
def test_contestants_take_turns(model: str, tmp_path: Path) -> None:
    out = tmp_path / "real_sizes.json"
    command = [
        sys.executable,
        str(BENCHMARKS / "real_sizes.py"),
        "--models",
        model,
        "--sizes",
        "16",
    ]
    options = ["--width", "8", "--batch", "4", "--rounds", "1", "--out", str(out)]
    subprocess.run([*command, *options], check=True)
    record = json.loads(out.read_text())["measured"][f"{model} 16"]
    assert set(record["rows"]) == {
        "training, this project", "training, PyTorch", "training, PyTorch, channels last",
        "generation, this project in ONNX Runtime", "generation, PyTorch",
        "generation, PyTorch, channels last",
    }  # fmt: skip
    assert set(record["absent"]) == {"pretrained"}
    assert not out.with_suffix(".partial.json").exists()
