"""What a criterion measures of one attempt: its metric, against a baseline where it has one. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pytest_exprunner._util.errors import closest
from pytest_exprunner._util.serialization import Plain, as_float, number, shown
from pytest_exprunner.model.attempt import AttemptRecord, Evidence, EvidenceKind, Verdict
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.models import Experiment
from pytest_exprunner.verdicts.formatting import sentence_list
from pytest_exprunner.verdicts.statistics import mean_of


@dataclass(frozen=True, slots=True)
class Reading:
    """A completed attempt as criteria look at it."""

    record: AttemptRecord
    seeds: int = 1
    """How many attempts are to differ from this one in their seed alone, itself included."""

    @property
    def source(self) -> str:
        """``e_p2_1[lr=0.1] seed 0``."""
        return self.record.label

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
    note: str = ""
    """Why the samples that were logged are left aside."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no value that counts."""

    verdict: Verdict
    reason: str
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
            name = criterion.baseline.metric
            reason = f"its baseline {name} in {base.source} is {shown(against, 24)}"
            if criterion.over is not None:
                reason += ", and a ratio needs one above 0"
            return Refused(Verdict.INADMISSIBLE, reason, None, evidence)
        value = compared
        samples = _differences(criterion, samples, base.record.samples.get(criterion.baseline.metric, ()))
    reason = _out_of_bounds(criterion, reading, as_float(value))
    if reason:
        return Refused(Verdict.INADMISSIBLE, reason, value, evidence)
    return _with_samples(value, evidence, samples, paired=criterion.baseline is not None)


def is_baseline(criterion: Criterion, reading: Reading) -> bool:
    """Tell whether an attempt is what others are compared with: it cannot decide about itself."""
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
        reason = f"{reading.source} returned {shown(raw, 40)}, which is {kind} and not a number"
        return Refused(Verdict.NOT_MEASURED, reason, evidence=reading.kinds)
    if not math.isfinite(as_float(value)):
        reason = f"{reading.source} returned a value that is not a finite number"
        return Refused(Verdict.INADMISSIBLE, reason, value, reading.kinds)
    reason = _not_admitted(criterion, reading)
    return Refused(Verdict.INADMISSIBLE, reason, value, reading.kinds) if reason else value


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
    name = sub if variant is None else f"{sub}[{variant}]"
    if not others and len(variants) > 1:
        reason = f"its baseline {name} has several variants; expected one of them in the plan"
    elif not others:
        reason = f"its baseline {name} has not completed"
    else:
        seeds = sentence_list([str(r.seed) for r in others])
        own = "no seed" if reading.seed is None else f"seed {reading.seed}"
        reason = f"{reading.source} has {own} and its baseline {name} has {seeds}; expected the same seeds"
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
        return Measured(value, evidence, note="its samples hold a value that is not a finite number")
    mean = mean_of(samples)
    # As exact as the mean of 32-bit numbers is.
    if abs(mean - as_float(value)) > _SAME * max(abs(mean), mean_of(tuple(map(abs, samples)))):
        return Measured(value, evidence, note=f"its samples have the mean {mean:.6g}, which is not its value")
    return Measured(value, evidence, samples, paired)


# What counts where nothing was declared.
_SILENT = Evidence(EvidenceKind.REAL, "nothing else was declared", "")


def _out_of_bounds(criterion: Criterion, reading: Reading, value: float) -> str:
    low, high = criterion.bounds or (None, None)
    if (low is not None and value < low) or (high is not None and value > high):
        limits = f"[{'-∞' if low is None else low}, {'∞' if high is None else high}]"
        return f"{reading.source} returned a value outside its bounds {limits}"
    return ""


def _not_admitted(criterion: Criterion, reading: Reading) -> str:
    for evidence in reading.record.evidence or (_SILENT,):
        if evidence.kind not in criterion.evidence or evidence.kind is EvidenceKind.STUB:
            why = f" ({evidence.reason})" if evidence.reason else ""
            admitted = " and ".join(criterion.evidence)
            return f"{reading.source} declared its numbers {evidence.kind}{why}; the plan admits {admitted}"
    return ""


def unknown_variant(criterion: Criterion, readings: Sequence[Reading]) -> str:
    """Say that there is no such variant as ``from`` names, if there is none."""
    sub, variant = criterion.source
    known = [r.variant for r in readings if r.sub_experiment == sub]
    if variant is None or not known or variant in known:
        return ""
    names = " and ".join(repr(name) for name in dict.fromkeys(known) if name is not None)
    return f"{sub} has no variant {variant!r}; it has {names or 'none'}"


def absence(criterion: Criterion, readings: Sequence[Reading], metric: str = "") -> str:
    """Say why a metric is not there, in the most useful words."""
    name = metric or criterion.metric_name
    for reading in readings:
        if name in reading.record.logged:
            seen = reading.record.logged[name]
            times = "once" if seen.count == 1 else f"{seen.count} times"
            return f"{reading.source} logged it {times}, last {shown(seen.last, 24)}, but did not return it"
    for reading in readings:
        close = closest(name, reading.metrics)
        if close is not None:
            return f"{reading.source} returned {close!r}; expected {name!r}"
    if metric:
        return f"{readings[0].source} did not return its baseline {metric}"
    if criterion.from_ is not None:
        sources = ", ".join(reading.source for reading in readings)
        return f"{sources} did not return it" if readings else f"{criterion.from_} has not completed"
    return "no completed sub-experiment returned it" if readings else "nothing has completed yet"
