"""What a result means in the plan, in sentences that the data supports. Pure.

Of one experiment they follow from its own state and the plan alone, so that its findings do not grow
old when another experiment is run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_exprunner._util.errors import count
from pytest_exprunner._util.text import few, sentence_list
from pytest_exprunner.model.attempt import AttemptRecord, EvidenceKind, Recommendation, Status
from pytest_exprunner.model.results import CurrentAttempt, ExperimentState
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.verdicts.preregistration import changed_terms

_ANSWERS = {
    ("claim", Recommendation.PROCEED): "The claim holds.",
    ("claim", Recommendation.PIVOT): "The claim does not hold as stated.",
    (
        "question",
        Recommendation.PROCEED,
    ): "The question is answered, and the answer is good enough to proceed.",
    (
        "question",
        Recommendation.PIVOT,
    ): "The question is answered, and the answer is not good enough to proceed.",
    ("pivot", Recommendation.PROCEED): "The new approach holds.",
    ("pivot", Recommendation.PIVOT): "The new approach does not hold either.",
    ("", Recommendation.PROCEED): "It holds.",
    ("", Recommendation.PIVOT): "It does not hold.",
}
_SHOWN = 5


def answer(state: ExperimentState) -> str:
    """Answer an experiment's question in a sentence, or state that it is open."""
    if not state.started:
        return "There is no answer yet: nothing has been run."
    if state.replaced_by is not None:
        return _of_a_replaced_one(state)
    says = state.assessment.recommendation
    if says is Recommendation.BLOCK:
        return "There is no answer yet: the experiment is blocked."
    if says is Recommendation.INVESTIGATE:
        return "There is no answer yet."
    if says is Recommendation.PROCEED and state.waived:
        return "It proceeds on a waiver; not all of its criteria are met."
    if says is Recommendation.PROCEED and any(changed_terms(state.registered, state.plan, state.replaced_by)):
        return "It holds under the current plan, but the plan has changed since the first attempt."
    if says is Recommendation.PIVOT and any(not state.criteria[c.name].measured for c in state.plan.gating):
        return "Not everything was measured, and what was measured falls short."
    if says is Recommendation.PROCEED and state.registered.known:
        holds = _ANSWERS[state.plan.type or "", says]
        return f"{holds} No criterion has changed since the first attempt."
    return _ANSWERS[state.plan.type or "", says]


def _of_a_replaced_one(state: ExperimentState) -> str:
    says = state.assessment.recommendation
    if says is Recommendation.PROCEED:
        return f"It meets its criteria but cannot count as met: it was replaced by {state.replaced_by}."
    if says is Recommendation.PIVOT:
        return f"{_ANSWERS[state.plan.type or '', says]} It was replaced by {state.replaced_by}."
    return f"There is no answer; it was replaced by {state.replaced_by}."


def implications(state: ExperimentState, plan: Plan) -> Iterator[str]:
    """Say what follows for gates, and for experiments that depend on this one or replace it."""
    if not state.started:
        return
    says = state.assessment.recommendation
    for gate in plan.gates_of(state.id):
        yield f"{gate}: {_for_gate(state, says)}"
    waiting = state.leads_to
    if waiting and state.replaced_by is None:
        names, verb = sentence_list(waiting), "depends" if len(waiting) == 1 else "depend"
        may = "no longer blocked by it" if says is Recommendation.PROCEED else "blocked until it proceeds"
        yield f"{names} {verb} on this experiment: {may}."
    if state.replaced_by is not None:
        yield f"{state.replaced_by} replaces it, so misses here are expected and no longer count."
    for old in state.plan.replaces:
        holds = says is Recommendation.PROCEED
        yield f"It replaces {old}{'' if holds else ', but does not proceed yet'}."


def _for_gate(state: ExperimentState, says: Recommendation) -> str:
    if state.replaced_by is not None:
        return "it cannot pass while it lists this experiment, which was replaced."
    if says is Recommendation.PROCEED:
        waiver = " with a waiver" if state.waived else ""
        return f"this experiment passes it{waiver}."
    if says is Recommendation.PIVOT:
        return "this experiment fails it."
    return "it stays pending until this experiment is decided."


def caveats(state: ExperimentState) -> Iterator[str]:
    """Return the limits of the result that its confidence does not name."""
    currents = [c for sub in state.subs.values() for c in sub.currents if c.record.finished_at]
    yield from _dirty(currents)
    yield from _not_real(state, currents)
    again = [sub.id for sub in state.subs.values() if _runs(sub.history) > 1]
    if again:
        verb = "was" if len(again) == 1 else "were"
        yield f"{few(again, _SHOWN)} {verb} run more than once: {_which_counts(state)}, whatever it found."
    machines = dict.fromkeys(
        str(c.record.provenance["host"]) for c in currents if c.record.provenance.get("host")
    )
    if len(machines) > 1:
        yield f"The current attempts ran on {count(len(machines), 'machine')}."


def _which_counts(state: ExperimentState) -> str:
    one = all(len(sub.currents) <= 1 for sub in state.subs.values())
    return "the latest run counts" if one else "the latest run of each seed and variant counts"


def _dirty(currents: list[CurrentAttempt]) -> Iterator[str]:
    found = [c.label for c in currents if c.record.provenance.get("dirty")]
    if found:
        yield (
            f"{few(found, _SHOWN)} ran with uncommitted changes, so the commit alone does not "
            "identify the code."
        )


def _not_real(state: ExperimentState, currents: list[CurrentAttempt]) -> Iterator[str]:
    """Numbers that were not measured, and count because the plan admits their kind."""
    admitted = {kind for criterion in state.plan.success_criteria.values() for kind in criterion.evidence}
    for current in currents:
        for evidence in current.record.evidence:
            if evidence.kind in admitted - {EvidenceKind.REAL}:
                yield f"The numbers of {current.label} are {evidence.kind}: {evidence.reason}."


def _runs(history: Iterable[AttemptRecord]) -> int:
    return len({past.run for past in history if past.status is Status.COMPLETED})


_PLURAL = {
    "holds": "hold",
    "proceeds on a waiver": "proceed on a waiver",
    "does not hold": "do not hold",
    "is open": "are open",
    "was replaced": "were replaced",
}


def outcomes(states: list[ExperimentState]) -> Iterator[str]:
    """Say which experiments hold, which do not and which are open; those that were replaced apart."""
    groups: dict[str, list[str]] = {words: [] for words in _PLURAL}
    for state in states:
        groups[_stands(state)].append(state.id)
    for words, names in groups.items():
        if names:
            verb = words if len(names) == 1 else _PLURAL[words]
            yield f"{count(len(names), 'experiment')} {verb}: {few(names, _SHOWN)}."


def _stands(state: ExperimentState) -> str:
    if state.replaced_by is not None:
        return "was replaced"
    says = state.assessment.recommendation if state.started else None
    if says is Recommendation.PROCEED:
        return "proceeds on a waiver" if state.waived else "holds"
    return "does not hold" if says is Recommendation.PIVOT else "is open"
