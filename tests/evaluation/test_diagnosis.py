"""Each diagnosis has a run that was made sick on purpose; none is made of the healthy ones."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from tests.support.command import fails, run_zoo
from zoo.evaluation import (
    diagnosis,
    signs_in_data,
    signs_in_history,
    signs_in_samples,
    signs_in_weights,
)
from zoo.metrics import density_coverage

ROOT = Path(__file__).parents[2]
SAVED = sorted(file.parent for file in (ROOT / "saved_models").glob("*_mnist/config.json"))
RANDOM = np.random.default_rng(0)
MANY = np.kron(RANDOM.random((2000, 2, 2, 1)), np.ones((1, 4, 4, 1))).astype(np.float32)
IMAGES = MANY[:200]


def _names(found: Any) -> set[str]:
    return {finding.name for finding in found.findings}


def _losses(*values: float) -> list[dict[str, float]]:
    return [{"loss": value} for value in values]


# The functions, at their thresholds


@pytest.mark.parametrize("loss", zoo.losses.ADVERSARIAL)
def test_a_discriminator_that_cannot_tell_pays_what_is_said(loss: str) -> None:
    """The least of the loss where both logits are the same; a critic's, which is 0, is not said."""
    logits = np.linspace(-3.0, 3.0, 601, dtype=np.float32)[:, None]
    paid = zoo.losses.ADVERSARIAL[loss].discriminator(logits, logits).numpy().min()
    assert paid == pytest.approx(signs_in_history.CANNOT_TELL.get(loss, 0.0), abs=1e-6)
    for share, found in ((0.099, True), (0.101, False)):
        history = [{"discriminator_loss": share * float(paid)}]
        told = signs_in_history.discriminator_too_strong(history, loss) is not None
        assert told is (found and loss in signs_in_history.CANNOT_TELL)


def test_the_last_quarter_of_the_epochs_counts() -> None:
    values = [1.0] * 6 + [0.01] * 2
    history = [{"discriminator_loss": value} for value in values]
    assert "over the last 2 epochs" in signs_in_history.discriminator_too_strong(history).seen
    assert signs_in_history.discriminator_too_strong(history[:-1]) is None
    # A critic is meant to be as good as it can.
    low = [{"discriminator_loss": -50.0}]
    assert signs_in_history.discriminator_too_strong(low, "wasserstein") is None
    assert signs_in_history.discriminator_too_strong([]) is None


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        (_losses(400, 300, 351), True),  # 51 of 100, and 17 % of 300
        (_losses(400, 300, 349), False),
        (_losses(100, 99, 101), False),  # noise about a plateau
        (_losses(-600, -700, -620, -690), True),  # densities
        (_losses(-600, -700, -660, -690), False),
        (_losses(400, 900), False),  # too short to say
    ],
)
def test_a_spike_takes_back_half_of_what_was_won(
    losses: list[dict[str, float]], found: bool
) -> None:
    assert (signs_in_history.loss_spikes(losses) is not None) is found


def test_a_run_as_advised_has_updates_enough() -> None:
    for images in (40, 540, 850, 5000):
        helps = signs_in_history.too_few_updates(999, images, min(images, 64)).helps
        words = helps.rstrip(".").split()
        epochs, size = int(words[words.index("--epochs") + 1]), min(images, 64)
        if "--batch-size" in words:
            size = int(words[words.index("--batch-size") + 1])
        assert signs_in_history.too_few_updates(epochs * (images // size), images, size) is None


@pytest.mark.parametrize("origin", [None, "converted_from", "finetuned_from"])
@pytest.mark.parametrize("preset", [False, True])
def test_only_a_run_that_began_from_nothing_needs_many_updates(
    origin: str | None, preset: bool
) -> None:
    """A preset has the entries of its run in `facts`."""
    config: dict[str, Any] = {"batch_size": 20, **({} if origin is None else {origin: "x"})}
    config = {"facts": config} if preset else config
    model: Any = SimpleNamespace(steps_done=10, minibatches=1)
    assert bool([*diagnosis._of_updates(model, config, 200)]) is (origin is None)


def test_samples_of_half_the_spread_are_alike() -> None:
    centre = IMAGES.mean(axis=0, keepdims=True)
    for share, found in ((0.49, True), (0.51, False)):
        nearer = centre + share * (IMAGES - centre)
        assert (signs_in_samples.mode_collapse(IMAGES, nearer) is not None) is found


def test_samples_that_lie_elsewhere_miss_the_data() -> None:
    noise = RANDOM.random(IMAGES.shape)
    flat, real = noise.reshape(200, -1), IMAGES.reshape(200, -1)
    assert density_coverage(real, flat)[1] < 0.1
    assert signs_in_samples.missed_data(IMAGES, 3 * noise) is not None
    assert signs_in_samples.missed_data(IMAGES[:100], IMAGES[100:]) is None
    one = np.repeat(IMAGES[:1], 200, axis=0)  # a collapse, which has a finding of its own
    assert signs_in_samples.missed_data(IMAGES, one) is None


def test_saturation_is_what_the_data_have_not() -> None:
    binary = (IMAGES > 0.5).astype(np.float32)
    assert signs_in_samples.saturated_outputs(IMAGES, binary) is not None
    assert signs_in_samples.saturated_outputs(binary, binary) is None


def test_constant_and_repeated_images() -> None:
    images = IMAGES.copy()
    images[:2] = 0.5
    images[2] = [0.2]
    assert signs_in_data.constant_images(images).seen.startswith("3 of 200 ")
    assert signs_in_data.constant_images(IMAGES) is None
    colours = np.broadcast_to(RANDOM.random((9, 1, 1, 3)), (9, 8, 8, 3))
    assert signs_in_data.constant_images(colours).seen.startswith("9 of 9 ")
    twice = np.concatenate([IMAGES, IMAGES[:23]])
    assert signs_in_data.duplicate_images(twice).seen.startswith("23 of 223 ")
    assert signs_in_data.duplicate_images(np.concatenate([IMAGES, IMAGES[:20]])) is None


def test_classes_without_images_are_not_rare() -> None:
    """`zoo.data.describe` names them."""
    assert signs_in_data.rare_class(np.array([0, 5, 499])) is None
    assert signs_in_data.rare_class(np.array([0, 5, 500])) is not None
    assert signs_in_data.rare_class(np.array([0, 7])) is None


def test_the_rate_that_log_n_leaves() -> None:
    """Per active unit: KL(N(0, σ²) ‖ N(0, 1)) is above 4 nats where σ is below e⁻⁴·⁵."""
    for sigma, found in ((math.exp(-4.4), False), (math.exp(-4.6), True)):
        kl = 0.5 * (sigma**2 - 1.0) - math.log(sigma)
        rate = 8 * kl + math.log(500)
        assert (signs_in_weights.rate_beyond_data(rate, 500, 8) is not None) is found
    assert signs_in_weights.rate_beyond_data(90.0, 500, 0) is None


def test_the_table_of_diagnoses_is_complete() -> None:
    """In docs/training.md, with the names that the findings have."""
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    rows = text.partition("<!-- diagnoses -->")[2].partition("<!-- end of diagnoses -->")[0]
    told = re.findall(r"^\| ([^|]+) \|", rows, re.MULTILINE)[2:]
    files = (ROOT / "zoo" / "evaluation").glob("signs_in_*.py")
    made = {name for f in files for name in re.findall(r'Finding\(\s+"(.+)"', f.read_text("utf-8"))}
    assert len(made) == 13
    assert set(told) == made


def test_the_statistics_of_batches_are_those_of_a_copy() -> None:
    """Every variable of the network stays, the seeds of Dropout too."""
    layers = keras.layers
    parts = [layers.Dense(64), layers.BatchNormalization(), layers.Dropout(0.1)]
    last = [layers.Activation("sigmoid"), layers.Reshape((8, 8, 1))]
    generator = keras.Sequential([keras.Input((2,)), *parts, *last])
    generator.trainable = False
    model = zoo.create("gan", (8, 8, 1), 2, network="mlp", generator=generator)
    before = [variable.numpy().copy() for variable in generator.variables]
    assert len(before) > len(generator.weights)
    latents = model.sample_latents(128, 0)
    samples = model.generate_from(latents)
    assert diagnosis._unsettled(model, latents, None, samples) is not None
    assert not generator.trainable
    for variable, value in zip(generator.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


# Runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE of one epoch."""
    out = tmp_path_factory.mktemp("runs") / "vae"
    keras.utils.set_random_seed(0)
    model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    model.compile()
    zoo.train(model, IMAGES, out, epochs=1, batch_size=20, verbose=0)
    return out


@pytest.mark.slow
def test_the_command(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Its exit status is 0 with findings too, and 1 where there is no run."""
    before = sorted(path.stat().st_mtime_ns for path in run.rglob("*"))
    run_zoo("doctor", run)
    said = capsys.readouterr().out
    assert said.startswith("Nothing is wrong, as far as can be seen. Looked at: the weights, one")
    assert f"Without training images: {run} was trained on an array" in said
    np.save(tmp_path / "x.npy", IMAGES)
    run_zoo("doctor", run, "--data", tmp_path / "x.npy", "--json")
    said = json.loads(capsys.readouterr().out)
    assert said["findings"][0].keys() == {"name", "seen", "helps", "paper"}
    assert said["findings"][0]["seen"].startswith("10 updates per epoch, 10 in all")
    assert said["looked_at"][-1] == "200 training images"
    assert said["left_out"] == []
    assert "nowhere" in fails(capsys, "doctor", tmp_path / "nowhere")
    assert sorted(path.stat().st_mtime_ns for path in run.rglob("*")) == before


@pytest.mark.slow
def test_a_run_that_began_trained_needs_no_thousand_updates(run: Path, tmp_path: Path) -> None:
    model, _ = zoo.finetune(run, IMAGES)
    model.compile()
    zoo.train(model, IMAGES, tmp_path / "on", epochs=1, verbose=0)
    assert "too few updates" not in _names(zoo.doctor(tmp_path / "on", IMAGES))


def test_sick_histories_and_weights_of_a_run(run: Path, tmp_path: Path) -> None:
    import shutil

    sick = Path(shutil.copytree(run, tmp_path / "sick"))
    entry = json.loads((run / "history.json").read_text())[0]
    losses = [9e9, *(entry["loss"] * share for share in (1, 2))]
    history = [{**entry, "epoch": i, "loss": loss} for i, loss in enumerate(losses, 1)]
    history[0]["loss"] = 1.5 * entry["loss"]
    (sick / "history.json").write_text(json.dumps(history))
    model = zoo.load_run(run)
    for variable in model.trainable_variables:
        variable.assign(30.0 * variable)
    model.save(sick / "model.keras")
    names = [finding.name for finding in zoo.doctor(sick, IMAGES).findings]
    assert names.count("learning rate too high") == 2


@pytest.mark.slow
@pytest.mark.parametrize("preset", SAVED, ids=lambda path: path.name)
def test_the_pretrained_models_are_healthy(preset: Path) -> None:
    assert not zoo.doctor(preset, "fashion_mnist_sample").findings


@pytest.mark.slow
def test_a_pretrained_model_is_healthy() -> None:
    (preset,) = (path for path in SAVED if path.name == "vae_fashion_mnist")
    assert not zoo.doctor(preset, "fashion_mnist_sample").findings


def _train(out: Path, model: str, images: Any, **settings: Any) -> Any:
    """A run of 100 updates per epoch, and its diagnosis."""
    keras.utils.set_random_seed(0)
    options, rate = settings.pop("options", {}), settings.pop("rate", None)
    made = zoo.create(model, images.shape[1:], settings.pop("latent_dim", 4), **options)
    made.compile(learning_rate=rate)
    zoo.train(made, images, out, verbose=0, **{"batch_size": len(images) // 100, **settings})
    return zoo.doctor(out, images)


MLP = {"network": "mlp"}
HEALTHY = {
    "vae": ("vae", {"options": MLP}),
    "gan": ("gan", {"options": MLP}),
    "dcgan": ("dcgan", {"options": {"network": "conv-16", "ema": 0.99}}),
}
SICK = {
    "discriminator too strong": (
        "gan",
        {
            "options": MLP,
            "rate": {"generator_optimizer": 1e-6, "discriminator_optimizer": 2e-3},
        },
    ),
    "learning rate too high": ("gan", {"options": MLP, "rate": 0.2, "epochs": 4}),
    # The rate weighs a thousand times as much as it should, or a ten thousandth.
    "posterior collapse": (
        "beta_vae",
        {"options": {**MLP, "beta": 1000.0}, "latent_dim": 8},
    ),
    "rate far above log N": ("beta_vae", {"options": {**MLP, "beta": 1e-4}}),
    # A generator that runs to wherever a critic that hardly moves sends it.
    "mode collapse": (
        "gan",
        {
            "options": {**MLP, "loss": "wasserstein"},
            "rate": {"generator_optimizer": 5e-2, "discriminator_optimizer": 1e-5},
        },
    ),
    "saturated outputs": (
        "gan",
        {
            "options": MLP,
            "rate": {"generator_optimizer": 0.5, "discriminator_optimizer": 1e-3},
        },
    ),
    "too few updates": ("gan", {"options": MLP, "epochs": 5}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_runs(name: str, tmp_path: Path) -> None:
    model, settings = HEALTHY[name]
    images = (
        MANY
        if name != "dcgan"
        else zoo.data.to_array("fashion_mnist_sample", split="train", limit=2000)
    )
    found = _train(tmp_path / "run", model, images, epochs=15, **settings)
    assert not found.findings, found.text()


@pytest.mark.slow
@pytest.mark.parametrize("name", SICK)
def test_sick_runs(name: str, tmp_path: Path) -> None:
    model, settings = SICK[name]
    found = _train(tmp_path / "run", model, MANY, **{"epochs": 12, **settings})
    assert name in _names(found), found.text()


@pytest.mark.slow
def test_samples_are_flat_after_one_epoch_of_a_small_folder(tmp_path: Path) -> None:
    """BatchNorm's moving statistics lag, and no mode collapse is told of."""
    images = zoo.data.to_array("fashion_mnist_sample", split="train", limit=640)
    found = _train(tmp_path / "run", "dcgan", images, options={}, batch_size=64, epochs=1)
    assert "BatchNorm not converged" in _names(found), found.text()
    assert "mode collapse" not in _names(found)


@pytest.mark.slow
def test_a_codebook_that_died(tmp_path: Path) -> None:
    """All but two codes are moved to where no feature is, after a healthy training."""
    options = {"network": "grid-8", "num_codes": 8, "prior_width": 8}
    found = _train(tmp_path / "run", "vq_vae", MANY, options=options, epochs=12)
    assert "dead codes" not in _names(found), found.text()
    model = zoo.load_run(tmp_path / "run")
    codebook = np.array(model.quantizer.codebook)
    codebook[2:] = 1e3
    model.quantizer.codebook.assign(codebook)
    model.save(tmp_path / "run" / "model.keras")
    assert "dead codes" in _names(zoo.doctor(tmp_path / "run", MANY))


@pytest.mark.slow
def test_sick_data(tmp_path: Path) -> None:
    images = np.concatenate([IMAGES, IMAGES[:40], np.full_like(IMAGES[:5], 0.3)])
    labels = np.zeros(len(images), np.int64)
    labels[0] = 1
    np.savez(tmp_path / "x.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    model.compile()
    zoo.train(model, tmp_path / "x.npz", tmp_path / "run", epochs=1, batch_size=20, verbose=0)
    wanted = {"rare class", "duplicate images", "constant images"}
    assert wanted <= _names(zoo.doctor(tmp_path / "run"))
