"""What is known now: the values that a fold of plan and records produces.

Nothing here is stored as such; `results` writes a projection of it and reads it back where
the records themselves are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_exprunner._util.serialization import Plain
from pytest_exprunner.model.attempt import (
    Artifact,
    Confidence,
    CriterionResult,
    Evidence,
    Failure,
    GateState,
    Hint,
    Level,
    Logged,
    Recommendation,
    Status,
    label,
)
from pytest_exprunner.plan.models import Experiment, Gate, Plan, Waiver


@dataclass(frozen=True, slots=True)
class Current:
    """The attempt that counts for one (variant, seed) of a sub-experiment."""

    sub_experiment: str
    status: Status
    variant: str | None = None
    seed: int | None = None
    attempt: int | None = None
    run: str = ""
    finding: str = ""
    metrics: Mapping[str, Plain] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    missing: tuple[str, ...] = ()
    """Artifacts that the handler listed and never saved."""
    evidence: tuple[Evidence, ...] = ()
    logged: Mapping[str, Logged] = field(default_factory=dict)
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    error: Failure | None = None
    hints: tuple[Hint, ...] = ()
    reason: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    duration_s: float | None = None
    provenance: Mapping[str, Plain] = field(default_factory=dict)
    asked: int = 0
    """How many seeds the run was asked for that made it, where it was."""
    code: str = ""
    """A digest of the code that it was made by, where that is known."""
    after: int = 0
    """For what a run selected and has not finished: the last attempt before it."""

    @property
    def label(self) -> str:
        """``e_p2_1[lr=0.1]``."""
        return label(self.sub_experiment, self.variant, self.seed)


@dataclass(frozen=True, slots=True)
class Past:
    """One line of an attempt history: what happened, whatever came after."""

    attempt: int
    status: Status
    started_at: str | None
    run: str
    variant: str | None = None
    seed: int | None = None
    verdicts: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Plain] = field(default_factory=dict)
    """The values of the metrics that criteria look at."""
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SubState:
    """Where a sub-experiment stands."""

    id: str
    status: Status
    currents: tuple[Current, ...] = ()
    history: tuple[Past, ...] = ()

    @property
    def reason(self) -> str:
        """Why it is failed, skipped or unfinished: the first reason there is."""
        for current in self.currents:
            if current.status is self.status and (current.error or current.reason):
                return current.error.line if current.error else current.reason
        return ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What follows for an experiment, and why."""

    recommendation: Recommendation
    notes: str
    confidence: Confidence
    confidence_notes: str


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a criterion said once, of results that others have replaced."""

    verdict: str
    value: float | int | None
    run: str


def waived(
    plan: Experiment,
    criteria: Mapping[str, CriterionResult],
    waivers: Mapping[str, Waiver],
    level: Level = Level.ACCEPTABLE,
) -> tuple[Waiver, ...]:
    """Return the waivers of gating criteria that are not met at a level."""
    unmet = [c.name for c in plan.gating if not level.met_by(criteria[c.name].verdict)]
    return tuple(waivers[name] for name in unmet if name in waivers)


@dataclass(frozen=True, slots=True)
class ExperimentState:
    """Where an experiment stands."""

    plan: Experiment
    status: Status
    subs: Mapping[str, SubState]
    criteria: Mapping[str, CriterionResult]
    assessment: Assessment
    issues: tuple[str, ...] = ()
    registered: Mapping[str, str] = field(default_factory=dict)
    replaced_by: str | None = None
    waivers: Mapping[str, Waiver] = field(default_factory=dict)
    """Signed exceptions that the plan has, by criterion."""
    earlier: Mapping[str, tuple[Earlier, ...]] = field(default_factory=dict)
    """What criteria said before, whenever everything had been run, oldest first."""
    departed: tuple[SubState, ...] = ()
    """Sub-experiments with results that are not in the plan: kept, never judged."""
    leads_to: tuple[str, ...] = ()
    """Experiments of the plan that depend on this one."""

    @property
    def id(self) -> str:
        """The experiment's id."""
        return self.plan.id

    @property
    def started(self) -> bool:
        """Tell whether anything was ever run, or is meant to run now."""
        return any(sub.currents or sub.history for sub in self.subs.values())

    @property
    def waived(self) -> tuple[Waiver, ...]:
        """Waivers in effect: of gating criteria that are not met."""
        return waived(self.plan, self.criteria, self.waivers)

    @property
    def says(self) -> str:
        """The recommendation as people read it: ``proceed (waived by A. Person on … because …)``."""
        said = str(self.assessment.recommendation)
        if self.assessment.recommendation is not Recommendation.PROCEED or not self.waived:
            return said
        return f"{said} ({'; '.join(waiver.text for waiver in self.waived)})"

    def unmet(self, level: Level = Level.ACCEPTABLE) -> list[CriterionResult]:
        """Return the gating criteria that were measured and not met."""
        results = (self.criteria[c.name] for c in self.plan.gating)
        return [r for r in results if r.measured and not level.met_by(r.verdict)]

    def without_value(self) -> list[CriterionResult]:
        """Return the gating criteria that have no admissible value although everything has completed."""
        if self.status is not Status.COMPLETED:
            return []
        results = (self.criteria[c.name] for c in self.plan.gating)
        return [r for r in results if not r.measured]


@dataclass(frozen=True, slots=True)
class GateResult:
    """Where a gate stands, with the evidence line by line."""

    plan: Gate
    state: GateState
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """The whole study as it stands; ``stub`` where nothing in it was measured."""

    plan: Plan
    experiments: Mapping[str, ExperimentState]
    gates: Mapping[str, GateResult]
    stub: bool = False
