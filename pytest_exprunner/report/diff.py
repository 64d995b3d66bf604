"""The recorded differences between two attempts: outcome, code, parameters, environment."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pytest_exprunner._util.errors import count
from pytest_exprunner._util.serialization import Plain, as_float, encode, number
from pytest_exprunner._util.text import few
from pytest_exprunner.model.attempt import AttemptRecord, label
from pytest_exprunner.plan.models import Experiment
from pytest_exprunner.provenance.sources import normal
from pytest_exprunner.report.blocks import Block, Code, Findings, Heading, Paragraph, Strong, Table
from pytest_exprunner.verdicts.formatting import DASH, number_text, tiers_by_metric

_SHOWN_VALUE = 120
_MACHINE = ("host", "machine", "cpu", "cpus", "memory_bytes", "gpus", "platform", "python")
_NO_PARTS: dict[str, Plain] = {}

Text = Callable[[str, str], bytes | None]
"""Maps a project file's name and hash to its content at that time, or to None if that is unknown."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of one or both attempts; numbers also have their change."""

    name: str
    before: Plain
    after: Plain
    change: float | None
    relative: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """Any other recorded value that differs."""

    about: str
    what: str
    before: Plain
    after: Plain


@dataclass(frozen=True, slots=True)
class FileChange:
    """A project file of the handler that differs."""

    file: str
    how: Literal["changed", "added", "removed"]
    note: str
    diff: tuple[str, ...]
    """A unified diff, empty if the contents are no longer available."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that differs between two attempts."""

    before: int
    after: int
    metrics: tuple[Metric, ...]
    same: tuple[str, ...]
    """Metrics with equal values."""
    changes: tuple[Change, ...]
    code: tuple[FileChange, ...]

    @property
    def any(self) -> bool:
        """Return whether anything differs."""
        return bool(self.metrics or self.changes or self.code)


def compare(
    before: AttemptRecord,
    after: AttemptRecord,
    params: tuple[Mapping[str, Plain], Mapping[str, Plain]],
    text: Text,
) -> Difference:
    """Return the differences between two attempts; ``params`` are their parameters."""
    names = dict.fromkeys((*before.metrics, *after.metrics))
    same = tuple(n for n in names if n in before.metrics and _equal(before.metrics[n], after.metrics.get(n)))
    return Difference(
        before.key.sequence,
        after.key.sequence,
        tuple(_metric(n, before.metrics.get(n), after.metrics.get(n)) for n in names if n not in same),
        same,
        tuple(_changes(before, after, params)),
        tuple(_code(_part(before.inputs, "code"), _part(after.inputs, "code"), text)),
    )


def _equal(one: Plain, other: Plain) -> bool:
    return type(one) is type(other) and encode(one) == encode(other)


def _metric(name: str, before: Plain, after: Plain) -> Metric:
    first, second = number(before), number(after)
    if first is None or second is None:
        return Metric(name, before, after, None, None)
    change = as_float(second) - as_float(first)
    usable = first != 0 and math.isfinite(change)
    return Metric(name, before, after, change, change / abs(as_float(first)) if usable else None)


def _changes(
    before: AttemptRecord, after: AttemptRecord, params: tuple[Mapping[str, Plain], Mapping[str, Plain]]
) -> Iterator[Change]:
    for about, one, other in (
        ("outcome", _outcome(before), _outcome(after)),
        ("verdict", before.verdicts, after.verdicts),
        ("parameter", *params),
        ("seed", _seeds(before), _seeds(after)),
        ("plan", _part(before.inputs, "config"), _part(after.inputs, "config")),
        ("criterion", before.registered, after.registered),
        ("criterion", asdict(before.terms), asdict(after.terms)),
        ("data", _part(before.inputs, "data"), _part(after.inputs, "data")),
        ("needs", before.upstream, after.upstream),
        ("package", _part(before.provenance, "packages"), _part(after.provenance, "packages")),
        ("commit", _commit(before), _commit(after)),
        ("machine", _machine(before), _machine(after)),
        ("environment", _part(before.provenance, "environment"), _part(after.provenance, "environment")),
        ("run", _run(before), _run(after)),
    ):
        yield from _between(about, one, other)


def _between(about: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name), after.get(name)
        if not _equal(one, other):
            yield Change(about, str(name), one, other)


def _part(mapping: Mapping[str, Plain], name: str) -> Mapping[str, Plain]:
    """Return a mapping inside another; a single value becomes a mapping with one entry."""
    found = mapping.get(name, _NO_PARTS)
    return found if isinstance(found, dict) else {name: found}


def _outcome(record: AttemptRecord) -> dict[str, Plain]:
    error = record.error.line if record.error else None
    kinds: list[Any] = [str(kind) for kind in record.kinds]
    return {"status": str(record.status), "error": error, "reason": record.reason or None, "evidence": kinds}


def _seeds(record: AttemptRecord) -> dict[str, Plain]:
    return {"variant": record.key.variant, "seed": record.key.seed, "rng_seed": record.rng_seed}


def _commit(record: AttemptRecord) -> dict[str, Plain]:
    origin = record.provenance
    return {"commit": origin.get("commit"), "uncommitted changes": origin.get("dirty")}


def _machine(record: AttemptRecord) -> dict[str, Plain]:
    return {name: record.provenance.get(name) for name in _MACHINE}


def _run(record: AttemptRecord) -> dict[str, Plain]:
    return {**record.options, "test": record.nodeid.partition("[")[0]}


def _code(before: Mapping[str, Any], after: Mapping[str, Any], text: Text) -> Iterator[FileChange]:
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name), after.get(name)
        if one == other:
            continue
        how: Literal["changed", "added", "removed"] = (
            "added" if one is None else "removed" if other is None else "changed"
        )
        first = b"" if one is None else text(name, str(one))
        second = b"" if other is None else text(name, str(other))
        if first is None or second is None:
            yield FileChange(name, how, "the earlier version was not kept", ())
            continue
        alike = how == "changed" and normal(first) == normal(second)
        note = "only comments, formatting or docstrings" if alike else ""
        yield FileChange(name, how, note, tuple(_unified(name, first, second)))


def _unified(name: str, before: bytes, after: bytes) -> Iterator[str]:
    first, second = (text.decode("utf-8", "replace").splitlines() for text in (before, after))
    return difflib.unified_diff(first, second, f"{name} before", f"{name} after", lineterm="")


# --- as a document ------------------------------------------------------------------------------


def as_findings(
    found: Difference, before: AttemptRecord, after: AttemptRecord, plan: Experiment, *, counts: bool
) -> Findings:
    """Return a difference as a document; the caller prints the file diffs after it."""
    return tuple(_document(found, before, after, plan, counts=counts))


def _document(
    found: Difference, before: AttemptRecord, after: AttemptRecord, plan: Experiment, *, counts: bool
) -> Iterator[Block]:
    names = [label(r.key.sub_experiment, r.key.variant, r.key.seed) for r in (before, after)]
    other = "" if names[0] == names[1] else f" of {names[0]}"
    yield Heading(2, (Code(names[1]), f": attempt {found.after} against attempt {found.before}{other}"))
    yield Paragraph(
        (f"Before: {_when(before)}. After: {_when(after)}{', the one that counts' if counts else ''}.",)
    )
    if not found.any:
        same = f" {count(len(found.same), 'metric')} and everything else are the same." if found.same else ""
        yield Paragraph((Strong("Nothing recorded differs except times and ids."), same))
        return
    if found.metrics:
        yield _metrics_table(found, plan)
    if found.same:
        yield Paragraph((f"The same: {few(found.same, 8)}.",))
    elif not found.metrics:
        yield Paragraph(("Neither returned a metric.",))
    if found.changes:
        yield Table(
            ("What", "Name", "Before", "After"),
            tuple(
                ((change.about,), (Code(change.what),), (_short(change.before),), (_short(change.after),))
                for change in found.changes
            ),
        )
    if not found.code:
        recorded = _part(before.inputs, "code") and _part(after.inputs, "code")
        yield Paragraph(
            ("The code is the same." if recorded else "The code of these attempts was not recorded.",)
        )


def _when(record: AttemptRecord) -> str:
    return f"{str(record.status).replace('_', ' ')}, {record.started_at[:19].replace('T', ' ') or 'undated'}"


def _metrics_table(found: Difference, plan: Experiment) -> Table:
    tiers = tiers_by_metric(plan.success_criteria.values())
    rows = []
    for metric in found.metrics:
        against = tiers.get(metric.name, ())
        values = [_value(value, against) for value in (metric.before, metric.after)]
        change = (
            DASH
            if metric.change is None
            else f"{'+' if metric.change > 0 else ''}{number_text(metric.change)}"
        )
        relative = DASH if metric.relative is None else f"{metric.relative:+.1%}"
        name = Strong(metric.name) if metric.name in tiers else Code(metric.name)
        rows.append(((name,), (values[0],), (values[1],), (change,), (relative,)))
    return Table(("Metric", "Before", "After", "Change", "Relative"), tuple(rows))


def _value(value: Plain, against: tuple[float, ...]) -> str:
    found = number(value)
    return _short(value) if found is None else number_text(found, against)


def _short(value: Plain) -> str:
    text = DASH if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _SHOWN_VALUE else f"{text[: _SHOWN_VALUE - 1]}…"
