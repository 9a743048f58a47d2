"""Metrics against torch-fidelity's, pytorch-fid's and prdc's, on the same features."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.support.torch_inception import reference
from zoo import metrics
from zoo.sampling.interpolation import slerp


def _features(seed: int, n: int, d: int = 32) -> np.ndarray:
    """Mixed and skewed as those of a network after its last ReLU, float32."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d)
    return np.maximum(mixed + 0.3, 0.0).astype(np.float32)


REAL, FAKE = _features(0, 600), _features(0, 700)[100:] * np.float32(1.1)


@pytest.mark.slow
def test_fid_is_that_of_the_references() -> None:
    fidelity = reference("torch_fidelity.metric_fid")
    statistics = [fidelity.fid_features_to_statistics(torch.from_numpy(x)) for x in (FAKE, REAL)]
    wanted = fidelity.fid_statistics_to_metric(*statistics, verbose=False)
    found = metrics.frechet_distance(REAL, FAKE)
    assert found == pytest.approx(wanted["frechet_inception_distance"], rel=1e-5)
    moments = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (REAL, FAKE)]
    (m1, s1), (m2, s2) = moments
    score = reference("pytorch_fid.fid_score")
    sqrtm = scipy.linalg.sqrtm  # `disp` is no more in SciPy
    fake_linalg = SimpleNamespace(sqrtm=lambda x, disp: (sqrtm(x), None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score, "linalg", fake_linalg)
        wanted = score.calculate_frechet_distance(m1, s1, m2, s2)
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dim", [64, 512])
def test_the_square_root_is_that_of_scipy(dim: int) -> None:
    """Also of covariances of fewer samples than dimensions."""
    for n in (dim // 2, 3 * dim):
        real, fake = _features(1, n, dim), _features(2, n, dim)
        a, b = (np.cov(x, rowvar=False, dtype=np.float64) for x in (real, fake))
        shift = real.mean(axis=0, dtype=np.float64) - fake.mean(axis=0, dtype=np.float64)
        if n < dim:  # as pytorch-fid does where the product is singular
            a, b = (x + 1e-9 * np.eye(dim) for x in (a, b))
        root = np.real(scipy.linalg.sqrtm(a @ b))
        wanted = shift @ shift + np.trace(a) + np.trace(b) - 2.0 * np.trace(root)
        assert metrics.frechet_distance(real, fake) == pytest.approx(wanted, rel=1e-6, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2020])
def test_kid_is_that_of_torch_fidelity(seed: int) -> None:
    """The same subsets too, so that equal features give equal figures."""
    fidelity = reference("torch_fidelity.metric_kid")
    wanted = fidelity.kid_features_to_metric(
        torch.from_numpy(FAKE).double(),
        torch.from_numpy(REAL).double(),
        kid_subsets=20,
        kid_subset_size=150,
        rng_seed=seed,
        verbose=False,
    )
    found = metrics.kernel_distance_over_subsets(REAL, FAKE, 20, 150, seed=seed)
    assert found == pytest.approx(
        (wanted["kernel_inception_distance_mean"], wanted["kernel_inception_distance_std"]),
        rel=1e-9,
    )


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", [True, False])
def test_inception_score_is_that_of_torch_fidelity(shuffle: bool) -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(0.0, 3.0, (503, 1008)))
    wanted = reference("torch_fidelity.metric_isc").isc_features_to_metric(
        logits, splits=10, shuffle=shuffle, rng_seed=2020
    )
    found = metrics.inception_score(logits.softmax(dim=1), seed=2020 if shuffle else None)
    expected = (wanted["inception_score_mean"], wanted["inception_score_std"])
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("saving", [True, False])
def test_precision_and_recall_are_those_of_torch_fidelity(saving: bool) -> None:
    wanted = reference("torch_fidelity.metric_prc").prc_features_to_metric(
        torch.from_numpy(FAKE).double(),
        torch.from_numpy(REAL).double(),
        save_cpu_ram=saving,
        verbose=False,
    )
    found = metrics.precision_recall(REAL, FAKE)
    assert found == pytest.approx((wanted["precision"], wanted["recall"]), abs=1e-6)
    assert 0.1 < found[0] < 1.0  # the case tells something


@pytest.mark.slow
@pytest.mark.parametrize("k", [3, 5])
def test_density_and_coverage_are_those_of_prdc(k: int) -> None:
    wanted = reference("prdc").compute_prdc(
        REAL.astype(np.float64), FAKE.astype(np.float64), nearest_k=k
    )
    found = metrics.density_coverage(REAL, FAKE, k=k)
    assert found == pytest.approx((wanted["density"], wanted["coverage"]), rel=1e-12)
    precision, recall = metrics.precision_recall(REAL, FAKE, k=k)
    assert (precision, recall) == pytest.approx((wanted["precision"], wanted["recall"]), abs=1e-12)


class _Generator(torch.nn.Module):
    def forward(self, latents: Any) -> Any:
        pixels = torch.sin(4.0 * latents[:, :, None, None] * torch.arange(1.0, 9.0)[:, None])
        return pixels[:, :3].expand(-1, -1, -1, 8) * 100.0 + 128.0


@pytest.mark.slow
@pytest.mark.parametrize("path", ["lerp", "slerp_any"])
@pytest.mark.parametrize("discard", [(1.0, 99.0), None])
def test_path_length_is_that_of_torch_fidelity(
    path: str, discard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a mean square as the distance of two images: what differs is in the images."""
    fidelity = reference("torch_fidelity.metric_ppl")
    wrapper = reference("torch_fidelity.generative_model_modulewrapper")

    def distance(first: Any, second: Any) -> Any:
        return torch.mean(torch.square(first - second), dim=(1, 2, 3))

    monkeypatch.setattr(fidelity, "create_sample_similarity", lambda *_, **__: distance)
    monkeypatch.setattr(np, "percentile", _renamed(np.percentile))
    n, latent_dim, epsilon = 300, 5, 0.01
    model = wrapper.GenerativeModelModuleWrapper(_Generator(), latent_dim, "normal", 0)
    low, high = discard or (None, None)
    wanted = fidelity.calculate_ppl(
        1,
        input1=model,
        input1_model_num_samples=n,
        batch_size=50,
        cuda=False,
        verbose=False,
        rng_seed=7,
        ppl_epsilon=epsilon,
        ppl_z_interp_mode=path,
        ppl_discard_percentile_lower=low,
        ppl_discard_percentile_higher=high,
    )
    rng = np.random.RandomState(7)
    starts, ends = (rng.randn(n, latent_dim).astype(np.float32) for _ in range(2))
    if path == "lerp":
        moved = starts + np.float32(epsilon) * (ends - starts)
    else:
        moved = slerp(starts, ends, np.full((n, 1), epsilon, np.float32)).numpy()
    images = [_Generator()(torch.from_numpy(latents)) for latents in (starts, moved)]
    found = metrics.perceptual_path_length(distance(*images), epsilon, discard)
    expected = (wanted["perceptual_path_length_mean"], wanted["perceptual_path_length_std"])
    assert found == pytest.approx(expected, rel=1e-3)


def _renamed(percentile: Any) -> Any:
    """`interpolation` is `method` since NumPy 1.22."""

    def wrapped(values: Any, q: Any, interpolation: str = "linear", **options: Any) -> Any:
        return percentile(values, q, **{"method": interpolation, **options})

    return wrapped


# By hand


def test_subsets_of_everything_are_the_whole() -> None:
    mean, deviation = metrics.kernel_distance_over_subsets(REAL, FAKE, 3, 600)
    assert mean == pytest.approx(metrics.kernel_distance(REAL, FAKE), rel=1e-9)
    assert deviation < 1e-9
    for bad in ({"subsets": 0}, {"subset_size": 1}, {"subset_size": 601}):
        with pytest.raises(ValueError, match="expected at least"):
            metrics.kernel_distance_over_subsets(REAL, FAKE, **bad)


def test_inception_score_by_hand() -> None:
    same = np.tile([0.5, 0.25, 0.25], (30, 1))
    assert metrics.inception_score(same) == pytest.approx((1.0, 0.0))
    sure = np.tile(np.eye(3), (4, 1))  # each part of 3 holds each class once
    assert metrics.inception_score(sure, splits=4) == pytest.approx((3.0, 0.0))
    # Half of the images are of one class, half of both: exp(½ ln 4/3 + ½ (½ ln 2/3 + ½ ln 2)).
    mixed = np.array([[1.0, 0.0], [0.5, 0.5]])
    expected = np.exp(0.5 * np.log(4 / 3) + 0.25 * np.log(2 / 3) + 0.25 * np.log(2.0))
    assert metrics.inception_score(mixed, splits=1) == pytest.approx((expected, 0.0))


@pytest.mark.parametrize(
    ("probabilities", "splits", "message"),
    [
        (np.zeros(5), 1, r"\(5,\)"),
        (np.full((5, 2), 2.0), 1, "expected probabilities"),
        (np.full((5, 2), np.nan), 1, "expected probabilities"),
        (np.full((5, 2), 0.5), 6, "splits=6: expected 1 to 5"),
        (np.full((5, 2), 0.5), 0, "splits=0"),
    ],
)
def test_inception_score_refuses_what_is_no_probability(
    probabilities: np.ndarray, splits: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.inception_score(probabilities, splits)


def test_path_length_by_hand() -> None:
    distances = np.arange(101.0)
    assert metrics.perceptual_path_length(distances, 0.1, None)[0] == pytest.approx(5000.0)
    # The 1st and 99th percentiles are 1 and 99, which count.
    mean, deviation = metrics.perceptual_path_length(distances**2, 1.0)
    assert mean == pytest.approx(np.mean(np.arange(1.0, 100.0) ** 2))
    assert deviation == pytest.approx(np.std(np.arange(1.0, 100.0) ** 2))
    for bad in (np.zeros(0), np.full(3, -1.0), np.full(3, np.nan), np.full(3, np.inf)):
        with pytest.raises(ValueError, match="expected"):
            metrics.perceptual_path_length(bad)
    with pytest.raises(ValueError, match="epsilon=0"):
        metrics.perceptual_path_length(distances, 0.0)
