"""The report as data: what a page about the whole study shows, from stored files alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_exprunner.model.results import GateResult, Results
from pytest_exprunner.report import experiment
from pytest_exprunner.report.html.cards import Card, build_card, tone
from pytest_exprunner.report.html.detail import DETAILS, Detail
from pytest_exprunner.report.html.pictures import Pictures
from pytest_exprunner.report.html.plan_graph import Picture, draw
from pytest_exprunner.schedule.advice import Advice, Known, advise
from pytest_exprunner.store.study import Study

LARGEST = 500_000
"""Bytes of a report without its images."""


@dataclass(frozen=True, slots=True)
class GateCard:
    """One gate."""

    id: str
    name: str
    state: str
    lines: tuple[str, ...]
    unlocks: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the page shows."""

    title: str
    hypothesis: str
    stub: bool
    as_of: str
    totals: tuple[tuple[str, int, str], ...]
    """Word, number, tone."""
    picture: Picture
    review: tuple[tuple[str, str], ...]
    more_review: int
    steps: tuple[Advice, ...]
    more_steps: int
    gates: tuple[GateCard, ...]
    experiments: tuple[Card, ...]
    notes: tuple[str, ...]
    tones: Mapping[str, str] = field(default_factory=dict)
    """The tone of each experiment and gate."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What each of them is called."""


@dataclass(frozen=True, slots=True)
class ReportContext:
    """What is known beside the stored attempts."""

    known: Known
    audit: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """What moved, or is kept and told, by experiment: kind and text."""
    only: tuple[str, ...] = ()
    """Experiments that are shown alone; all of them where none is named."""


def build(study: Study, results: Results, beside: ReportContext, detail: Detail = DETAILS[0]) -> Report:
    """Return the report of a study, with as much of each thing as ``detail`` says."""
    pictures = Pictures(study.layout)
    states = [state for name, state in results.experiments.items() if not beside.only or name in beside.only]
    cards = tuple(
        build_card(state, study, results, beside.audit.get(state.id, ()), detail, pictures)
        for state in states
    )
    gates = tuple(_gate(gate) for gate in results.gates.values())
    review = [
        (state.id, item)
        for state in states
        for item in ([] if results.stub else experiment.review_items(state))
    ]
    moved = [
        (name, f"changed after there was a result: {text}")
        for name, entries in beside.audit.items()
        for kind, text in entries
        if kind == "changed" and (not beside.only or name in beside.only)
    ]
    review += moved
    steps = [] if results.stub else advise(results, beside.known)
    project = results.plan.project
    return Report(
        title=_title(project.name or "Research study", beside.only),
        hypothesis=(project.hypothesis or "").strip(),
        stub=results.stub,
        as_of=_as_of(results),
        totals=_totals(cards),
        picture=draw(results.plan),
        review=tuple(review[: detail.review]),
        more_review=max(len(review) - detail.review, 0),
        steps=tuple(steps[: detail.review]),
        more_steps=max(len(steps) - detail.review, 0),
        gates=gates,
        experiments=cards,
        notes=(*study.problems, *study.edits),
        tones={name: tone(state) for name, state in results.experiments.items()}
        | {gate.id: gate.state for gate in gates},
        names={name: state.plan.name or name for name, state in results.experiments.items()}
        | {gate.id: gate.name or gate.id for gate in gates},
    )


def _title(name: str, only: Sequence[str]) -> str:
    return f"{name}: {', '.join(only)}" if only else name


def _as_of(results: Results) -> str:
    """When the newest attempt ended: a report says nothing of when it was written."""
    times = [
        current.record.finished_at or current.record.started_at or ""
        for state in results.experiments.values()
        for sub in state.subs.values()
        for current in sub.currents
    ]
    newest = max(times, default="")
    return f"{newest[:10]} {newest[11:16]} UTC" if newest else ""


def _totals(cards: Sequence[Card]) -> tuple[tuple[str, int, str], ...]:
    words = [(card.tone.replace("_", " "), card.tone) for card in cards]
    return tuple((word, words.count((word, tone)), tone) for word, tone in dict.fromkeys(words))


def _gate(gate: GateResult) -> GateCard:
    unlocks = gate.plan.unlocks
    return GateCard(
        gate.plan.id,
        gate.plan.name or "",
        str(gate.state),
        gate.lines,
        (unlocks if isinstance(unlocks, str) else ", ".join(unlocks)) if unlocks else "",
    )
