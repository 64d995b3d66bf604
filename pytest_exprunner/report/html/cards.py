"""The report's data for one experiment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_exprunner._util.serialization import Plain, as_float, number
from pytest_exprunner.model.attempt import AttemptRecord, Recommendation, Status, Verdict
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.model.reasons import StubRun
from pytest_exprunner.model.results import ExperimentState, Results, SubState
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.report import experiment as findings
from pytest_exprunner.report.attempts import attempts_table
from pytest_exprunner.report.blocks import Block
from pytest_exprunner.report.html.detail import Detail
from pytest_exprunner.report.html.pictures import Pictures
from pytest_exprunner.report.html.scales import Bar, Point, Strip, bar, has_axis, strip
from pytest_exprunner.report.html.subs import SubCard, build_sub
from pytest_exprunner.store.study import Study
from pytest_exprunner.verdicts import narrative
from pytest_exprunner.verdicts.formatting import (
    DASH,
    explain,
    failure_text,
    measured_text,
    number_text,
    tier_text,
)
from pytest_exprunner.verdicts.outliers import outliers


@dataclass(frozen=True, slots=True)
class CriterionCard:
    """One criterion: its scale, its numbers and their meaning."""

    name: str
    verdict: str
    words: str
    value: str
    target: str
    acceptable: str
    failure: str
    sentence: str
    bar: Bar


@dataclass(frozen=True, slots=True)
class Card:
    """One experiment."""

    id: str
    name: str
    kind: str
    phase: str
    description: str
    status: str
    says: str
    tone: str
    confidence: str
    confidence_notes: str
    notes: str
    replaced_by: str
    started: bool
    measured: tuple[CriterionCard, ...]
    answer: str
    told: tuple[tuple[str, tuple[str, ...]], ...]
    """Lists of sentences, each with its title."""
    subs: tuple[SubCard, ...]
    more_subs: int
    rows: bool
    """Whether to show sub-experiments as rows of a table."""
    strips: tuple[Strip, ...]
    attempts: Block | None
    more_attempts: int
    prose: tuple[Block, ...]
    steps: tuple[str, ...]
    audit: tuple[tuple[str, str], ...]
    """Kind and text."""
    provenance: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]
    """Text, and a path relative to the results folder."""
    folder: str
    """The experiment's folder, relative to the results folder."""


def tone(state: ExperimentState) -> str:
    """Return one word for the state of an experiment; it selects colours and letters."""
    if state.replaced_by is not None:
        return "replaced"
    if state.plan.blockers or state.status is Status.BLOCKED:
        return "blocked"
    if state.status is Status.FAILED:
        return "failed"
    if state.status is Status.NOT_STARTED:
        return "not_started"
    if state.status is Status.IN_PROGRESS:
        return "in_progress"
    if state.assessment.recommendation is Recommendation.PROCEED:
        return "waived" if state.waived else "proceed"
    return str(state.assessment.recommendation)


def build_card(
    state: ExperimentState,
    study: Study,
    results: Results,
    audit: Sequence[tuple[str, str]],
    detail: Detail,
    pictures: Pictures,
) -> Card:
    """Return the card of an experiment; ``audit`` has the kind and text of each change and note."""
    plan, layout = state.plan, study.layout
    attempts = study.attempts(plan.id)
    folder = layout.experiment(plan.id)
    subs = list(state.subs.values())
    if detail.subs < len(subs):
        subs.sort(key=lambda sub: sub.status is Status.COMPLETED)
    return Card(
        id=plan.id,
        name=plan.name or "",
        kind=plan.type or "",
        phase="" if plan.phase is None else str(plan.phase),
        description=detail.cut(plan.description or ""),
        status=str(state.status).replace("_", " "),
        says=state.recommendation_text,
        tone=tone(state),
        confidence=str(state.assessment.confidence),
        confidence_notes=state.assessment.confidence_notes,
        notes="" if results.stub else state.assessment.notes,
        replaced_by=state.replaced_by or "",
        started=state.started,
        measured=tuple(_measured(state, results, detail)),
        answer="" if results.stub else narrative.answer(state),
        told=() if results.stub else tuple(_finding_lists(state, results, detail)),
        subs=tuple(
            build_sub(state, sub, attempts.get(sub.id, ()), detail, pictures) for sub in subs[: detail.subs]
        ),
        more_subs=max(len(subs) - detail.subs, 0),
        rows=detail.rows,
        strips=tuple(_strips(state)) if detail.attempts else (),
        attempts=_history(state, detail),
        more_attempts=max(_repeated(state) - detail.attempts, 0),
        prose=tuple(findings.claims(state)),
        steps=() if detail.rows or results.stub else tuple(findings.next_steps(state)),
        audit=tuple((kind, detail.cut(text)) for kind, text in audit if kind == "changed" or not detail.rows),
        provenance=() if detail.rows else tuple(_provenance(state, detail)),
        links=tuple(_links(layout, plan.id)),
        folder=os.path.relpath(folder, layout.base).replace(os.sep, "/"),
    )


def _finding_lists(
    state: ExperimentState, results: Results, detail: Detail
) -> Iterator[tuple[str, tuple[str, ...]]]:
    lists = {
        "To review": findings.review_briefly(state),
        "Unexpected": outliers(state),
        "Implications": () if detail.rows else narrative.implications(state, results.plan),
        "Caveats": () if detail.rows else narrative.caveats(state),
    }
    for title, texts in lists.items():
        found = tuple(detail.cut(text) for text in texts)
        if found:
            yield title, found


def _measured(state: ExperimentState, results: Results, detail: Detail) -> Iterator[CriterionCard]:
    for name, criterion in state.plan.success_criteria.items():
        result = state.criteria[name]
        if results.stub:
            result = CriterionResult(name, Verdict.NOT_MEASURED, reason=StubRun())
        sentence = explain(criterion, result)
        if criterion.note:
            sentence += f" {criterion.note.strip()}"
        yield CriterionCard(
            name=name,
            verdict=str(result.verdict),
            words=findings.verdict_cell(state, criterion, result),
            value=measured_text(criterion, result) if result.value is not None else DASH,
            target=tier_text(criterion, criterion.target),
            acceptable=tier_text(criterion, criterion.acceptable),
            failure=failure_text(criterion),
            sentence=detail.cut(sentence),
            bar=bar(criterion, result),
        )


def _history(state: ExperimentState, detail: Detail) -> Block | None:
    return attempts_table(state, detail.attempts) if detail.attempts and _repeated(state) else None


def _repeated(state: ExperimentState) -> int:
    """Return how many attempts the history contains."""
    return sum(len(sub.history) for sub in state.subs.values() if len(sub.history) > 1)


def _strips(state: ExperimentState) -> Iterator[Strip]:
    """Yield, for each criterion with several values, its values over attempts."""
    for name, criterion in state.plan.success_criteria.items():
        points = [
            _point(sub, past, criterion, as_float(value))
            for sub, past in _in_time(state)
            if name in past.verdicts
            and (value := number(past.metrics.get(criterion.metric_name))) is not None
        ]
        if len(points) > 1 and criterion.baseline is None and has_axis(criterion):
            yield strip(criterion, points)


def _in_time(state: ExperimentState) -> list[tuple[SubState, AttemptRecord]]:
    every = [(sub, past) for sub in state.subs.values() for past in sub.history]
    return sorted(every, key=lambda pair: (pair[1].started_at or "", pair[1].key.sequence))


def _point(sub: SubState, past: AttemptRecord, criterion: Criterion, value: float) -> Point:
    verdict = past.verdicts[criterion.name]
    counts = any(c.attempt == past.key.sequence for c in sub.currents)
    name = past.label
    text = f"{name} attempt {past.key.sequence}: {number_text(value)}, {verdict.replace('_', ' ')}"
    return Point(f"{text}{' (counts)' if counts else ''}", value, verdict, counts)


_TOLD_OF_ORIGIN = ("commit", "python", "platform", "cpu", "command")


def _provenance(state: ExperimentState, detail: Detail) -> Iterator[tuple[str, str]]:
    currents = [c for sub in state.subs.values() for c in sub.currents if c.record.provenance]
    if not currents:
        return
    newest = max(currents, key=lambda c: (c.record.started_at or "", c.sub_experiment))
    origin = newest.record.provenance
    yield "run", newest.record.run
    for name in _TOLD_OF_ORIGIN if detail.machine else ("commit",):
        if origin.get(name):
            dirty = " with uncommitted changes" if name == "commit" and origin.get("dirty") else ""
            yield name, f"{_plain_text(origin[name])}{dirty}"
    if detail.machine and isinstance(origin.get("packages"), Mapping):
        yield "packages", _plain_text(origin["packages"])
    seconds = sum(c.record.duration_s or 0.0 for sub in state.subs.values() for c in sub.currents)
    yield "time of the current attempts", f"{number_text(seconds)} s"


def _plain_text(value: Plain) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain_text(part)}" for name, part in value.items())
    return ", ".join(map(_plain_text, value)) if isinstance(value, list | tuple) else str(value)


def _links(layout: Layout, experiment: str) -> Iterator[tuple[str, str]]:
    for text, file in (
        ("plan", layout.plan_of(experiment)),
        ("findings", layout.findings_of(experiment)),
        ("results", layout.results_of(experiment)),
    ):
        if file.is_file():
            yield text, os.path.relpath(file, layout.base).replace(os.sep, "/")
