"""Values that are far from what one would expect: from their own history, or from their siblings. Pure.

Far is a modified z-score above 3.5 (B. Iglewicz and D. C. Hoaglin, How to Detect and Handle Outliers,
1993). Nothing follows from fewer than four others, or from others that are all equal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_exprunner._util.serialization import as_float, number
from pytest_exprunner.model.attempt import Status
from pytest_exprunner.model.results import CurrentAttempt, ExperimentState, SubState
from pytest_exprunner.verdicts.formatting import number_text

_LEAST_OTHERS = 4
_FAR = 3.5
_MAD, _MEAN_AD = 1.4826, 1.2533
"""What makes deviations comparable with the standard deviation of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Others:
    """What a value is compared with."""

    median: float
    low: float
    high: float
    n: int


def outliers(state: ExperimentState) -> Iterator[str]:
    """Say which values that criteria look at are far from their history or from their siblings."""
    names = dict.fromkeys(criterion.metric_name for criterion in state.plan.success_criteria.values())
    for sub in state.subs.values():
        completed = [current for current in sub.currents if current.status is Status.COMPLETED]
        for current in completed:
            for name in names:
                yield from _about(name, current, completed, sub)


def _about(
    name: str, current: CurrentAttempt, completed: Sequence[CurrentAttempt], sub: SubState
) -> Iterator[str]:
    value = _finite(current.record.metrics.get(name))
    if value is None:
        return
    said = f"{name} of {current.label} is {number_text(value)}, far from"
    others = far_from(value, _history(name, current, sub))
    if others is not None:
        yield f"{said} its {others.n} earlier attempts ({_range(others)})."
    siblings = [other for other in completed if other is not current and _is_sibling(current, other)]
    others = far_from(
        value, [v for other in siblings if (v := _finite(other.record.metrics.get(name))) is not None]
    )
    if others is not None:
        what = "seeds" if current.seed is not None else "variants"
        yield f"{said} its {others.n} other {what} ({_range(others)})."


def far_from(value: float, others: Sequence[float]) -> Others | None:
    """Return what a value is compared with, where it is far from it."""
    if len(others) < _LEAST_OTHERS:
        return None
    middle = _median(others)
    deviations = [abs(other - middle) for other in others]
    mean = sum(deviation / len(deviations) for deviation in deviations)
    spread = _MAD * _median(deviations) or _MEAN_AD * mean
    if not spread or not math.isfinite(spread) or abs(value - middle) <= _FAR * spread:
        return None
    return Others(middle, min(others), max(others), len(others))


def _history(name: str, current: CurrentAttempt, sub: SubState) -> list[float]:
    return [
        value
        for past in sub.history
        if past.key.sequence < (current.attempt or 0)
        and (past.key.variant, past.key.seed) == (current.variant, current.seed)
        and past.status is Status.COMPLETED
        and (value := _finite(past.metrics.get(name))) is not None
    ]


def _is_sibling(current: CurrentAttempt, other: CurrentAttempt) -> bool:
    """Seeds of one variant, or variants without seeds."""
    if current.seed is not None:
        return other.seed is not None and other.variant == current.variant
    return other.seed is None


def _finite(value: object) -> float | None:
    found = number(value)
    return as_float(found) if found is not None and math.isfinite(as_float(found)) else None


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else ordered[half - 1] / 2 + ordered[half] / 2


def _range(others: Others) -> str:
    return (
        f"median {number_text(others.median)}, from {number_text(others.low)} to {number_text(others.high)}"
    )
