"""What to do next and why, from the plan and the state of the study. Pure.

In order of urgency: what broke, what was left unfinished, what has no handler, what can run, what is in
the way of the rest, what more seeds would settle, what a person has to decide, which gates wait, and
where to go on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pytest_exprunner._util.errors import count
from pytest_exprunner._util.text import few, sentence_list
from pytest_exprunner.diagnosis.match import place_of
from pytest_exprunner.model.attempt import GateState, Recommendation, Status, Verdict
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.results import CurrentAttempt, ExperimentState, GateResult, Results, SubState
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.models import with_at_least
from pytest_exprunner.verdicts.assessment import miss_text
from pytest_exprunner.verdicts.formatting import estimate_of, tier_text, value_text
from pytest_exprunner.verdicts.gates import HAS_PASSED, decide
from pytest_exprunner.verdicts.notes import mixed_code
from pytest_exprunner.verdicts.statistics import seeds_to_settle

Kind = Literal["repair", "wait", "resume", "write", "run", "blocked", "seeds", "decide", "gate", "go_on"]
_ORDER: tuple[Kind, ...] = (
    *("repair", "wait", "resume", "write", "run", "blocked", "seeds", "decide", "gate", "go_on"),
)
_READY = (Status.NOT_STARTED, Status.SKIPPED, Status.BLOCKED)
_A_FEW_SEEDS = 5
_ENOUGH_SEEDS = 10


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do: what kind of thing, about what, by which command if one does it, and why."""

    kind: Kind
    target: str
    command: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the results."""

    handlers: Mapping[str, str] = field(default_factory=dict)
    """Where the handler of each sub-experiment stands that has one."""
    without_handler: Mapping[str, str] = field(default_factory=dict)
    """Sub-experiments that have none, with a hint where something looks like one."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Sub-experiments whose declared data is not there, and how."""
    going_on: str = ""
    """The run that is at work just now."""
    folder: str = "experiments/"
    """The folder of the handlers, as it is typed, with options that the run needs."""
    options: str = ""
    """Options that a command of exprunner needs, each after a space."""


def advise(results: Results, known: Known) -> list[Advice]:
    """Return what to do next, the most urgent first; nothing where nothing is left to do."""
    states = [state for state in results.experiments.values() if state.replaced_by is None]
    found = [action for state in states for action in _about(state, results, known)]
    found += [action for gate in results.gates.values() for action in _about_gate(gate, known)]
    return sorted(found, key=lambda action: _ORDER.index(action.kind))


def _about(state: ExperimentState, results: Results, known: Known) -> Iterator[Advice]:
    for sub in state.subs.values():
        if sub.id in known.without_handler:
            yield _write(state, sub, known)
        elif sub.status is Status.FAILED:
            yield _repair(sub, known)
    yield from _unfinished(state, known)
    yield from _ready(state, results, known)
    yield from _mixed(state, known)
    yield from _unpaired(state, results, known)
    yield from _borderline(state, results, known)
    yield from _decisions(state, results)


def _mixed(state: ExperimentState, known: Known) -> Iterator[Advice]:
    """Attempts that are judged together and were not made by the same code."""
    for sub in state.subs.values():
        if sub.status is Status.COMPLETED and mixed_code(sub) and sub.id not in known.without_handler:
            asked = max(current.asked for current in sub.currents)
            more = f" --exp-seeds {asked}" if asked else ""
            why = f"the current attempts of {sub.id} come from different code; run them all again"
            yield Advice("seeds", sub.id, _marked(known, sub.id, more=more), why)


def _unpaired(state: ExperimentState, results: Results, known: Known) -> Iterator[Advice]:
    """What has seeds that what it is compared with, seed by seed, has not."""
    for name, (sub, base) in _without_pair(state, results).items():
        if {sub.id, base.id} & known.without_handler.keys():
            continue
        why = f"{name} was not measured: {state.criteria[name].reason}"
        number = _seeds_for_both(results, sub, base)
        if number is None:
            yield Advice("seeds", sub.id, None, f"{why}; give both the same seeds in the plan")
        else:
            yield Advice("seeds", sub.id, _marked(known, sub.id, base.id, more=f" --exp-seeds {number}"), why)


def _seeds_of(sub: SubState) -> set[int | None]:
    return {current.seed for current in sub.currents}


def _without_pair(state: ExperimentState, results: Results) -> dict[str, tuple[SubState, SubState]]:
    """Return criteria that are not measured because seeds differ, with the two sub-experiments.

    A baseline without a seed pairs with every seed.
    """
    found = {}
    for name, criterion in state.plan.success_criteria.items():
        base = criterion.baseline.sub_experiment if criterion.baseline else None
        if base is None or state.criteria[name].verdict is not Verdict.NOT_MEASURED:
            continue
        for sub in state.subs.values():
            decides = criterion.source[0] in (None, sub.id) and sub.id != base
            sides = (sub, results_of(results, base))
            reported = any(criterion.metric_name in current.record.metrics for current in sub.currents)
            ended = all(side.status is Status.COMPLETED for side in sides)
            seeds, others = map(_seeds_of, sides)
            if decides and reported and ended and None not in others and not seeds <= others:
                found[name] = sides
    return found


def _seeds_for_both(results: Results, sub: SubState, base: SubState) -> int | None:
    """Return the number of seeds to ask for that gives both the same; None where no number does."""
    number = max(len(_seeds_of(side)) for side in (sub, base))
    planned = (results.plan.owner(side.id).sub_experiments[side.id].seeds for side in (sub, base))
    own, others = (set(with_at_least(seeds, number)) for seeds in planned)
    return number if own <= others else None


def _marked(known: Known, *ids: str, more: str = "") -> str:
    """``pytest experiments/ -m e_x1_1``: a command that runs some ids and nothing else."""
    chosen = ids[0] if len(ids) == 1 else f"'{' or '.join(ids)}'"
    return f"pytest {known.folder}{more} -m {chosen}"


def _repair(sub: SubState, known: Known) -> Advice:
    failed = [current for current in sub.currents if current.status is Status.FAILED]
    which = failed[0].label if len(failed) == 1 else f"{count(len(failed), 'attempt')} of {sub.id}"
    broke = next((place for c in failed if c.record.error and (place := place_of(c.record.error))), "")
    why = f"{which} failed: {sub.reason or 'the reason is unknown'}; fix "
    why += f"{broke or known.handlers[sub.id]}, then run it again"
    return Advice("repair", sub.id, _marked(known, sub.id), why)


def _write(state: ExperimentState, sub: SubState, known: Known) -> Advice:
    hint = known.without_handler[sub.id]
    if hint:
        return Advice("write", sub.id, None, f"{sub.id} has no handler: {hint}")
    name = state.plan.sub_experiments[sub.id].name
    what = f" ({name})" if name else ""
    return Advice(
        "write", sub.id, f"exprunner new {sub.id}{known.options}", f"{sub.id}{what} has no handler yet"
    )


def _unfinished(state: ExperimentState, known: Known) -> Iterator[Advice]:
    """What a run is at, and what one has left."""
    subs = [
        sub
        for sub in state.subs.values()
        if sub.status is Status.IN_PROGRESS and sub.id not in known.without_handler
    ]
    at_work = [sub for sub in subs if any(_is_at_work(current, known) for current in sub.currents)]
    left = [sub for sub in subs if sub not in at_work]
    if at_work:
        names, verb = sentence_list([sub.id for sub in at_work]), "is" if len(at_work) == 1 else "are"
        why = f"{names} {verb} running now, in run {known.going_on}"
        yield Advice("wait", state.id, f"exprunner watch{known.options}", why)
    if left:
        names, verb = sentence_list([sub.id for sub in left]), "is" if len(left) == 1 else "are"
        reason = next((_open_reason(sub) for sub in left), "")
        why = f"{names} {verb} unfinished{f': {reason}' if reason else ''}; finished work is reused"
        command = _marked(known, *(sub.id for sub in left), more=" --exp-resume")
        yield Advice("resume", state.id if len(left) > 1 else left[0].id, command, why)


def _is_at_work(current: CurrentAttempt, known: Known) -> bool:
    return (
        bool(known.going_on) and current.status is Status.IN_PROGRESS and current.record.run == known.going_on
    )


def _open_reason(sub: SubState) -> str:
    if sub.reason:
        return sub.reason
    missing = [c.label for c in sub.currents if c.status is not Status.COMPLETED]
    return f"{few(missing)} never ran" if missing else ""


def _ready(state: ExperimentState, results: Results, known: Known) -> Iterator[Advice]:
    """What can run now, and what is in the way of the rest."""
    waiting = [
        sub for sub in state.subs.values() if sub.status in _READY and sub.id not in known.without_handler
    ]
    if not waiting:
        return
    reasons = decide(results.plan, state.id, results.experiments).reasons
    if reasons:
        target = state.id if len(waiting) == len(state.subs) or len(waiting) > 1 else waiting[0].id
        yield Advice("blocked", target, None, "; ".join(reasons))
        return
    able = _able(state, results, [sub.id for sub in waiting if sub.id not in known.lacking])
    for sub in waiting:
        if sub.id in known.lacking:
            yield Advice("blocked", sub.id, None, known.lacking[sub.id])
        elif sub.id not in able:
            needs = [results_of(results, n) for n in state.plan.sub_experiments[sub.id].needs]
            lacking = [need for need in needs if need.status is not Status.COMPLETED and need.id not in able]
            how = sentence_list([f"{n.id}, which is {str(n.status).replace('_', ' ')}" for n in lacking])
            yield Advice("blocked", sub.id, None, f"{sub.id} needs {how}")
    if not able:
        return
    whole = len(able) == len(state.subs)
    command = _marked(known, *([state.id] if whole else able))
    yield Advice("run", state.id if len(able) > 1 else able[0], command, _why_now(state, able))


def _able(state: ExperimentState, results: Results, waiting: Sequence[str]) -> list[str]:
    """Return what of an experiment can run, together with what it needs of the same experiment."""
    able = list(waiting)
    while True:
        kept = [
            sub
            for sub in able
            if all(
                need in able or results_of(results, need).status is Status.COMPLETED
                for need in state.plan.sub_experiments[sub].needs
            )
        ]
        if kept == able:
            return able
        able = kept


def results_of(results: Results, sub_experiment: str) -> SubState:
    """Return where a sub-experiment stands, of whichever experiment it is."""
    return results.experiments[results.plan.owner(sub_experiment).id].subs[sub_experiment]


def _why_now(state: ExperimentState, able: Sequence[str]) -> str:
    verb, them = ("has", "it") if len(able) == 1 else ("have", "them")
    skipped = [sub for sub in able if state.subs[sub].status is Status.SKIPPED]
    if skipped:
        reason = state.subs[skipped[0]].reason
        return f"{sentence_list(skipped)} was skipped{f': {reason}' if reason else ''}"
    ground = f"; {sentence_list(state.plan.dependencies)} proceeded" if state.plan.dependencies else ""
    return f"{sentence_list(able)} {verb} not been run, and nothing blocks {them}{ground}"


def _borderline(state: ExperimentState, results: Results, known: Known) -> Iterator[Advice]:
    """What seeds would settle, and what they would not."""
    for name, criterion in state.plan.success_criteria.items():
        result = state.criteria[name]
        if result.borderline and result.decided_by and criterion.severity != "info":
            sub = result.decided_by.sub_experiment
            if sub in state.subs and sub not in known.without_handler:
                yield _more_seeds(criterion, result, _compared(sub, criterion, results), known)


def _compared(sub: str, criterion: Criterion, results: Results) -> tuple[str, ...]:
    """Return a sub-experiment, and the one that it is compared with seed by seed where there is one."""
    base = criterion.baseline.sub_experiment if criterion.baseline else None
    if base in (None, sub) or None in _seeds_of(results_of(results, base)):
        return (sub,)
    return (sub, base)


def _more_seeds(criterion: Criterion, result: CriterionResult, subs: tuple[str, ...], known: Known) -> Advice:
    sub = subs[0]
    where = f"{criterion.name} is borderline: {value_text(criterion, result.value)} against "
    where += tier_text(criterion, criterion.deciding)
    estimate = estimate_of(result)
    if estimate is None or not result.over_seeds:
        command = _marked(known, *subs, more=f" --exp-seeds {_A_FEW_SEEDS}")
        return Advice("seeds", sub, command, f"{where}, from one run; several seeds would give an interval")
    more = seeds_to_settle(estimate, criterion.deciding)
    if more is None and result.n < _ENOUGH_SEEDS:
        command = _marked(known, *subs, more=f" --exp-seeds {_ENOUGH_SEEDS}")
        return Advice("seeds", sub, command, f"{where}; {result.n} seeds are too few for a reliable mean")
    if more is None:
        return Advice("decide", sub, None, f"{where}; more seeds would hardly help, so decide yourself")
    command = _marked(known, *subs, more=f" --exp-seeds {result.n + more}")
    at = f"about {count(more, 'more seed')} ({result.n} so far) would settle it at this spread"
    return Advice("seeds", sub, command, f"{where}; {at}")


def _decisions(state: ExperimentState, results: Results) -> Iterator[Advice]:
    """What a person has to decide: the plan's own words for it, where it has some."""
    says = state.assessment.recommendation
    if not state.started and says is not Recommendation.BLOCK:
        return
    if says is Recommendation.INVESTIGATE and state.status is not Status.COMPLETED:
        return  # what is broken, unfinished or missing is told already
    if says is Recommendation.PROCEED and decide(results.plan, state.id, results.experiments).reasons:
        return  # what it rests on does not hold
    planned = getattr(state.plan.next_steps, str(says))
    notes = state.assessment.notes.rstrip(".")
    why = [f"{state.id} says {says} ({notes}); the plan: {step}" for step in planned]
    if not why:
        why = [text for text in _unplanned(state, says, notes, _without_pair(state, results)) if text]
    kind: Kind = "go_on" if says is Recommendation.PROCEED else "decide"
    yield from (Advice(kind, state.id, None, text) for text in why)


def _unplanned(
    state: ExperimentState, says: Recommendation, notes: str, told: Collection[str]
) -> Iterator[str]:
    if says is Recommendation.BLOCK:
        yield f"{state.id} is blocked by {sentence_list(state.plan.blockers)}; resolve this first"
    elif says is Recommendation.PIVOT:
        unmet = [miss_text(state.plan.success_criteria[r.name], r) for r in state.unmet()]
        advice = "decide what replaces it (the plan has no next step)"
        yield f"{state.id} says pivot ({', '.join(unmet)}); {advice}"
    elif says is Recommendation.INVESTIGATE:
        missing = [r for r in state.criteria.values() if r.verdict is Verdict.NOT_MEASURED]
        for result in (r for r in missing if r.name not in told):
            metric = state.plan.success_criteria[result.name].metric_name
            yield f"return {metric!r} from a handler of {state.id}: {result.reason}"
        if not missing:
            yield f"{state.id} says investigate: {notes}"


def _about_gate(gate: GateResult, known: Known) -> Iterator[Advice]:
    if gate.state in (GateState.PENDING, GateState.FAILED):
        why = f"{gate.plan.id} is {'pending' if gate.state is GateState.PENDING else 'failed'}: "
        lines = [member.text for member in gate.members if member.state not in HAS_PASSED]
        yield Advice(
            "gate", gate.plan.id, f"exprunner gates {gate.plan.id}{known.options}", f"{why}{'; '.join(lines)}"
        )
