"""How sure a mean is: 95 % intervals over seeds and over samples, from SciPy, imported when used.

Over seeds: Student's t. Over samples: Wilson's interval for zeros and ones (E. B. Wilson, JASA 22, 1927),
the BCa bootstrap (B. Efron, JASA 82, 1987) for 30 to 1,000 other values. Student's t below, where the
bootstrap claims too much, beyond, where both agree, and for differences from a baseline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pytest_exprunner.model.attempt import IntervalMethod

LEVEL = 0.95
_FOR_BOOTSTRAP = range(30, 1001)
_RESAMPLES = 9999
_MAX_SEEDS = 200
"""More than so many seeds are not asked for: then it is the question that is open, not the answer."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of ``n`` values with their standard deviation and the interval around it."""

    mean: float
    sd: float
    n: int
    low: float
    high: float
    method: IntervalMethod

    def straddles(self, threshold: float) -> bool:
        """Return whether a threshold lies in the interval, so that the mean does not settle it."""
        return self.low <= threshold <= self.high and self.low < self.high


def over_seeds(values: Sequence[float]) -> Estimate:
    """Return Student's t interval around the mean of two or more values, one per seed."""
    return _student(tuple(map(float, values)), IntervalMethod.T_OVER_SEEDS)


def over_samples(values: Sequence[float], *, paired: bool = False) -> Estimate:
    """Return the interval around the mean of two or more values, one per sample.

    ``paired`` values are differences: zeros and ones among them are no proportion.
    """
    return _over_samples(tuple(map(float, values)), paired)


@lru_cache(maxsize=256)
def _over_samples(values: tuple[float, ...], paired: bool) -> Estimate:  # noqa: FBT001 - for the cache
    if paired:
        return _student(values, IntervalMethod.T_OVER_PAIRED_SAMPLES)
    if set(values) <= {0.0, 1.0}:
        return _wilson(values)
    if len(values) not in _FOR_BOOTSTRAP:
        return _student(values, IntervalMethod.T_OVER_SAMPLES)
    return _bootstrap(values)


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of finite values, rounded once."""
    import statistics  # many runs have no interval, and it imports much

    return float(statistics.mean(values))


_NO_SPREAD = 1e-9


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation (n − 1): 0 where rounding makes it, infinite where too large."""
    import statistics

    try:
        sd = float(statistics.stdev(values))
    except OverflowError:
        sd = math.inf
    return mean_of(values), 0.0 if sd <= _NO_SPREAD * max(map(abs, values)) else sd


def _student(values: tuple[float, ...], method: IntervalMethod) -> Estimate:
    mean, sd = _moments(values)
    half = 0.0 if sd == 0 else quantile(len(values) - 1) * sd / math.sqrt(len(values))
    return Estimate(mean, sd, len(values), mean - half, mean + half, method)


@lru_cache(maxsize=256)
def quantile(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t distribution."""
    from scipy.stats import t  # takes most of a second, and many runs have no interval

    return float(t.ppf((1 + LEVEL) / 2, degrees))


def _wilson(values: tuple[float, ...]) -> Estimate:
    from scipy.stats import binomtest

    mean, sd = _moments(values)
    found = binomtest(int(sum(values)), len(values)).proportion_ci(LEVEL, method="wilson")
    return Estimate(mean, sd, len(values), float(found.low), float(found.high), IntervalMethod.WILSON)


def _bootstrap(values: tuple[float, ...]) -> Estimate:
    from scipy.stats import bootstrap

    mean, sd = _moments(values)
    if sd == 0 or not math.isfinite(sd):
        return Estimate(mean, sd, len(values), mean - sd, mean + sd, IntervalMethod.BOOTSTRAP)
    import numpy as np  # SciPy has it imported by now

    # Scaled, so that neither tiny nor huge values get lost on the way; seeded, so that it is the same again.
    scaled = (np.asarray(values) - mean) / sd
    found = bootstrap(
        (scaled,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=1000,
        confidence_level=LEVEL,
        rng=np.random.default_rng(0),
    ).confidence_interval
    low, high = mean + sd * float(found.low), mean + sd * float(found.high)
    return Estimate(mean, sd, len(values), low, high, IntervalMethod.BOOTSTRAP)


def seeds_to_settle(estimate: Estimate, threshold: float) -> int | None:
    """Return how many more seeds would clear a threshold, if mean and spread stay as they are.

    None where that is more than a couple of hundred, or cannot be told.
    """
    distance = abs(estimate.mean - threshold)
    if not (estimate.straddles(threshold) and distance > 0 and math.isfinite(estimate.sd)):
        return None
    for n in range(estimate.n + 1, _MAX_SEEDS + 1):
        if quantile(n - 1) * estimate.sd / math.sqrt(n) < distance:
            return n - estimate.n
    return None
