"""Intervals: against published values, by simulation, and at the edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pytest_exprunner.verdicts import statistics
from pytest_exprunner.verdicts.statistics import Estimate, over_samples, over_seeds, quantile, seeds_to_settle

FINITE = st.floats(-1e12, 1e12, allow_subnormal=False)


@pytest.mark.parametrize(
    ("degrees", "published"), [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (30, 2.042)]
)
def test_students_t(degrees: int, published: float) -> None:
    """The table in any textbook."""
    assert quantile(degrees) == pytest.approx(published, abs=5e-4)


def test_a_published_mean() -> None:
    """NIST/SEMATECH e-Handbook, 1.3.5.2 (ZARR13): the first lines of it by hand, mean ± t·s/√n."""
    found = over_seeds([9.206343, 9.299992, 9.277895, 9.305795, 9.275351])
    assert found.mean == pytest.approx(9.2730752)
    assert found.high - found.mean == pytest.approx(2.776445 * found.sd / math.sqrt(5), rel=1e-6)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson(successes: int, trials: int, low: float, high: float) -> None:
    """R. G. Newcombe, Statistics in Medicine 17, 1998, table I, method 3 (the score interval)."""
    found = over_samples([1.0] * successes + [0.0] * (trials - successes))
    assert [found.low, found.high] == pytest.approx([low, high], abs=5e-5)
    assert found.method == "Wilson over samples"


def test_bootstrap() -> None:
    """Near Student's t for values that are far from neither normal nor few; the same every time."""
    values = np.random.default_rng(1).normal(0.7, 0.1, 200).tolist()
    found, student = over_samples(values), over_seeds(values)
    assert found.method == "bootstrap over samples"
    assert [found.low, found.high] == pytest.approx([student.low, student.high], abs=2e-3)
    statistics._over_samples.cache_clear()
    assert over_samples(values) == found


@pytest.mark.parametrize(
    ("number", "method"), [(29, "t"), (30, "bootstrap"), (1000, "bootstrap"), (1001, "t")]
)
def test_the_method(number: int, method: str) -> None:
    """Student's t where the bootstrap claims too much, and where both say the same."""
    assert over_samples([0.1 * (n % 7) for n in range(number)]).method == f"{method} over samples"


def test_paired_samples() -> None:
    """One difference among a hundred settles nothing, though it is a one among zeros."""
    found = over_samples([1.0] + [0.0] * 99, paired=True)
    assert found.method == "t over paired samples"
    assert found.straddles(0.0)


def test_rounding_is_no_spread() -> None:
    """Differences of sums that are the same but for their last digit."""
    assert over_seeds([0.9 - 0.85, 1.9 - 1.85, 2.9 - 2.85]).sd == 0


@given(st.lists(FINITE, min_size=2, max_size=30))
def test_the_mean_is_inside(values: list[float]) -> None:
    """Whatever the values are, and nothing raises."""
    for found in (over_seeds(values), statistics._wilson(tuple(float(v > 0) for v in values))):
        assert found.low <= found.mean + 1e-9 * abs(found.mean)
        assert found.mean <= found.high + 1e-9 * abs(found.mean)


@pytest.mark.parametrize("value", [0.0, 0.5, 1e300, -1e-300])
def test_no_spread(value: float) -> None:
    """The interval is the value, and straddles nothing."""
    found = over_seeds([value] * 3)
    assert (found.low, found.mean, found.high) == (value, value, value)
    assert not found.straddles(value)


def test_numbers_that_are_too_large() -> None:
    """The spread is infinite, and so is the interval: nothing is settled by it."""
    found = over_seeds([1.7e308, -1.7e308])
    assert found.straddles(0.0)
    assert seeds_to_settle(found, 1.0) is None


def test_how_many_more_seeds() -> None:
    """With so many the interval clears the threshold, with one less it does not."""
    found = over_seeds([0.68, 0.72, 0.75])
    more = seeds_to_settle(found, 0.70)
    assert more is not None
    for n, clears in ((found.n + more, True), (found.n + more - 1, False)):
        assert (quantile(n - 1) * found.sd / math.sqrt(n) < abs(found.mean - 0.70)) is clears
    assert seeds_to_settle(found, found.mean) is None
    assert seeds_to_settle(over_seeds([0.9, 0.91, 0.92]), 0.5) is None  # it is settled


def _coverage(
    draw: Callable[[np.random.Generator], Sequence[float]], truth: float, made: Callable[..., Estimate]
) -> float:
    rng = np.random.default_rng(20260101)
    studies = (made(draw(rng)) for _ in range(2000))
    return sum(found.low <= truth <= found.high for found in studies) / 2000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "truth", "made"),
    [
        pytest.param(lambda rng: rng.normal(0.7, 0.05, 5), 0.7, over_seeds, id="t over 5 seeds"),
        pytest.param(lambda rng: rng.normal(0.7, 0.2, 50), 0.7, over_samples, id="bootstrap over 50 samples"),
    ],
)
def test_coverage(
    draw: Callable[[np.random.Generator], Sequence[float]],
    truth: float,
    made: Callable[..., Estimate],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 2,000 simulated studies, the interval of 93 to 97 % has the truth in it."""
    monkeypatch.setattr(statistics, "_RESAMPLES", 1999)
    assert 0.93 <= _coverage(draw, truth, made) <= 0.97


def test_coverage_of_wilson() -> None:
    """Over 20 samples: 95 % on average over all proportions; for one of them between 92 and 98 %."""
    n, proportions = 20, np.linspace(0.05, 0.95, 181)
    found = [over_samples([1.0] * k + [0.0] * (n - k)) for k in range(n + 1)]
    chances = binom.pmf(np.arange(n + 1)[:, None], n, proportions)
    covered = [[e.low <= p <= e.high for p in proportions] for e in found]
    coverage = (chances * np.array(covered)).sum(axis=0)
    assert 0.945 <= coverage.mean() <= 0.96
    assert coverage.min() > 0.92
    assert coverage.max() < 0.98
