"""The history of a sub-experiment: every known attempt and its outcome."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_exprunner._util.errors import count
from pytest_exprunner._util.serialization import Plain, number
from pytest_exprunner._util.text import few
from pytest_exprunner.model.attempt import AttemptRecord, Status
from pytest_exprunner.model.results import ExperimentState, SubState
from pytest_exprunner.plan.models import Experiment
from pytest_exprunner.report.blocks import Block, Code, Findings, Heading, Paragraph, Spans, Strong, Table
from pytest_exprunner.verdicts.formatting import DASH, number_text, tiers_by_metric
from pytest_exprunner.verdicts.measurement import judged_metrics, judged_values

_SHOWN_TEXT = 120
_A_MINUTE = 60


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One attempt, reduced to what is worth comparing at a glance."""

    sub_experiment: str
    attempt: int
    variant: str | None
    seed: int | None
    run: str
    started_at: str | None
    status: str
    duration_s: float | None
    counts: bool
    """Whether it is a current attempt."""
    metrics: Mapping[str, Plain] = field(default_factory=dict)
    """The metrics that criteria judge."""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    dirty: bool | None = None
    why: str = ""
    """Why it did not complete."""
    on_disk: bool = True
    """Whether its record is on disk; otherwise only results.yaml mentions it."""


def history_of(sub: SubState, plan: Experiment) -> tuple[HistoryEntry, ...]:
    """Return every attempt of a sub-experiment, oldest first."""
    counting = {(current.attempt, current.record.run) for current in sub.currents}
    judged = judged_metrics(plan)
    return tuple(
        _entry(past, judged, counts=(past.key.sequence, past.run) in counting) for past in sub.history
    )


def _entry(past: AttemptRecord, judged: Collection[str], *, counts: bool) -> HistoryEntry:
    commit, dirty = past.provenance.get("commit"), past.provenance.get("dirty")
    why = past.error.line if past.error else past.reason
    return HistoryEntry(
        sub_experiment=past.key.sub_experiment,
        attempt=past.key.sequence,
        variant=past.key.variant,
        seed=past.key.seed,
        run=past.run,
        started_at=past.started_at or None,
        status=str(past.status),
        duration_s=past.duration_s,
        counts=counts,
        metrics=judged_values(past, judged),
        verdicts=past.verdicts,
        commit=commit if isinstance(commit, str) else None,
        dirty=dirty if isinstance(dirty, bool) else None,
        why="" if past.status is Status.COMPLETED else why,
        on_disk=not past.is_summary,
    )


def as_findings(state: ExperimentState, histories: Mapping[str, Sequence[HistoryEntry]]) -> Findings:
    """Return the histories of one experiment's sub-experiments as a document."""
    return tuple(_document(state.plan, histories))


def _document(plan: Experiment, histories: Mapping[str, Sequence[HistoryEntry]]) -> Iterator[Block]:
    for sub, entries in histories.items():
        name = plan.sub_experiments[sub].name
        yield Heading(2, (Code(sub), f" — {name}" if name else ""))
        if not entries:
            yield Paragraph(("It has never run.",))
            continue
        yield _table(plan, entries)
        yield from _afterwards(entries)


def _table(plan: Experiment, entries: Sequence[HistoryEntry]) -> Table:
    """Return a table with a row per attempt, without empty columns."""
    tiers = tiers_by_metric(plan.success_criteria.values())
    columns: dict[str, list[Spans]] = {
        "Attempt": [(f"{e.attempt}{' (counts)' if e.counts else ''}",) for e in entries],
        "Variant": [(e.variant or "",) for e in entries],
        "Seed": [("" if e.seed is None else str(e.seed),) for e in entries],
        "Started": [((e.started_at or "")[:19].replace("T", " "),) for e in entries],
        "Took": [(_seconds(e.duration_s),) for e in entries],
        "Status": [(Strong(e.status.replace("_", " ")),) for e in entries],
    }
    for metric in dict.fromkeys(name for e in entries for name in e.metrics):
        against = tiers.get(metric, ())
        columns[metric] = [(_value(e.metrics.get(metric), against),) for e in entries]
    columns["Verdicts"] = [
        (", ".join(f"{name} {verdict.replace('_', ' ')}" for name, verdict in e.verdicts.items()),)
        for e in entries
    ]
    columns["Commit"] = [(f"{(e.commit or '')[:8]}{'+' if e.commit and e.dirty else ''}",) for e in entries]
    columns["Run"] = [(e.run,) for e in entries]
    shown = {name: cells for name, cells in columns.items() if any(_filled(cell) for cell in cells)}
    rows = tuple(
        tuple(cell if _filled(cell) else (DASH,) for cell in row) for row in zip(*shown.values(), strict=True)
    )
    return Table(tuple(shown), rows)


def _seconds(duration: float | None) -> str:
    return "" if duration is None else f"{duration:.3f} s" if duration < _A_MINUTE else f"{duration:.0f} s"


def _filled(cell: Spans) -> bool:
    return any(span if isinstance(span, str) else span.text for span in cell)


def _value(value: Plain, against: tuple[float, ...]) -> str:
    found = number(value)
    return (
        number_text(found, against)
        if found is not None
        else ""
        if value is None
        else str(value)[:_SHOWN_TEXT]
    )


def _afterwards(entries: Sequence[HistoryEntry]) -> Iterator[Block]:
    """Yield what has no room in the table."""
    alike: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        if entry.why:
            alike.setdefault((entry.status.replace("_", " "), entry.why), []).append(str(entry.attempt))
    for (status, why), numbers in alike.items():
        noun = "Attempt" if len(numbers) == 1 else "Attempts"
        yield Paragraph((f"{noun} {few(numbers, 8)} {status}: {why}",))
    if any(entry.commit and entry.dirty for entry in entries):
        yield Paragraph(("A + after a commit marks uncommitted changes.",))
    gone = [str(entry.attempt) for entry in entries if not entry.on_disk]
    if gone:
        verb = "is" if len(gone) == 1 else "are"
        yield Paragraph((f"Of {count(len(gone), 'attempt')} ({few(gone)}) the record {verb} not on disk.",))
