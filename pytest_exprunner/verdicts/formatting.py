"""Numbers, tiers and verdicts in words, as a colleague would say them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pytest_exprunner._util.serialization import as_float, special_name
from pytest_exprunner.model.attempt import Verdict
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.verdicts.statistics import Estimate, seeds_to_settle

DASH = "–"


def number_text(value: float | None, against: tuple[float, ...] = ()) -> str:
    """Return a number with three decimals or significant digits, more where they decide.

    A value is never shown on another side of a threshold in ``against`` than it is on.
    """
    if value is None:
        return DASH
    exact = as_float(value)
    if not math.isfinite(exact):
        return special_name(exact)
    for digits in range(3, 18):
        text = _rounded(exact, digits)
        if all(_side(float(text), limit) == _side(exact, limit) for limit in against):
            return text
    return repr(exact)


def _rounded(value: float, digits: int) -> str:
    magnitude = abs(value)
    if value == int(value) and magnitude < 10**15:
        return str(int(value))
    if 0.001 <= magnitude < 10**6:
        return f"{value:.{digits}f}" if magnitude < 100 else f"{value:.{max(digits - 2, 0)}f}"
    return f"{value:.{digits}g}"


def _side(value: float, limit: float) -> int:
    return (value > limit) - (value < limit)


def threshold_text(value: float | None) -> str:
    """Return a threshold as a person would have written it: ``0.70``, ``10``."""
    if value is None:
        return DASH
    text = f"{value:.12g}"
    if isinstance(value, int) or "e" in text:
        return text
    whole, _dot, decimals = text.partition(".")
    return f"{whole}.{decimals:0<2}"


def tiers_of(criterion: Criterion) -> tuple[float, ...]:
    """Return the thresholds that a criterion has."""
    tiers = (criterion.target, criterion.acceptable, criterion.failure)
    return tuple(tier for tier in tiers if tier is not None)


def tiers_by_metric(criteria: Iterable[Criterion]) -> dict[str, tuple[float, ...]]:
    """Return the thresholds of each judged metric: values are shown on the side of them that they are on."""
    return {criterion.metric_name: tiers_of(criterion) for criterion in criteria}


def value_text(criterion: Criterion, value: float | None) -> str:
    """Return a value of a criterion, with its unit."""
    text = number_text(value, tiers_of(criterion))
    return f"{text} {criterion.unit}" if criterion.unit and value is not None else text


def measured_text(criterion: Criterion, result: CriterionResult) -> str:
    """Return value and interval: ``0.837 ± 0.011``, or ``0.90 [0.85, 0.93]`` where it is lopsided."""
    text = value_text(criterion, result.value)
    if result.interval is None or result.value is None:
        return text
    low, high = result.interval
    below, above = result.value - low, high - result.value
    if math.isclose(below, above, rel_tol=1e-6, abs_tol=1e-12):
        return f"{text} ± {_half(above)}"
    return f"{text} [{_short(low)}, {_short(high)}]"


def _half(width: float) -> str:
    """Return half an interval with two significant digits: nobody knows more of how sure one is.

    The whole part is never rounded, and an exponent is for what is very small or very large.
    """
    if not width or not math.isfinite(width):
        return number_text(width)
    rounded = float(f"{width:.2g}")
    if not 1e-4 <= abs(width) < 1e6:
        return f"{width:.2g}"
    return f"{width:.{max(1 - math.floor(math.log10(abs(rounded))), 0)}f}"


def _short(value: float) -> str:
    return f"{value:.3g}" if value and math.isfinite(value) else number_text(value)


def tier_text(criterion: Criterion, tier: float | None) -> str:
    """``≥ 0.70``: the condition that a tier states."""
    if tier is None:
        return DASH
    return f"{'≥' if criterion.better == 'higher' else '≤'} {threshold_text(tier)}"


def failure_text(criterion: Criterion) -> str:
    """``≤ 0.50``: what the failure tier states, at or beyond which a value is a failure."""
    if criterion.failure is None:
        return DASH
    return f"{'≤' if criterion.better == 'higher' else '≥'} {threshold_text(criterion.failure)}"


def verdict_text(result: CriterionResult) -> str:
    """``acceptable, borderline``: a verdict in one or two words."""
    words = str(result.verdict).replace("_", " ")
    return f"{words}, borderline" if result.borderline else words


def explain(criterion: Criterion, result: CriterionResult) -> str:
    """Say in a sentence what a result means, in the context of its tiers."""
    name = criterion.name
    if result.verdict is Verdict.NOT_MEASURED:
        return f"{name} was not measured: {result.reason}."
    value = value_text(criterion, result.value)
    if result.verdict is Verdict.INADMISSIBLE:
        return f"{name} = {value} does not count: {result.reason}."
    sentence = f"{name}{_against(criterion)} of {value}{_sure(result)} {_position(criterion, result)}"
    if result.borderline:
        sentence += _near(criterion, result)
    elif result.verdict is Verdict.TARGET and _includes(result, criterion.target):
        target, sure = threshold_text(criterion.target), threshold_text(criterion.deciding)
        sentence += f"; its interval includes {target}, so only the acceptable {sure} is settled"
    note = f" No interval: {result.reason}." if result.reason else ""
    return f"{sentence}.{note}"


def _against(criterion: Criterion) -> str:
    """Return what a value was compared with, which makes it another number than the metric of its name."""
    if criterion.minus is not None:
        return f" (minus {criterion.minus})"
    return f" (over {criterion.over})" if criterion.over is not None else ""


def _sure(result: CriterionResult) -> str:
    """Return what the value rests on, where that is more than one number."""
    if result.interval is None:
        return ""
    low, high = (_short(limit) for limit in result.interval)
    what = "seeds" if result.over_seeds else "samples"
    return f" (mean of {result.n} {what}, 95 % interval {low} to {high}, {result.method})"


def _position(criterion: Criterion, result: CriterionResult) -> str:
    better, worse = ("above", "below") if criterion.better == "higher" else ("below", "above")
    value = as_float(result.value or 0.0)
    target = threshold_text(criterion.target)
    if result.verdict is Verdict.TARGET:
        return f"{_at(value, criterion.target, better)} the {target} target"
    if result.verdict is Verdict.ACCEPTABLE:
        deciding = threshold_text(criterion.deciding)
        return (
            f"{_at(value, criterion.deciding, better)} the {deciding} threshold, short of the {target} target"
        )
    needed = "acceptable threshold" if criterion.acceptable is not None else "target"
    gap = number_text(abs(criterion.deciding - value))
    text = f"is {worse} the {threshold_text(criterion.deciding)} {needed} by {gap}"
    if result.verdict is Verdict.FAILURE:
        text += f", at or beyond the failure tier {threshold_text(criterion.failure)}"
    return text


def _at(value: float, limit: float, side: str) -> str:
    return "is exactly at" if value == limit else f"is {side}"


def _near(criterion: Criterion, result: CriterionResult) -> str:
    deciding = threshold_text(criterion.deciding)
    if (estimate := estimate_of(result)) is not None and estimate.straddles(criterion.deciding):
        said = f"; its interval includes {deciding}, so it is not settled and needs review"
        more = seeds_to_settle(estimate, criterion.deciding) if result.over_seeds else None
        noun = "seed" if more == 1 else "seeds"
        return f"{said}; about {more} more {noun} would settle it at this spread" if more else said
    if result.met:
        return f"; it narrowly meets {deciding} and needs review"
    return f"; it narrowly misses {deciding} and needs review"


def _includes(result: CriterionResult, tier: float) -> bool:
    estimate = estimate_of(result)
    return estimate is not None and estimate.straddles(tier)


def estimate_of(result: CriterionResult) -> Estimate | None:
    """Return the mean and interval behind a result, where it has one."""
    if result.interval is None or result.value is None or result.method is None:
        return None
    value = as_float(result.value)
    return Estimate(value, result.sd or 0.0, result.n, *result.interval, result.method)
