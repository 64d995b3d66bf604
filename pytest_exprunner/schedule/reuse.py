"""What need not be run again: an attempt that completed and that nothing has changed about. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_exprunner._util.serialization import Plain
from pytest_exprunner._util.text import few
from pytest_exprunner.model.attempt import AttemptRecord, Status
from pytest_exprunner.verdicts.fold import Pending, deciding


@dataclass(frozen=True, slots=True)
class Resumption:
    """The attempt that stands for a run, or why there is none."""

    record: AttemptRecord | None
    reason: str


def resume(
    attempts: Sequence[AttemptRecord],
    unfinished: Iterable[Pending],
    inputs: Mapping[str, Plain],
    upstream: Mapping[str, int],
    code_change: Callable[[Mapping[str, str]], str],
    item_failed: Callable[[AttemptRecord], str],
) -> Resumption:
    """Decide whether the last attempt of a (variant, seed) can stand for a new one.

    ``unfinished`` is what earlier runs selected and never got to; ``code_change`` says what has changed
    of the code since some hashes, ``item_failed`` what failed after an attempt had completed.
    Thresholds are no reason: results are judged anew.
    """
    if not attempts:
        return Resumption(None, "it has never run")
    record = deciding(attempts)
    number = record.key.sequence
    if record.status is not Status.COMPLETED:
        how = "is unfinished" if record.status is Status.IN_PROGRESS else str(record.status)
        why = f": {record.error.line}" if record.error else f": {record.reason}" if record.reason else ""
        return Resumption(None, f"attempt {number} {'was ' if how == 'skipped' else ''}{how}{why}")
    failed = item_failed(record)
    if failed:
        return Resumption(None, f"attempt {number} completed, but its test failed afterwards: {failed}")
    left = next((p for p in unfinished if p.after >= number and not p.resumed), None)
    if left is not None:
        return Resumption(None, f"run {left.run} selected it again but did not finish it")
    if not record.inputs:
        return Resumption(None, f"attempt {number} did not record its code and inputs")
    reason = _changed(record, inputs, upstream, code_change)
    if reason:
        return Resumption(None, f"since attempt {number} {reason}")
    return Resumption(record, f"nothing has changed since attempt {number}")


def _changed(
    record: AttemptRecord,
    inputs: Mapping[str, Plain],
    upstream: Mapping[str, int],
    code_change: Callable[[Mapping[str, str]], str],
) -> str:
    before = record.inputs
    for name in ("params", "config"):
        if before.get(name) != inputs.get(name):
            return _WORDS[name]
    data = _differences(before.get("data"), inputs.get("data"))
    if data:
        return f"the data changed: {few(data)}"
    used = _differences(record.upstream, upstream)
    if used:
        return f"a sub-experiment it needs has a newer attempt: {few(used)}"
    code = before.get("code")
    return code_change({str(k): str(v) for k, v in code.items()} if isinstance(code, dict) else {})


_WORDS = {
    "params": "its parameters have changed",
    "config": "its entry in the plan has changed",
}


def _differences(before: Any, now: Any) -> list[str]:
    first, second = (value if isinstance(value, Mapping) else {} for value in (before, now))
    return [str(name) for name in {**first, **second} if first.get(name) != second.get(name)]


def files_missing(sub: str, missing: Sequence[str]) -> str:
    """Say that a sub-experiment cannot run without data files that are not there."""
    noun = "file" if len(missing) == 1 else "files"
    verb = "is" if len(missing) == 1 else "are"
    return f"{sub} needs the data {noun} {few(list(missing))}, which {verb} missing"
