"""Plan and attempt records in, the state of the study out. Pure; order and repetition do not matter.

Where attempts are missing, as in a clone without them, what an earlier results file says stands
in for them. In one run the first completed attempt decides; a later run supersedes an earlier one
and never hides it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_exprunner.model.attempt import AttemptKey, AttemptRecord, Recommendation, Status, placeholder
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.results import (
    UNREGISTERED,
    CurrentAttempt,
    ExperimentState,
    PastVerdict,
    Registration,
    Results,
    SubState,
)
from pytest_exprunner.plan.models import Experiment, Plan, with_at_least
from pytest_exprunner.verdicts import criteria as verdicts
from pytest_exprunner.verdicts import preregistration
from pytest_exprunner.verdicts.assessment import assess, doubted, experiment_status
from pytest_exprunner.verdicts.gates import decide, evaluate_gate
from pytest_exprunner.verdicts.measurement import Reading
from pytest_exprunner.verdicts.notes import notes_of

Slot = tuple[str | None, int | None]

ASKED_SEEDS = "seeds"
"""The option of an attempt that a run made for one of the seeds that it was asked for beside the plan's."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A run selected this and has not finished it; ``after`` is the last sequence before it."""

    sub_experiment: str
    variant: str | None
    seed: int | None
    after: int
    run: str
    blocked: str = ""
    resumed: bool = False
    """The run was to do only what was not done yet, so what was done still stands."""

    @property
    def slot(self) -> tuple[str, str | None, int | None]:
        """(sub-experiment, variant, seed)."""
        return (self.sub_experiment, self.variant, self.seed)


@dataclass(frozen=True, slots=True)
class Fallback:
    """The content of an earlier results file, used where attempts are missing."""

    currents: Mapping[str, tuple[CurrentAttempt, ...]] = field(default_factory=dict)
    history: Mapping[str, tuple[AttemptRecord, ...]] = field(default_factory=dict)
    registered: Registration = UNREGISTERED
    earlier: Mapping[str, tuple[PastVerdict, ...]] = field(default_factory=dict)
    """The verdicts from each time everything had been run, including the last."""


NOTHING = Fallback()


def fold_experiment(
    plan: Plan,
    experiment: Experiment,
    attempts: Mapping[str, Sequence[AttemptRecord]],
    pending: Iterable[Pending] = (),
    previous: Fallback = NOTHING,
    problems: Sequence[str] = (),
    baselines: Sequence[Reading] = (),
) -> ExperimentState:
    """Return the state of one experiment; ``baselines`` are attempts of others that it compares with."""
    waiting: dict[str, list[Pending]] = {}
    for item in pending:
        waiting.setdefault(item.sub_experiment, []).append(item)
    subs = {
        sub: fold_sub(sub, experiment, attempts.get(sub, ()), waiting.get(sub, ()), previous)
        for sub in experiment.sub_experiments
    }
    gone = dict.fromkeys((*attempts, *previous.currents, *previous.history))
    unplanned = tuple(
        fold_sub(sub, experiment, attempts.get(sub, ()), (), previous) for sub in gone if sub not in subs
    )
    readings = [reading for sub in subs.values() for reading in _readings(sub)]
    results = _judged(experiment, readings, baselines)
    registered = preregistration.first_of(attempts, experiment)
    if lacking(attempts, previous):
        registered = preregistration.combined(registered, previous.registered)
    replaced_by = plan.replaced.get(experiment.id)
    waivers = plan.waived.get(experiment.id, {})
    state = ExperimentState(
        plan=experiment,
        status=experiment_status(experiment, subs, replaced_by),
        subs=subs,
        criteria=results,
        assessment=assess(experiment, subs, results, waivers=waivers),
        registered=registered,
        earlier=_earlier(previous, results),
        replaced_by=replaced_by,
        waivers=waivers,
        unplanned=unplanned,
        leads_to=plan.dependents.get(experiment.id, ()),
    )
    return _with_issues(state, [*problems, *notes_of(state)])


def _earlier(
    previous: Fallback, results: Mapping[str, CriterionResult]
) -> dict[str, tuple[PastVerdict, ...]]:
    """Return the earlier verdicts, each once, without the present ones."""
    found = {}
    for name, known in previous.earlier.items():
        result = results.get(name)
        now = (str(result.verdict), result.value) if result is not None else None
        told = [e for e in dict.fromkeys(known) if e.verdict]
        while told and (told[-1].verdict, told[-1].value) == now:
            told.pop()
        if told:
            found[name] = tuple(told[-_MAX_EARLIER:])
    return found


_MAX_EARLIER = 20


def _readings(sub: SubState) -> Iterable[Reading]:
    for current in sub.currents:
        if current.status is Status.COMPLETED:
            beside = [c for c in sub.currents if c.variant == current.variant and c.seed is not None]
            yield Reading(current.record, len(beside) if current.seed is not None else 1)


def _judged(
    experiment: Experiment, readings: Sequence[Reading], baselines: Sequence[Reading]
) -> dict[str, CriterionResult]:
    criteria = tuple(experiment.success_criteria.values())
    if experiment.together:
        return verdicts.evaluate_together(criteria, readings, baselines)
    return {criterion.name: verdicts.evaluate(criterion, readings, baselines) for criterion in criteria}


def fold(plan: Plan, states: Mapping[str, ExperimentState], *, stub: bool = False) -> Results:
    """Return the whole study: experiments in plan order, and where the gates stand."""
    ordered = {name: states[name] for name in plan.experiments}
    ordered = {name: _with_stale_ground(plan, state, ordered) for name, state in ordered.items()}
    gates = {gate.id: evaluate_gate(gate, ordered) for gate in plan.gates.values()}
    return Results(plan, ordered, gates, stub)


def _with_stale_ground(
    plan: Plan, state: ExperimentState, states: Mapping[str, ExperimentState]
) -> ExperimentState:
    """Note where a result rests on something that does not hold, or no longer does."""
    if state.assessment.recommendation is not Recommendation.PROCEED:
        return state
    reasons = decide(plan, state.id, states).reasons
    return _with_issues(state, [*state.issues, *(f"{r}. This result stands on its own." for r in reasons)])


def fold_sub(
    sub: str,
    experiment: Experiment,
    attempts: Sequence[AttemptRecord],
    waiting: Sequence[Pending],
    previous: Fallback,
) -> SubState:
    """Return the state of one sub-experiment; ``waiting`` and ``attempts`` are its own alone."""
    known = sorted(attempts, key=lambda attempt: attempt.key.sequence)
    planned = experiment.sub_experiments[sub].seeds if sub in experiment.sub_experiments else ()
    currents = dict(_currents(experiment.id, sub, known, previous.currents.get(sub, ()), planned))
    defined = known[-1].variants if known else None
    for item in waiting:
        slot = (item.variant, item.seed)
        if defined is not None and item.variant not in defined and known[-1].key.sequence > item.after:
            continue  # the handler has run since and no longer defines this variant
        last = max((a.key.sequence for a in known if a.key.slot == slot), default=0)
        if last <= item.after:
            key = AttemptKey(experiment.id, sub, 0, *slot)
            currents[slot] = CurrentAttempt(_pending_record(key, item), after=item.after)
    history = {(a.key.sequence, a.run): a for a in (*previous.history.get(sub, ()), *known)}
    return SubState(
        id=sub,
        status=_sub_status(currents.values()),
        currents=tuple(currents.values()),
        history=tuple(sorted(history.values(), key=lambda past: (past.key.sequence, past.started_at or ""))),
    )


def _currents(
    experiment: str,
    sub: str,
    known: Sequence[AttemptRecord],
    before: Sequence[CurrentAttempt],
    planned: tuple[int, ...],
) -> Iterable[tuple[Slot, CurrentAttempt]]:
    by_slot: dict[Slot, list[AttemptRecord]] = {}
    for attempt in known:
        by_slot.setdefault(attempt.key.slot, []).append(attempt)
    # A variant that the handler no longer defines stays in the history and stops counting; one
    # that it defines and that never ran keeps the sub-experiment unfinished.
    defined = known[-1].variants if known else tuple(dict.fromkeys(current.variant for current in before))
    for variant in defined:
        asked = most_asked(variant, known, before)
        counting = seeds_that_count(variant, known, before, planned)
        for seed in counting:
            slot = (variant, seed)
            stand_ins = [c for c in before if c.slot == slot]
            never_run = AttemptKey(experiment, sub, 0, variant, seed)
            current = stand_ins[-1] if stand_ins else CurrentAttempt(_never_run(never_run))
            if slot in by_slot:
                newest = by_slot[slot][-1].key.sequence
                newer = [c for c in stand_ins if _is_newer(c, newest)]
                current = newer[-1] if newer else current_of(deciding(by_slot[slot]))
            # Each remembers it, so that no lost record makes it less.
            yield slot, replace(current, asked=asked) if current.asked != asked else current


def seeds_that_count(
    variant: str | None,
    known: Sequence[AttemptRecord],
    before: Sequence[CurrentAttempt],
    planned: tuple[int, ...],
) -> tuple[int | None, ...]:
    """Return the seeds of a variant: the plan's, and all that a run was ever asked for beside them.

    So no seed that went badly can be left out by asking for fewer, or by running only some of them.
    Where the plan lists none, an attempt without a seed counts as well if it is the newest.
    """
    own = [a for a in known if a.key.variant == variant]
    stored = [c for c in before if c.variant == variant]
    asked = most_asked(variant, known, before)
    seeded = {a.key.seed for a in own if _asked(a)} | {c.seed for c in stored if c.asked}
    counts = with_at_least(planned, asked)
    more = sorted(seed for seed in seeded if seed is not None and seed not in counts)
    numbers = [(a.key.sequence, a.key.seed) for a in own]
    numbers += [(c.attempt, c.seed) for c in stored if c.attempt is not None]
    newest = max(numbers, key=lambda pair: pair[0], default=(0, None))[1]
    alone = (None,) if not counts or (not planned and newest is None) else ()
    return (*alone, *counts, *more)


def most_asked(variant: str | None, known: Sequence[AttemptRecord], before: Sequence[CurrentAttempt]) -> int:
    """Return the largest number of seeds that a run of a variant was ever asked for; 0 for none."""
    own = [_asked(attempt) for attempt in known if attempt.key.variant == variant]
    return max([*own, *(current.asked for current in before if current.variant == variant)], default=0)


def _asked(record: AttemptRecord) -> int:
    """Return how many seeds the run was asked for that made an attempt."""
    asked = record.options.get(ASKED_SEEDS)
    return asked if type(asked) is int else 0


def _never_run(key: AttemptKey) -> AttemptRecord:
    return placeholder(key, Status.NOT_STARTED, "never run")


def _is_newer(current: CurrentAttempt, sequence: int) -> bool:
    """Return whether an earlier results file knew a later attempt, or a run that had not finished."""
    if current.attempt is not None:
        return current.attempt > sequence
    return current.status in (Status.IN_PROGRESS, Status.BLOCKED) and current.after >= sequence


def of_run(
    attempts: Mapping[str, Sequence[AttemptRecord]], run: str, sub_experiment: str, slot: Slot
) -> list[AttemptRecord]:
    """Return what a run recorded for one (variant, seed) of a sub-experiment, oldest first."""
    return [a for a in attempts.get(sub_experiment, ()) if a.run == run and a.key.slot == slot]


def deciding(attempts: Sequence[AttemptRecord]) -> AttemptRecord:
    """Return the attempt that counts: of the latest run, the first that completed, else the last."""
    latest = [a for a in attempts if a.run == attempts[-1].run]
    return next((a for a in latest if a.status is Status.COMPLETED), latest[-1])


def current_of(record: AttemptRecord) -> CurrentAttempt:
    """Return an attempt as the one that counts."""
    return CurrentAttempt(record, asked=_asked(record))


def _pending_record(key: AttemptKey, item: Pending) -> AttemptRecord:
    status = Status.BLOCKED if item.blocked else Status.IN_PROGRESS
    reason = item.blocked or f"run {item.run} selected it but did not finish it"
    return placeholder(key, status, reason, item.run)


_PRECEDENCE = (
    Status.FAILED,
    Status.BLOCKED,
    Status.IN_PROGRESS,
    Status.NOT_STARTED,
    Status.SKIPPED,
)


def _sub_status(currents: Iterable[CurrentAttempt]) -> Status:
    statuses = {current.status for current in currents}
    if not statuses:
        return Status.NOT_STARTED
    for status in _PRECEDENCE:
        if status in statuses:
            partly = status is Status.NOT_STARTED and len(statuses) > 1
            return Status.IN_PROGRESS if partly else status
    return Status.COMPLETED


def lacking(attempts: Mapping[str, Sequence[AttemptRecord]], previous: Fallback) -> int:
    """Return how many attempts only an earlier results file knows."""
    present = {(sub, a.key.sequence) for sub, known in attempts.items() for a in known}
    return sum(
        (s, past.key.sequence) not in present for s, known in previous.history.items() for past in known
    )


def _with_issues(state: ExperimentState, issues: Iterable[str]) -> ExperimentState:
    found = tuple(issues)
    return replace(state, issues=found, assessment=doubted(state.assessment)) if found else state


def of_seed(sub: SubState, seed: int | None) -> SubState:
    """Return what of a sub-experiment matters to an attempt with a seed: its own, where there is one."""
    own = tuple(current for current in sub.currents if current.seed == seed)
    if seed is None or not own:
        return sub
    return replace(sub, currents=own, status=_sub_status(own))
