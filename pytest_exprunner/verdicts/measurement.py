"""What a criterion measures of one attempt: its metric, against a baseline where it has one. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pytest_exprunner._util.errors import closest
from pytest_exprunner._util.serialization import Plain, as_float, number, shown
from pytest_exprunner.model.attempt import AttemptRecord, Evidence, EvidenceKind, Source, Verdict
from pytest_exprunner.model.reasons import (
    BaselineAmbiguous,
    BaselineNotCompleted,
    BaselineNotReturned,
    BaselineSeeds,
    BaselineUnusable,
    Misspelt,
    NobodyReturned,
    NotAdmitted,
    NotANumber,
    NotCompleted,
    NotFinite,
    NothingCompleted,
    NotReturned,
    OnlyLogged,
    OutOfBounds,
    Reason,
    SamplesDisagree,
    SamplesNotFinite,
    UnknownVariant,
)
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.models import Experiment
from pytest_exprunner.verdicts.statistics import mean_of


@dataclass(frozen=True, slots=True)
class Reading:
    """A completed attempt as criteria look at it."""

    record: AttemptRecord
    seeds: int = 1
    """How many attempts are to differ from this one in their seed alone, itself included."""

    @property
    def source(self) -> Source:
        """Where its values were measured."""
        return self.record.source

    @property
    def sub_experiment(self) -> str:
        """The id of the sub-experiment."""
        return self.record.key.sub_experiment

    @property
    def variant(self) -> str | None:
        """The variant of the handler, if it has any."""
        return self.record.key.variant

    @property
    def seed(self) -> int | None:
        """The seed, if the sub-experiment has any."""
        return self.record.key.seed

    @property
    def attempt(self) -> int | None:
        """The sequence number."""
        return self.record.key.sequence or None

    @property
    def metrics(self) -> Mapping[str, Plain]:
        """What the handler returned."""
        return self.record.metrics

    @property
    def kinds(self) -> tuple[EvidenceKind, ...]:
        """The kinds of evidence declared; real where nothing was."""
        return self.record.kinds


def judged_metrics(experiment: Experiment) -> frozenset[str]:
    """Return the names of the metrics that criteria look at, baselines included."""
    criteria = experiment.success_criteria.values()
    return frozenset(c.metric_name for c in criteria) | {c.baseline.metric for c in criteria if c.baseline}


def judged_values(record: AttemptRecord, names: Collection[str]) -> dict[str, Plain]:
    """Return the metrics of an attempt that criteria look at; of a summary, everything it has."""
    return {name: value for name, value in record.metrics.items() if name in names or record.is_summary}


@dataclass(frozen=True, slots=True)
class Measured:
    """A value that counts."""

    value: float | int
    evidence: tuple[EvidenceKind, ...]
    samples: tuple[float, ...] = ()
    """Values per sample whose mean it is; empty where none were logged."""
    paired: bool = False
    """The samples are differences from a baseline's."""
    note: Reason | None = None
    """Why the samples that were logged are left aside."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no value that counts."""

    verdict: Verdict
    reason: Reason
    value: float | int | None = None
    evidence: tuple[EvidenceKind, ...] = ()


_KINDS = {
    "str": "text",
    "bool": "true or false",
    "NoneType": "nothing",
    "list": "a list",
    "dict": "a mapping",
}


def measure(criterion: Criterion, reading: Reading, readings: Sequence[Reading]) -> Measured | Refused:
    """Return what a criterion measures of an attempt; ``readings`` has those that baselines are in."""
    found = _returned(criterion, reading, criterion.metric_name)
    if isinstance(found, Refused):
        return found
    value, evidence = found, reading.kinds
    samples = reading.record.samples.get(criterion.metric_name, ())
    if criterion.baseline is not None:
        base = _baseline_of(criterion, reading, readings)
        if isinstance(base, Refused):
            return base
        against = _returned(criterion, base, criterion.baseline.metric)
        if isinstance(against, Refused):
            return against
        evidence = tuple(dict.fromkeys((*evidence, *base.kinds)))
        compared = _compared(criterion, as_float(value), as_float(against))
        if compared is None:
            shown_value, is_ratio = shown(against, 24), criterion.over is not None
            unusable = BaselineUnusable(base.source, criterion.baseline.metric, shown_value, is_ratio)
            return Refused(Verdict.INADMISSIBLE, unusable, None, evidence)
        value = compared
        samples = _differences(criterion, samples, base.record.samples.get(criterion.baseline.metric, ()))
    reason = _out_of_bounds(criterion, reading, as_float(value))
    if reason:
        return Refused(Verdict.INADMISSIBLE, reason, value, evidence)
    return _with_samples(value, evidence, samples, paired=criterion.baseline is not None)


def is_baseline(criterion: Criterion, reading: Reading) -> bool:
    """Return whether an attempt is what others are compared with: it cannot decide about itself."""
    base = criterion.baseline
    return (
        base is not None
        and base.sub_experiment == reading.sub_experiment
        and base.variant in (None, reading.variant)
        and base.metric == criterion.metric_name
    )


def _returned(criterion: Criterion, reading: Reading, metric: str) -> float | int | Refused:
    """Return a metric of an attempt, if it is a finite number of evidence that the plan admits."""
    if metric not in reading.metrics:
        other = "" if metric == criterion.metric_name else metric
        return Refused(Verdict.NOT_MEASURED, absence(criterion, [reading], other), evidence=reading.kinds)
    raw = reading.metrics[metric]
    value = number(raw)
    if value is None:
        kind = _KINDS.get(type(raw).__name__, type(raw).__name__)
        reason = NotANumber(reading.source, shown(raw, 40), kind)
        return Refused(Verdict.NOT_MEASURED, reason, evidence=reading.kinds)
    if not math.isfinite(as_float(value)):
        return Refused(Verdict.INADMISSIBLE, NotFinite(reading.source), value, reading.kinds)
    refused = _not_admitted(criterion, reading)
    return Refused(Verdict.INADMISSIBLE, refused, value, reading.kinds) if refused else value


def _baseline_of(criterion: Criterion, reading: Reading, readings: Sequence[Reading]) -> Reading | Refused:
    """Return the attempt that a baseline is in: the same one, or that of another with the same seed."""
    assert criterion.baseline is not None
    sub, variant, _metric = criterion.baseline
    if sub is None:
        return reading
    if sub == reading.sub_experiment and variant in (None, reading.variant):
        return reading  # another metric of it, or it would not be a candidate
    others = [r for r in readings if r.sub_experiment == sub and (variant is None or r.variant == variant)]
    variants = {r.variant for r in others}
    if len(variants) > 1:
        others = [r for r in others if r.variant == reading.variant]
    alike = [r for r in others if r.seed in (None, reading.seed)]
    if alike:
        return alike[-1]
    base = Source(sub, variant)
    reason: Reason
    if not others and len(variants) > 1:
        reason = BaselineAmbiguous(base)
    elif not others:
        reason = BaselineNotCompleted(base)
    else:
        reason = BaselineSeeds(reading.source, base, tuple(other.seed for other in others))
    return Refused(Verdict.NOT_MEASURED, reason)


def _compared(criterion: Criterion, value: float, base: float) -> float | None:
    """Return the difference or the ratio; None where there is none."""
    if criterion.minus is not None:
        found = value - base
    elif base <= 0:
        return None  # the better of two would not be told by the larger ratio
    else:
        found = value / base
    return found if math.isfinite(found) else None


def _differences(
    criterion: Criterion, samples: tuple[float, ...], base: tuple[float, ...]
) -> tuple[float, ...]:
    """Return differences sample by sample, where both were logged for the same samples."""
    if criterion.minus is None or len(samples) != len(base):
        return ()
    return tuple(a - b for a, b in zip(samples, base, strict=True))


_SAME = 1e-6


def _with_samples(
    value: float, evidence: tuple[EvidenceKind, ...], samples: tuple[float, ...], *, paired: bool
) -> Measured:
    if len(samples) < 2:
        return Measured(value, evidence)
    if not all(map(math.isfinite, samples)):
        return Measured(value, evidence, note=SamplesNotFinite())
    mean = mean_of(samples)
    # As exact as the mean of 32-bit numbers is.
    if abs(mean - as_float(value)) > _SAME * max(abs(mean), mean_of(tuple(map(abs, samples)))):
        return Measured(value, evidence, note=SamplesDisagree(mean))
    return Measured(value, evidence, samples, paired)


# What counts where nothing was declared.
_SILENT = Evidence(EvidenceKind.REAL, "no other kind of evidence was declared", "")


def _out_of_bounds(criterion: Criterion, reading: Reading, value: float) -> Reason | None:
    low, high = criterion.bounds or (None, None)
    if (low is not None and value < low) or (high is not None and value > high):
        return OutOfBounds(reading.source, low, high)
    return None


def _not_admitted(criterion: Criterion, reading: Reading) -> Reason | None:
    for evidence in reading.record.evidence or (_SILENT,):
        if evidence.kind not in criterion.evidence or evidence.kind is EvidenceKind.STUB:
            return NotAdmitted(reading.source, evidence.kind, evidence.reason, tuple(criterion.evidence))
    return None


def unknown_variant(criterion: Criterion, readings: Sequence[Reading]) -> Reason | None:
    """Return that there is no such variant as ``from`` names, if there is none."""
    sub, variant = criterion.source
    known = [r.variant for r in readings if r.sub_experiment == sub]
    if sub is None or variant is None or not known or variant in known:
        return None
    return UnknownVariant(sub, variant, tuple(name for name in dict.fromkeys(known) if name is not None))


def absence(criterion: Criterion, readings: Sequence[Reading], metric: str = "") -> Reason:
    """Return why a metric is not there, the most useful reason first."""
    name = metric or criterion.metric_name
    for reading in readings:
        if name in reading.record.logged:
            seen = reading.record.logged[name]
            return OnlyLogged(reading.source, seen.count, shown(seen.last, 24))
    for reading in readings:
        close = closest(name, reading.metrics)
        if close is not None:
            return Misspelt(reading.source, close, name)
    if metric:
        return BaselineNotReturned(readings[0].source, metric)
    if criterion.from_ is None:
        return NobodyReturned() if readings else NothingCompleted()
    sources = tuple(reading.source for reading in readings)
    return NotReturned(sources) if readings else NotCompleted(criterion.from_)
