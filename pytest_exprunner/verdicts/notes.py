"""What a careful reader should know beyond the verdicts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_exprunner._util.errors import closest, count
from pytest_exprunner._util.serialization import digest_of, number
from pytest_exprunner._util.text import few, sentence_list
from pytest_exprunner.model.attempt import Status, label
from pytest_exprunner.model.results import CurrentAttempt, ExperimentState, SubState
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.verdicts import criteria as verdicts
from pytest_exprunner.verdicts import preregistration
from pytest_exprunner.verdicts.formatting import number_text
from pytest_exprunner.verdicts.measurement import Reading, judged_metrics, judged_values


def notes_of(state: ExperimentState) -> Iterable[str]:
    """What a careful reader should know beyond the verdicts."""
    for sub in state.subs.values():
        for current in sub.currents:
            if current.record.missing:
                artifacts = count(len(current.record.missing), "artifact")
                paths = few(current.record.missing)
                yield f"{current.label} lists {artifacts} that it did not save: {paths}."
    for sub in state.unplanned:
        yield f"{sub.id} has results but is not in the plan; they are kept and not judged."
    yield from preregistration.changed_terms(state.registered, state.plan, state.replaced_by)
    told: set[str] = set()
    for sub in state.subs.values():
        for name, text in (*_improved(state, sub), *_withdrawn(state, sub)):
            told.add(name)
            yield text
        yield from _dropped_seeds(state, sub)
        yield from _mixed_code(sub)
    yield from _improved_as_a_whole(state, told)
    for sub in state.subs.values():
        yield from _misspelt(state, sub)


def changed_terms(state: ExperimentState) -> Iterable[str]:
    """What decides and is not what it was: criteria, seeds that are not asked for, variants that missed."""
    yield from preregistration.changed_terms(state.registered, state.plan, state.replaced_by)
    for sub in state.subs.values():
        yield from _dropped_seeds(state, sub)
        yield from (text for _name, text in _withdrawn(state, sub, variants_alone=True))


_NOT_MET = ("missed", "failure", "inadmissible")
_NEAR_MISS = 0.8


def _improved(state: ExperimentState, sub: SubState) -> Iterable[tuple[str, str]]:
    """Results that a later attempt, or another plan, replaced by a better one: both are shown."""
    for current in sub.currents:
        own = [
            past
            for past in sub.history
            if (past.key.variant, past.key.seed) == (current.variant, current.seed)
        ]
        for name, criterion in state.plan.success_criteria.items() if own else ():
            bad = [past.key.sequence for past in own if past.verdicts.get(name) in _NOT_MET]
            if not (bad and _meets(criterion, current)):
                continue
            if current.attempt in bad:
                which = f"attempt {current.attempt} of {current.label}"
                text = f"{name} was not met when {which} ran; it is met only because the plan changed later."
                yield name, text
            else:
                where = f"{_attempts(bad)} of {current.label}"
                met = f"attempt {current.attempt} meets it. All attempts are kept."
                yield name, f"{name} was not met in {where}; {met}"


def _meets(criterion: Criterion, current: CurrentAttempt) -> bool:
    readings = verdicts.readings_for(criterion, [Reading(current.record)])
    return bool(readings) and verdicts.evaluate(criterion, readings).met


def _withdrawn(
    state: ExperimentState, sub: SubState, *, variants_alone: bool = False
) -> Iterable[tuple[str, str]]:
    """Variants that missed a criterion and that the handler no longer defines; and what had no variant."""
    counting = {(current.variant, current.seed) for current in sub.currents}
    gone: dict[tuple[str, str], list[int]] = {}
    for past in sub.history:
        if (past.key.variant, past.key.seed) in counting or not counting:
            continue
        if variants_alone and past.key.variant is None:
            continue
        for name, verdict in past.verdicts.items():
            if verdict in _NOT_MET and name in state.plan.success_criteria:
                gone.setdefault((label(sub.id, past.key.variant, past.key.seed), name), []).append(
                    past.key.sequence
                )
    for (variant, name), numbers in gone.items():
        how = " (run without a seed or variant; it no longer counts)"
        if variant != sub.id:
            how = " and is no longer part of the study"
        yield name, f"{variant} did not meet {name} in {_attempts(numbers)}{how}."


def _improved_as_a_whole(state: ExperimentState, told: set[str]) -> Iterable[str]:
    """Criteria that no single attempt decides, and that were not met before."""
    for name, result in state.criteria.items():
        bad = [e for e in state.earlier.get(name, ()) if e.verdict in _NOT_MET]
        if not (bad and result.met) or name in told:
            continue
        value = f" with {number_text(bad[-1].value)}" if bad[-1].value is not None else ""
        yield f"{name} was not met in run {bad[-1].run}{value}; it is met now. All attempts are kept."


def _dropped_seeds(state: ExperimentState, sub: SubState) -> Iterable[str]:
    """Seeds that were run, whatever became of them, and that the plan does not list any more."""
    counting = {(current.variant, current.seed) for current in sub.currents}
    variants = {current.variant for current in sub.currents}
    names = judged_metrics(state.plan)
    gone: dict[str, dict[int, str]] = {}
    for past in sub.history:
        if (
            past.key.seed is None
            or (past.key.variant, past.key.seed) in counting
            or past.key.variant not in variants
        ):
            continue
        values = ", ".join(
            f"{name} {number_text(number(v))}" for name, v in judged_values(past, names).items()
        )
        how = values or str(past.status).replace("_", " ")
        gone.setdefault(label(sub.id, past.key.variant), {})[past.key.seed] = how
    for name, seeds in gone.items():
        shown = few([f"{seed} ({how})" for seed, how in sorted(seeds.items())])
        yield f"{name} was also run with seed {shown}, no longer in the plan; kept but not counted."


def _mixed_code(sub: SubState) -> Iterable[str]:
    """Attempts that are judged together and were made by different code."""
    for variant, versions in mixed_code(sub).items():
        groups = "; ".join(_seeds(group) for group in versions)
        yield f"The current attempts of {label(sub.id, variant)} come from different code: {groups}."


def mixed_code(sub: SubState) -> dict[str | None, list[list[CurrentAttempt]]]:
    """Return, by variant, the attempts that count together and were made by different code, in groups."""
    systems: dict[str | None, dict[str, list[CurrentAttempt]]] = {}
    for current in sub.currents if len(sub.currents) > 1 else ():
        code = current.record.inputs.get("code")
        if code:
            systems.setdefault(current.variant, {}).setdefault(digest_of(code), []).append(current)
    return {variant: [*by_code.values()] for variant, by_code in systems.items() if len(by_code) > 1}


def _seeds(currents: Sequence[CurrentAttempt]) -> str:
    seeds = [str(current.seed) for current in currents if current.seed is not None]
    named = [f"{'seed' if len(seeds) == 1 else 'seeds'} {sentence_list(seeds)}"] if seeds else []
    return sentence_list([*named, *("no seed" for current in currents if current.seed is None)])


def _misspelt(state: ExperimentState, sub: SubState) -> Iterable[str]:
    """Metrics that look like one that a criterion asks for, from a handler that did not return it."""
    names = {c.metric_name for c in state.plan.success_criteria.values()}
    for current in sub.currents:
        for metric in current.record.metrics if current.status is Status.COMPLETED else ():
            meant = closest(metric, names - set(current.record.metrics), _NEAR_MISS)
            if metric not in names and meant is not None:
                yield f"{current.label} returned {metric!r}, which no criterion uses; did you mean {meant!r}?"


def _attempts(numbers: Sequence[int]) -> str:
    noun = "attempt" if len(numbers) == 1 else "attempts"
    return f"{noun} {sentence_list([str(number) for number in numbers])}"
