"""Mean and covariance of features that come in parts, and files of them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.io.files import replacing
from zoo.io.names import as_path

MAX_ARRAY_BYTES = 4 << 30  # a covariance of 23,000 dimensions


@dataclass
class GaussianStatistics:
    """The Gaussian of a set of features, gathered batch by batch in float64.

    Batches may come in any sizes and order, and statistics of parts can be merged: the result is
    the same up to rounding (Chan et al. 1983, eq. 2.1).

    Attributes:
        mean: float64 [d].
        scatter: Σ (x − mean)(x − mean)ᵀ, float64 [d, d]: n − 1 times the covariance.
        count: The number n of features. None if a file does not say it; then none can be added.
        extractor: `title` of the extractor of the features; None if it is not known.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> features = np.random.default_rng(0).normal(size=(50, 4))
        >>> statistics = metrics.GaussianStatistics.empty(4)
        >>> statistics.add(features[:20])
        >>> statistics.add(features[20:])
        >>> np.allclose(statistics.covariance, np.cov(features, rowvar=False))
        True
    """

    mean: np.ndarray
    scatter: np.ndarray
    count: int | None = 0
    extractor: str | None = None

    @classmethod
    def empty(cls, dim: int, extractor: str | None = None) -> GaussianStatistics:
        """Statistics of no features yet, of `dim` dimensions."""
        return cls(np.zeros(dim), np.zeros((dim, dim)), 0, extractor)

    @classmethod
    def of(cls, features: np.ndarray) -> GaussianStatistics:
        """Statistics of features, float [n, d]."""
        features = np.asarray(features)
        if features.ndim != 2:
            msg = f"Features have shape {features.shape}; expected [n, d]."
            raise ValueError(msg)
        made = cls.empty(features.shape[1])
        made.add(features)
        return made

    def add(self, features: np.ndarray) -> None:
        """Counts features in, float [n, d].

        Raises:
            ValueError: If they have another shape or are not finite.
        """
        batch = np.asarray(features, np.float64)
        if batch.ndim != 2 or batch.shape[1] != len(self.mean):
            msg = f"Features have shape {batch.shape}; expected [n, {len(self.mean)}]."
            raise ValueError(msg)
        if not np.all(np.isfinite(batch)):
            msg = f"Features hold {int(np.sum(~np.isfinite(batch)))} NaN or infinite values."
            raise ValueError(msg)
        if len(batch):
            mean = np.mean(batch, axis=0)
            centred = batch - mean
            self.merge(GaussianStatistics(mean, centred.T @ centred, len(batch)))

    def merge(self, other: GaussianStatistics) -> None:
        """Counts in the features of other statistics, which stay as they are.

        Raises:
            ValueError: If the dimensions differ, or a count is unknown.
        """
        if self.count is None or other.count is None:
            msg = "Statistics from a file that does not say of how many features cannot be merged."
            raise ValueError(msg)
        if len(self.mean) != len(other.mean):
            msg = f"Statistics of d={len(self.mean)} and d={len(other.mean)} cannot be merged."
            raise ValueError(msg)
        total = self.count + other.count
        if other.count:
            shift = other.mean - self.mean
            share = other.count / total
            self.scatter += other.scatter + (self.count * share) * np.outer(shift, shift)
            self.mean = self.mean + share * shift
            self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """The unbiased covariance, float64 [d, d].

        Raises:
            ValueError: If there are fewer than two features.
        """
        if self.count is None:
            return self.scatter
        if self.count < 2:
            msg = f"Statistics of {self.count} features; expected at least 2."
            raise ValueError(msg)
        return self.scatter / (self.count - 1)

    def save(self, path: str | Path) -> None:
        """Writes an .npz file that pytorch-fid and clean-fid read.

        It holds `mu` and `sigma`, and what else is known of `count` and `extractor`.

        Raises:
            ValueError: If there are fewer than two features.
            OSError: If the file cannot be written.
        """
        arrays = {"mu": self.mean, "sigma": self.covariance}
        known = {"count": self.count, "extractor": self.extractor}
        arrays |= {name: np.array(value) for name, value in known.items() if value is not None}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> GaussianStatistics:
        """Reads an .npz file of pytorch-fid, clean-fid or `save`.

        Raises:
            ValueError: If the file is none, is damaged, or its numbers are not a mean and a
                covariance.
            OSError: If it cannot be opened.
        """
        path = as_path(path, "path")
        with path.open("rb"):  # a file that cannot be opened is not a damaged one
            pass
        try:
            return _checked(**_arrays(path))
        except Exception as error:  # damaged archives make zipfile, zlib and NumPy raise all kinds
            msg = (
                f"{path} is not a file of statistics: {error}. Expected an .npz file with mu, "
                "[d], and sigma, [d, d], such as pytorch-fid and clean-fid write."
            )
            raise ValueError(msg) from error


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        sizes = {Path(each.filename).stem: each.file_size for each in archive.infolist()}
    named = [name for name in ("mu", "sigma", "count", "extractor") if name in sizes]
    if not {"mu", "sigma"} <= sizes.keys():
        raise ValueError(f"it holds {', '.join(sorted(sizes)) or 'nothing'}")
    if max((sizes[name] for name in named), default=0) > MAX_ARRAY_BYTES:
        raise ValueError(f"an array has more than {MAX_ARRAY_BYTES >> 30} GB")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in named}


def _checked(
    mu: np.ndarray,
    sigma: np.ndarray,
    count: np.ndarray | None = None,
    extractor: np.ndarray | None = None,
) -> GaussianStatistics:
    mu, sigma = mu.astype(np.float64), sigma.astype(np.float64)
    if mu.ndim != 1 or not len(mu) or sigma.shape != (len(mu), len(mu)):
        raise ValueError(f"mu has shape {mu.shape}, sigma {sigma.shape}")
    if not (np.all(np.isfinite(mu)) and np.all(np.isfinite(sigma))):
        raise ValueError("mu or sigma is not finite")
    if np.max(np.abs(sigma - sigma.T)) > 1e-3 * np.max(np.abs(sigma)):
        raise ValueError("sigma is not symmetric")
    title = None if extractor is None else str(extractor)
    if np.min(np.diagonal(sigma)) < 0:
        raise ValueError("sigma has a negative variance")
    if count is None:
        return GaussianStatistics(mu, sigma, None, title)
    if count.shape != () or not count >= 2 or count != np.floor(count):
        raise ValueError(f"count is {count}")
    return GaussianStatistics(mu, sigma * (float(count) - 1.0), int(count), title)
