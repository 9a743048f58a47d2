"""Gathered statistics against NumPy on all features at once; files against pytorch-fid's layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from zoo import metrics
from zoo.metrics import statistics

if TYPE_CHECKING:
    from pathlib import Path


def _features(seed: int, n: int = 200, d: int = 5) -> np.ndarray:
    """Far from 0, where a sum of squares would lose digits."""
    return 1e6 + np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("sizes", [(200,), (1, 1, 198), (0, 150, 50)])
def test_batches_make_the_statistics_of_the_whole(sizes: tuple[int, ...]) -> None:
    features = _features(0)
    gathered = metrics.GaussianStatistics.empty(5)
    for part in np.split(features, np.cumsum(sizes)[:-1]):
        gathered.add(part)
    assert gathered.count == 200
    np.testing.assert_allclose(gathered.mean, features.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(gathered.covariance, np.cov(features, rowvar=False), rtol=1e-8)


def test_merged_parts_are_the_whole_in_any_order() -> None:
    parts = [_features(seed, n) for seed, n in enumerate((3, 100, 40))]
    whole = metrics.GaussianStatistics.of(np.concatenate(parts))
    for order in ((0, 1, 2), (2, 0, 1)):
        merged = metrics.GaussianStatistics.empty(5)
        for i in order:
            other = metrics.GaussianStatistics.of(parts[i])
            before = other.scatter.copy()
            merged.merge(other)
            np.testing.assert_array_equal(other.scatter, before)
        assert merged.count == whole.count
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-15)
        np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-8)


def test_the_distance_of_statistics_is_that_of_the_features() -> None:
    real, fake = _features(0), _features(1, 150) * 1.5
    found = metrics.frechet_distance_of(
        *(metrics.GaussianStatistics.of(features) for features in (real, fake))
    )
    assert found == metrics.frechet_distance(real, fake)


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "stats.npz"
    written = metrics.GaussianStatistics.of(_features(0))
    written.extractor = "inception_fid (clean)"
    written.save(path)
    read = metrics.GaussianStatistics.load(path)
    assert (read.count, read.extractor) == (200, "inception_fid (clean)")
    np.testing.assert_array_equal(read.mean, written.mean)
    np.testing.assert_allclose(read.covariance, written.covariance, rtol=1e-15)
    with np.load(path, allow_pickle=False) as file:  # as pytorch-fid reads it
        np.testing.assert_array_equal(file["mu"][:], written.mean)
        np.testing.assert_array_equal(file["sigma"][:], written.covariance)


def test_a_file_of_pytorch_fid_is_read(tmp_path: Path) -> None:
    features = _features(0)
    mu, sigma = features.mean(axis=0), np.cov(features, rowvar=False)
    np.savez_compressed(tmp_path / "stats.npz", mu=mu, sigma=sigma)
    read = metrics.GaussianStatistics.load(tmp_path / "stats.npz")
    np.testing.assert_array_equal(read.covariance, sigma)
    fake = metrics.GaussianStatistics.of(_features(1))
    assert metrics.frechet_distance_of(read, fake) == pytest.approx(
        metrics.frechet_distance(features, _features(1)), rel=1e-7
    )
    with pytest.raises(ValueError, match="does not say of how many"):
        read.add(features)
    read.save(tmp_path / "again.npz")
    assert metrics.GaussianStatistics.load(tmp_path / "again.npz").count is None


SIGMA = np.eye(3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": np.zeros(3)}, r"it holds mu\."),
        ({"images": np.zeros(3)}, r"it holds images\."),
        ({"mu": np.zeros(3), "sigma": -np.eye(3)}, "negative variance"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, r"\(4, 4\)"),
        ({"mu": np.zeros(0), "sigma": np.eye(0)}, r"\(0,\)"),
        ({"mu": np.full(3, np.nan), "sigma": SIGMA}, "not finite"),
        ({"mu": np.zeros(3), "sigma": np.triu(np.ones((3, 3)))}, "not symmetric"),
        ({"mu": np.zeros(3), "sigma": SIGMA, "count": 1.5}, "count is 1.5"),
        ({"mu": np.array([{}] * 3), "sigma": SIGMA}, "Object arrays|allow_pickle"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "stats.npz", **arrays)
    with pytest.raises(ValueError, match=rf"stats\.npz is not a file of statistics.*({message})"):
        metrics.GaussianStatistics.load(tmp_path / "stats.npz")


def test_files_that_are_no_archives_or_too_large_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stats.npz"
    path.write_bytes(b"PK and nothing more")
    with pytest.raises(ValueError, match="not a file of statistics"):
        metrics.GaussianStatistics.load(path)
    metrics.GaussianStatistics.of(_features(0)).save(path)
    monkeypatch.setattr(statistics, "MAX_ARRAY_BYTES", 100)
    with pytest.raises(ValueError, match="more than"):
        metrics.GaussianStatistics.load(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_refused_or_read(tmp_path: Path, save: Any) -> None:
    """Whichever byte is wrong: zipfile, zlib and NumPy raise many kinds of errors."""
    path = tmp_path / "stats.npz"
    save(path, mu=np.zeros(3), sigma=SIGMA, count=20, extractor="a")
    content, refused = path.read_bytes(), 0
    for i in range(len(content)):
        damaged = bytearray(content)
        damaged[i] ^= 255
        path.write_bytes(damaged)
        try:
            metrics.GaussianStatistics.load(path)
        except ValueError as error:
            assert "stats.npz is not a file of statistics" in str(error)  # noqa: PT017
            refused += 1
    assert refused > len(content) / 2
    with pytest.raises(IsADirectoryError):
        metrics.GaussianStatistics.load(tmp_path)
    with pytest.raises(TypeError, match="path=None: expected a path"):
        metrics.GaussianStatistics.load(None)  # type: ignore[arg-type]


def test_what_does_not_compare_is_refused() -> None:
    made = metrics.GaussianStatistics.of(_features(0))
    other = metrics.GaussianStatistics.of(_features(0, d=4))
    with pytest.raises(ValueError, match="d=5.*d=4"):
        metrics.frechet_distance_of(made, other)
    with pytest.raises(ValueError, match="d=5.*d=4"):
        made.merge(other)
    clean, tf1 = (metrics.GaussianStatistics.of(_features(0)) for _ in range(2))
    clean.extractor, tf1.extractor = "inception_fid (clean)", "inception_fid (tf1-bilinear)"
    with pytest.raises(ValueError, match=r"\(clean\).*\(tf1-bilinear\): they do not compare"):
        metrics.frechet_distance_of(clean, tf1)
    metrics.frechet_distance_of(clean, made)  # not known: as told
    with pytest.raises(ValueError, match="1 features"):
        metrics.frechet_distance_of(made, metrics.GaussianStatistics.of(_features(0, n=1)))
    for bad, message in ((np.zeros((2, 3)), r"\[n, 5\]"), (np.full((2, 5), np.inf), "infinite")):
        with pytest.raises(ValueError, match=message):
            made.add(bad)
    with pytest.raises(ValueError, match=r"expected \[n, d\]"):
        metrics.GaussianStatistics.of(np.zeros(5))
