"""Small plans, records and readings for tests: one call each, every detail can be given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from pytest_exprunner.model.attempt import (
    AttemptKey,
    AttemptRecord,
    AttemptSummary,
    Evidence,
    EvidenceKind,
    Failure,
    Logged,
    Status,
    Verdict,
    placeholder,
)
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.results import CurrentAttempt, ExperimentState, Results, SubState
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.models import Experiment, Plan
from pytest_exprunner.verdicts import fold as folding
from pytest_exprunner.verdicts.criteria import digest
from pytest_exprunner.verdicts.fold import NOTHING, Fallback, Pending
from pytest_exprunner.verdicts.measurement import Reading

X1 = "x1-first"
SUB = "e_x1_1"
TIERS: dict[str, Any] = {"target": 0.7, "acceptable": 0.6, "failure": 0.5}
LOWER: dict[str, Any] = {"target": 0.25, "acceptable": 0.35, "failure": 0.45}


def make_plan(experiments: Mapping[str, Any] | None = None, **rest: Any) -> Plan:
    """Return a plan; without experiments, one of one sub-experiment and one criterion."""
    default = {X1: make_entry()}
    return Plan.model_validate({"experiments": experiments or default, **rest})


def make_entry(
    criteria: Mapping[str, Any] | None = None, subs: Sequence[str] = (SUB,), **more: Any
) -> dict[str, Any]:
    """Return an experiment as it stands in a plan."""
    given = {"accuracy": TIERS} if criteria is None else criteria
    return {"sub_experiments": list(subs), "success_criteria": dict(given), **more}


def make_criterion(name: str = "accuracy", **terms: Any) -> Criterion:
    """Return a criterion by its keys in a plan; the tiers 0.7, 0.6, 0.5 where none are given."""
    keys = {key.rstrip("_"): value for key, value in (terms or TIERS).items()}
    plan = make_plan({X1: make_entry({name: keys})})
    return plan.experiments[X1].success_criteria[name]


def make_reading(
    metrics: Mapping[str, Any] | None = None,
    *,
    sub: str = SUB,
    variant: str | None = None,
    kinds: Iterable[tuple[str, str]] = (),
    logged: Mapping[str, Logged] | None = None,
    seed: int | None = None,
    seeds: int = 1,
    sequence: int = 1,
) -> Reading:
    """Return a completed attempt as criteria look at it."""
    evidence = tuple(Evidence(EvidenceKind(kind), why, "handlers.py:3") for kind, why in kinds)
    record = make_record(
        metrics,
        sub=sub,
        sequence=sequence,
        variant=variant,
        seed=seed,
        evidence=evidence,
        logged=logged or {},
    )
    return Reading(record, seeds)


def make_record(
    metrics: Mapping[str, Any] | None = None,
    *,
    sub: str = SUB,
    sequence: int = 1,
    variant: str | None = None,
    seed: int | None = None,
    run: str = "",
    status: Status = Status.COMPLETED,
    experiment: str = X1,
    variants: tuple[str | None, ...] | None = None,
    **more: Any,
) -> AttemptRecord:
    """Return a record; without a run, one of a run of its own that is named after the sequence."""
    values: dict[str, Any] = {
        "started_at": f"2026-01-20T16:31:{sequence:02d}.000000Z",
        "finished_at": f"2026-01-20T16:32:{sequence:02d}.000000Z",
        "duration_s": 60.0,
        "rng_seed": 7,
        "nodeid": f"experiments/handlers.py::{sub}_probe",
        "metrics": metrics or {},
        "variants": (variant,) if variants is None else variants,
        **more,
    }
    return AttemptRecord(
        key=AttemptKey(experiment, sub, sequence, variant, seed),
        run=run or f"run-{sequence}",
        status=status,
        **values,
    )


def failed(sequence: int = 1, message: str = "no data", **more: Any) -> AttemptRecord:
    """Return a record of an attempt that raised ValueError."""
    return make_record(
        sequence=sequence, status=Status.FAILED, error=Failure("ValueError", message, "…"), **more
    )


def by_sub(records: Iterable[AttemptRecord]) -> dict[str, list[AttemptRecord]]:
    """Group records as a fold takes them, in the order in which they come."""
    grouped: dict[str, list[AttemptRecord]] = {}
    for record in records:
        grouped.setdefault(record.key.sub_experiment, []).append(record)
    return grouped


def fold_one(
    records: Iterable[AttemptRecord] = (),
    *,
    plan: Plan | None = None,
    experiment: str = X1,
    pending: Iterable[Pending] = (),
    previous: Fallback = NOTHING,
) -> ExperimentState:
    """Return the state of one experiment."""
    chosen = plan or make_plan()
    return folding.fold_experiment(chosen, chosen.experiments[experiment], by_sub(records), pending, previous)


def fold_all(plan: Plan, records: Iterable[AttemptRecord] = ()) -> Results:
    """Return the state of a whole study from the records of all its experiments."""
    mine: dict[str, list[AttemptRecord]] = {name: [] for name in plan.experiments}
    for record in records:
        mine[record.key.experiment].append(record)
    states = {name: fold_one(found, plan=plan, experiment=name) for name, found in mine.items()}
    return folding.fold(plan, states)


def digests(experiment: Experiment) -> dict[str, str]:
    """Return the digest of each criterion, as an attempt registers them."""
    return {name: digest(c) for name, c in experiment.success_criteria.items()}


def planned_record(
    *, sub: str = SUB, variant: str | None = None, seed: int | None = None, **more: Any
) -> AttemptRecord:
    """Return the record of an attempt before it begins."""
    key = AttemptKey(X1, sub, 0, variant, seed)
    values: dict[str, Any] = {"run": "run-1", "nodeid": "n", "rng_seed": 7, **more}
    return replace(placeholder(key, Status.IN_PROGRESS, ""), **values)


def stored_current(metrics: Mapping[str, Any], **more: Any) -> CurrentAttempt:
    """Return an attempt that counts, as a results file knows it where its record is missing."""
    record = make_record(metrics, **more)
    return CurrentAttempt(AttemptSummary(**{f.name: getattr(record, f.name) for f in fields(record)}))


def make_result(verdict: Verdict, value: float | None = None, **more: Any) -> CriterionResult:
    """Return what the criterion ``accuracy`` says."""
    values = {"name": "accuracy", **more}
    return CriterionResult(verdict=verdict, value=value, **values)


def make_subs(**statuses: Status) -> dict[str, SubState]:
    """Return sub-experiments that ended in the given ways."""
    return {sub: SubState(sub, status) for sub, status in statuses.items()}
