"""Verdicts: a criterion and what was measured in, a `CriterionResult` out. Pure maths."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import orjson

from pytest_exprunner._util.serialization import as_float
from pytest_exprunner.model.attempt import Source, Verdict
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.reasons import MeasuredElsewhere, SeedsMissing
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.verdicts.measurement import (
    Measured,
    Reading,
    Refused,
    absence,
    is_baseline,
    measure,
    unknown_variant,
)
from pytest_exprunner.verdicts.statistics import Estimate, mean_of, over_samples, over_seeds

FROM_WORST = (
    Verdict.FAILURE,
    Verdict.MISSED,
    Verdict.INADMISSIBLE,
    Verdict.NOT_MEASURED,
    Verdict.ACCEPTABLE,
    Verdict.TARGET,
)
"""Of several values that must all meet a criterion, the worst decides."""
_MARGIN_OF_SPAN = 0.10
_MARGIN_OF_THRESHOLD = 0.05


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
        # Only where they are given: what was registered before there were any stays what it is.
        **({"minus": criterion.minus} if criterion.minus is not None else {}),
        **({"over": criterion.over} if criterion.over is not None else {}),
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
    """Return whether a value is within the margin of the deciding tier, on either side."""
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


def evaluate(
    criterion: Criterion, readings: Sequence[Reading], baselines: Sequence[Reading] = ()
) -> CriterionResult:
    """Judge a criterion by everything that was returned; ``baselines`` may only be compared with.

    All that report the metric must meet it, so the worst value decides; of attempts that differ in their
    seed alone, the mean does. With ``from``, a reading that is named there and lacks the metric counts as
    not measured; so does a variant whose siblings report it.
    """
    return _evaluate(criterion, readings_for(criterion, readings), (*readings, *baselines))


def evaluate_alone(criteria: Iterable[Criterion], reading: Reading) -> list[CriterionResult]:
    """Judge an attempt by the criteria that it has a say in: its metric, or its name after ``from``.

    Not by those whose baseline is in another one.
    """
    found = []
    for criterion in criteria:
        named = readings_for(criterion, [reading])
        has_a_say = criterion.from_ is not None or criterion.metric_name in reading.metrics
        has_a_say = has_a_say and not is_baseline(criterion, reading)
        if named and has_a_say and _is_complete(criterion, reading):
            found.append(evaluate(criterion, [reading]))
    return found


def _is_complete(criterion: Criterion, reading: Reading) -> bool:
    base = criterion.baseline
    if base is None or base.sub_experiment is None:
        return True
    return base.sub_experiment == reading.sub_experiment and base.variant in (None, reading.variant)


def evaluate_together(
    criteria: Sequence[Criterion], readings: Sequence[Reading], baselines: Sequence[Reading] = ()
) -> dict[str, CriterionResult]:
    """Judge criteria that must hold for one and the same attempt: by the one that meets most of them."""
    systems = _by_system(readings)
    if not systems:
        return {criterion.name: evaluate(criterion, readings) for criterion in criteria}
    every = (*readings, *baselines)
    judged = [{c.name: _evaluate(c, readings_for(c, system), every) for c in criteria} for system in systems]
    best = min(range(len(judged)), key=lambda index: _shortfall(criteria, judged[index]))
    source = Source(systems[best][0].sub_experiment, systems[best][0].variant)
    elsewhere = {result.name: result for results in judged for result in results.values() if result.measured}
    return {
        criterion: result if result.measured else _apart(result, source, elsewhere.get(criterion))
        for criterion, result in judged[best].items()
    }


def _apart(result: CriterionResult, source: Source, other: CriterionResult | None) -> CriterionResult:
    """Say of what the attempt that decides lacks that another one has it."""
    if other is None or result.verdict is not Verdict.NOT_MEASURED:
        return result if result.decided_by else replace(result, decided_by=source)
    reason = MeasuredElsewhere(source, other.decided_by)
    return replace(result, reason=reason, decided_by=result.decided_by or source)


def _shortfall(criteria: Sequence[Criterion], results: Mapping[str, CriterionResult]) -> tuple[int, ...]:
    gating = [results[c.name] for c in criteria if c.severity == "gate"]
    return (
        sum(not r.met for r in gating),
        sum(not r.measured for r in gating),
        sum(r.verdict is not Verdict.TARGET for r in gating),
    )


def _by_system(readings: Iterable[Reading]) -> list[list[Reading]]:
    """Put attempts together that differ in their seed alone."""
    found: dict[tuple[object, ...], list[Reading]] = {}
    for index, reading in enumerate(readings):
        alone = (index,) if reading.seed is None else ()
        found.setdefault((reading.sub_experiment, reading.variant, *alone), []).append(reading)
    return list(found.values())


def _evaluate(
    criterion: Criterion, deciding: Sequence[Reading], readings: Sequence[Reading]
) -> CriterionResult:
    named = criterion.from_ is not None
    reporting = {r.sub_experiment for r in deciding if criterion.metric_name in r.metrics}
    deciding = [r for r in deciding if not is_baseline(criterion, r)]
    candidates = [r for r in deciding if named or r.sub_experiment in reporting]
    if not candidates:
        return CriterionResult(
            criterion.name,
            Verdict.NOT_MEASURED,
            reason=unknown_variant(criterion, readings) or absence(criterion, deciding),
        )
    results = [_evaluate_system(criterion, system, readings) for system in _by_system(candidates)]
    return min(results, key=lambda result: _badness(criterion, result))


def _badness(criterion: Criterion, result: CriterionResult) -> tuple[int, float]:
    value = as_float(result.value) if result.value is not None and result.measured else 0.0
    return (FROM_WORST.index(result.verdict), value if criterion.better == "higher" else -value)


def _evaluate_system(
    criterion: Criterion, system: Sequence[Reading], readings: Sequence[Reading]
) -> CriterionResult:
    measured: list[Measured] = []
    refused: list[CriterionResult] = []
    for reading in system:
        found = measure(criterion, reading, readings)
        if isinstance(found, Measured):
            measured.append(found)
        else:
            refused.append(_refusal(criterion, reading, found))
    if refused:
        return min(refused, key=lambda result: _badness(criterion, result))
    if len(system) < system[0].seeds:
        return _so_far(criterion, system, measured)
    estimate = _estimate(measured)
    value = measured[0].value if estimate is None or len(measured) == 1 else estimate.mean
    # Where the very same value came each time, nothing is known of its spread.
    near = criterion.borderline is not None or estimate is None or not estimate.sd
    return CriterionResult(
        criterion.name,
        judge(criterion, as_float(value)),
        value=value,
        borderline=(near and is_borderline(criterion, as_float(value)))
        or (estimate is not None and estimate.straddles(criterion.deciding)),
        decided_by=system[0].source
        if len(system) == 1
        else Source(system[0].sub_experiment, system[0].variant),
        attempt=system[0].attempt if len(system) == 1 else None,
        evidence=tuple(dict.fromkeys(kind for found in measured for kind in found.evidence)),
        n=1 if estimate is None else estimate.n,
        interval=None if estimate is None else (estimate.low, estimate.high),
        sd=None if estimate is None else estimate.sd,
        method=None if estimate is None else estimate.method,
        reason=next((found.note for found in measured if found.note), None),
    )


def _estimate(measured: Sequence[Measured]) -> Estimate | None:
    """Return mean and interval: over seeds where there are several, else over samples where there are any."""
    if len(measured) > 1:
        return over_seeds([as_float(each.value) for each in measured])
    first = measured[0]
    return over_samples(first.samples, paired=first.paired) if first.samples else None


def _so_far(criterion: Criterion, system: Sequence[Reading], measured: Sequence[Measured]) -> CriterionResult:
    """Return that some seeds have not completed: the mean of the others is no verdict."""
    mean = mean_of([as_float(found.value) for found in measured])
    source = Source(system[0].sub_experiment, system[0].variant)
    return CriterionResult(
        criterion.name,
        Verdict.NOT_MEASURED,
        evidence=tuple(dict.fromkeys(kind for found in measured for kind in found.evidence)),
        reason=SeedsMissing(source, len(system), system[0].seeds, mean),
    )


def _refusal(criterion: Criterion, reading: Reading, found: Refused) -> CriterionResult:
    return CriterionResult(
        criterion.name,
        found.verdict,
        value=found.value,
        decided_by=reading.source,
        attempt=reading.attempt,
        evidence=found.evidence or reading.kinds,
        n=0 if found.value is None else 1,
        reason=found.reason,
    )
