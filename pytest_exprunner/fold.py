"""Plan and attempt records in, the state of the study out. Pure; order and repetition do not matter.

Where attempts are missing, as in a clone without them, what an earlier results file says stands
in for them. In one run the first completed attempt decides; a later run supersedes an earlier one
and never hides it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_exprunner import criteria as verdicts
from pytest_exprunner.assessment import assess, doubted, experiment_status
from pytest_exprunner.errors import closest, count
from pytest_exprunner.gates import decide, evaluate_gate
from pytest_exprunner.measuring import Reading
from pytest_exprunner.plan import Criterion, Experiment, Plan
from pytest_exprunner.records import AttemptRecord, CriterionResult, Recommendation, Status, label
from pytest_exprunner.state import Current, ExperimentState, Past, Results, SubState
from pytest_exprunner.values import number
from pytest_exprunner.wording import few, number_text, sentence_list

Slot = tuple[str | None, int | None]

REPLACED_BY = "(replaced by)"
"""Stands among the digests of criteria, for what superseded an experiment when it first ran."""
ADDED_LATER = "(added later)"
"""Stands there, too: names of criteria that the first attempt was not judged by, with commas between."""
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
class Previous:
    """What an earlier results file says, used where attempts are missing."""

    currents: Mapping[str, tuple[Current, ...]] = field(default_factory=dict)
    history: Mapping[str, tuple[Past, ...]] = field(default_factory=dict)
    registered: Mapping[str, str] = field(default_factory=dict)


NOTHING = Previous()


def fold_experiment(
    plan: Plan,
    experiment: Experiment,
    attempts: Mapping[str, Sequence[AttemptRecord]],
    pending: Iterable[Pending] = (),
    previous: Previous = NOTHING,
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
    departed = tuple(
        fold_sub(sub, experiment, attempts.get(sub, ()), (), previous) for sub in gone if sub not in subs
    )
    readings = [
        reading_of(current)
        for sub in subs.values()
        for current in sub.currents
        if current.status is Status.COMPLETED
    ]
    results = _judged(experiment, readings, baselines)
    registered = _registered(attempts, experiment)
    if lacking(attempts, previous):
        registered = {**registered, **previous.registered}
    replaced_by = plan.replaced.get(experiment.id)
    waivers = plan.waived.get(experiment.id, {})
    state = ExperimentState(
        plan=experiment,
        status=experiment_status(experiment, subs, replaced_by),
        subs=subs,
        criteria=results,
        assessment=assess(experiment, subs, results, waivers=waivers),
        registered=registered,
        replaced_by=replaced_by,
        waivers=waivers,
        departed=departed,
    )
    return _with_issues(state, [*problems, *_issues(state)])


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
    return _with_issues(state, [*state.issues, *(f"{r}. Its own result stands alone." for r in reasons)])


def fold_sub(
    sub: str,
    experiment: Experiment,
    attempts: Sequence[AttemptRecord],
    waiting: Sequence[Pending],
    previous: Previous,
) -> SubState:
    """Return the state of one sub-experiment; ``waiting`` and ``attempts`` are its own alone."""
    known = sorted(attempts, key=lambda attempt: attempt.key.sequence)
    planned = experiment.sub_experiments[sub].seeds if sub in experiment.sub_experiments else ()
    currents = dict(_currents(sub, known, previous.currents.get(sub, ()), planned))
    defined = known[-1].variants if known else None
    for item in waiting:
        slot = (item.variant, item.seed)
        if defined is not None and item.variant not in defined and known[-1].key.sequence > item.after:
            continue  # the handler has run since and no longer defines this variant
        last = max((a.key.sequence for a in known if a.key.slot == slot), default=0)
        if last <= item.after:
            currents[slot] = _pending_current(sub, item)
    history = {(past.attempt, past.run): past for past in previous.history.get(sub, ())}
    history.update({(a.key.sequence, a.run): _past(a, experiment) for a in known})
    return SubState(
        id=sub,
        status=_sub_status(currents.values()),
        currents=tuple(currents.values()),
        history=tuple(sorted(history.values(), key=lambda past: (past.attempt, past.started_at or ""))),
    )


def _currents(
    sub: str, known: Sequence[AttemptRecord], before: Sequence[Current], planned: Sequence[int]
) -> Iterable[tuple[Slot, Current]]:
    if not known:
        yield from (((current.variant, current.seed), current) for current in before)
        there = {(current.variant, current.seed) for current in before}
        for variant in dict.fromkeys(current.variant for current in before):
            for planned_seed in planned:
                if (variant, planned_seed) not in there:
                    yield (variant, planned_seed), _never_run(sub, variant, planned_seed)
        return
    by_slot: dict[Slot, list[AttemptRecord]] = {}
    for attempt in known:
        by_slot.setdefault(attempt.key.slot, []).append(attempt)
    # A variant that the handler no longer defines stays in the history and stops counting; one
    # that it defines and that never ran keeps the sub-experiment unfinished.
    defined = known[-1].variants
    for variant in defined:
        for seed in seeds_that_count(variant, known, before, planned):
            slot = (variant, seed)
            stand_ins = [c for c in before if (c.variant, c.seed) == slot]
            if slot not in by_slot:
                yield slot, stand_ins[-1] if stand_ins else _never_run(sub, variant, seed)
                continue
            newest = by_slot[slot][-1].key.sequence
            newer = [c for c in stand_ins if _is_newer(c, newest)]
            yield slot, newer[-1] if newer else current_of(deciding(by_slot[slot]))


def seeds_that_count(
    variant: str | None,
    known: Sequence[AttemptRecord],
    before: Sequence[Current],
    planned: Sequence[int],
) -> tuple[int | None, ...]:
    """Return the seeds of a variant: the plan's, and every other that a run was asked for.

    So a seed that went badly cannot be left out by asking for fewer. An attempt without a seed counts
    where there are none.
    """
    own = [a for a in known if a.key.variant == variant]
    asked = {a.key.seed for a in own if a.key.seed is not None and ASKED_SEEDS in a.options}
    if not own:
        asked = {c.seed for c in before if c.variant == variant and c.seed is not None}
    return (*planned, *sorted(asked - set(planned))) or (None,)


def _never_run(sub: str, variant: str | None, seed: int | None) -> Current:
    return Current(sub, Status.NOT_STARTED, variant, seed, reason="never run")


def _is_newer(current: Current, sequence: int) -> bool:
    """Tell whether an earlier results file knew a later attempt, or a run that had not finished."""
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


def current_of(record: AttemptRecord) -> Current:
    """Return the view of an attempt that counts."""
    stored = [artifact.path for artifact in record.artifacts]
    missing = tuple(
        path for path in record.listed if not any(s == path or s.endswith(f"/{path}") for s in stored)
    )
    return Current(
        sub_experiment=record.key.sub_experiment,
        status=record.status,
        variant=record.key.variant,
        seed=record.key.seed,
        attempt=record.key.sequence,
        run=record.run,
        finding=record.finding,
        metrics=record.metrics,
        artifacts=record.artifacts,
        missing=missing,
        evidence=record.evidence,
        logged=record.logged,
        samples=record.samples,
        error=record.error,
        reason=record.reason,
        started_at=record.started_at or None,
        finished_at=record.finished_at,
        duration_s=record.duration_s,
        provenance=record.provenance,
    )


def _pending_current(sub: str, item: Pending) -> Current:
    return Current(
        sub_experiment=sub,
        status=Status.BLOCKED if item.blocked else Status.IN_PROGRESS,
        variant=item.variant,
        seed=item.seed,
        run=item.run,
        after=item.after,
        reason=item.blocked or f"run {item.run} selected it and has not finished it",
    )


def _past(record: AttemptRecord, experiment: Experiment) -> Past:
    judged = {c.metric_name for c in experiment.success_criteria.values()}
    return Past(
        attempt=record.key.sequence,
        status=record.status,
        started_at=record.started_at or None,
        run=record.run,
        variant=record.key.variant,
        seed=record.key.seed,
        verdicts=dict(record.verdicts),
        values={name: value for name, value in record.metrics.items() if name in judged},
        evidence=tuple(str(kind) for kind in record.kinds) if record.evidence else (),
    )


_PRECEDENCE = (
    Status.FAILED,
    Status.BLOCKED,
    Status.IN_PROGRESS,
    Status.NOT_STARTED,
    Status.SKIPPED,
)


def _sub_status(currents: Iterable[Current]) -> Status:
    statuses = {current.status for current in currents}
    if not statuses:
        return Status.NOT_STARTED
    for status in _PRECEDENCE:
        if status in statuses:
            partly = status is Status.NOT_STARTED and len(statuses) > 1
            return Status.IN_PROGRESS if partly else status
    return Status.COMPLETED


def reading_of(current: Current) -> Reading:
    """Return what criteria look at of an attempt that counts."""
    return Reading(
        source=current.label,
        sub_experiment=current.sub_experiment,
        variant=current.variant,
        attempt=current.attempt,
        metrics=current.metrics,
        evidence=current.evidence,
        logged=current.logged,
        seed=current.seed,
        samples=current.samples,
    )


def _registered(attempts: Mapping[str, Sequence[AttemptRecord]], experiment: Experiment) -> dict[str, str]:
    """Digest of each criterion when an attempt was first judged by it."""
    everything = sorted(
        (a for subs in attempts.values() for a in subs if a.registered),
        key=lambda a: (a.started_at, a.key),
    )
    first: dict[str, str] = {}
    for attempt in everything:
        for name, value in attempt.registered.items():
            first.setdefault(name, value)
    order = [
        *experiment.success_criteria,
        *(name for name in first if name not in experiment.success_criteria),
    ]
    found = {name: first[name] for name in order if name in first}
    later = [name for name in found if everything and name not in everything[0].registered]
    return {**found, **({ADDED_LATER: ", ".join(later)} if later else {})}


def added_later(registered: Mapping[str, str]) -> set[str]:
    """Return the criteria that were not there when the first attempt ran."""
    return set(registered.get(ADDED_LATER, "").split(", ")) - {""}


def lacking(attempts: Mapping[str, Sequence[AttemptRecord]], previous: Previous) -> int:
    """Return how many attempts only an earlier results file knows."""
    present = {(sub, a.key.sequence) for sub, known in attempts.items() for a in known}
    return sum((s, past.attempt) not in present for s, known in previous.history.items() for past in known)


def _with_issues(state: ExperimentState, issues: Iterable[str]) -> ExperimentState:
    found = tuple(issues)
    return replace(state, issues=found, assessment=doubted(state.assessment)) if found else state


def _issues(state: ExperimentState) -> Iterable[str]:
    """What a careful reader should know and no verdict says."""
    for sub in state.subs.values():
        for current in sub.currents:
            if current.missing:
                artifacts = count(len(current.missing), "artifact")
                paths = few(current.missing)
                yield f"{current.label} lists {artifacts} that it never saved: {paths}."
    for sub in state.departed:
        yield f"{sub.id} has results and is not in the plan; they are kept and not judged."
    yield from _moved_goalposts(state)
    for sub in state.subs.values():
        yield from _improved(state, sub)
        yield from _withdrawn(state, sub)
        yield from _dropped_seeds(sub)
        yield from _misspelt(state, sub)


def _moved_goalposts(state: ExperimentState) -> Iterable[str]:
    """Criteria that are not what the first attempt was judged by."""
    for name, old in state.registered.items():
        if name in (REPLACED_BY, ADDED_LATER):
            continue
        criterion = state.plan.success_criteria.get(name)
        if criterion is None:
            yield f"The criterion {name} was judged by earlier attempts and is no longer in the plan."
        elif verdicts.digest(criterion) != old:
            yield f"The criterion {name} has changed since it was first used."
    for name in state.plan.success_criteria:
        late = name not in state.registered or name in added_later(state.registered)
        if state.registered and late:
            yield f"The criterion {name} was added after the first attempt."
    before = state.registered.get(REPLACED_BY)
    if before is not None and before != (state.replaced_by or ""):
        now = f"is replaced by {state.replaced_by}" if state.replaced_by else "is not replaced"
        yield f"It {now} in the plan now, and was not so when its first attempt ran."


_NOT_MET = ("missed", "failure", "inadmissible")
_NEAR_MISS = 0.8


def _improved(state: ExperimentState, sub: SubState) -> Iterable[str]:
    """Results that a later attempt, or another plan, replaced by a better one: both are told."""
    for current in sub.currents:
        own = [past for past in sub.history if (past.variant, past.seed) == (current.variant, current.seed)]
        for name, criterion in state.plan.success_criteria.items() if own else ():
            bad = [past.attempt for past in own if past.verdicts.get(name) in _NOT_MET]
            if not (bad and _meets(criterion, current)):
                continue
            if current.attempt in bad:
                yield (
                    f"{name} was not met when attempt {current.attempt} of {current.label} ran; it is met "
                    "only because the plan has changed since."
                )
            else:
                yield (
                    f"{name} was not met in {_attempts(bad)} of {current.label}; attempt {current.attempt} "
                    "meets it. All are kept."
                )


def _meets(criterion: Criterion, current: Current) -> bool:
    readings = verdicts.readings_for(criterion, [reading_of(current)])
    return bool(readings) and verdicts.evaluate(criterion, readings).met


def _withdrawn(state: ExperimentState, sub: SubState) -> Iterable[str]:
    """Variants that missed a criterion and that the handler no longer defines."""
    counting = {(current.variant, current.seed) for current in sub.currents}
    gone: dict[tuple[str, str], list[int]] = {}
    for past in sub.history:
        if (past.variant, past.seed) in counting or not counting:
            continue
        for name, verdict in past.verdicts.items():
            if verdict in _NOT_MET and name in state.plan.success_criteria:
                gone.setdefault((label(sub.id, past.variant, past.seed), name), []).append(past.attempt)
    for (variant, name), numbers in gone.items():
        how = "which had no seed or variant and no longer counts" if variant == sub.id else ""
        how = how or "and is no longer part of the study"
        yield f"{variant} did not meet {name} in {_attempts(numbers)}{',' if how[0] == 'w' else ''} {how}."


def _dropped_seeds(sub: SubState) -> Iterable[str]:
    """Seeds that were run and that the plan does not list any more."""
    counting = {(current.variant, current.seed) for current in sub.currents}
    gone: dict[str, dict[int, str]] = {}
    for past in sub.history:
        if past.seed is not None and (past.variant, past.seed) not in counting and past.values:
            values = ", ".join(f"{name} {number_text(number(v))}" for name, v in past.values.items())
            gone.setdefault(label(sub.id, past.variant), {})[past.seed] = values
    for name, seeds in gone.items():
        shown = few([f"{seed} ({values})" for seed, values in sorted(seeds.items())])
        yield f"{name} was also run with seed {shown}, not in the plan any more; kept and not counted."


def _misspelt(state: ExperimentState, sub: SubState) -> Iterable[str]:
    """Metrics that look like one that a criterion asks for, from a handler that did not return it."""
    names = {c.metric_name for c in state.plan.success_criteria.values()}
    for current in sub.currents:
        for metric in current.metrics if current.status is Status.COMPLETED else ():
            meant = closest(metric, names - set(current.metrics), _NEAR_MISS)
            if metric not in names and meant is not None:
                yield f"{current.label} returned {metric!r}, which no criterion uses; did it mean {meant!r}?"


def _attempts(numbers: Sequence[int]) -> str:
    noun = "attempt" if len(numbers) == 1 else "attempts"
    return f"{noun} {sentence_list([str(number) for number in numbers])}"
