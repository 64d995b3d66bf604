"""The report's data for one sub-experiment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_exprunner._util.serialization import as_float, number
from pytest_exprunner.diagnosis.match import more_of
from pytest_exprunner.model.attempt import AttemptKey, AttemptRecord, which
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.model.results import CurrentAttempt, ExperimentState, SubState
from pytest_exprunner.report.attempts import declared, ended, mean_text
from pytest_exprunner.report.blocks import Block, Paragraph
from pytest_exprunner.report.html import curves
from pytest_exprunner.report.html.curves import Curve
from pytest_exprunner.report.html.detail import Detail
from pytest_exprunner.report.html.pictures import Pictures
from pytest_exprunner.report.html.previews import Preview
from pytest_exprunner.verdicts.formatting import number_text

_OVERLAID = 8
_VALUES = 12
_WORD = 60


@dataclass(frozen=True, slots=True)
class AttemptCard:
    """The outcome of one current attempt."""

    label: str
    """Empty if there is only one."""
    ended: tuple[Block, ...]
    hints: tuple[tuple[str, str, str, str], ...]
    """Cause, fix, snippet, and the command that shows more."""
    said: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class SubCard:
    """One sub-experiment."""

    id: str
    name: str
    objective: str
    status: str
    reason: str
    told: tuple[AttemptCard, ...]
    finding: str
    """Shortened, for a row."""
    numbers: tuple[tuple[str, str, bool], ...]
    """Name, value, and whether a criterion judges it; with several attempts, each value has its label."""
    more_numbers: int
    curves: tuple[Curve, ...]
    more_curves: int
    more_lines: int
    """The number of current attempts without a curve."""
    no_journal: bool
    """Whether a current attempt logged values but its journal is missing."""
    artifacts: tuple[Preview, ...]


def build_sub(
    state: ExperimentState,
    sub: SubState,
    attempts: Sequence[AttemptRecord],
    detail: Detail,
    pictures: Pictures,
) -> SubCard:
    """Return the card of a sub-experiment with its current attempts."""
    planned = state.plan.sub_experiments[sub.id]
    numbers = list(_numbers(state, sub))
    found, missing = _curves(sub, attempts, pictures.layout, detail) if detail.charts else ([], False)
    return SubCard(
        id=sub.id,
        name=planned.name or "",
        objective=detail.cut(planned.objective or ""),
        status=str(sub.status),
        reason=detail.cut(sub.reason),
        told=() if detail.rows else tuple(_attempt_card(current, sub, detail) for current in sub.currents),
        finding=detail.cut(
            sub.reason or next((c.record.finding for c in sub.currents if c.record.finding), "")
        ),
        numbers=tuple(numbers[: detail.metrics]),
        more_numbers=max(len(numbers) - detail.metrics, 0),
        curves=tuple(found[: detail.charts]),
        more_curves=max(len(found) - detail.charts, 0),
        more_lines=max(len(sub.currents) - _OVERLAID, 0) if found else 0,
        no_journal=missing,
        artifacts=() if detail.rows else tuple(pictures.of(state.plan.id, sub)),
    )


def _attempt_card(current: CurrentAttempt, sub: SubState, detail: Detail) -> AttemptCard:
    return AttemptCard(
        label=current.label if len(sub.currents) > 1 else "",
        ended=tuple(ended(current)),
        hints=tuple((hint.cause, hint.fix, hint.snippet, more_of(hint)) for hint in current.record.hints),
        said=(*declared(current), *_paragraphs(detail.cut(current.record.finding))),
    )


def _paragraphs(text: str) -> Iterator[Block]:
    return (Paragraph((part,)) for part in text.split("\n\n") if part.strip())


def _numbers(state: ExperimentState, sub: SubState) -> Iterator[tuple[str, str, bool]]:
    """Yield each metric, judged ones first; values of several attempts are on one line."""
    judged = {
        c.metric_name: tuple(t for t in (c.target, c.acceptable, c.failure) if t is not None)
        for c in state.plan.success_criteria.values()
    }
    names = dict.fromkeys(name for current in sub.currents for name in current.record.metrics)
    for name in sorted(names, key=lambda name: name not in judged):
        values = [(c, number(c.record.metrics.get(name))) for c in sub.currents]
        if any(value is not None for _current, value in values):
            texts = [
                f"{_of(current)}{number_text(value, judged.get(name, ()))}"
                for current, value in values[:_VALUES]
            ]
            more = f" and {len(values) - _VALUES} more" if len(values) > _VALUES else ""
            yield name, f"{_mean_of(sub, values)}{'; '.join(texts)}{more}", name in judged
        elif len(sub.currents) == 1 and isinstance(word := sub.currents[0].record.metrics[name], str | bool):
            yield name, str(word)[:_WORD], name in judged


def _mean_of(sub: SubState, values: Sequence[tuple[CurrentAttempt, float | int | None]]) -> str:
    """Return the mean over the seeds of one variant: ``mean 0.942 (SD 0.008): ``."""
    numbers = [as_float(value) for _current, value in values if value is not None]
    one = len({current.variant for current in sub.currents}) == 1 and sub.currents[0].seed is not None
    return f"mean {mean_text(numbers)}: " if one and len(numbers) > 1 else ""


def _of(current: CurrentAttempt) -> str:
    """Return the attempt that a value is from: ``lr=0.1, seed 2: ``; empty if there is only one."""
    name = which(current.variant, current.seed)
    return f"{name}: " if name else ""


def _curves(
    sub: SubState,
    attempts: Sequence[AttemptRecord],
    layout: Layout,
    detail: Detail,
) -> tuple[list[Curve], bool]:
    """Return the curves of the current and the latest other attempts, and whether a journal is missing."""
    counting = {c.attempt for c in sub.currents}
    chosen = [a for a in attempts if a.key.sequence in counting][:_OVERLAID]
    others = [a for a in attempts if a.key.sequence not in counting]
    room = _OVERLAID - len(chosen)
    chosen += others[len(others) - room :] if 0 < room < len(others) else others if room > 0 else []
    found: dict[str, list[tuple[str, bool, curves.LoggedCurve]]] = {}
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
    name = which(key.variant, key.seed)
    return f"{name} (attempt {key.sequence})" if name else f"attempt {key.sequence}"
