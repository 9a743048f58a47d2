"""Samplers of latents, on VAEs whose aggregate posterior is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from scipy.spatial.distance import cdist

import zoo
from zoo import metrics
from zoo.cli import main
from zoo.evaluation.measure import sampler_metrics
from zoo.hub import publishing
from zoo.io.records import read_json
from zoo.sampling import samplers
from zoo.sampling.samplers import fit_sampler, load_sampler
from zoo.sampling.second_stage import SecondStage, sample_second_stage
from zoo.training.runs import load_run

SIGMA = 0.1


def _vae() -> Any:
    """Two pixels x are the posterior N(4 x − 2, SIGMA²), and its latents the logits."""
    image, latent = keras.Input([1, 2, 1]), keras.Input([2])
    flat = keras.layers.Flatten()(image)
    moments = [
        keras.layers.Rescaling(4.0, offset=-2.0)(flat),
        keras.layers.Rescaling(0.0, offset=2.0 * np.log(SIGMA))(flat),
    ]
    encoder = keras.Model(image, moments)
    decoder = keras.Model(latent, keras.layers.Reshape([1, 2, 1])(latent))
    return zoo.create("vae", (1, 2, 1), 2, encoder=encoder, decoder=decoder)


def _images(means: np.ndarray) -> np.ndarray:
    """Images whose posteriors have these means [n, 2]."""
    return ((means + 2.0) / 4.0).astype(np.float32).reshape(-1, 1, 2, 1)


def _ring(n: int) -> np.ndarray:
    angles = 2.0 * np.pi * np.arange(n) / n
    return 1.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _energy_distance(x: np.ndarray, y: np.ndarray) -> float:
    """2 E|X − Y| − E|X − X'| − E|Y − Y'|: 0 for equal laws only."""
    return float(2.0 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())


def test_a_mixture_is_found() -> None:
    """q(z) is a mixture itself, of N(m_k, SIGMA² I). Tolerances are five standard errors."""
    centres = np.array([[-1.5, -1.0], [0.0, 1.5], [1.5, -0.5]])
    counts = np.array([1000, 600, 400])
    images = _images(np.repeat(centres, counts, axis=0))
    sampler = fit_sampler(_vae(), images, "gmm", components=3)
    order = np.argsort(sampler.arrays["means"][:, 0])
    found = {name: array[order] for name, array in sampler.arrays.items()}
    error = SIGMA / np.sqrt(counts.min())
    np.testing.assert_allclose(found["weights"], counts / 2000, atol=1e-6)  # they lie far apart
    np.testing.assert_allclose(found["means"], centres, atol=5 * error)
    # Besides, 1e-4 that keeps covariances regular.
    wanted = np.broadcast_to(SIGMA**2 * np.eye(2), (3, 2, 2))
    atol = 5 * np.sqrt(2) * SIGMA * error + 1e-4
    np.testing.assert_allclose(found["covariances"], wanted, atol=atol)

    drawn = sampler.sample(4000, seed=1)
    assert (drawn.dtype, drawn.shape) == (np.float32, (4000, 2))
    nearest = np.argmin(cdist(drawn, centres), axis=1)
    shares = np.bincount(nearest, minlength=3) / 4000
    np.testing.assert_allclose(shares, counts / 2000, atol=5 * np.sqrt(0.25 / 4000))
    spread = (drawn - centres[nearest]).std(axis=0)
    np.testing.assert_allclose(spread, SIGMA, rtol=0.1)


@pytest.mark.slow
def test_fitted_samplers_leave_the_hole_that_the_prior_fills() -> None:
    """q(z) is a ring, at 0.07 from the prior; a fifth of that is asked for."""
    vae, ring = _vae(), _ring(1000)
    rng = np.random.default_rng(0)
    truth = ring + SIGMA * rng.standard_normal(ring.shape)
    found = {}
    for kind in samplers.KINDS:
        sampler = fit_sampler(vae, _images(ring), kind, steps=600)
        assert sampler.name == kind
        found[kind] = _energy_distance(truth, sampler.sample(1000, seed=0))
    assert found["gmm"] < 0.2 * found["prior"]
    assert found["two_stage"] < 0.2 * found["prior"]


def test_the_second_stages_loss() -> None:
    """Minus the evidence lower bound at γ = MSE, by PyTorch; and the gradient of d/2 log MSE."""
    model = SecondStage(3, seed=1)
    model.encoder.layers[-1].bias.assign(0.3 * np.ones(6))
    rng = np.random.default_rng(0)
    z, noise = rng.standard_normal((2, 5, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        error = model((z, noise))
        (loss,) = model.losses
    bias = model.decoder.layers[-1].bias
    gradient = tape.gradient(loss, bias.value)

    moments = torch.tensor(model.encoder(z).numpy())
    mean, deviation = moments[:, :3], torch.exp(0.5 * moments[:, 3:])
    decoded = model.decoder((mean + deviation * torch.tensor(noise)).numpy()).numpy()
    shift = torch.zeros(3, requires_grad=True)  # where the bias is
    residual = torch.tensor(z) - torch.tensor(decoded) - shift
    gamma = residual.square().mean()
    np.testing.assert_allclose(error, residual.square().mean(dim=1).detach(), rtol=1e-5)
    posterior, prior = torch.distributions.Normal(mean, deviation), torch.distributions.Normal(0, 1)
    rate = torch.distributions.kl_divergence(posterior, prior).sum(dim=1)
    likelihood = torch.distributions.Normal(0, gamma.sqrt()).log_prob(residual).sum(dim=1)
    np.testing.assert_allclose(loss, (rate - likelihood).mean().detach(), rtol=1e-5)
    (1.5 * torch.log(gamma)).backward()
    assert shift.grad is not None
    np.testing.assert_allclose(gradient, shift.grad, rtol=1e-4, atol=1e-6)


def test_the_second_stage_adds_its_decoders_noise() -> None:
    """With a μ that is constant, z is N(shift + scale μ, scale² γ): within five standard errors."""
    model = SecondStage(2)
    weights = [np.zeros_like(w) for w in model.decoder.get_weights()]
    weights[-1] += np.array([1.0, -1.0])
    arrays = {f"decoder_{i}": w for i, w in enumerate(weights)}
    arrays |= {
        "shift": np.array([5.0, 0.0], np.float32),
        "scale": np.array([2.0, 3.0], np.float32),
        "gamma": np.array(0.25, np.float32),
    }
    drawn = sample_second_stage(arrays, 4000, seed=0)
    np.testing.assert_allclose(drawn.mean(axis=0), [7.0, -3.0], atol=5 * 1.5 / np.sqrt(4000))
    np.testing.assert_allclose(drawn.std(axis=0), [1.0, 1.5], rtol=5 / np.sqrt(2 * 4000))


@pytest.mark.parametrize("kind", ["gmm", pytest.param("two_stage", marks=pytest.mark.slow)])
def test_a_sampler_is_repeatable_and_stored_whole(kind: str, tmp_path: Path) -> None:
    """Whatever the global seed."""
    vae, images = _vae(), _images(_ring(60))

    def fit(seed: int) -> Any:
        return fit_sampler(vae, images, kind, components=3, steps=3, seed=seed)

    sampler = fit(0)
    wanted = sampler.sample(20, seed=1)
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(fit(0).sample(20, seed=1), wanted)
    assert np.any(fit(1).sample(20, seed=1) != wanted)
    assert np.any(sampler.sample(20, seed=2) != wanted)

    place = tmp_path / "sampler.npz"
    sampler.save(place)
    again = load_sampler(place)
    np.testing.assert_array_equal(again.sample(20, seed=1), wanted)
    assert (again.name, again.fitted_to) == (kind, samplers.fingerprint(vae))
    assert [path.name for path in tmp_path.iterdir()] == ["sampler.npz"]

    place.write_bytes(place.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"sampler\.npz is no sampler, or was cut short"):
        load_sampler(place)


@pytest.fixture(scope="module")
def classes() -> tuple[Any, np.ndarray, np.ndarray]:
    """An untrained conditional VAE, images and labels."""
    keras.utils.set_random_seed(0)
    vae = zoo.create("cvae", (8, 8, 1), 3, network="mlp", num_classes=4)
    for weight in vae.encoder.trainable_weights:  # an untrained encoder barely hears the label
        weight.assign(2.0 * weight)
    vae.encoder.get_layer("log_variance").bias.assign(-5.0 * np.ones(3))
    images = np.random.default_rng(0).random((1600, 8, 8, 1), np.float32)
    return vae, images, np.random.default_rng(1).permutation(1600) % 4


def test_each_class_has_its_mixture(classes: tuple[Any, np.ndarray, np.ndarray]) -> None:
    """With one Gaussian q(z | y) has its mean: within five standard errors, and no other class."""
    vae, images, labels = classes
    sampler = fit_sampler(vae, images, "gmm", labels=labels, components=1)
    asked = np.random.default_rng(2).permutation(1600) % 4
    drawn = sampler.sample(1600, 5, asked)
    assert (drawn.dtype, drawn.shape) == (np.float32, (1600, 3))
    for y in range(4):
        mean, log_variance = map(np.asarray, vae.encode(images[labels == y], np.full(400, y)))
        others, _ = map(np.asarray, vae.encode(images[labels == y], np.full(400, (y + 1) % 4)))
        within = np.exp(log_variance).mean(axis=0)
        found, error = sampler.arrays["means"][y, 0], 5 * np.sqrt(within / 400)
        assert np.all(np.abs(found - mean.mean(axis=0)) < error)
        assert np.any(np.abs(found - others.mean(axis=0)) > error)
        deviation = np.sqrt(within + mean.var(axis=0))
        error = 5 * deviation / np.sqrt(400)
        assert np.all(np.abs(drawn[asked == y].mean(axis=0) - found) < error)
        assert np.all(np.abs(drawn[asked == y].std(axis=0) / deviation - 1) < 5 / np.sqrt(800))
    np.testing.assert_array_equal(sampler.sample(1600, 5, asked), drawn)
    # Classes share no noise, nor do seeds.
    first, second = (sampler.sample(400, 5, y)[:, 0] for y in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(400)
    assert np.any(sampler.sample(50, 6, 0) != sampler.sample(50, 5, 0))


def test_a_sampler_of_classes_is_stored_whole(
    classes: tuple[Any, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    vae, images, labels = classes
    sampler = fit_sampler(vae, images, labels=labels, components=8)
    assert sampler.arrays["means"].shape == (4, 2, 3)
    sampler.save(tmp_path / "a.npz")
    again = load_sampler(tmp_path / "a.npz")
    np.testing.assert_array_equal(again.sample(9, 1, 3), sampler.sample(9, 1, np.full(9, 3.0)))


def test_mistakes_with_classes(classes: tuple[Any, np.ndarray, np.ndarray]) -> None:
    vae, images, labels = classes
    with pytest.raises(ValueError, match=r"cvae has 4 classes: expected labels"):
        fit_sampler(vae, images)
    with pytest.raises(
        ValueError, match=r"0 images of class 3: expected at least 2, for a mixture of 1"
    ):
        fit_sampler(vae, images, labels=labels % 3, components=4)
    sampler = fit_sampler(vae, images, labels=labels, components=1)
    for wrong in (None, 4, -1, [0, 1], 0.5):
        with pytest.raises(ValueError, match=r"each of 4 classes: expected labels from 0 to 3"):
            sampler.sample(3, 0, wrong)


# Of a run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampler")
    rng = np.random.default_rng(0)
    images = np.kron(rng.random((60, 2, 2, 1)), np.ones((1, 14, 14, 1))).astype(np.float32)
    np.savez(folder / "images.npz", x_train=images, x_test=images[:30])
    _zoo(
        "train", "vae", "--data", folder / "images.npz", "--out", folder / "run", "--epochs", 1,
        "--batch-size", 20, "--latent-dim", 3, "--network", "mlp",
    )  # fmt: skip
    return folder / "run"


def _zoo(*arguments: object) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0


@pytest.mark.slow
def test_a_run_keeps_its_sampler(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is trained on; a checkpoint has its own beside it."""
    images = tmp_path / "a.npy"
    _zoo("sample", run, "--sampler", "gmm", "--out", images, "--n", 5, "--seed", 1)
    model, stored = load_run(run), load_sampler(run / "sampler_gmm.npz")
    np.testing.assert_array_equal(np.load(images), model.generate_from(stored.sample(5, 1)))
    with monkeypatch.context() as patch:
        patch.delattr(samplers, "fit_sampler")
        _zoo("sample", run, "--sampler", "gmm", "--out", tmp_path / "b.npy", "--n", 5, "--seed", 1)
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), np.load(images))

    _zoo("train", run, "--epochs", 2)
    _zoo("sample", run, "--sampler", "gmm", "--out", images, "--n", 5)
    model, refitted = load_run(run), load_sampler(run / "sampler_gmm.npz")
    assert refitted.fitted_to == samplers.fingerprint(model) != stored.fitted_to
    assert np.any(refitted.arrays["means"] != stored.arrays["means"])

    before = run / "checkpoints" / "step_00000003.keras"
    _zoo("sample", before, "--sampler", "gmm", "--out", images, "--n", 5)
    of_checkpoint = load_sampler(run / "checkpoints" / "step_00000003.sampler_gmm.npz")
    np.testing.assert_array_equal(of_checkpoint.arrays["means"], stored.arrays["means"])

    _zoo("sample", run, "--out", images, "--n", 5, "--seed", 3)
    np.testing.assert_array_equal(np.load(images), model.generate(5, seed=3))


@pytest.mark.slow
def test_a_sampler_is_measured(run: Path) -> None:
    """Its images take the place of the prior's, in a file of its own."""
    extractor = "fashion_mnist_classifier"
    _zoo(
        "evaluate", run, "--sampler", "gmm", "--extractor", extractor, "--importance-samples", 2,
        "--seed", 4,
    )  # fmt: skip
    record = read_json(run / "metrics_gmm.json")
    assert (record["sampler"], record["samples"], record["seed"]) == ("gmm", 30, 4)
    assert not (run / "metrics.json").exists()
    features = metrics.load_extractor(extractor)
    latents = load_sampler(run / "sampler_gmm.npz").sample(30, seed=4)
    with np.load(run.parent / "images.npz") as data:
        real = features(data["x_test"])
    distance = metrics.frechet_distance(real, features(load_run(run).generate_from(latents)))
    np.testing.assert_allclose(record["metrics"]["frechet_distance"], distance, rtol=1e-6)


@pytest.fixture(scope="module")
def conditional_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    images = np.kron(rng.random((90, 2, 2, 1)), np.ones((1, 14, 14, 1))).astype(np.float32)
    labels = np.arange(90) % 3
    np.savez(
        folder / "images.npz", x_train=images, y_train=labels, x_test=images[:30],
        y_test=labels[:30],
    )  # fmt: skip
    _zoo(
        "train", "cvae", "--data", folder / "images.npz", "--out", folder / "run", "--epochs", 1,
        "--batch-size", 30, "--latent-dim", 2, "--network", "mlp",
    )  # fmt: skip
    return folder / "run"


@pytest.mark.slow
def test_latents_are_of_the_class_of_their_image(conditional_run: Path, tmp_path: Path) -> None:
    run, images, place = conditional_run, tmp_path / "a.npy", conditional_run / "sampler_gmm.npz"
    _zoo("sample", run, "--sampler", "gmm", "--out", images, "--n", 9, "--seed", 1)
    model, sampler = load_run(run), load_sampler(place)
    labels = model.sample_labels(9, 1)
    assert len(set(labels)) > 1
    wanted = model.generate_from(sampler.sample(9, 1, labels), labels)
    np.testing.assert_array_equal(np.load(images), wanted)
    _zoo("sample", run, "--sampler", "gmm", "--out", images, "--n", 9, "--label", 2)
    wanted = model.generate_from(sampler.sample(9, 0, 2), 2)
    np.testing.assert_array_equal(np.load(images), wanted)

    # One of all classes, as earlier versions fitted, is replaced.
    arrays = {name: array[0] for name, array in sampler.arrays.items()}
    samplers.Sampler("gmm", sampler.draw, arrays, sampler.fitted_to).save(place)
    assert load_sampler(place).sample(9, 1).shape == (9, 2)
    _zoo("sample", run, "--sampler", "gmm", "--out", images, "--n", 9, "--label", 2)
    np.testing.assert_array_equal(np.load(images), wanted)

    extractor = "fashion_mnist_classifier"
    _zoo(
        "evaluate", run, "--sampler", "gmm", "--extractor", extractor, "--importance-samples", 2,
        "--seed", 1, "--samples", 9,
    )  # fmt: skip
    record = read_json(run / "metrics_gmm.json")["metrics"]["frechet_distance"]
    features = metrics.load_extractor(extractor)
    with np.load(run.parent / "images.npz") as data:
        real = features(data["x_test"])
    fake = features(model.generate_from(sampler.sample(9, 1, labels), labels))
    np.testing.assert_allclose(record, metrics.frechet_distance(real, fake), rtol=1e-6)
    protocol = {"split": "test", "samples": 9, "extractor": extractor, "seed": 1}
    again = sampler_metrics(model, str(run.parent / "images.npz"), sampler, protocol)
    np.testing.assert_allclose(again["frechet_distance_gmm"], record, rtol=1e-6)


@pytest.mark.slow
def test_a_published_mixture_needs_enough_of_each_class(
    conditional_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, config = load_run(conditional_run), read_json(conditional_run / "config.json")
    sampler = publishing._mixture(model, config)
    assert sampler is not None
    assert sampler.arrays["means"].shape == (3, 3, 2)  # 90 images // 10, for three classes
    monkeypatch.setattr(publishing, "FEWEST", 31)
    assert publishing._mixture(model, config) is None


# Mistakes


@pytest.mark.parametrize(("name", "options"), [("dcgan", {}), ("ladder_vae", {"layers": 2})])
def test_models_without_a_latent_code(name: str, options: dict[str, Any]) -> None:
    """They have a prior."""
    model = zoo.create(name, (8, 8, 1), 3, network="mlp", **options)
    images = np.zeros((4, 8, 8, 1), np.float32)
    with pytest.raises(ValueError, match=rf"{name} has no latent code.*'two_stage'.*prior"):
        fit_sampler(model, images, "two_stage")
    drawn = fit_sampler(model, images, "prior").sample(6, seed=4)
    np.testing.assert_array_equal(drawn, model.sample_latents(6, seed=4))


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Path) -> None:
    vae, images = _vae(), _images(_ring(20))
    with pytest.raises(ValueError, match=r"Unknown sampler 'gmn': expected one of prior, gmm"):
        fit_sampler(vae, images, "gmn")
    with pytest.raises(ValueError, match=r"steps=0: expected at least 1"):
        fit_sampler(vae, images, "two_stage", steps=0)
    with pytest.raises(ValueError, match=r"created without num_classes"):
        fit_sampler(vae, images, labels=np.zeros(20, int))
    with pytest.raises(ValueError, match=r"20 images: expected at least 30, for a mixture of 30"):
        fit_sampler(vae, images, components=30)
    with pytest.raises(ValueError, match=r"'prior' was not fitted"):
        fit_sampler(vae, images, "prior").save(tmp_path / "a.npz")
    sampler = fit_sampler(vae, images, components=2)
    with pytest.raises(ValueError, match=r"n=0: expected at least 1"):
        sampler.sample(0)
    with pytest.raises(ValueError, match=r"a\.bin: expected a path that ends in \.npz"):
        sampler.save(tmp_path / "a.bin")
    with pytest.raises(FileNotFoundError):
        load_sampler(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", images=images)
    with pytest.raises(ValueError, match=r"a\.npz is no sampler"):
        load_sampler(tmp_path / "a.npz")
    with pytest.raises(SystemExit):
        main(["sample", str(run), "--sampler", "gmn", "--out", str(tmp_path / "a.png")])
    assert "Unknown sampler 'gmn'" in capsys.readouterr().err
