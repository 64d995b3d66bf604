"""Verdicts: a criterion and what was measured in, a `CriterionResult` out. Pure maths."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from pytest_exprunner.errors import closest
from pytest_exprunner.plan import Criterion
from pytest_exprunner.records import CriterionResult, Evidence, EvidenceKind, Logged, Verdict, kinds_of
from pytest_exprunner.values import Plain, as_float, number, shown

# From worst to best: of several values that must all meet a criterion, the worst decides.
_RANK = (
    Verdict.FAILURE,
    Verdict.MISSED,
    Verdict.INADMISSIBLE,
    Verdict.NOT_MEASURED,
    Verdict.ACCEPTABLE,
    Verdict.TARGET,
)
_MARGIN_OF_SPAN = 0.10
_MARGIN_OF_THRESHOLD = 0.05


@dataclass(frozen=True, slots=True)
class Reading:
    """What one completed attempt returned, as far as criteria look at it."""

    source: str
    sub_experiment: str
    variant: str | None
    attempt: int | None
    metrics: Mapping[str, Plain]
    evidence: tuple[Evidence, ...] = ()
    logged: Mapping[str, Logged] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[EvidenceKind, ...]:
        """The kinds of evidence declared; real where nothing was."""
        return kinds_of(self.evidence)


def digest(criterion: Criterion) -> str:
    """Return 16 hex digits that change when what the criterion demands changes."""
    terms = {
        "metric": criterion.metric_name,
        "tiers": [criterion.target, criterion.acceptable, criterion.failure],
        "direction": criterion.better,
        "from": criterion.from_,
        "borderline": criterion.borderline,
        "bounds": criterion.bounds,
        "severity": criterion.severity,
        "evidence": sorted(criterion.evidence),
    }
    return hashlib.sha256(orjson.dumps(terms, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def judge(criterion: Criterion, value: float) -> Verdict:
    """Return the tier that a finite value reaches. Nothing is rounded: 0.690 misses 0.70."""
    if _reaches(criterion, value, criterion.target):
        return Verdict.TARGET
    if criterion.acceptable is not None and _reaches(criterion, value, criterion.acceptable):
        return Verdict.ACCEPTABLE
    failure = criterion.failure
    if failure is not None and (value <= failure if criterion.better == "higher" else value >= failure):
        return Verdict.FAILURE
    return Verdict.MISSED


def _reaches(criterion: Criterion, value: float, threshold: float) -> bool:
    return value >= threshold if criterion.better == "higher" else value <= threshold


def margin(criterion: Criterion) -> float:
    """Return the distance from the deciding tier within which a single value is borderline.

    10 % of |target − failure|; without a failure tier 5 % of the deciding threshold.
    """
    if criterion.borderline is not None:
        return criterion.borderline
    if criterion.failure is not None:
        return _MARGIN_OF_SPAN * abs(criterion.target - criterion.failure)
    return _MARGIN_OF_THRESHOLD * abs(criterion.deciding)


def is_borderline(criterion: Criterion, value: float) -> bool:
    """Tell whether a value is within the margin of the deciding tier, on either side."""
    distance, width = abs(value - criterion.deciding), margin(criterion)
    return distance < width or (width > 0 and math.isclose(distance, width, rel_tol=1e-9))


def readings_for(criterion: Criterion, readings: Iterable[Reading]) -> list[Reading]:
    """Return the readings that may decide a criterion: all, or those that ``from`` names."""
    sub, variant = criterion.source
    return [
        reading
        for reading in readings
        if sub is None or (reading.sub_experiment == sub and (variant is None or reading.variant == variant))
    ]


def evaluate(criterion: Criterion, readings: Sequence[Reading]) -> CriterionResult:
    """Judge a criterion by everything that was returned.

    All that report the metric must meet it, so the worst value decides. With ``from``, a
    reading that is named there and lacks the metric counts as not measured; so does a variant
    whose siblings report it.
    """
    deciding = readings_for(criterion, readings)
    named = criterion.from_ is not None
    reporting = {r.sub_experiment for r in deciding if criterion.metric_name in r.metrics}
    candidates = [r for r in deciding if named or r.sub_experiment in reporting]
    if not candidates:
        return CriterionResult(
            criterion.name,
            Verdict.NOT_MEASURED,
            reason=_unknown_variant(criterion, readings) or _absence(criterion, deciding),
        )
    results = [_evaluate_one(criterion, reading) for reading in candidates]
    if len(results) == 1:
        return results[0]
    return min(results, key=lambda result: _badness(criterion, result))


def evaluate_alone(criteria: Iterable[Criterion], reading: Reading) -> list[CriterionResult]:
    """Judge an attempt by the criteria that it has a say in: its metric, or its name after ``from``."""
    found = []
    for criterion in criteria:
        named = readings_for(criterion, [reading])
        if named and (criterion.from_ is not None or criterion.metric_name in reading.metrics):
            found.append(evaluate(criterion, [reading]))
    return found


def _badness(criterion: Criterion, result: CriterionResult) -> tuple[int, float]:
    value = as_float(result.value) if result.value is not None and result.measured else 0.0
    return (_RANK.index(result.verdict), value if criterion.better == "higher" else -value)


def _evaluate_one(criterion: Criterion, reading: Reading) -> CriterionResult:
    def result(verdict: Verdict, value: float | None = None, reason: str = "") -> CriterionResult:
        return CriterionResult(
            criterion.name,
            verdict,
            value=value,
            borderline=verdict in _BORDERLINE and value is not None and is_borderline(criterion, value),
            decided_by=reading.source,
            attempt=reading.attempt,
            evidence=reading.kinds,
            n=0 if value is None else 1,
            reason=reason,
        )

    if criterion.metric_name not in reading.metrics:
        return result(Verdict.NOT_MEASURED, reason=_absence(criterion, [reading]))
    raw = reading.metrics[criterion.metric_name]
    value = number(raw)
    if value is None:
        kind = {
            "str": "text",
            "bool": "true or false",
            "NoneType": "nothing",
            "list": "a list",
            "dict": "a mapping",
        }.get(type(raw).__name__, type(raw).__name__)
        return result(
            Verdict.NOT_MEASURED,
            reason=f"{reading.source} returned {shown(raw, 40)}, which is {kind} and not a number",
        )
    reason = _inadmissible(criterion, reading, as_float(value))
    if reason:
        return result(Verdict.INADMISSIBLE, value, reason)
    return result(judge(criterion, as_float(value)), value)


# What counts where nothing was declared.
_SILENT = Evidence(EvidenceKind.REAL, "nothing else was declared", "")
_BORDERLINE = (Verdict.TARGET, Verdict.ACCEPTABLE, Verdict.MISSED, Verdict.FAILURE)


def _inadmissible(criterion: Criterion, reading: Reading, value: float) -> str:
    if not math.isfinite(value):
        return f"{reading.source} returned a value that is not a finite number"
    low, high = criterion.bounds or (None, None)
    if (low is not None and value < low) or (high is not None and value > high):
        limits = f"[{'-∞' if low is None else low}, {'∞' if high is None else high}]"
        return f"{reading.source} returned a value outside its bounds {limits}"
    for evidence in reading.evidence or (_SILENT,):
        if evidence.kind not in criterion.evidence or evidence.kind is EvidenceKind.STUB:
            why = f" ({evidence.reason})" if evidence.reason else ""
            admitted = " and ".join(criterion.evidence)
            return f"{reading.source} declared its numbers {evidence.kind}{why}; the plan admits {admitted}"
    return ""


def _unknown_variant(criterion: Criterion, readings: Sequence[Reading]) -> str:
    sub, variant = criterion.source
    known = [r.variant for r in readings if r.sub_experiment == sub]
    if variant is None or not known or variant in known:
        return ""
    names = " and ".join(repr(name) for name in known if name is not None)
    return f"{sub} has no variant {variant!r}; it has {names or 'none'}"


def _absence(criterion: Criterion, readings: Sequence[Reading]) -> str:
    """Say why a metric is not there, in the most useful words."""
    name = criterion.metric_name
    for reading in readings:
        if name in reading.logged:
            seen = reading.logged[name]
            times = "once" if seen.count == 1 else f"{seen.count} times"
            return f"{reading.source} logged it {times}, last {shown(seen.last, 24)}, but did not return it"
    for reading in readings:
        close = closest(name, reading.metrics)
        if close is not None:
            return f"{reading.source} returned {close!r}; expected {name!r}"
    if criterion.from_ is not None:
        sources = ", ".join(reading.source for reading in readings)
        return f"{sources} did not return it" if readings else f"{criterion.from_} has not completed"
    return "no completed sub-experiment returned it" if readings else "nothing has completed yet"
