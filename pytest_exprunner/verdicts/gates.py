"""Go or no-go: where gates stand, and whether an experiment may run, each with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pytest_exprunner._util.errors import count
from pytest_exprunner.model.attempt import GateState, Level, Recommendation, Status
from pytest_exprunner.model.results import ExperimentState, GateMember, GateResult, SubState, waived
from pytest_exprunner.plan.models import Gate, Plan
from pytest_exprunner.verdicts.assessment import assess, miss_text

HAS_PASSED = (GateState.PASSED, GateState.PASSED_WITH_WAIVER)


class Action(StrEnum):
    """What to do with an experiment that was asked for."""

    RUN = "run"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Decision:
    """An action and the reasons for it."""

    action: Action
    reasons: tuple[str, ...] = ()


def evaluate_gate(gate: Gate, experiments: Mapping[str, ExperimentState]) -> GateResult:
    """Return where a gate stands: passed when every experiment in it says proceed, if need be with a waiver.

    Failed when one says pivot or was replaced; pending otherwise. A replaced experiment never
    counts as met, whatever its numbers say.
    """
    members = tuple(_member(experiments[name]) for name in gate.experiments)
    states = {member.state for member in members}
    for state in (GateState.FAILED, GateState.PENDING, GateState.PASSED_WITH_WAIVER):
        if state in states:
            return GateResult(gate, state, members)
    return GateResult(gate, GateState.PASSED, members)


def _member(state: ExperimentState, level: Level = Level.ACCEPTABLE) -> GateMember:
    return GateMember(state.id, *_says(state, level))


def _says(state: ExperimentState, level: Level) -> tuple[GateState, str]:
    if state.replaced_by is not None:
        return (
            GateState.FAILED,
            f"{state.id} was replaced by {state.replaced_by} and cannot count as met",
        )
    if state.status is Status.NOT_STARTED:
        return GateState.PENDING, f"{state.id} has not started"
    assessment = assess(state.plan, state.subs, state.criteria, level, state.waivers)
    says = assessment.recommendation
    if state.status is Status.BLOCKED and says is not Recommendation.BLOCK:
        return GateState.PENDING, f"{state.id} is blocked: {blocked_reason(state)}"
    line = f"{state.id} says {says}: {assessment.notes.rstrip('.')}"
    if state.issues:
        line += f" ({count(len(state.issues), 'note')} in its findings)"
    if says is Recommendation.PROCEED:
        with_waiver = waived(state.plan, state.criteria, state.waivers, level)
        return (GateState.PASSED_WITH_WAIVER if with_waiver else GateState.PASSED), line
    return (GateState.FAILED if says is Recommendation.PIVOT else GateState.PENDING), line


def blocked_reason(state: ExperimentState) -> str:
    """Say why an experiment is blocked."""
    if state.plan.blockers:
        return "; ".join(state.plan.blockers)
    return next((s.reason for s in state.subs.values() if s.status is Status.BLOCKED), "")


def decide(
    plan: Plan,
    experiment: str,
    experiments: Mapping[str, ExperimentState],
    level: Level = Level.ACCEPTABLE,
    needs: Iterable[SubState] = (),
) -> Decision:
    """Decide whether an experiment may run: every dependency must have said proceed.

    What a sub-experiment of it needs must have completed, too.
    """
    blockers = plan.experiments[experiment].blockers
    reasons = [f"{experiment} is blocked by: {'; '.join(blockers)}"] if blockers else []
    for requirement in plan.requirements(experiment):
        reason = (
            _gate_reason(plan.gates[requirement], experiments, level)
            if requirement in plan.gates
            else _dependency_reason(experiments[requirement], level)
        )
        if reason:
            reasons.append(f"{experiment} needs {reason}")
    reasons += [f"it needs {state.id}, which is {_how(state)}" for state in needs if not _is_there(state)]
    return Decision(Action.BLOCK if reasons else Action.RUN, tuple(reasons))


def _is_there(state: SubState) -> bool:
    return state.status is Status.COMPLETED


def _how(state: SubState) -> str:
    why = f" ({state.reason})" if state.reason else ""
    return f"{str(state.status).replace('_', ' ')}{why}"


def _dependency_reason(state: ExperimentState, level: Level) -> str:
    if state.replaced_by is not None:
        return f"{state.id} to proceed; it was replaced by {state.replaced_by}"
    if state.status is Status.NOT_STARTED:
        return f"{state.id} to proceed; it has not started"
    assessment = assess(state.plan, state.subs, state.criteria, level, state.waivers)
    says = assessment.recommendation
    if says is Recommendation.PROCEED:
        return ""
    unmet = [miss_text(state.plan.success_criteria[r.name], r, level) for r in state.unmet(level)]
    why = ", ".join(unmet) if says is Recommendation.PIVOT else assessment.notes.rstrip(".")
    return f"{state.id} to proceed; it says {says} ({why})"


def _gate_reason(gate: Gate, experiments: Mapping[str, ExperimentState], level: Level) -> str:
    members = [_member(experiments[member], level) for member in gate.experiments]
    lines = [member.text for member in members if member.state not in HAS_PASSED]
    return f"{gate.id} to pass; {'; '.join(lines)}" if lines else ""
