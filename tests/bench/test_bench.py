"""`zoo bench`: every row once, resumable, and a table of what was measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import zoo
from tests.cases import assert_same_state
from zoo import networks
from zoo.bench import run as bench
from zoo.bench import table as bench_table
from zoo.cli import main
from zoo.io.records import read_json, write_json
from zoo.networks import conv

EXTRACTOR = "fashion_mnist_classifier"
BATCH = 20
# Holds a lock as another process of the benchmark would, until it is killed.
HOLD = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print(); sys.stdin.read()"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    rng = np.random.default_rng(0)
    images = np.kron(rng.random((100, 4, 4, 1)), np.ones((1, 7, 7, 1))).astype(np.float32)
    labels = np.arange(100) % 3
    np.savez(path, x_train=images, y_train=labels, x_test=images[:40], y_test=labels[:40])
    return path


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks, and rows whose batches are as small as the data."""
    for family in ("vae", "gan"):
        monkeypatch.setitem(bench.OPTIONS, family, {"network": "mlp"})
    rows = {name: bench.Row(name, batch_size=BATCH) for name in ("vae", "dcgan", "acgan")}
    for name, row in rows.items():
        monkeypatch.setitem(bench.ROWS, name, row)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring takes no time, and tells one model from another."""

    def evaluate(model: Any, *_: Any, seed: int, **__: Any) -> dict[str, Any]:
        return {"metrics": {"frechet_distance": float(model.generate(2, seed=seed).mean())}}

    monkeypatch.setattr(bench, "evaluate", evaluate)
    monkeypatch.setattr(bench, "fit_sampler", lambda *_, **__: None)
    monkeypatch.setattr(bench, "sampler_metrics", lambda *_: {"frechet_distance_gmm": 0.0})


def _bench(names: list[str], source: Path, out: Path, **options: Any) -> list[str]:
    """Lines that it says, after the first, on the data."""
    lines: list[str] = []
    options = {"epochs": 1, "extractor": EXTRACTOR, "say": lines.append, **options}
    assert bench.bench(names, source, out, **options)
    assert all(line.startswith("Data: ") for line in lines[:1])
    return lines[1:]


def test_every_model_has_a_row() -> None:
    rows = bench.list_rows()
    assert set(zoo.list_models()) <= set(rows)
    assert {row.model for row in rows.values()} == set(zoo.list_models())


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("gan", "vae_gan") else pytest.param(name, marks=pytest.mark.slow)
        for name in bench.list_rows()
    ],
)
def test_each_row_can_be_made(name: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the options it is run with."""
    monkeypatch.undo()
    settings = bench._settings(name, bench.list_rows()[name], source)
    model = bench._new_model({**settings, "image_shape": (28, 28, 1), "seed": 0})
    assert model.latent_dim == (16 if model.family == "vae" else 64)
    assert model.generate(2, seed=0).shape == (2, 28, 28, 1)


@pytest.mark.slow
def test_rows_are_trained_and_measured(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command, a conditional one with the classes of the data.

    Then nothing is left to do, and other settings are refused.
    """
    arguments = ["bench", "vae", "acgan", "--data", str(source), "--epochs", "1", "--seeds", "3"]
    arguments += ["--out", str(tmp_path), "--extractor", EXTRACTOR]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    vae, gan = (read_json(tmp_path / name / "seed_3" / "metrics.json") for name in ("vae", "acgan"))
    assert {"elbo", "iwae_bound", "frechet_distance"} <= set(vae["metrics"])
    assert vae["metrics"]["frechet_distance_gmm"] != vae["metrics"]["frechet_distance"]
    assert "frechet_distance_gmm" not in gan["metrics"]
    assert "frechet_distance" in gan["metrics"]
    assert "class_accuracy" not in gan["metrics"]  # the extractor knows ten classes, the data three
    assert gan["bench"]["options"]["num_classes"] == 3
    for found in (vae, gan):
        model = zoo.load_run(tmp_path / found["bench"]["row"] / "seed_3")
        assert (found["samples"], found["seed"], model.seed) == (40, 3, 3)
        assert model.steps_done == 100 // BATCH
        assert found["bench"]["parameters"] == model.count_params()
        assert found["bench"]["images_per_second"] > 0
        assert found["bench"]["machine"]["cores"] >= 1

    monkeypatch.delattr(bench, "train")
    monkeypatch.delattr(bench, "evaluate")
    assert _bench(["vae", "acgan"], source, tmp_path, seeds=[3]) == [
        "vae, seed 3: done before.",
        "acgan, seed 3: done before.",
    ]

    with pytest.raises(ValueError, match=r"epochs=1, and not 2.*another --out"):
        _bench(["dcgan", "vae"], source, tmp_path, epochs=2, seeds=[3])
    assert not (tmp_path / "dcgan").exists()  # nothing is trained before


# What `zoo evaluate` writes, without throughput.
EVALUATED = {
    "data": "array", "split": "test", "images": 9, "samples": 9, "extractor": None, "metrics": {},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_killed_run_goes_on_to_the_same_weights(source: Path, tmp_path: Path) -> None:
    _bench(["vae"], source, tmp_path / "whole", epochs=2)

    def killed(line: str) -> None:
        if "epoch 1" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _bench(["vae"], source, tmp_path / "killed", epochs=2, say=killed)
    folder = tmp_path / "killed" / "vae" / "seed_0"
    assert zoo.load_run(folder).steps_done == 5
    lines = _bench(["vae"], source, tmp_path / "killed", epochs=2)
    assert [line.partition(",")[0] for line in lines] == ["vae"] * 2  # one epoch, and the distance
    whole = tmp_path / "whole" / "vae" / "seed_0"
    assert_same_state(zoo.load_run(folder), zoo.load_run(whole))
    found, wanted = (read_json(path / "metrics.json")["metrics"] for path in (folder, whole))
    assert found == wanted
    assert len(read_json(folder / "timing.json")) == 2

    # `zoo evaluate` writes no throughput: the run is measured again.
    write_json(folder / "metrics.json", EVALUATED)
    _bench(["vae"], source, tmp_path / "killed", epochs=2)
    assert read_json(folder / "metrics.json")["metrics"] == wanted


@pytest.mark.slow
def test_a_stopped_training_stops_the_benchmark(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ctrl-C does, which `train` reports by False."""
    monkeypatch.setattr(bench, "train", lambda *_, **__: False)
    lines: list[str] = []
    names = ["vae", "dcgan"]
    assert not bench.bench(names, source, tmp_path, epochs=1, say=lines.append)
    assert not (tmp_path / "dcgan").exists()


@pytest.mark.slow
def test_a_row_that_fails_is_noted(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next row is begun, and neither is tried again."""

    def explode(*_: Any, **__: Any) -> bool:
        raise FloatingPointError("A loss at step 7 is not finite")

    monkeypatch.setattr(bench, "train", explode)
    monkeypatch.setitem(bench.ROWS, "broken", bench.Row("vae", {"likelihood": "nonsense"}))
    names = ["broken", "vae"]
    lines = _bench(names, source, tmp_path)
    places = [tmp_path / name / "seed_0" / "failed.json" for name in names]
    errors = [read_json(place)["error"] for place in places]
    assert errors[0].startswith("ValueError: likelihood='nonsense'")
    assert errors[1] == "FloatingPointError: A loss at step 7 is not finite"
    assert lines == [f"broken, seed 0: {errors[0]}", f"vae, seed 0: {errors[1]}"]
    assert _bench(names, source, tmp_path) == [
        f"{name}, seed 0: failed before; remove {place} to try again."
        for name, place in zip(names, places, strict=True)
    ]


def test_a_full_disk_is_no_failure_of_the_row(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> bool:
        raise OSError("No space left on device")

    monkeypatch.setattr(bench, "train", full)
    with pytest.raises(OSError, match="No space left"):
        _bench(["vae"], source, tmp_path)
    assert not (tmp_path / "vae" / "seed_0" / "failed.json").exists()


def test_what_another_process_holds_is_left_to_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until that process dies, even by SIGKILL."""
    done: list[str] = []
    monkeypatch.setattr(bench, "_run", lambda folder, *_: not done.append(str(folder)))
    folder = tmp_path / "vae" / "seed_0"
    folder.mkdir(parents=True)
    command = [sys.executable, "-c", HOLD, str(folder / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()  # it has the lock
        lines = _bench(["vae", "dcgan"], source, tmp_path)
        other.kill()
    assert lines == ["vae, seed 0: another process is at it."]
    assert done == [str(tmp_path / "dcgan" / "seed_0")]
    _bench(["vae"], source, tmp_path)
    assert done[1:] == [str(folder)]


def test_rows_are_shared(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one works at its first row, another goes through the list: each row is done once."""
    names, done = ["vae", "dcgan", "acgan"], []

    def run(folder: Path, *_: Any) -> bool:
        done.append(folder.parent.name)
        if len(done) == 1:
            _bench(names, source, tmp_path)
        _measured(tmp_path, folder.parent.name, "gan", 0, {})
        return True

    monkeypatch.setattr(bench, "_run", run)
    lines = _bench(names, source, tmp_path)
    assert done == names
    assert lines == ["dcgan, seed 0: done before.", "acgan, seed 0: done before."]


def test_mistakes_are_named(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r"Unknown row 'dcgam'. Did you mean dcgan"):
        _bench(["vae", "dcgam"], source, tmp_path)
    with pytest.raises(SystemExit):
        main(["bench", "--seeds", "0;1"])
    assert "--seeds 0;1: expected numbers, such as 0,1." in capsys.readouterr().err


def test_critics_get_small_batches(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 images are one step of five batches of 16."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(bench, "train", lambda *_, **options: bool(found.update(options)))
    bench.bench(["wgan_gp"], source, tmp_path, epochs=1)
    assert found["batch_size"] == 16


def test_throughput_leaves_out_the_first_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which takes 100 s to compile; three more of 2 × 20 images take 1 s each."""
    times = iter([100.0, 101.0, 102.0, 103.0])
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    clock = bench._Clock(tmp_path, batch_size=20, say=lambda _: None)
    clock.set_model(type("Model", (), {"minibatches": 2})())
    clock.on_epoch_begin(0)
    for i in range(4):
        clock.on_train_batch_end(i)
    clock.on_epoch_end(0)
    assert bench._images_per_second(tmp_path) == 3 * 40 / 3.0


# The table


def _measured(
    out: Path, row: str, family: str, seed: int, metrics: dict[str, float], **bench_part: Any
) -> None:
    machine = {"processor": "Abacus", "cores": 1, "gpus": [], "tensorflow": "2.21.0"}
    settings = {"row": row, "note": "", "family": family, "seed": seed, "epochs": 10}
    settings |= {"parameters": 1234567, "images_per_second": 1000.0 + 200 * seed}
    protocol = {"data": "fashion_mnist", "split": "test", "images": 10000, "samples": 10000}
    protocol |= (
        {"extractor": EXTRACTOR, "importance_samples": 50}
        if family == "vae"
        else {"extractor": EXTRACTOR}
    )
    found = {**protocol, "metrics": metrics, "bench": {**settings, "machine": machine}}
    found["bench"] |= bench_part
    write_json(out / row / f"seed_{seed}" / "metrics.json", found)


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    out = tmp_path / "bench"
    for seed, distance in enumerate((30.0, 20.0)):
        metrics = {"frechet_distance": distance, "coverage": 0.25, "gilbo": 1.0}
        _measured(out, "near", "gan", seed, metrics, note="hinge")
    _measured(out, "far", "gan", 0, {"frechet_distance": 40.125, "class_accuracy": 0.9})
    metrics = {"frechet_distance": 50.0, "frechet_distance_gmm": 35.0, "elbo": -712.34}
    _measured(out, "vae", "vae", 0, {**metrics, "iwae_bound": -700})
    settings = {"row": "bad", "note": "", "family": "gan", "seed": 1}
    failure = {"error": "FloatingPointError: " + "A loss is no number. " * 20, "bench": settings}
    write_json(out / "bad" / "seed_1" / "failed.json", failure)
    return out


def test_the_table(measured: Path) -> None:
    """Means by hand: 25 ± 5 and 1,100 images/s over the seeds of `near`."""
    lines = bench_table.table(measured)
    assert lines[0] == (
        "| row | family | Fréchet distance | Fréchet distance, GMM | coverage | class accuracy "
        "| ELBO | IWAE bound | parameters | images/s | seeds |"
    )
    assert lines[2:6] == [
        "| vae | VAE | 50 | 35 |  |  | -712.3 | -700 | 1,234,567 | 1,000 | 1 |",
        "| near (hinge) | GAN | 25 ± 5 |  | 0.25 ± 0 |  |  |  | 1,234,567 | 1,100 | 2 |",
        "| far | GAN | 40.12 |  |  | 0.9 |  |  | 1,234,567 | 1,000 | 1 |",
        "| bad | GAN | failed |  |  |  |  |  |  |  | 0 |",
    ]
    assert lines[7] == (
        "10 epochs on fashion_mnist, seeds 0,1, mean ± half the range. 10,000 samples against the "
        "10,000 images of the test split; features: fashion_mnist_classifier. ELBO and IWAE bound "
        "(k = 50) in nats per image. 1 core of Abacus, TensorFlow 2.21.0. "
        "`zoo bench --data fashion_mnist --epochs 10 --seeds 0,1`"
    )
    assert lines[9].startswith("bad, seed 1, failed: FloatingPointError: A loss is no number.")
    assert len(lines[9]) < 200


def test_the_table_is_printed(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command, line by line as it is."""
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--out", str(measured), "--table"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.splitlines() == bench_table.table(measured)
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--out", str(measured), "--table", "page.md"])  # as it once was
    assert stop.value.code == 1
    assert "leave out --pretrained and rows" in capsys.readouterr().err


def test_rows_of_different_budgets_do_not_mix(measured: Path) -> None:
    _measured(measured, "late", "gan", 0, {"frechet_distance": 1.0}, epochs=20)
    with pytest.raises(ValueError, match=r"far .*'epochs': 10.*, late with .*'epochs': 20"):
        bench_table.table(measured)


def test_nothing_measured(tmp_path: Path) -> None:
    write_json(tmp_path / "vae" / "seed_0" / "metrics.json", EVALUATED)
    with pytest.raises(ValueError, match="no finished row"):
        bench_table.table(tmp_path)


# Width


@pytest.mark.parametrize("role", ["encoder", "decoder", "generator"])
def test_a_width_behind_the_name(role: str) -> None:
    found = networks.build("conv-8", role, (8, 8, 1), 3)
    wanted = getattr(conv, role)((8, 8, 1), 3, width=8)
    assert [w.shape for w in found.weights] == [w.shape for w in wanted.weights]


def test_a_discriminator_takes_the_width() -> None:
    found = networks.build("conv-8", "discriminator", (8, 8, 1), normalization="none")
    assert found.get_layer("conv_0").kernel.shape[-1] == 8


@pytest.mark.parametrize("name", ["conv-", "conv-0", "conv--1", "conv-x", "conv-1.5"])
def test_a_wrong_width(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected a width of at least 1, such as conv-32"):
        networks.build(name, "decoder", (8, 8, 1), 3)


def test_an_architecture_of_one_width() -> None:
    with pytest.raises(ValueError, match="'mlp-32': mlp has a fixed width. Take 'mlp'"):
        networks.build("mlp-32", "decoder", (8, 8, 1), 3)
