"""Every file of a preset is the one that was released, and holds what it should."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from export.metadata import provenance
from zoo.cli import main
from zoo.evaluation.report import write_report
from zoo.hub import check, load_pretrained, load_sampler
from zoo.hub.catalog import list_pretrained, saved_models
from zoo.presets import check_preset, load_preset, read_config
from zoo.presets.cards import card
from zoo.sampling import samplers
from zoo.training.run_files import read_metrics

FROZEN = Path(__file__).parents[1] / "frozen_preset" / "dcgan"
D = json.loads((FROZEN / "config.json").read_text())["latent_dim"]


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(FROZEN, tmp_path / "dcgan"))


def _list(preset: Path, name: str) -> None:
    """Gives a file's hash to the configuration, as whoever spoils a preset may."""
    config = json.loads((preset / "config.json").read_text())
    config["files"][name] = hashlib.sha256((preset / name).read_bytes()).hexdigest()
    (preset / "config.json").write_text(json.dumps(config))


def test_those_that_come_with_the_package() -> None:
    assert len(list_pretrained()) > 10
    for each in list_pretrained():
        folder = saved_models() / each.name
        config = check_preset(folder)
        assert {path.name for path in folder.iterdir()} - config["files"].keys() == {
            "config.json", "README.md",
        }  # fmt: skip
        metrics = read_metrics(folder)
        assert metrics is not None
        assert metrics["metrics"]
    for name, labels in (("vae_fashion_mnist", None), ("cvae_fashion_mnist", 0)):
        assert load_sampler(name).sample(3, 0, labels).shape == (3, 16)


# Metrics


def test_metrics_that_were_changed_are_not_shown(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert provenance(preset)["metrics"]["frechet_distance"] == 1.5
    better = (preset / "metrics.json").read_text().replace("1.5", "0.5")
    (preset / "metrics.json").write_text(better)
    readers: list[Callable[[], Any]] = [
        lambda: load_pretrained(preset),
        lambda: read_metrics(preset),
        lambda: provenance(preset),
        lambda: check(preset),
        lambda: write_report([preset], tmp_path / "x.html"),
    ]
    for read in readers:
        with pytest.raises(ValueError, match=r"metrics\.json has the sha256 .*Get it anew"):
            read()
    with pytest.raises(SystemExit):
        main(["info", str(preset)])
    assert "metrics.json has the sha256" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x.html").exists()

    _list(preset, "metrics.json")
    assert provenance(preset)["metrics"]["frechet_distance"] == 0.5
    for text, message in (
        (better.replace("0.5", '"good"'), "metrics/frechet_distance is 'good': expected a valid"),
        ("[]", r"metrics\.json: \[\]: expected a valid dictionary"),
        (better.replace('"images"', '"image"'), "images is missing"),
    ):
        (preset / "metrics.json").write_text(text)
        _list(preset, "metrics.json")
        for read in readers:
            with pytest.raises(ValueError, match=message):
                read()


def test_a_report_of_a_preset(preset: Path, tmp_path: Path) -> None:
    write_report([preset], tmp_path / "x.html")
    assert "Fréchet distance" in (tmp_path / "x.html").read_text()


def test_files_that_are_not_part_of_it(preset: Path) -> None:
    """They would be read as if they were."""
    config = json.loads((preset / "config.json").read_text())
    del config["files"]["metrics.json"]
    (preset / "config.json").write_text(json.dumps(config))
    for read in (load_preset, read_metrics):
        with pytest.raises(ValueError, match=r"metrics\.json is not part of the preset.*Remove"):
            read(preset)
    (preset / "metrics.json").unlink()
    load_preset(preset)
    np.savez(preset / "sampler_gmm.npz", a=1)
    with pytest.raises(ValueError, match=r"sampler_gmm\.npz is not part of the preset"):
        load_preset(preset)


def test_pictures(preset: Path) -> None:
    (preset / "samples.png").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"samples\.png has the sha256"):
        load_preset(preset)
    (preset / "samples.png").unlink()  # nothing to show is no harm
    load_preset(preset)


def test_a_card_is_valid_whatever_was_measured() -> None:
    config, metrics = read_config(FROZEN), read_metrics(FROZEN)
    assert metrics is not None
    metrics["metrics"] |= {"elbo": float("-inf"), "iwae_bound": float("nan")}
    text = card("x", config, metrics)
    head = yaml.safe_load(text.split("---")[1])
    assert head["metrics"] == ["frechet_distance"]
    assert [each["value"] for each in head["model-index"][0]["results"][0]["metrics"]] == [1.5]
    assert "| elbo | -inf | |" in text


# Samplers


def _gmm(k: int = 2, d: int = D, classes: int = 0) -> dict[str, np.ndarray]:
    lead = (classes,) if classes else ()
    return {
        "name": np.array("gmm"),
        "fitted_to": np.array("0" * 64),
        "weights": np.full((*lead, k), 1 / max(k, 1)),
        "means": np.zeros((*lead, k, d)),
        "covariances": np.broadcast_to(np.eye(d), (*lead, k, d, d)).copy(),
    }


def _two_stage(d: int = D, width: int = 256) -> dict[str, np.ndarray]:
    shapes = [(d, width), (width,), (width, width), (width,), (d + width, d), (d,)]
    return {
        "name": np.array("two_stage"),
        "fitted_to": np.array("0" * 64),
        "shift": np.zeros(d, np.float32),
        "scale": np.ones(d, np.float32),
        "gamma": np.float32(0.5),
        **{f"decoder_{i}": np.zeros(shape, np.float32) for i, shape in enumerate(shapes)},
    }


def _with(arrays: dict[str, np.ndarray], **new: Any) -> dict[str, np.ndarray]:
    return {key: value for key, value in {**arrays, **new}.items() if value is not None}


NEGATIVE = np.broadcast_to(np.diag([1.0, -1.0, 1.0]), (2, D, D))
CROOKED = np.broadcast_to(np.eye(D) + np.eye(D, k=1), (2, D, D))
BAD = {
    "NaN": (_with(_gmm(), means=np.full((2, D), np.nan)), "means is not all finite numbers"),
    "infinite": (_with(_gmm(), covariances=np.full((2, D, D), np.inf)), "not all finite numbers"),
    "negative": (_with(_gmm(), covariances=NEGATIVE), "covariances are not positive definite"),
    "crooked": (_with(_gmm(), covariances=CROOKED), "covariances are not symmetric"),
    "weights": (_with(_gmm(), weights=np.array([0.5, 0.6])), "that sum to 1"),
    "below 0": (_with(_gmm(), weights=np.array([1.5, -0.5])), "shares from 0 on"),
    "shapes": (_with(_gmm(), means=np.zeros((3, D))), r"means has the shape \(3, 3\); expected"),
    "integers": (_with(_gmm(), means=np.zeros((2, D), int)), "means is not all finite numbers"),
    "text": (_with(_gmm(), weights=np.array(["a", "b"])), "weights is not all finite numbers"),
    "missing": (_with(_gmm(), means=None), "'means' is missing"),
    "nameless": (_with(_gmm(), name=None), "'name' is missing"),
    "renamed": (_with(_gmm(), name=np.array("pickle")), "name='pickle': expected one of gmm"),
    "no hash": (_with(_gmm(), fitted_to=np.array("x")), "fitted_to='x': expected a sha256"),
    "objects": (_with(_gmm(), means=np.array([{}, {}])), "is no sampler"),
    "empty": (_gmm(k=0), "k and d ≥ 1"),
    "another kind": (_two_stage(), "holds the sampler 'two_stage'; expected 'gmm'"),
    "another size": (_gmm(d=5), "draws latents of 5 dimensions, but the model takes 3"),
    "classes": (_gmm(classes=4), "has mixtures for 4 classes, but the model has 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_sampler_that_nothing_can_be_drawn_from(name: str, preset: Path) -> None:
    arrays, message = BAD[name]
    np.savez(preset / "sampler_gmm.npz", allow_pickle=True, **arrays)  # type: ignore[arg-type]
    _list(preset, "sampler_gmm.npz")
    for read in (load_preset, load_sampler):
        with pytest.raises(ValueError, match=rf"sampler_gmm\.npz .*{message}.*fit one anew"):
            read(preset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": np.full(D, -1, np.float32)}, "scale and gamma: expected numbers from 0 on"),
        ({"gamma": np.float32("nan")}, "gamma is not all finite numbers"),
        ({"decoder_4": np.zeros((4, D), np.float32)}, r"decoder_4 has the shape \(4, 3\)"),
        ({"shift": np.float32(0)}, "expected one dimension"),
        ({"decoder_5": None}, "'decoder_5' is missing"),
    ],
)
def test_a_second_stage(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    place = tmp_path / "sampler_two_stage.npz"
    np.savez(place, **_two_stage())  # type: ignore[arg-type]
    assert samplers.load_sampler(place, "two_stage", D).sample(4).shape == (4, D)
    np.savez(place, **_with(_two_stage(), **change))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"two_stage\.npz .*{message}"):
        samplers.load_sampler(place)


def test_further_arrays_are_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "a.npz"
    np.savez(place, **_gmm(), later=np.zeros(3))  # type: ignore[arg-type]
    sampler = samplers.load_sampler(place)
    assert sorted(sampler.arrays) == ["covariances", "means", "weights"]
    assert sampler.sample(5, seed=1).shape == (5, D)


def test_a_sampler_that_swells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.presets.sampler.MAX_BYTES", 1000)
    place = tmp_path / "a.npz"
    np.savez_compressed(place, **_gmm(d=40))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a\.npz is no sampler.*more than"):
        samplers.load_sampler(place)
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("name.npy", b"no array")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"a\.npz is no sampler"):
        samplers.load_sampler(place)


def test_a_damaged_sampler(tmp_path: Path) -> None:
    """Arrays are changed, and their checksums with them: what NumPy raises is a sentence."""
    place, rng = tmp_path / "a.npz", np.random.default_rng(0)
    np.savez(place, **_gmm())  # type: ignore[arg-type]
    with zipfile.ZipFile(place) as archive:
        whole = {name: archive.read(name) for name in archive.namelist()}
    refused = 0
    for name in [*whole] * 20:
        content = bytearray(whole[name])
        for at in rng.integers(min(len(content), 128), size=5):
            content[at] = rng.integers(256)
        with zipfile.ZipFile(place, "w") as archive:
            for other, own in whole.items():
                archive.writestr(other, bytes(content) if other == name else own)
        try:
            samplers.load_sampler(place)
        except ValueError as error:
            refused += 1
            assert str(error).startswith(f"{place} is no sampler")  # noqa: PT017
    assert refused > 50
