"""The metrics against SciPy, scikit-learn and closed forms; the extractors' promises."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import scipy.linalg
import scipy.special
import scipy.stats
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

from zoo import data, metrics
from zoo.metrics import features

if TYPE_CHECKING:
    from pathlib import Path

PAIR_METRICS = [
    metrics.frechet_distance,
    metrics.kernel_distance,
    metrics.precision_recall,
    metrics.density_coverage,
    metrics.generation_metrics,
]


def normal(seed: int, n: int, d: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def with_moments(seed: int, n: int, mean: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Samples whose mean is `mean` and whose covariance is `root @ root.T`, to rounding."""
    x = normal(seed, n, len(mean))
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(x, rowvar=False)))).T
    return mean + white @ root.T


# Fréchet distance


def test_frechet_distance_of_gaussians_on_shared_axes() -> None:
    rotation = scipy.stats.ortho_group.rvs(4, random_state=0)
    first, second = np.array([0.5, 1.0, 2.0, 3.0]), np.array([1.5, 1.0, 0.1, 4.0])
    real = with_moments(1, 300, np.array([1.0, 2.0, 3.0, 4.0]), rotation @ np.diag(first))
    fake = with_moments(2, 200, np.array([1.0, 0.0, 3.0, 7.0]), rotation @ np.diag(second))
    expected = (2.0**2 + 3.0**2) + np.sum((first - second) ** 2)
    assert metrics.frechet_distance(real, fake) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_against_sqrtm() -> None:
    real = normal(0, 500, 16) @ normal(1, 16, 16)
    fake = normal(2, 400, 16) @ normal(3, 16, 16) + 0.5
    a, b = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    shift = real.mean(axis=0) - fake.mean(axis=0)
    expected = shift @ shift + np.trace(a + b - 2.0 * np.real(scipy.linalg.sqrtm(a @ b)))
    assert metrics.frechet_distance(real, fake) == pytest.approx(expected, rel=1e-8)
    assert metrics.frechet_distance(fake, real) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("n", [1000, 10])  # 10: covariances of rank 9 in 32 dimensions
def test_frechet_distance_of_a_set_to_itself_is_zero(n: int) -> None:
    real = normal(0, n, 32)
    assert 0.0 <= metrics.frechet_distance(real, real[::-1]) < 1e-6


def test_frechet_distance_in_one_dimension() -> None:
    real = with_moments(0, 50, np.array([0.0]), np.array([[2.0]]))
    fake = with_moments(1, 50, np.array([3.0]), np.array([[0.5]]))
    assert metrics.frechet_distance(real, fake) == pytest.approx(3.0**2 + 1.5**2, rel=1e-10)


# Kernel distance


@pytest.mark.parametrize(("n", "m"), [(50, 70), (1300, 600)])  # 1300: more than one chunk
def test_kernel_distance_against_brute_force(n: int, m: int) -> None:
    real, fake = normal(0, n, 8) + 0.3, normal(1, m, 8) * 1.2

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return polynomial_kernel(a, b, degree=3, gamma=1 / 8, coef0=1)

    within_real, within_fake = kernel(real, real), kernel(fake, fake)
    expected = (
        np.mean(within_real[~np.eye(n, dtype=bool)])
        + np.mean(within_fake[~np.eye(m, dtype=bool)])
        - 2.0 * np.mean(kernel(real, fake))
    )
    assert metrics.kernel_distance(real, fake) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_is_unbiased() -> None:
    found = [
        metrics.kernel_distance(normal(2 * s, 20, 4), normal(2 * s + 1, 30, 4)) for s in range(400)
    ]
    assert abs(np.mean(found)) < 4.0 * scipy.stats.sem(found)
    assert min(found) < 0.0  # the biased estimate never is


# Precision, recall, density, coverage


def neighbours(points: np.ndarray, k: int) -> np.ndarray:
    """Distance of each point to its k-th neighbour, itself not counted."""
    distances, _ = NearestNeighbors(n_neighbors=k, algorithm="ball_tree").fit(points).kneighbors()
    return distances[:, -1]


def distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distances [points, others]."""
    search = NearestNeighbors(n_neighbors=len(others), algorithm="ball_tree").fit(others)
    found, order = search.kneighbors(points)
    return np.take_along_axis(found, np.argsort(order, axis=1), axis=1)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("n", "m"), [(200, 120), (600, 1300)])
def test_manifold_metrics_against_brute_force(n: int, m: int, k: int) -> None:
    real, fake = normal(0, n, 6), normal(1, m, 6) * 0.8 + 0.4
    to_real = distances(fake, real)
    in_real, in_fake = to_real < neighbours(real, k), to_real < neighbours(fake, k)[:, None]
    precision, recall = metrics.precision_recall(real, fake, k=k)
    density, coverage = metrics.density_coverage(real, fake, k=k)
    assert precision == pytest.approx(in_real.any(axis=1).mean(), abs=1e-12)
    assert recall == pytest.approx(in_fake.any(axis=0).mean(), abs=1e-12)
    assert density == pytest.approx(in_real.sum() / (k * m), rel=1e-12)
    assert coverage == pytest.approx(in_real.any(axis=0).mean(), abs=1e-12)
    assert 0.1 < precision < 1.0  # the case tells something


def test_manifold_metrics_of_a_set_with_itself() -> None:
    real = normal(0, 1200, 64)
    assert metrics.precision_recall(real, real[::-1]) == (1.0, 1.0)
    assert metrics.density_coverage(real, real[::-1]) == (1.0, 1.0)


def test_manifold_metrics_of_sets_far_apart() -> None:
    real, fake = normal(0, 100, 8), normal(1, 100, 8) + 1000.0
    assert metrics.precision_recall(real, fake) == (0.0, 0.0)
    assert metrics.density_coverage(real, fake) == (0.0, 0.0)


def test_manifold_metrics_of_a_collapsed_generator() -> None:
    real = normal(0, 300, 8)
    fake = np.repeat(real[:1] + 1e-6, 50, axis=0)
    assert metrics.precision_recall(real, fake) == (1.0, 0.0)
    around = (distances(fake[:1], real)[0] < neighbours(real, 5)).sum()
    density, coverage = metrics.density_coverage(real, fake)
    assert density == pytest.approx(around / 5)
    assert coverage == pytest.approx(around / 300)


def test_precision_and_recall_of_duplicates_to_the_bit() -> None:
    """Each point k + 1 times: balls of radius 0 that still hold their copies."""
    real = np.repeat(normal(0, 40, 64) + 10.0, 4, axis=0)
    assert metrics.precision_recall(real, real, k=3) == (1.0, 1.0)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1.0, 2.0**-80, 2.0**60])
@pytest.mark.parametrize("offset", [0, 2**20])
def test_manifold_metrics_of_ties_are_those_of_integers(
    kind: Any, scale: float, offset: int
) -> None:
    """Small whole numbers: many pairs lie on a ball's surface, and integers decide them exactly.

    Their products round (with the offset), vanish or overflow in float32 (with the scales).
    """
    rng = np.random.default_rng(0)
    real, fake = rng.integers(0, 3, (90, 12)), rng.integers(0, 3, (70, 12)) // 2 * 2
    fake[:5] = real[:5]

    def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.square(a[:, None] - b).sum(axis=2)

    to_real = squared(fake, real)
    real_radii, fake_radii = (np.sort(squared(x, x), axis=1)[:, 3] for x in (real, fake))
    closed, recalled = to_real <= real_radii, to_real <= fake_radii[:, None]
    assert (to_real == real_radii).any()
    assert (to_real == fake_radii[:, None]).any()
    given = [((x + offset) * scale).astype(kind) for x in (real, fake)]
    wanted = closed.any(axis=1).mean(), recalled.any(axis=0).mean()
    assert metrics.precision_recall(*given, k=3) == wanted
    is_open = to_real < real_radii
    wanted = is_open.sum() / (3 * len(fake)), is_open.any(axis=0).mean()
    assert metrics.density_coverage(*given, k=3) == wanted


def test_expected_density_and_coverage_of_equal_distributions() -> None:
    """Of any distribution: density 1, coverage by Lemma 2 of arXiv 2002.09797."""
    n, m, k = 60, 90, 5
    found = np.array(
        [
            metrics.density_coverage(normal(2 * seed, n, 3), normal(2 * seed + 1, m, 3), k=k)
            for seed in range(200)
        ]
    )
    i = np.arange(1, k + 1)
    expected = [1.0, 1.0 - np.prod((n - i) / (n + m - i))]
    np.testing.assert_array_less(
        abs(found.mean(axis=0) - expected), 4.0 * scipy.stats.sem(found, axis=0)
    )


# All of them


def test_generation_metrics_names_them_all() -> None:
    real, fake = normal(0, 100, 4), normal(1, 80, 4)
    precision, recall = metrics.precision_recall(real, fake)
    density, coverage = metrics.density_coverage(real, fake)
    assert metrics.generation_metrics(real, fake) == {
        "frechet_distance": metrics.frechet_distance(real, fake),
        "kernel_distance": metrics.kernel_distance(real, fake),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
    }


@pytest.mark.parametrize("metric", PAIR_METRICS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("swap", [False, True])
def test_bad_features_are_refused(metric: Any, swap: bool) -> None:
    good = normal(0, 30, 4)
    holed = good.copy()
    holed[7, 2] = np.nan
    cases = [
        (good[:, :3], "d=3|d=4"),
        (holed, "NaN"),
        (good * np.inf, "NaN or infinite"),
        (good.ravel(), r"\(120,\)"),
        (good[:1], "expected at least"),
    ]
    for bad, message in cases:
        with pytest.raises(ValueError, match=message):
            metric(*((bad, good) if swap else (good, bad)))


@pytest.mark.parametrize("metric", [metrics.precision_recall, metrics.density_coverage])
def test_k_needs_more_samples_than_neighbours(metric: Any) -> None:
    four = normal(0, 4, 2)
    metric(four, four, k=3)
    with pytest.raises(ValueError, match="4 real samples; expected at least 5"):
        metric(four, four, k=4)
    with pytest.raises(ValueError, match="k=0"):
        metric(four, four, k=0)


# Likelihood


def test_iwae_bound_against_logsumexp() -> None:
    log_weights = 300.0 * normal(0, 50, 7) - 5000.0  # exp underflows
    expected = scipy.special.logsumexp(log_weights, axis=0, b=1 / 50)
    found = metrics.iwae_bound(log_weights.astype(np.float64))
    assert found.shape == (7,)
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    np.testing.assert_array_equal(metrics.iwae_bound(log_weights[:1]), log_weights[0])


@pytest.mark.slow
def test_iwae_bound_approaches_the_evidence_of_a_linear_gaussian_model() -> None:
    """z ~ N(0, 1), x | z ~ N(Wz, σ²I): the evidence N(0, WWᵀ + σ²I) and posterior are exact."""
    rng = np.random.default_rng(0)
    d, latent, sigma, batch = 5, 2, 0.7, 200
    w = rng.normal(size=(d, latent))
    x = rng.normal(size=(batch, latent)) @ w.T + sigma * rng.normal(size=(batch, d))
    evidence = scipy.stats.multivariate_normal(np.zeros(d), w @ w.T + sigma**2 * np.eye(d)).logpdf(
        x
    )
    covariance = np.linalg.inv(np.eye(latent) + w.T @ w / sigma**2)
    means = x @ w @ covariance / sigma**2

    def log_weights(k: int, spread: float) -> np.ndarray:
        """With q the posterior, its covariance times `spread`²."""
        root = spread * np.linalg.cholesky(covariance)
        noise = rng.normal(size=(k, batch, latent))
        z = means + noise @ root.T
        log_q = scipy.stats.norm.logpdf(noise).sum(-1) - np.log(np.linalg.det(root))
        log_joint = scipy.stats.norm.logpdf(z).sum(-1)
        return log_joint + scipy.stats.norm.logpdf(x, z @ w.T, sigma).sum(-1) - log_q

    np.testing.assert_allclose(metrics.iwae_bound(log_weights(1, 1.0)), evidence, rtol=1e-9)
    # Of the same weights in blocks of k, the mean bound rises with k (Jensen), whatever the draw.
    weights = log_weights(5000, 1.5)
    blocks = {k: weights.reshape(-1, k, batch) for k in (1, 5, 50, 5000)}
    bounds = {k: np.mean([metrics.iwae_bound(b) for b in block]) for k, block in blocks.items()}
    assert bounds[1] < bounds[5] < bounds[50] < np.mean(evidence)
    assert np.mean(evidence) - bounds[1] > 0.3
    assert bounds[5000] == pytest.approx(np.mean(evidence), abs=5e-3)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 3)])
def test_iwae_bound_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \[k, batch\]"):
        metrics.iwae_bound(np.zeros(shape))


def test_iwae_bound_refuses_nan() -> None:
    with pytest.raises(ValueError, match="NaN"):
        metrics.iwae_bound(np.array([[0.0, np.nan]]))


def test_bits_per_dim() -> None:
    # A uniform density on [0, 1] knows nothing of 256 levels: 8 bits.
    assert metrics.bits_per_dim(0.0, 784) == 8.0
    assert metrics.bits_per_dim(0.0, 784, levels=32) == 5.0
    # A density of 256 on each pixel's own 1/256 is certainty: 0 bits.
    assert metrics.bits_per_dim(784 * np.log(256.0), 784) == pytest.approx(0.0, abs=1e-12)
    # A Gaussian on one pixel: differential entropy ½ log₂ 2πeσ² bits, plus log₂ 256.
    nats = -float(scipy.stats.norm(scale=0.1).entropy())
    expected = 0.5 * np.log2(2 * np.pi * np.e * 0.1**2) + 8
    assert metrics.bits_per_dim(nats, 1) == pytest.approx(expected, rel=1e-12)


def test_active_units() -> None:
    means = with_moments(0, 500, np.array([5.0, 0.0, 9.0]), np.diag([0.12, 0.08, 1.0]))
    assert metrics.active_units(means) == 2  # variances 0.0144, 0.0064, 1
    assert metrics.active_units(means, threshold=0.02) == 1
    assert metrics.active_units(np.full((10, 4), 7.0)) == 0
    for bad, message in [(np.zeros(4), "latent_dim"), (np.full((5, 2), np.nan), "NaN")]:
        with pytest.raises(ValueError, match=message):
            metrics.active_units(bad)


# Extractors


@pytest.fixture(scope="module")
def extractor() -> metrics.FeatureExtractor:
    return metrics.load_extractor("fashion_mnist_classifier")


@pytest.fixture(scope="module")
def clothes() -> tuple[np.ndarray, np.ndarray]:
    return data.to_array("fashion_mnist_sample", split="test", labels=True)


@pytest.mark.slow
def test_classifier_knows_clothes(
    extractor: metrics.FeatureExtractor, clothes: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = clothes
    probabilities = extractor.predict(images)
    assert probabilities.shape == (len(images), 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    assert np.mean(probabilities.argmax(axis=1) == labels) >= 0.91


def test_features(
    extractor: metrics.FeatureExtractor, clothes: tuple[np.ndarray, np.ndarray]
) -> None:
    images = clothes[0][:700]
    found = extractor(images)
    assert found.shape == (700, extractor.dim) == (700, 64)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(extractor(images), found)
    again = metrics.load_extractor(extractor.name)
    np.testing.assert_array_equal(again(images), found)
    for n in (1, 3, 501):
        np.testing.assert_allclose(extractor(images[:n]), found[:n], atol=1e-4)
    assert np.linalg.matrix_rank(found - found.mean(axis=0)) == 64  # no dead dimension


@pytest.mark.slow
def test_features_tell_clothes_from_noise(
    extractor: metrics.FeatureExtractor, clothes: tuple[np.ndarray, np.ndarray]
) -> None:
    images = clothes[0]
    half, other = extractor(images[::2]), extractor(images[1::2])
    noise = extractor(np.random.default_rng(0).random(images[::2].shape, np.float32))
    close, far = (metrics.generation_metrics(half, fake) for fake in (other, noise))
    assert far["frechet_distance"] > 10 * close["frechet_distance"]
    assert far["kernel_distance"] > 10 * abs(close["kernel_distance"])
    # Not near 0: the ball of an outlier among the clothes holds a fifth of the noise, the weakness
    # of precision that arXiv 2002.09797 names.
    assert far["precision"] < 0.3 < 0.8 < close["precision"]
    assert far["recall"] < 0.05 < 0.8 < close["recall"]
    assert far["coverage"] < 0.05 < 0.8 < close["coverage"]


def test_features_are_float32_under_mixed_precision(
    extractor: metrics.FeatureExtractor, clothes: tuple[np.ndarray, np.ndarray]
) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = metrics.load_extractor(extractor.name)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(mixed(clothes[0][:10]), extractor(clothes[0][:10]))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 32, 32, 3)), r"\(32, 32, 3\).*\(28, 28, 1\)"),
        (np.zeros((28, 28, 1)), r"\(28, 28, 1\).*n, height, width, channels"),
        (np.zeros((0, 28, 28, 1)), "no images"),
        (np.full((2, 28, 28, 1), 255, np.uint8), r"\[0, 1\].*255"),
        (np.full((2, 28, 28, 1), -1.0), r"\[0, 1\].*-1"),
        (np.full((2, 28, 28, 1), np.nan), r"\[0, 1\].*nan"),
    ],
    ids=["shape", "rank", "empty", "bytes", "tanh", "nan"],
)
def test_extractor_refuses_bad_images(
    extractor: metrics.FeatureExtractor, images: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        extractor(images)


def test_unknown_extractor_suggests_names() -> None:
    with pytest.raises(ValueError, match="fashion_mnist_classifier"):
        metrics.load_extractor("fashion_mnist")


def test_registering_an_extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_factories", dict(features._factories))

    def brightness() -> metrics.FeatureExtractor:
        return metrics.FeatureExtractor("brightness", 1, None, lambda x: x.mean(axis=(1, 2)))

    metrics.register_extractor("brightness", brightness)
    assert "brightness" in metrics.list_extractors()
    mine = metrics.load_extractor("brightness")
    np.testing.assert_array_equal(mine(np.full((600, 2, 2, 1), 0.5)), np.full((600, 1), 0.5))
    with pytest.raises(ValueError, match="no classes"):
        mine.predict(np.zeros((1, 2, 2, 1)))
    with pytest.raises(ValueError, match="taken"):
        metrics.register_extractor("brightness", brightness)


def test_an_extractor_gets_the_choices_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def choosy(resize: str = "none") -> metrics.FeatureExtractor:
        return metrics.FeatureExtractor("choosy", 1, None, lambda x: x[:, 0, 0], resize=resize)

    monkeypatch.setattr(features, "_factories", {"choosy": choosy})
    assert metrics.load_extractor("choosy").resize == "none"
    assert metrics.load_extractor("choosy", resize="clean").resize == "clean"
    with pytest.raises(ValueError, match=r"weights='a\.pth'.*choosy has no choice"):
        metrics.load_extractor("choosy", weights="a.pth")


def test_a_quantised_extractor_sees_grey_levels() -> None:
    seen = metrics.FeatureExtractor("seen", 1, None, lambda x: x[:, 0, 0], quantised=True)
    images = np.array([0.0, 0.49 / 255, 0.51 / 255, 0.5, 254.49 / 255, 1.0], np.float32)
    found = seen(images.reshape(-1, 1, 1, 1))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[:, 0], [0, 0, 1, 128, 254, 255])


def shipped_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(features.CLASSIFIERS, tmp_path / "classifiers")
    monkeypatch.setattr(features, "CLASSIFIERS", tmp_path / "classifiers")
    metrics.load_extractor("fashion_mnist_classifier")  # the copy itself is good
    return tmp_path / "classifiers" / "fashion_mnist"


def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = shipped_copy(tmp_path, monkeypatch) / "model.weights.h5"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match="sha256"):
        metrics.load_extractor("fashion_mnist_classifier")


def test_shipped_classifier_is_small_and_says_where_it_is_from() -> None:
    folder = features.CLASSIFIERS / "fashion_mnist"
    card = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert card["test_accuracy"] >= 0.91
    assert card["command"].startswith("zoo train-classifier fashion_mnist ")
    assert (folder / "model.weights.h5").stat().st_size < 1.1e6


def test_inception_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**options: Any) -> None:
        raise Exception("URL fetch failure on https://…: None -- [Errno -2]")  # noqa: TRY002

    monkeypatch.setattr(keras.applications, "InceptionV3", unreachable)
    with pytest.raises(ConnectionError, match="efficientnet_lite0"):
        metrics.load_extractor("inception_v3")


def test_inception_sees_colour_at_299_in_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are not needed to see what the network is shown."""

    def look(images: Any, training: bool) -> Any:
        assert tuple(images.shape[1:]) == (299, 299, 3)
        assert not training
        return images[:, 0, 0]

    monkeypatch.setattr(keras.applications, "InceptionV3", lambda **options: look)
    inception = metrics.load_extractor("inception_v3")
    for shape in [(28, 28, 1), (32, 32, 3), (400, 300, 1)]:
        values = np.linspace(0.0, 1.0, 3, dtype=np.float32)
        images = np.broadcast_to(values[:, None, None, None], (3, *shape))
        expected = np.repeat([[-1.0], [0.0], [1.0]], 3, axis=1)
        np.testing.assert_allclose(inception(images), expected, atol=1e-6)
    with pytest.raises(ValueError, match="channels"):
        inception(np.zeros((1, 28, 28, 4)))
