"""Build the result of a run as a document for a CI service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_exprunner._util.redaction import redacted
from pytest_exprunner._util.serialization import clipped
from pytest_exprunner.model.attempt import AttemptRecord, Level, Status
from pytest_exprunner.model.results import ExperimentState
from pytest_exprunner.report.blocks import (
    Block,
    Bullets,
    Code,
    Findings,
    Heading,
    Paragraph,
    Spans,
    Strong,
    Table,
)
from pytest_exprunner.report.experiment import criteria_table, next_steps, review_items
from pytest_exprunner.report.terminal import Summary, gates_to_show, heading
from pytest_exprunner.verdicts.formatting import explain

_SHOWN = 100
_LONGEST = 2_000


@dataclass(frozen=True, slots=True)
class Failed:
    """A failure without a record, with its message."""

    name: str
    text: str


def build(
    summary: Summary | None,
    *,
    ended: str,
    records: Sequence[AttemptRecord],
    failed: Sequence[Failed],
    findings: str,
    level: Level,
) -> Findings:
    """Return the document; ``ended`` is how the run ended, ``records`` are its attempts."""
    return tuple(_document(summary, ended, records, failed, findings, level))


def _document(
    summary: Summary | None,
    ended: str,
    records: Sequence[AttemptRecord],
    failed: Sequence[Failed],
    findings: str,
    level: Level,
) -> Iterator[Block]:
    title = heading(summary.results) if summary else "research plan"
    yield Heading(2, (f"{title[0].upper()}{title[1:]}",))
    counts = ", ".join(
        f"{name.lower()} {number}" for name, number in (summary.counts if summary else {}).items()
    )
    yield Paragraph((Strong(ended), f" — {counts}." if counts else ""))
    stub = summary is not None and summary.results.stub
    states = [summary.results.experiments[name] for name in summary.touched] if summary else []
    if stub:
        yield Paragraph(("Stub run: no handler was called and nothing was measured.",))
    if states:
        yield _overview(states, stub=stub)
    missed = [] if stub else _missed(states, level)
    causes = [
        *_causes(records),
        *missed,
        *_blocked(states),
        *((Code(f.name), f": {_one_line(f.text)}") for f in failed),
    ]
    yield from _listed("What failed", causes)
    gates = gates_to_show(summary) if summary else []
    lines = [_gate_line(g.plan.id, str(g.state), g.lines) for g in gates]
    yield from _listed("Gates", lines)
    if not stub:
        review = [(Code(state.id), f": {redacted(item)}") for state in states for item in review_items(state)]
        yield from _listed("To review", review)
    for state in states:
        if state.plan.success_criteria and state.started and not stub:
            yield Heading(3, (Code(state.id), f" — {state.plan.name}" if state.plan.name else ""))
            yield criteria_table(state)
    if not stub:
        steps = [(Code(s.id), f": {redacted(step)}") for s in states if s.started for step in next_steps(s)]
        yield from _listed("Next steps", steps)
    yield from _listed("Notes", [(redacted(note),) for note in (summary.notes if summary else ())])
    if summary:
        yield Paragraph(("Findings: ", Code(findings)))


def _listed(title: str, items: Sequence[Spans]) -> Iterator[Block]:
    if items:
        more: list[Spans] = [(f"… and {len(items) - _SHOWN} more",)] if len(items) > _SHOWN else []
        yield Heading(3, (title,))
        yield Bullets((*items[:_SHOWN], *more))


def _overview(states: Sequence[ExperimentState], *, stub: bool) -> Table:
    rows: list[tuple[Spans, ...]] = [
        (
            (Code(state.id), f" — {state.plan.name}" if state.plan.name else ""),
            (str(state.status).replace("_", " "),),
            ("stub" if stub else Strong(state.recommendation_text),),
            ("–" if stub else str(state.assessment.confidence),),
            ("" if stub else state.assessment.notes,),
        )
        for state in states
    ]
    return Table(("Experiment", "Status", "Recommendation", "Confidence", "Why"), tuple(rows))


def _causes(records: Sequence[AttemptRecord]) -> Iterator[Spans]:
    for record in records:
        if record.status is Status.COMPLETED:
            continue
        why = record.error.line if record.error else record.reason
        status = {Status.IN_PROGRESS: "unfinished"}.get(record.status, str(record.status))
        yield (Code(record.key.label), f" {status}: {_one_line(why)}{_hints(record)}")


def _missed(states: Sequence[ExperimentState], level: Level) -> Iterator[Spans]:
    for state in states:
        open_ = [*state.unmet(level), *state.without_value()] if state.replaced_by is None else []
        for result in open_:
            yield (Code(state.id), f": {explain(state.plan.success_criteria[result.name], result)}")


def _hints(record: AttemptRecord) -> str:
    found = getattr(record, "hints", ())
    return "".join(f" Hint: {_one_line(f'{hint.cause} {hint.fix}')}" for hint in found)


def _blocked(states: Sequence[ExperimentState]) -> Iterator[Spans]:
    for state in states:
        for sub in state.subs.values():
            if sub.status is Status.BLOCKED:
                yield (Code(sub.id), f" blocked: {_one_line(sub.reason)}")


def _gate_line(name: str, state: str, lines: Sequence[str]) -> Spans:
    why = f" — {redacted('; '.join(lines))}" if lines else ""
    return (Code(name), ": ", Strong(state.replace("_", " ")), why)


def _one_line(text: str) -> str:
    """Return a text on one line, with a separator between its lines."""
    return clipped(redacted("; ".join(line.strip() for line in text.splitlines() if line.strip())), _LONGEST)
