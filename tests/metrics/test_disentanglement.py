"""The disentanglement metrics against hand arithmetic, SciPy and what the extremes must give."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.stats

from zoo import metrics
from zoo.metrics import disentanglement

if TYPE_CHECKING:
    from collections.abc import Callable

METRICS = [metrics.mutual_information_gap, metrics.dci, metrics.sap]
SPLIT_METRICS = [metrics.dci, metrics.sap]


def grid(*sizes: int, times: int = 1) -> np.ndarray:
    """Every combination of factors of these sizes, `times` over: exactly independent."""
    return np.array(list(itertools.product(*(range(size) for size in sizes))) * times)


def binary_entropy(p: float) -> float:
    """In bits."""
    return -p * math.log2(p) - (1 - p) * math.log2(1 - p)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# Mutual information gap


def test_mig_of_the_factors_themselves_is_one() -> None:
    factors = grid(3, 4, 5)
    codes = np.stack([-2.0 * factors[:, 2], 0.1 * factors[:, 0] + 7.0, factors[:, 1]], axis=1)
    assert metrics.mutual_information_gap(codes, factors) == pytest.approx(1.0, abs=1e-12)


def test_mig_by_hand() -> None:
    """Code 0 is wrong about the factor in 1 of 4 cases, code 1 in 3 of 8, of each value."""
    factor = np.repeat([0, 1], 8)
    first = factor ^ np.tile([1, 1, 0, 0, 0, 0, 0, 0], 2)
    second = factor ^ np.tile([1, 1, 1, 0, 0, 0, 0, 0], 2)
    codes = np.stack([second, first], axis=1).astype(np.float32)
    expected = binary_entropy(3 / 8) - binary_entropy(2 / 8)
    found = metrics.mutual_information_gap(codes, factor[:, None])
    assert found == pytest.approx(expected, abs=1e-12)


def test_mig_is_a_mean_over_factors_each_in_units_of_its_entropy() -> None:
    """Code 0 is the four-valued factor, code 1 tells half of it; of the other, nothing is known."""
    factors = grid(4, 2)
    codes = np.stack([factors[:, 0], factors[:, 0] // 2], axis=1)
    found = metrics.mutual_information_gap(codes, factors)
    assert found == pytest.approx((1 - 1 / 2 + 0) / 2, abs=1e-12)


def test_mig_against_entropies_of_histograms() -> None:
    factors = np.random.default_rng(0).integers(0, [3, 6], size=(500, 2))
    codes = factors @ noise(2, 4) + noise(500, 4, seed=1)

    def entropy(*columns: np.ndarray) -> float:
        bins = [7 if column.dtype.kind == "f" else int(column.max()) + 1 for column in columns]
        return float(scipy.stats.entropy(np.histogramdd(np.stack(columns, 1), bins)[0].ravel()))

    gaps = []
    for v in factors.T:
        known = sorted(entropy(z) + entropy(v) - entropy(z, v) for z in codes.T)
        gaps.append((known[-1] - known[-2]) / entropy(v))
    found = metrics.mutual_information_gap(codes, factors, bins=7)
    assert found == pytest.approx(np.mean(gaps), rel=1e-9)


def test_mig_of_two_factors_turned_by_45_degrees_is_zero() -> None:
    """a + b knows of a as much as a − b does, by the symmetry b → 4 − b."""
    factors = grid(5, 5)
    codes = factors @ np.array([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2.0)
    assert metrics.mutual_information_gap(codes, factors) == pytest.approx(0.0, abs=1e-12)


def test_mig_of_a_code_held_twice_is_zero() -> None:
    factors = grid(4, 4)
    codes = np.concatenate([factors, factors], axis=1)
    assert metrics.mutual_information_gap(codes, factors) == 0.0


# DCI


def test_dci_of_the_factors_themselves_is_one() -> None:
    factors = grid(3, 4, 5, times=5)
    codes = np.concatenate([noise(len(factors), 2) * 1e-3, -0.1 * factors[:, ::-1]], axis=1)
    found = metrics.dci(codes, factors)
    assert found == pytest.approx(
        {"disentanglement": 1.0, "completeness": 1.0, "informativeness": 1.0}, abs=1e-12
    )


def test_dci_of_a_factor_held_by_two_codes() -> None:
    """Each code serves one factor; factor 0 is spread over two of three codes, equally."""
    factors = grid(4, 4, times=20)
    found = metrics.dci(factors[:, [0, 0, 1]], factors)
    assert found["disentanglement"] == pytest.approx(1.0, abs=1e-12)
    # Trees choose either of the equal codes at random, some 3 times each: of 40 trees the share
    # has a deviation of at most 0.08, which costs at most 0.04 of this mean in 2 deviations.
    expected = (1 - math.log(2) / math.log(3) + 1) / 2
    assert expected <= found["completeness"] < expected + 0.04
    assert found["informativeness"] == 1.0


def test_dci_of_a_code_that_holds_both_factors() -> None:
    """All is in code 0, of as much use for either factor: complete, informative, entangled."""
    factors = grid(3, 3, times=10)
    codes = np.stack([3.0 * factors[:, 0] + factors[:, 1], np.zeros(len(factors))], axis=1)
    found = metrics.dci(codes, factors)
    assert found == pytest.approx(
        {"disentanglement": 0.0, "completeness": 1.0, "informativeness": 1.0}, abs=1e-12
    )


def test_dci_of_two_factors_turned_by_45_degrees() -> None:
    factors = grid(6, 6, times=10)
    codes = factors @ np.array([[1.0, 1.0], [1.0, -1.0]])
    found = metrics.dci(codes, factors)
    # By symmetry all shares are a half, but for the chance in draws and ties: shares of 0.4 and
    # 0.6 would give 1 − 0.971.
    assert found["disentanglement"] < 1 - binary_entropy(0.4)
    assert found["completeness"] < 1 - binary_entropy(0.4)
    assert found["informativeness"] == 1.0


def test_dci_of_noise_is_near_chance() -> None:
    factors = np.random.default_rng(1).integers(0, 4, size=(1200, 2))
    found = metrics.dci(noise(1200, 4), factors)
    # 4 deviations of the mean of 2 × 400 guesses that are right in 1 of 4 cases.
    assert found["informativeness"] == pytest.approx(1 / 4, abs=4 * math.sqrt(3 / 16 / 800))
    # Shares near 1/4 and 1/2: none is preferred.
    assert found["disentanglement"] < 0.1
    assert found["completeness"] < 0.1


@pytest.mark.slow
def test_dci_counts_less_of_the_noise_that_deep_trees_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each code is one factor and noise of which no other code knows: in truth, D = C = 1."""
    factors = grid(4, 4, 4, times=15)
    codes = np.concatenate(
        [factors + 0.5 * noise(len(factors), 3), noise(len(factors), 3, seed=1)], axis=1
    )
    found = metrics.dci(codes, factors)
    # Rounding to the nearest value is best: it errs with Φ(−1) at each of the 6 sides with a
    # neighbour. 4 deviations of 3 × 320 guesses.
    best = 1 - 6 / 4 * scipy.stats.norm.cdf(-1)
    allowed = 4 * math.sqrt(best * (1 - best) / 960)
    assert found["informativeness"] == pytest.approx(best, abs=allowed)
    monkeypatch.setattr(disentanglement, "DEPTHS", (16,))
    deep = metrics.dci(codes, factors)
    for name in ("disentanglement", "completeness"):
        assert 1 - found[name] < (1 - deep[name]) / 2
    assert found["informativeness"] >= deep["informativeness"]


def test_disentanglement_by_hand() -> None:
    importance = np.array([[1.0, 0.0], [0.5, 1.5], [0.0, 0.0]])
    expected = 1 / 3 * 1 + 2 / 3 * (1 - binary_entropy(1 / 4)) + 0
    assert disentanglement._disentanglement(importance) == pytest.approx(expected, abs=1e-12)


def test_completeness_by_hand() -> None:
    """Entropies are to base 3, and the mean does not weigh factors, as in the authors' code."""
    importance = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    expected = ((1 - math.log(2) / math.log(3)) + 1 + 0) / 3
    assert disentanglement._completeness(importance) == pytest.approx(expected, abs=1e-12)


# SAP


def test_sap_by_hand() -> None:
    """Code 0 is the factor and code 1 is wrong in a quarter of the cases of each value."""
    factor = np.tile([0, 1], 200)
    wrong = np.repeat([1, 0, 0, 0], 100)
    codes = np.stack([factor, factor ^ wrong], axis=1) * 4.0 - 2.0
    _, test = disentanglement._split(factor[:, None], seed=3)
    assert metrics.sap(codes, factor[:, None], seed=3) == pytest.approx(np.mean(wrong[test]))


def test_sap_of_binary_factors_is_what_chance_leaves() -> None:
    factors = grid(2, 2, times=100)
    # 4 deviations of 133 guesses: the other code is right in half the cases.
    allowed = 4 * math.sqrt(1 / 4 / 133)
    assert metrics.sap(4.0 * factors - 2.0, factors) == pytest.approx(1 / 2, abs=allowed)


def test_sap_of_a_code_held_twice_is_zero() -> None:
    factors = grid(3, 3, times=20)
    codes = np.concatenate([factors, factors], axis=1)
    assert metrics.sap(codes, factors) == 0.0


# All


def test_constant_codes_tell_nothing() -> None:
    factors = grid(3, 3, times=20)
    codes = np.full((len(factors), 4), 0.3, np.float32)
    assert metrics.mutual_information_gap(codes, factors) == pytest.approx(0.0, abs=1e-12)
    found = metrics.dci(codes, factors)
    assert found["disentanglement"] == 0.0
    assert found["completeness"] == 0.0
    assert metrics.sap(codes, factors) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("metric", SPLIT_METRICS)
def test_the_seed_decides(metric: Callable[..., Any]) -> None:
    factors = np.random.default_rng(0).integers(0, 3, size=(90, 2))
    codes = factors + noise(90, 2)
    assert metric(codes, factors, seed=1) == metric(codes, factors, seed=1)
    assert metric(codes, factors, seed=1) != metric(codes, factors, seed=2)


CODES, FACTORS = noise(90, 3), grid(3, 3, times=10)
BROKEN = CODES.copy()
BROKEN[5, 1] = np.nan


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (CODES[:, 0], FACTORS, r"codes have shape \(90,\)"),
        (CODES[:, :1], FACTORS, r"codes have shape \(90, 1\).*d ≥ 2"),
        (CODES, FACTORS[:, 0], r"factors have shape \(90,\)"),
        (CODES, FACTORS[:, :0], r"factors have shape \(90, 0\)"),
        (CODES[:80], FACTORS, "80 codes but 90 factors"),
        (CODES[:1], FACTORS[:1], r"1 examples; expected at least (2|30)\."),
        (CODES, FACTORS.astype(np.float32), "factors have dtype float32; expected integers"),
        (BROKEN, FACTORS, "1 NaN or infinite values"),
        (CODES, FACTORS * [1, 0], r"factors \[1\] \(columns\) are constant throughout"),
    ],
)
def test_wrong_arrays(
    metric: Callable[..., Any], codes: np.ndarray, factors: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metric(codes, factors)


@pytest.mark.parametrize("metric", SPLIT_METRICS)
def test_too_few_examples_to_hold_some_out(metric: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="29 examples; expected at least 30"):
        metric(CODES[:29], FACTORS[:29])
    _, test = disentanglement._split(FACTORS, seed=0)
    rare = np.zeros((90, 2), int)
    rare[test[0]] = 1  # varies, but not among the examples to fit to
    with pytest.raises(ValueError, match=r"factors \[0, 1\].*among the examples to fit to"):
        metric(CODES, rare)


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="bins=1: expected at least 2"):
        metrics.mutual_information_gap(CODES, FACTORS, bins=1)
    with pytest.raises(ValueError, match="1 factor; expected at least 2"):
        metrics.dci(CODES, FACTORS[:, :1])
