"""What a report shows of one experiment and of its sub-experiments, as data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_exprunner import curves, findings, meaning
from pytest_exprunner.blocks import Block, Paragraph
from pytest_exprunner.curves import Curve
from pytest_exprunner.diagnose import more_of
from pytest_exprunner.findings_attempts import attempts_table, declared, ended, mean_text
from pytest_exprunner.layout import ARTIFACTS, Layout, artifact_prefix
from pytest_exprunner.plan_criterion import Criterion
from pytest_exprunner.previews import Preview, preview
from pytest_exprunner.records import (
    AttemptKey,
    AttemptRecord,
    CriterionResult,
    Recommendation,
    Status,
    Verdict,
    label,
    stays_inside,
)
from pytest_exprunner.render.scales import Bar, Point, Strip, bar, has_axis, strip
from pytest_exprunner.state import Current, ExperimentState, Past, Results, SubState
from pytest_exprunner.study import Study
from pytest_exprunner.unexpected import surprises
from pytest_exprunner.values import Plain, as_float, number
from pytest_exprunner.wording import DASH, explain, failure_text, measured_text, number_text, tier_text

_IMAGES = 20_000_000
"""Bytes of images in a page."""
_OVERLAID = 8
_VALUES = 12
_WORD = 60


@dataclass(frozen=True, slots=True)
class Detail:
    """How much a report shows of each thing; a large study is told with less of each."""

    buckets: int
    """Parts of a curve's axis, each of which keeps what is highest and lowest in it."""
    charts: int
    """Of each sub-experiment."""
    metrics: int
    texts: int
    """Characters of a finding."""
    attempts: int
    machine: bool
    """Whether packages and machine are told."""
    review: int = 200
    """Lines of the first screen's lists."""
    rows: bool = False
    """Sub-experiments as rows of a table, without what they logged and saved."""
    subs: int = 100_000
    """Sub-experiments of each experiment."""


DETAILS = (
    Detail(200, 24, 60, 20_000, 200, machine=True),
    Detail(60, 6, 20, 2_000, 40, machine=True),
    Detail(20, 2, 8, 400, 10, machine=False, review=60),
    Detail(0, 0, 3, 120, 10, machine=False, review=30, rows=True),
    Detail(0, 0, 2, 50, 0, machine=False, review=12, rows=True),
    Detail(0, 0, 1, 30, 0, machine=False, review=12, rows=True, subs=8),
    Detail(0, 0, 0, 0, 0, machine=False, review=12, rows=True, subs=0),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One criterion: its bar, its numbers and what they mean."""

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
class Told:
    """What is told of one attempt that counts."""

    label: str
    """Where there are several."""
    ended: tuple[Block, ...]
    hints: tuple[tuple[str, str, str, str], ...]
    """Cause, fix, snippet, and the command that tells more."""
    said: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class SubCard:
    """One sub-experiment."""

    id: str
    name: str
    objective: str
    status: str
    reason: str
    told: tuple[Told, ...]
    finding: str
    """In a few words, for a row."""
    numbers: tuple[tuple[str, str, bool], ...]
    """Name, value, and whether a criterion looks at it; of several attempts each value with its label."""
    more_numbers: int
    curves: tuple[Curve, ...]
    more_curves: int
    more_lines: int
    """Attempts that count and are not drawn."""
    no_journal: bool
    """An attempt that counts logged something, and its journal is not here."""
    artifacts: tuple[Preview, ...]


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
    measured: tuple[Measured, ...]
    answer: str
    told: tuple[tuple[str, tuple[str, ...]], ...]
    """Lists of sentences, each with its title."""
    subs: tuple[SubCard, ...]
    more_subs: int
    rows: bool
    """Show sub-experiments as rows of a table."""
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
    """One word for where an experiment stands, which colours and letters follow."""
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
    """Return what is shown of an experiment; ``audit`` is kind and text of what moved, or is kept."""
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
        description=_cut(plan.description or "", detail),
        status=str(state.status).replace("_", " "),
        says=state.says,
        tone=tone(state),
        confidence=str(state.assessment.confidence),
        confidence_notes=state.assessment.confidence_notes,
        notes="" if results.stub else state.assessment.notes,
        replaced_by=state.replaced_by or "",
        started=state.started,
        measured=tuple(_measured(state, results, detail)),
        answer="" if results.stub else meaning.answer(state),
        told=() if results.stub else tuple(_told_apart(state, results, detail)),
        subs=tuple(
            _sub(state, sub, attempts.get(sub.id, ()), detail, pictures) for sub in subs[: detail.subs]
        ),
        more_subs=max(len(subs) - detail.subs, 0),
        rows=detail.rows,
        strips=tuple(_strips(state)) if detail.attempts else (),
        attempts=_history(state, detail),
        more_attempts=max(_repeated(state) - detail.attempts, 0),
        prose=tuple(findings.claims(state)),
        steps=() if detail.rows or results.stub else tuple(findings.next_steps(state)),
        audit=tuple((kind, _cut(text, detail)) for kind, text in audit if kind == "moved" or not detail.rows),
        provenance=() if detail.rows else tuple(_provenance(state, detail)),
        links=tuple(_links(layout, plan.id)),
        folder=os.path.relpath(folder, layout.base).replace(os.sep, "/"),
    )


def _told_apart(
    state: ExperimentState, results: Results, detail: Detail
) -> Iterator[tuple[str, tuple[str, ...]]]:
    lists = {
        "For a person to look at": findings.review_briefly(state),
        "Unexpected": surprises(state),
        "Implications": () if detail.rows else meaning.implications(state, results.plan),
        "Caveats": () if detail.rows else meaning.caveats(state),
    }
    for title, texts in lists.items():
        found = tuple(_cut(text, detail) for text in texts)
        if found:
            yield title, found


def _cut(text: str, detail: Detail) -> str:
    flat = text.strip()
    return flat if len(flat) <= detail.texts else f"{flat[: detail.texts - 1]}…"


def _measured(state: ExperimentState, results: Results, detail: Detail) -> Iterator[Measured]:
    for name, criterion in state.plan.success_criteria.items():
        result = state.criteria[name]
        if results.stub:
            result = CriterionResult(name, Verdict.NOT_MEASURED, reason="this is a stub run")
        sentence = explain(criterion, result)
        if criterion.note:
            sentence += f" {criterion.note.strip()}"
        yield Measured(
            name=name,
            verdict=str(result.verdict),
            words=findings.verdict_cell(state, criterion, result),
            value=measured_text(criterion, result) if result.value is not None else DASH,
            target=tier_text(criterion, criterion.target),
            acceptable=tier_text(criterion, criterion.acceptable),
            failure=failure_text(criterion),
            sentence=_cut(sentence, detail),
            bar=bar(criterion, result),
        )


def _history(state: ExperimentState, detail: Detail) -> Block | None:
    return attempts_table(state, detail.attempts) if detail.attempts and _repeated(state) else None


def _repeated(state: ExperimentState) -> int:
    """Return how many attempts a history tells of."""
    return sum(len(sub.history) for sub in state.subs.values() if len(sub.history) > 1)


def _strips(state: ExperimentState) -> Iterator[Strip]:
    """Return values over attempts, of each criterion that has more than one."""
    for name, criterion in state.plan.success_criteria.items():
        points = [
            _point(sub, past, criterion, as_float(value))
            for sub, past in _in_time(state)
            if name in past.verdicts and (value := number(past.values.get(criterion.metric_name))) is not None
        ]
        if len(points) > 1 and criterion.baseline is None and has_axis(criterion):
            yield strip(criterion, points)


def _in_time(state: ExperimentState) -> list[tuple[SubState, Past]]:
    every = [(sub, past) for sub in state.subs.values() for past in sub.history]
    return sorted(every, key=lambda pair: (pair[1].started_at or "", pair[1].attempt))


def _point(sub: SubState, past: Past, criterion: Criterion, value: float) -> Point:
    verdict = past.verdicts[criterion.name]
    counts = any(c.attempt == past.attempt for c in sub.currents)
    name = label(sub.id, past.variant, past.seed)
    text = f"{name} attempt {past.attempt}: {number_text(value)}, {verdict.replace('_', ' ')}"
    return Point(f"{text}{' (counts)' if counts else ''}", value, verdict, counts)


_TOLD_OF_ORIGIN = ("commit", "python", "platform", "cpu", "command")


def _provenance(state: ExperimentState, detail: Detail) -> Iterator[tuple[str, str]]:
    currents = [c for sub in state.subs.values() for c in sub.currents if c.provenance]
    if not currents:
        return
    newest = max(currents, key=lambda c: (c.started_at or "", c.sub_experiment))
    origin = newest.provenance
    yield "run", newest.run
    for name in _TOLD_OF_ORIGIN if detail.machine else ("commit",):
        if origin.get(name):
            dirty = " with uncommitted changes" if name == "commit" and origin.get("dirty") else ""
            yield name, f"{_in_words(origin[name])}{dirty}"
    if detail.machine and isinstance(origin.get("packages"), Mapping):
        yield "packages", _in_words(origin["packages"])
    seconds = sum(c.duration_s or 0.0 for sub in state.subs.values() for c in sub.currents)
    yield "time of the attempts that count", f"{number_text(seconds)} s"


def _in_words(value: Plain) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(part)}" for name, part in value.items())
    return ", ".join(map(_in_words, value)) if isinstance(value, list | tuple) else str(value)


def _links(layout: Layout, experiment: str) -> Iterator[tuple[str, str]]:
    for text, file in (
        ("plan", layout.plan_of(experiment)),
        ("findings", layout.findings_of(experiment)),
        ("results", layout.results_of(experiment)),
    ):
        if file.is_file():
            yield text, os.path.relpath(file, layout.base).replace(os.sep, "/")


# --- one sub-experiment -----------------------------------------------------------------------


def _sub(
    state: ExperimentState,
    sub: SubState,
    attempts: Sequence[AttemptRecord],
    detail: Detail,
    pictures: Pictures,
) -> SubCard:
    planned = state.plan.sub_experiments[sub.id]
    numbers = list(_numbers(state, sub))
    found, missing = _curves(sub, attempts, pictures.layout, detail) if detail.charts else ([], False)
    return SubCard(
        id=sub.id,
        name=planned.name or "",
        objective=_cut(planned.objective or "", detail),
        status=str(sub.status),
        reason=_cut(sub.reason, detail),
        told=() if detail.rows else tuple(_told(current, sub, detail) for current in sub.currents),
        finding=_cut(sub.reason or next((c.finding for c in sub.currents if c.finding), ""), detail),
        numbers=tuple(numbers[: detail.metrics]),
        more_numbers=max(len(numbers) - detail.metrics, 0),
        curves=tuple(found[: detail.charts]),
        more_curves=max(len(found) - detail.charts, 0),
        more_lines=max(len(sub.currents) - _OVERLAID, 0) if found else 0,
        no_journal=missing,
        artifacts=() if detail.rows else tuple(pictures.of(state.plan.id, sub)),
    )


def _told(current: Current, sub: SubState, detail: Detail) -> Told:
    return Told(
        label=current.label if len(sub.currents) > 1 else "",
        ended=tuple(ended(current)),
        hints=tuple((hint.cause, hint.fix, hint.snippet, more_of(hint)) for hint in current.hints),
        said=(*declared(current), *_paragraphs(_cut(current.finding, detail))),
    )


def _paragraphs(text: str) -> Iterator[Block]:
    return (Paragraph((part,)) for part in text.split("\n\n") if part.strip())


def _numbers(state: ExperimentState, sub: SubState) -> Iterator[tuple[str, str, bool]]:
    """Each metric, those that criteria look at first; of several attempts their values in a row."""
    judged = {
        c.metric_name: tuple(t for t in (c.target, c.acceptable, c.failure) if t is not None)
        for c in state.plan.success_criteria.values()
    }
    names = dict.fromkeys(name for current in sub.currents for name in current.metrics)
    for name in sorted(names, key=lambda name: name not in judged):
        values = [(c, number(c.metrics.get(name))) for c in sub.currents]
        if any(value is not None for _current, value in values):
            texts = [
                f"{_which(current)}{number_text(value, judged.get(name, ()))}"
                for current, value in values[:_VALUES]
            ]
            more = f" and {len(values) - _VALUES} more" if len(values) > _VALUES else ""
            yield name, f"{_mean_of(sub, values)}{'; '.join(texts)}{more}", name in judged
        elif len(sub.currents) == 1 and isinstance(word := sub.currents[0].metrics[name], str | bool):
            yield name, str(word)[:_WORD], name in judged


def _mean_of(sub: SubState, values: Sequence[tuple[Current, float | int | None]]) -> str:
    """``mean 0.942 (SD 0.008): ``: of the seeds of one variant."""
    numbers = [as_float(value) for _current, value in values if value is not None]
    one = len({current.variant for current in sub.currents}) == 1 and sub.currents[0].seed is not None
    return f"mean {mean_text(numbers)}: " if one and len(numbers) > 1 else ""


def _which(current: Current) -> str:
    """``lr=0.1, seed 2: ``: which of several attempts a value is of; empty where there is only one."""
    parts = [current.variant] if current.variant is not None else []
    parts += [f"seed {current.seed}"] if current.seed is not None else []
    return f"{', '.join(parts)}: " if parts else ""


def _curves(
    sub: SubState,
    attempts: Sequence[AttemptRecord],
    layout: Layout,
    detail: Detail,
) -> tuple[list[Curve], bool]:
    """Return the curves of the attempts that count and of the latest others; whether a journal is missing."""
    counting = {c.attempt for c in sub.currents}
    chosen = [a for a in attempts if a.key.sequence in counting][:_OVERLAID]
    others = [a for a in attempts if a.key.sequence not in counting]
    room = _OVERLAID - len(chosen)
    chosen += others[len(others) - room :] if 0 < room < len(others) else others if room > 0 else []
    found: dict[str, list[tuple[str, bool, curves.Logged]]] = {}
    missing = False
    for record in sorted(chosen, key=lambda a: a.key.sequence):
        logged = curves.read_logged(layout.attempt(record.key))
        missing = missing or (logged is None and bool(record.logged) and record.key.sequence in counting)
        for name, values in (logged or {}).items():
            if len(values.values) > 1:
                text = _line_name(record.key)
                found.setdefault(name, []).append((text, record.key.sequence in counting, values))
    return [curves.curve(name, lines, buckets=detail.buckets) for name, lines in found.items()], missing


def _line_name(key: AttemptKey) -> str:
    which = [key.variant] if key.variant is not None else []
    which += [f"seed {key.seed}"] if key.seed is not None else []
    return f"{', '.join(which)} (attempt {key.sequence})" if which else f"attempt {key.sequence}"


class Pictures:
    """Previews of artifacts, as long as there is room for images."""

    def __init__(self, layout: Layout) -> None:
        """Start with all the room that a page has."""
        self.layout = layout
        self._left = _IMAGES

    def of(self, experiment: str, sub: SubState) -> Iterator[Preview]:
        """Yield the artifacts of the attempts that count."""
        for current in sub.currents:
            for artifact in current.artifacts:
                found = preview(
                    artifact, self._file(experiment, current, artifact.path), images_left=self._left
                )
                self._left -= len(found.image)
                yield replace(found, whose=current.label if len(sub.currents) > 1 else "")

    def _file(self, experiment: str, current: Current, path: str) -> Path | None:
        """Return the published file, or the attempt's own; None where that would be somebody else's."""
        root = self.layout.experiment(experiment)
        published = root / path
        if not _is_file(published) and current.attempt is not None:
            prefix = artifact_prefix(current.sub_experiment, current.variant, current.seed)
            key = AttemptKey(experiment, current.sub_experiment, current.attempt)
            published = self.layout.attempt(key) / f"{ARTIFACTS}{path[len(prefix) :]}"
        # What a results file or a link says may lead anywhere.
        try:
            inside = published.resolve().is_relative_to(root.resolve())
        except (OSError, ValueError):  # a loop of links, or a path that no file can have
            return None
        return published if inside and stays_inside(path) else None


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False
