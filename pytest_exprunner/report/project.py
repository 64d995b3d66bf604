"""Build the findings of the study as a document without formatting."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from pytest_exprunner._util.errors import count
from pytest_exprunner._util.text import sentence_list
from pytest_exprunner.model.attempt import Status
from pytest_exprunner.model.results import ExperimentState, GateResult, Results
from pytest_exprunner.report.blocks import (
    Block,
    Bullets,
    Code,
    Findings,
    Heading,
    Link,
    Paragraph,
    Spans,
    Strong,
    Table,
)
from pytest_exprunner.report.experiment import next_steps, review_items
from pytest_exprunner.verdicts import narrative
from pytest_exprunner.verdicts.formatting import DASH, measured_text, verdict_text
from pytest_exprunner.verdicts.gates import HAS_PASSED

_SHOWN_ISSUES = 5
_SHOWN_TEXT = 400
_SHOWN_FINDINGS = 60


def build_project(results: Results) -> Findings:
    """Return the findings of the study."""
    return tuple(_project(results))


def _project(results: Results) -> Iterator[Block]:
    project = results.plan.project
    yield Heading(1, (f"Findings: {project.name}" if project.name else "Findings",))
    if results.stub:
        yield Paragraph((Strong("Stub run: no handler was called and nothing was measured."),))
    if project.hypothesis:
        yield Heading(2, ("Hypothesis",))
        yield Paragraph((project.hypothesis.strip(),))
        if not results.stub:
            yield Bullets(tuple((line,) for line in narrative.outcomes(list(results.experiments.values()))))
    lines = () if results.stub else (line for s in results.experiments.values() for line in _found(s))
    found = list(itertools.islice(lines, _SHOWN_FINDINGS + 1))
    if found:
        yield Heading(2, ("What was found",))
        yield Bullets(tuple(found[:_SHOWN_FINDINGS]))
    if len(found) > _SHOWN_FINDINGS:
        yield Paragraph(("More is in the findings of the experiments.",))
    yield Heading(2, ("Experiments",))
    yield Paragraph((_overview(results.experiments.values()),))
    yield from _phases(list(results.experiments.values()))
    if results.gates:
        yield Heading(2, ("Gates",))
        for gate in results.gates.values():
            yield from _gate(gate)
    review = [line for state in results.experiments.values() for line in _review_lines(state)]
    if review and not results.stub:
        yield Heading(2, ("To review",))
        yield Bullets(tuple(review))
    yield Heading(2, ("Next steps",))
    yield Bullets(tuple(_project_steps(results)))


def _phases(states: Sequence[ExperimentState]) -> Iterator[Block]:
    """Yield one row per experiment, under a heading for each phase if there are several."""
    phases = list(dict.fromkeys(state.plan.phase for state in states))
    for phase in sorted(phases, key=lambda phase: phase is None):
        if len(phases) > 1:
            yield Heading(3, (f"Phase {phase}" if phase is not None else "Without a phase",))
        yield Table(
            ("Experiment", "Status", "Recommendation", "Confidence", "Key metrics"),
            tuple(_experiment_row(state) for state in states if state.plan.phase == phase),
        )


def _found(state: ExperimentState) -> Iterator[Spans]:
    """Yield the findings from handlers, verbatim; with several seeds, only the first."""
    if not state.started:
        return
    yield (Code(state.id), f": {narrative.answer(state)}")
    decisive = {criterion.source for criterion in state.plan.success_criteria.values()}
    for sub in state.subs.values():
        with_finding = [c for c in sub.currents if c.status is Status.COMPLETED and c.record.finding.strip()]
        with_finding.sort(key=lambda c: (c.sub_experiment, c.variant) not in decisive)
        if with_finding:
            first = with_finding[0].record.finding.strip().splitlines()[0]
            of_several = f", one of {len(sub.currents)}" if len(sub.currents) > 1 else ""
            shown = f"{first[:_SHOWN_TEXT]}{'…' if len(first) > _SHOWN_TEXT else ''}"
            yield (Code(with_finding[0].label), f"{of_several}: {shown}")


def _review_lines(state: ExperimentState) -> Iterator[Spans]:
    items = review_items(state)
    for item in items[:_SHOWN_ISSUES]:
        yield (Code(state.id), f": {item}")
    if len(items) > _SHOWN_ISSUES:
        yield (Code(state.id), f": {len(items) - _SHOWN_ISSUES} more in its own findings.")


def _overview(states: Iterable[ExperimentState]) -> str:
    groups: dict[str, int] = {}
    for state in states:
        word = _in_a_word(state)
        groups[word] = groups.get(word, 0) + 1
    total = count(sum(groups.values()), "experiment")
    return f"{total}: {', '.join(f'{number} {word}' for word, number in groups.items())}."


def _in_a_word(state: ExperimentState) -> str:
    if state.replaced_by is not None:
        return "replaced"
    if state.status is Status.NOT_STARTED:
        return "not started"
    advice = str(state.assessment.recommendation)
    return f"{advice} with a waiver" if state.waived and advice == "proceed" else advice


def _experiment_row(state: ExperimentState) -> tuple[Spans, ...]:
    name: Spans = (
        (Link(state.id, f"experiments/{state.id}/FINDINGS.md"),) if state.started else (Code(state.id),)
    )
    metrics = [
        f"{name} {measured_text(criterion, state.criteria[name])} {verdict_text(state.criteria[name])}"
        for name, criterion in state.plan.success_criteria.items()
        if state.criteria[name].value is not None
    ]
    assessed = state.started or bool(state.plan.blockers)
    return (
        (*name, f" — {state.plan.name}" if state.plan.name else ""),
        (str(state.status).replace("_", " "),),
        (Strong(state.recommendation_text) if assessed else DASH,),
        (str(state.assessment.confidence) if assessed else DASH,),
        ("; ".join(metrics) or DASH,),
    )


def _gate(gate: GateResult) -> Iterator[Block]:
    title = f"{gate.plan.id} — {gate.plan.name}" if gate.plan.name else gate.plan.id
    yield Paragraph(
        (
            Strong(f"{title}: {str(gate.state).replace('_', ' ')}"),
            f". {unlocks(gate)}" if gate.plan.unlocks is not None else "",
        )
    )
    yield Bullets(tuple((line,) for line in gate.lines))
    claim = gate.plan.status
    if claim is not None and str(claim) != str(gate.state):
        yield Paragraph(("The plan claims ", Code(str(claim)), f"; measured: {gate.state}."))


def unlocks(gate: GateResult) -> str:
    """Return what a gate unlocks: ``It would unlock: Phase 2``, or an empty string."""
    if gate.plan.unlocks is None:
        return ""
    what = gate.plan.unlocks if isinstance(gate.plan.unlocks, str) else sentence_list(list(gate.plan.unlocks))
    verb = "has unlocked" if gate.state in HAS_PASSED else "would unlock"
    return f"It {verb}: {what}"


def _project_steps(results: Results) -> Iterator[Spans]:
    found = False
    for state in results.experiments.values():
        if state.started and state.replaced_by is None:
            for step in next_steps(state):
                found = True
                yield (Code(state.id), f": {step}")
    waiting: Sequence[str] = [s.id for s in results.experiments.values() if not s.started]
    if waiting:
        yield (f"Not started: {sentence_list(list(waiting))}.",)
    elif not found:
        yield ("This plan is complete; nothing is left to do.",)
