"""Named metrics: the values are those of the plain functions on whole arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from tests.support.replicas import replicated
from zoo import data, metrics
from zoo.evaluation import references, streams
from zoo.evaluation.named import evaluate_named, scores_of
from zoo.metrics import features

N = 300  # more than a batch
WEIGHTS = np.random.default_rng(5).normal(size=(64, 6)).astype(np.float32)
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (N, 8, 8, 1)).astype(np.uint8)
LABELS = np.arange(N) % 3
IMAGES = zoo.data.Images(PIXELS, LABELS)


def _project(images: Any) -> np.ndarray:
    return np.tanh(np.asarray(images).reshape(-1, 64) @ WEIGHTS)


def _softmax(images: Any) -> np.ndarray:
    exponentials = np.exp(3.0 * _project(images)[:, :3])
    return exponentials / exponentials.sum(axis=1, keepdims=True)


PROJECTION = metrics.FeatureExtractor("projection", 6, (8, 8, 1), _project, _softmax)


@pytest.fixture(autouse=True)
def projection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(features._factories, "projection", lambda: PROJECTION)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))


def _model(name: str = "cvae", **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    return zoo.create(name, (8, 8, 1), 2, network="mlp", **options)


def _found(model: Any, *names: str, source: Any = IMAGES, **options: Any) -> dict[str, float]:
    return evaluate_named(model, source, names, extractor="projection", **options)["metrics"]


def test_values_are_those_of_whole_arrays() -> None:
    model = _model(num_classes=3)
    n, k = 270, 4
    found = _found(
        model, f"fid{n}_test", f"kid{n}_test", "pr1k4_test", f"dc{n}_test", f"ifid{n}_test",
        f"accuracy{n}", seed=7,
    )  # fmt: skip
    real = PROJECTION(PIXELS / np.float32(255))
    labels = model.sample_labels(n, 7)
    images = model.generate_from(model.sample_latents(n, 7), labels)
    fake = PROJECTION(images)
    many = PROJECTION(model.generate(1000, seed=7))
    close = {"rel": 1e-5, "abs": 1e-6}
    assert found[f"fid{n}_test"] == pytest.approx(metrics.frechet_distance(real, fake), **close)
    assert found[f"kid{n}_test"] == pytest.approx(metrics.kernel_distance(real, fake), **close)
    precision, recall = metrics.precision_recall(real, many, k=k)
    assert found["pr1k4_test_precision"] == pytest.approx(precision, abs=2e-3)
    assert found["pr1k4_test_recall"] == pytest.approx(recall, abs=2e-3)
    density, coverage = metrics.density_coverage(real, fake)
    assert found[f"dc{n}_test_density"] == pytest.approx(density, abs=2e-3)
    assert found[f"dc{n}_test_coverage"] == pytest.approx(coverage, abs=2e-3)
    within = [
        metrics.frechet_distance(real[label == LABELS], fake[labels == label]) for label in range(3)
    ]
    assert found[f"ifid{n}_test"] == pytest.approx(np.mean(within), **close)
    right = PROJECTION.predict(images).argmax(axis=1) == labels
    assert found[f"accuracy{n}"] == pytest.approx(right.mean())


def test_evaluate_gives_what_whole_arrays_give() -> None:
    """As before images streamed: the same figures for the same seed."""
    model = _model(num_classes=3)
    found = zoo.evaluate(model, IMAGES, extractor="projection", importance_samples=2, seed=3)
    images = PIXELS / np.float32(255)
    labels = model.sample_labels(N, 3)
    fake = model.generate_from(model.sample_latents(N, 3), labels)
    wanted = metrics.generation_metrics(PROJECTION(images), PROJECTION(fake))
    wanted["class_accuracy"] = float(np.mean(PROJECTION.predict(fake).argmax(axis=1) == labels))
    wanted |= zoo.evaluation.measure.likelihood_metrics(model, images, 2, 3, LABELS)
    for name, value in wanted.items():
        assert found["metrics"][name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    assert (found["images"], found["samples"]) == (N, N)


@pytest.mark.slow
def test_replicas_share_the_samples() -> None:
    values = []
    for replicas in (1, 2, 3):
        with replicated(replicas).scope():
            model = _model(num_classes=3)
        latents, labels = model.sample_latents(700, seed=1), model.sample_labels(700, 1)
        parts = list(streams.seen_in_samples(model, latents, labels, PROJECTION))
        np.testing.assert_array_equal(np.concatenate([part.labels for part in parts]), labels)
        values.append(np.concatenate([part.features for part in parts]))
    np.testing.assert_allclose(values[1], values[0], atol=1e-5)
    np.testing.assert_allclose(values[2], values[0], atol=1e-5)
    np.testing.assert_allclose(
        values[0], PROJECTION(model.generate_from(latents, labels)), atol=1e-5
    )


def test_raw_and_averaged_weights() -> None:
    gan = _model("dcgan", ema=0.9)
    gan.generator.set_weights([w + 0.3 for w in gan.generator.get_weights()])
    found = {weights: _found(gan, "fid100_test", weights=weights) for weights in ("ema", "raw")}
    assert found["ema"] != found["raw"]
    gan.ema_generator.set_weights(gan.generator.get_weights())
    assert _found(gan, "fid100_test")["fid100_test"] == pytest.approx(found["raw"]["fid100_test"])
    record = evaluate_named(gan, IMAGES, ["fid9_test"], extractor="projection", weights="raw")
    assert record["protocols"]["fid9_test"]["weights"] == "raw"
    record = evaluate_named(_model("vae"), IMAGES, ["fid9_test"], extractor="projection")
    assert record["protocols"]["fid9_test"]["weights"] == "raw"  # it has no average


@pytest.mark.slow
def test_truncation_is_for_the_measurement_alone() -> None:
    keras.utils.set_random_seed(0)
    gan = zoo.create("stylegan2", (8, 8, 1), 2, network="style-8")
    plain, cut = (_found(gan, "fid60_test", truncation=psi) for psi in (None, 0.0))
    assert plain != cut
    assert gan.truncation == 1.0
    with pytest.raises(ValueError, match="a vae has none"):
        _found(_model("vae"), "fid60_test", truncation=0.5)
    with pytest.raises(ValueError, match=r"truncation=1.5: expected 0 .* to 1"):
        _found(gan, "fid60_test", truncation=1.5)


def test_latents_are_truncated_for_the_measurement() -> None:
    keras.utils.set_random_seed(0)
    gan = zoo.create("biggan", (8, 8, 1), 2, network="mlp", ema=None)
    plain, cut = (_found(gan, "fid60_test", truncation=threshold) for threshold in (None, 0.1))
    assert plain != cut
    gan.truncation = 0.1
    assert _found(gan, "fid60_test") == cut


def test_a_metric_that_the_model_has_not() -> None:
    for name in ("ifid60_test", "accuracy60", "cas60_test"):
        with pytest.raises(ValueError, match=f"{name} is measured of conditional models, and this"):
            _found(_model("vae"), name)
    with pytest.raises(ValueError, match="knows 3 classes, and the model has 4"):
        scores_of(_model(num_classes=4), IMAGES, ["accuracy60"], extractor="projection")
    features._factories["plain"] = lambda: metrics.FeatureExtractor("plain", 6, None, _project)
    try:
        with pytest.raises(ValueError, match="plain has none"):
            evaluate_named(_model(num_classes=3), IMAGES, ["accuracy60"], extractor="plain")
    finally:
        del features._factories["plain"]
    with pytest.raises(ValueError, match="Did you mean fid9_test"):
        _found(_model("vae"), "fid9_tets")
    for extractor, message in (("", "Unknown extractor ''"), (3, "extractor=3: expected a name")):
        with pytest.raises(ValueError, match=message):
            evaluate_named(_model("vae"), IMAGES, ["fid9_test"], extractor=extractor)
    with pytest.raises(ValueError, match="expected an extractor, whose features are compared"):
        evaluate_named(_model("vae"), IMAGES, ["fid9_test"], extractor="none")


def test_too_few_images_are_refused_before_any_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(num_classes=3)
    blind = metrics.FeatureExtractor("blind", 6, None, lambda _: pytest.fail("seen"), _softmax)
    monkeypatch.setitem(features._factories, "blind", lambda: blind)
    for name, message in (
        ("ifid2_test", "ifid2_test: class . has 0 of 2 samples; expected at least 2 of each"),
        ("is9", "is9: 9 samples; expected at least 10"),
        ("pr3_test", "pr3_test: 3 samples; expected at least 4"),
    ):
        with pytest.raises(ValueError, match=message):
            scores_of(model, IMAGES, [name], extractor="blind")
    few = zoo.data.Images(PIXELS[:5], np.array([0, 0, 1, 1, 2], np.int32))
    with pytest.raises(ValueError, match="ifid60_test: class 2 has 1 of 5 real images"):
        _found(model, "ifid60_test", source=few)
    with pytest.raises(ValueError, match="dc60_test: 5 real images; expected at least 6"):
        _found(model, "dc60_test", source=few)


def test_metrics_with_networks_of_their_own_load_no_extractor() -> None:
    model = _model(num_classes=3)
    assert scores_of(model, IMAGES, ["cas60_test"]).extractor is None
    assert scores_of(model, IMAGES, ["cas60_test", "fid9_test"], extractor="projection").extractor
    for option, value in (("extractor", "projection"), ("extractor_weights", "x.pth")):
        with pytest.raises(
            ValueError, match=f"{option}='{value}': cas60_test compares no features"
        ):
            scores_of(model, IMAGES, ["cas60_test"], **{option: value})


def test_arguments_that_names_say() -> None:
    given = ({"split": "train"}, {"samples": 9}, {"sampler": "gmm"})
    for each in given:
        with pytest.raises(ValueError, match=f"{next(iter(each))}: not with metrics="):
            zoo.evaluate(_model("vae"), IMAGES, metrics=["fid9_test"], **each)
    with pytest.raises(ValueError, match=r"expected a list of names, such as \['fid9_test'\]"):
        zoo.evaluate(_model("vae"), IMAGES, metrics="fid9_test")


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    _found(_model("vae"), "fid300_test", "kid300_test", progress=lambda *each: told.append(each))
    seen = [(0, 300), (250, 300), (300, 300)]  # each image once, for both
    assert told == [(what, *each) for what in ("real images", "samples") for each in seen]


@pytest.mark.slow
def test_sprites_have_named_metrics() -> None:
    """Without a name, drawings are measured by disentanglement, and take no extractor."""
    vae = zoo.create("vae", (64, 64, 1), 2, network="mlp")
    assert scores_of(vae, "sprites", ["fid10_test"]).extractor.name == "efficientnet_lite0"
    with pytest.raises(ValueError, match="Name one, and not none"):
        scores_of(vae, "sprites", ["fid10_test"], extractor="none")


def test_images_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"Images of shape \(8, 8, 1\).*takes \(28, 28, 1\)"):
        evaluate_named(_model("vae"), IMAGES, ["fid9_test"], extractor="fashion_mnist_classifier")


def test_fewer_samples_than_features_warn_with_the_bias() -> None:
    """What is said of a perfect model is what one has: samples of the reference's own Gaussian."""
    spread = np.sqrt(np.arange(1.0, 7.0))
    real = metrics.GaussianStatistics(np.zeros(6), 999 * np.diag(spread**2), 1000)
    bias = metrics.frechet_bias(real, 4)
    draws = np.random.default_rng(3).normal(size=(200, 4, 6)) * spread
    fits = [
        metrics.frechet_distance_of(real, metrics.GaussianStatistics.of(draw)) for draw in draws
    ]
    assert abs(bias - np.mean(fits)) < 4 * np.std(fits)
    with pytest.warns(UserWarning, match="fid6_test: 6 samples for 6 features.*perfect model"):
        _found(_model("vae"), "fid6_test")


def test_few_samples_of_a_class_warn_too() -> None:
    """The mean over classes of what perfect samples of each would have."""
    model = _model(num_classes=3)
    few = zoo.data.Images(PIXELS[:15], LABELS[:15])
    with pytest.warns(UserWarning, match="ifid60_test: 5 real images of a class for 6") as caught:
        _found(model, "ifid60_test", source=few)
    said = str(caught[0].message)
    real = [PROJECTION(PIXELS[:15][LABELS[:15] == label] / np.float32(255)) for label in range(3)]
    wanted = np.mean(
        [metrics.frechet_bias(metrics.GaussianStatistics.of(x), 5, seed=0) for x in real]
    )
    assert f"would have about {wanted:.3g}." in said


def test_statistics_are_kept_for_extractors_whose_name_says_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = []

    def looking(images: Any) -> np.ndarray:
        seen.append(len(images))
        return _project(images)

    def found(name: str, source: Any, **options: Any) -> metrics.GaussianStatistics:
        extractor = metrics.FeatureExtractor(name, 6, None, looking, **options)
        return references.statistics(source, "test", None, extractor)

    home = tmp_path / "home" / references.REFERENCES
    found("mine", IMAGES)
    assert not home.exists()
    monkeypatch.setattr(features, "_BUILT_IN", frozenset({"known"}))
    first = found("known", IMAGES)
    looked = len(seen)
    again = found("known", IMAGES)
    assert len(seen) == looked
    np.testing.assert_array_equal(first.covariance, again.covariance)
    assert again.count == N
    # Other images, another resizing and other weights have statistics of their own.
    found("known", PIXELS[:200])
    found("known", IMAGES, resize="clean")
    found("known", IMAGES, digest="ab")
    assert len(list(home.glob("*.npz"))) == 4
    # What is damaged is computed anew, and so is what cannot be kept.
    for path in home.glob("*.npz"):
        path.write_bytes(b"junk")
    np.testing.assert_array_equal(found("known", IMAGES).covariance, first.covariance)
    looked = len(seen)
    found("known", IMAGES)
    assert len(seen) == looked
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match=r"file.* cannot be written.* are not kept\. Set ZOO_HOME"):
        again = found("known", IMAGES)
    np.testing.assert_array_equal(first.covariance, again.covariance)


def test_images_of_a_reference_are_not_held(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for i in range(6):
        Image.fromarray(PIXELS[i, :, :, 0]).save(tmp_path / f"{i}.png")
    extractor = metrics.FeatureExtractor("projection", 6, None, _project)
    held = references.statistics(str(tmp_path), "train", None, extractor)
    monkeypatch.setattr(data.images, "MEMORY_LIMIT", 0)
    monkeypatch.setattr(data.images, "in_memory", lambda _: pytest.fail("all images are read"))
    streamed = references.statistics(str(tmp_path), "train", None, extractor)
    np.testing.assert_array_equal(held.covariance, streamed.covariance)


def test_a_reference_file(tmp_path: Path) -> None:
    model, path = _model("vae"), tmp_path / "stats.npz"
    real = PROJECTION(PIXELS / np.float32(255)).astype(np.float64)
    np.savez(path, mu=real.mean(axis=0), sigma=np.cov(real, rowvar=False))  # as pytorch-fid writes
    found = _found(model, "fid100_full", reference=path)
    assert found["fid100_full"] == pytest.approx(_found(model, "fid100_full")["fid100_full"])
    with pytest.raises(ValueError, match="kid100_full needs the images of a split"):
        _found(model, "fid100_full", "kid100_full", reference=path)
    for name in ("kid100_full", "is100"):
        with pytest.raises(ValueError, match=f"{name} is compared with no statistics"):
            _found(model, name, reference=path)
    both = evaluate_named(
        model, IMAGES, ["is20", "fid20_full"], extractor="projection", reference=path
    )["protocols"]
    assert both["fid20_full"]["reference"] == str(path)
    assert "reference" not in both["is20"]
    np.savez(path, mu=np.zeros(5), sigma=np.eye(5))
    with pytest.raises(
        ValueError, match="reference is of 5 features of unknown, and the extractor projec"
    ):
        _found(model, "fid100_full", reference=path)
    np.savez(path, mean=np.zeros(5))
    with pytest.raises(ValueError, match="not a file of statistics"):
        _found(model, "fid100_full", reference=path)
    with pytest.raises(FileNotFoundError):
        _found(model, "fid100_full", reference=tmp_path / "none.npz")
