"""How far each latent dimension stands for one known factor of the data, and each factor in one.

All three figures depend on the number of examples and on the estimators named below: compare those
of one protocol only.
"""

from __future__ import annotations

import numpy as np
import scipy.stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC

DEPTHS = (2, 4, 8, 16)
TREES = 40
HELD_OUT = 3  # a third of the examples tests what was fitted to the others
AT_LEAST = 30


def mutual_information_gap(codes: np.ndarray, factors: np.ndarray, bins: int = 20) -> float:
    """MIG: (1/K) Σₖ (I(z_j(k); vₖ) − max_{j ≠ j(k)} I(z_j; vₖ)) / H(vₖ) (1802.04942, eq. 6).

    j(k) is the code with most information on factor k. Codes are cut into equal bins between
    their least and their largest value, as in arXiv 1811.12359. Information between independent
    variables is estimated too large by about (bins − 1) (values of the factor − 1) / 2n nats.

    Args:
        codes: Posterior means, float [n, d], d ≥ 2.
        factors: True factors, int [n, k].
        bins: Bins a code, at least 2.

    Returns:
        In [0, 1]: 1 if each factor is determined by one code of which the others know nothing.

    Raises:
        ValueError: If the arrays have the wrong rank, type or length, codes are fewer than 2 or not
            finite, a factor is constant, or `bins` is less than 2.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> factors = np.indices((4, 10)).reshape(2, -1).T
        >>> round(metrics.mutual_information_gap(factors + 0.5, factors), 3)
        1.0
    """
    codes, factors = _check(codes, factors, at_least=2)
    if bins < 2:
        msg = f"bins={bins}: expected at least 2, or no code tells anything."
        raise ValueError(msg)
    binned = [np.digitize(z, np.histogram_bin_edges(z, bins)[1:-1]) for z in codes.T]
    information = np.array([[mutual_info_score(v, z) for v in factors.T] for z in binned])
    entropy = np.array([mutual_info_score(v, v) for v in factors.T])
    return float(np.mean(_gap(information) / entropy))


def dci(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Disentanglement, completeness and informativeness (Eastwood and Williams, ICLR 2018).

    R_ij, the importance of code i for factor j, is the mean decrease of Gini impurity in a random
    forest that predicts the factor from all codes. As there, each split may choose among all
    codes, and the depth is the one that predicts unseen examples best (here those out of the bag).
    The forest classifies, as the factors are discrete.

    Args:
        codes: Posterior means, float [n, d], n ≥ 30, d ≥ 2.
        factors: True factors, int [n, k], k ≥ 2.
        seed: Seed of the forests and of which third of the examples is held out.

    Returns:
        All in [0, 1]: `disentanglement` (each code serves one factor), `completeness` (each factor
        is in one code), `informativeness` (accuracy on held-out examples, mean over factors, with
        chance at the share of the commonest value).

    Raises:
        ValueError: If the arrays have the wrong rank, type or length, codes or factors are fewer
            than 2, examples fewer than 30, codes not finite, or a factor is constant.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> factors = np.indices((4, 15)).reshape(2, -1).T % 3
        >>> metrics.dci(factors + 0.5, factors)["informativeness"]
        1.0
    """
    codes, factors = _check(codes, factors, at_least=AT_LEAST)
    if factors.shape[1] < 2:
        msg = f"{factors.shape[1]} factor; expected at least 2, between which to tell."
        raise ValueError(msg)
    train, test = _split(factors, seed)
    importance, accuracy = [], []
    for factor in factors.T:
        forests = [
            RandomForestClassifier(
                TREES, max_depth=depth, max_features=None, oob_score=True, random_state=seed
            ).fit(codes[train], factor[train])
            for depth in DEPTHS
        ]
        best = max(forests, key=lambda forest: forest.oob_score_)
        importance.append(best.feature_importances_)
        accuracy.append(best.score(codes[test], factor[test]))
    matrix = np.stack(importance, axis=1)
    return {
        "disentanglement": _disentanglement(matrix),
        "completeness": _completeness(matrix),
        "informativeness": float(np.mean(accuracy)),
    }


def sap(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> float:
    """Separated attribute predictability (arXiv 1711.00848, section 3).

    S_ij is the accuracy on held-out examples of a linear SVM that predicts factor j from code i
    alone, with C = 0.01 and classes weighted to balance, as in arXiv 1811.12359; the score is the
    gap between the two best codes, mean over factors. The codes are not standardised, as there:
    those of a small spread predict less.

    Args:
        codes: Posterior means, float [n, d], n ≥ 30, d ≥ 2.
        factors: True factors, int [n, k].
        seed: Seed of which third of the examples is held out.

    Returns:
        In [0, 1), as the second code is right by chance too: at most 1/2 for factors of two equally
        frequent values. Of more than two values in a row a line tells the outer ones best, so even
        perfect codes score less than 1 − chance.

    Raises:
        ValueError: If the arrays have the wrong rank, type or length, codes are fewer than 2 or not
            finite, examples fewer than 30, or a factor is constant.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> factors = np.indices((2, 30)).reshape(2, -1).T % 2
        >>> 0.0 <= metrics.sap(factors + 0.5, factors) <= 1.0
        True
    """
    codes, factors = _check(codes, factors, at_least=AT_LEAST)
    train, test = _split(factors, seed)

    def score(code: np.ndarray, factor: np.ndarray) -> float:
        svm = LinearSVC(C=0.01, class_weight="balanced", random_state=seed)
        return svm.fit(code[train, None], factor[train]).score(code[test, None], factor[test])

    scores = np.array([[score(code, factor) for factor in factors.T] for code in codes.T])
    return float(np.mean(_gap(scores)))


def _disentanglement(importance: np.ndarray) -> float:
    """Σᵢ ρᵢ (1 − H_K(Pᵢ)) of importance [d, k], ρᵢ = Σⱼ R_ij / Σ_ij R_ij."""
    total = importance.sum()
    if total == 0.0:  # no code serves any factor
        return 0.0
    return float(_concentration(importance) @ (importance.sum(axis=1) / total))


def _completeness(importance: np.ndarray) -> float:
    """(1/K) Σⱼ (1 − H_D(P̃ⱼ)) of importance [d, k]: a plain mean, as in the authors' code."""
    return float(np.mean(_concentration(importance.T)))


def _concentration(importance: np.ndarray) -> np.ndarray:
    """1 − entropy of each row's shares, to the base of their number; 0 for a row of zeros."""
    totals = importance.sum(axis=1, keepdims=True)
    shares = np.full(importance.shape, 1.0 / importance.shape[1])
    np.divide(importance, totals, out=shares, where=totals > 0.0)
    entropy = scipy.stats.entropy(shares, axis=1, base=importance.shape[1])
    return np.clip(1.0 - entropy, 0.0, 1.0)  # against rounding


def _gap(scores: np.ndarray) -> np.ndarray:
    """Of scores [d, k], the best code's lead over the second, [k]."""
    second, best = np.sort(scores, axis=0)[-2:]
    return best - second


def _split(factors: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit to, in which every factor must vary, and a third held out."""
    order = np.random.default_rng(seed).permutation(len(factors))
    test, train = np.split(order, [len(order) // HELD_OUT])
    _check_varying(factors[train], "among the examples to fit to")
    return train, test


def _check(
    codes: np.ndarray, factors: np.ndarray, *, at_least: int
) -> tuple[np.ndarray, np.ndarray]:
    codes, factors = np.asarray(codes), np.asarray(factors)
    if codes.ndim != 2 or codes.shape[1] < 2:
        msg = f"codes have shape {codes.shape}; expected [n, d] with d ≥ 2."
        raise ValueError(msg)
    if factors.ndim != 2 or factors.shape[1] < 1:
        msg = f"factors have shape {factors.shape}; expected [n, k] with k ≥ 1."
        raise ValueError(msg)
    if len(codes) != len(factors):
        msg = f"{len(codes)} codes but {len(factors)} factors; expected a row for each example."
        raise ValueError(msg)
    if len(codes) < at_least:
        msg = f"{len(codes)} examples; expected at least {at_least}."
        raise ValueError(msg)
    if not np.issubdtype(factors.dtype, np.integer):
        msg = f"factors have dtype {factors.dtype}; expected integers, the index of each value."
        raise ValueError(msg)
    codes = codes.astype(np.float64)
    if not np.isfinite(codes).all():
        msg = f"codes hold {int(np.sum(~np.isfinite(codes)))} NaN or infinite values."
        raise ValueError(msg)
    _check_varying(factors, "throughout")
    return codes, factors


def _check_varying(factors: np.ndarray, where: str) -> None:
    constant = [j for j in range(factors.shape[1]) if np.ptp(factors[:, j]) == 0]
    if constant:
        msg = (
            f"factors {constant} (columns) are constant {where}: nothing can be told of them. Drop "
            "those columns, or give more varied examples."
        )
        raise ValueError(msg)
