"""What is known now: the values that a fold of plan and records produces.

Nothing here is stored as such; `results` writes a projection of it and reads it back where
the records themselves are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_exprunner.model.attempt import (
    UNKNOWN_TERMS,
    AttemptRecord,
    Confidence,
    GateState,
    Level,
    Recommendation,
    Status,
    Terms,
)
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.plan.models import Experiment, Gate, Plan, Waiver


@dataclass(frozen=True, slots=True)
class CurrentAttempt:
    """What counts for one (variant, seed) of a sub-experiment: an attempt, or a placeholder for one."""

    record: AttemptRecord
    asked: int = 0
    """The largest number of seeds that a run of this variant was asked for."""
    after: int = 0
    """For what a run selected and has not finished: the last attempt before it."""

    @property
    def attempt(self) -> int | None:
        """The sequence number; None for a placeholder."""
        return self.record.key.sequence or None

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
    def slot(self) -> tuple[str | None, int | None]:
        """(variant, seed)."""
        return self.record.key.slot

    @property
    def status(self) -> Status:
        """How the code ended."""
        return self.record.status

    @property
    def label(self) -> str:
        """``e_p2_1[lr=0.1]``."""
        return self.record.label


@dataclass(frozen=True, slots=True)
class SubState:
    """Where a sub-experiment stands."""

    id: str
    status: Status
    currents: tuple[CurrentAttempt, ...] = ()
    history: tuple[AttemptRecord, ...] = ()
    """Every attempt that is known, oldest first."""

    @property
    def reason(self) -> str:
        """Why it is failed, skipped or unfinished: the first reason there is."""
        for record in (current.record for current in self.currents):
            if record.status is self.status and (record.error or record.reason):
                return record.error.line if record.error else record.reason
        return ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What follows for an experiment, and why."""

    recommendation: Recommendation
    notes: str
    confidence: Confidence
    confidence_notes: str
    has_notes: bool = False
    """Whether there are notes that lower the confidence."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What an experiment was to be judged by when it first ran."""

    criteria: Mapping[str, str] = field(default_factory=dict)
    """The digest of each criterion when it was first used."""
    terms: Terms = UNKNOWN_TERMS
    added_later: tuple[str, ...] = ()
    """Criteria that the first attempt was not judged by."""

    @property
    def known(self) -> bool:
        """Whether any attempt has registered anything."""
        return bool(self.criteria) or self.terms != UNKNOWN_TERMS


UNREGISTERED = Registration()


@dataclass(frozen=True, slots=True)
class PastVerdict:
    """The verdict of a criterion on results that were superseded since."""

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
    registered: Registration = UNREGISTERED
    replaced_by: str | None = None
    waivers: Mapping[str, Waiver] = field(default_factory=dict)
    """Signed exceptions that the plan has, by criterion."""
    earlier: Mapping[str, tuple[PastVerdict, ...]] = field(default_factory=dict)
    """Earlier verdicts, each from when everything had been run, oldest first."""
    unplanned: tuple[SubState, ...] = ()
    """Sub-experiments with results that are not in the plan: kept, never judged."""
    leads_to: tuple[str, ...] = ()
    """Experiments of the plan that depend on this one."""

    @property
    def id(self) -> str:
        """The experiment's id."""
        return self.plan.id

    @property
    def started(self) -> bool:
        """Return whether anything was ever run, or is meant to run now."""
        return any(sub.currents or sub.history for sub in self.subs.values())

    @property
    def waived(self) -> tuple[Waiver, ...]:
        """Waivers in effect: of gating criteria that are not met."""
        return waived(self.plan, self.criteria, self.waivers)

    @property
    def recommendation_text(self) -> str:
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
class GateMember:
    """What one experiment contributes to a gate."""

    experiment: str
    state: GateState
    text: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """Where a gate stands, with the evidence line by line."""

    plan: Gate
    state: GateState
    members: tuple[GateMember, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The evidence, a line for each experiment."""
        return tuple(member.text for member in self.members)


@dataclass(frozen=True, slots=True)
class Results:
    """The whole study as it stands; ``stub`` where nothing in it was measured."""

    plan: Plan
    experiments: Mapping[str, ExperimentState]
    gates: Mapping[str, GateResult]
    stub: bool = False
