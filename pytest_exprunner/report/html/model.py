"""The report as data: everything the page shows about a study, from stored files only."""

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
"""Maximum bytes of a report without its images."""


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
    """The content of the page."""

    title: str
    hypothesis: str
    stub: bool
    as_of: str
    totals: tuple[tuple[str, int, str], ...]
    """Label, count and tone."""
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
    """The name of each experiment and gate."""


@dataclass(frozen=True, slots=True)
class ReportContext:
    """The input of a report in addition to the stored attempts."""

    known: Known
    audit: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """Changes and notes by experiment: kind and text."""
    only: tuple[str, ...] = ()
    """The experiments to show; all of them if empty."""


def build(study: Study, results: Results, context: ReportContext, detail: Detail = DETAILS[0]) -> Report:
    """Return the report of a study at the given level of detail."""
    pictures = Pictures(study.layout)
    states = [
        state for name, state in results.experiments.items() if not context.only or name in context.only
    ]
    cards = tuple(
        build_card(state, study, results, context.audit.get(state.id, ()), detail, pictures)
        for state in states
    )
    gates = tuple(_gate(gate) for gate in results.gates.values())
    review = [
        (state.id, item)
        for state in states
        for item in ([] if results.stub else experiment.review_items(state))
    ]
    changed = [
        (name, f"changed after there was a result: {text}")
        for name, entries in context.audit.items()
        for kind, text in entries
        if kind == "changed" and (not context.only or name in context.only)
    ]
    review += changed
    steps = [] if results.stub else advise(results, context.known)
    project = results.plan.project
    return Report(
        title=_title(project.name or "Research study", context.only),
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
    """Return when the newest attempt ended, so that the report does not depend on when it is written."""
    times = [
        current.record.finished_at or current.record.started_at or ""
        for state in results.experiments.values()
        for sub in state.subs.values()
        for current in sub.currents
    ]
    newest = max(times, default="")
    return f"{newest[:10]} {newest[11:16]} UTC" if newest else ""


def _totals(cards: Sequence[Card]) -> tuple[tuple[str, int, str], ...]:
    tones = [(card.tone.replace("_", " "), card.tone) for card in cards]
    return tuple((word, tones.count((word, tone)), tone) for word, tone in dict.fromkeys(tones))


def _gate(gate: GateResult) -> GateCard:
    unlocks = gate.plan.unlocks
    return GateCard(
        gate.plan.id,
        gate.plan.name or "",
        str(gate.state),
        gate.lines,
        (unlocks if isinstance(unlocks, str) else ", ".join(unlocks)) if unlocks else "",
    )
