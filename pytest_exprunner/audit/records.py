"""Attempt records that git saw change, go, or come back: they are written once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_exprunner._util.git_history import FileVersion, History
from pytest_exprunner.audit.entry import AuditEntry, AuditKind
from pytest_exprunner.audit.plan_lifetimes import study_file


def touched_records(history: History, touched: Sequence[FileVersion], below: str) -> Iterator[AuditEntry]:
    """Say of each record that was changed or deleted by which commit, and whether it is back."""
    now: dict[str, str] | None = None
    for index, file in enumerate(touched):
        what = study_file(file.path, below)
        if what is None or not what.attempt or file.how not in {"M", "D"}:
            continue
        if file.how == "M":
            yield AuditEntry(
                what.experiment, AuditKind.CHANGED, f"{what.text} was changed in {file.commit.text}"
            )
            continue
        now = history.tree("HEAD", below) if now is None else now
        text = f"{what.text} was deleted in {file.commit.text}"
        back = next((f for f in touched[index + 1 :] if (f.path, f.after) == (file.path, file.before)), None)
        if back is not None and now.get(file.path) == file.before:
            yield AuditEntry(what.experiment, AuditKind.NOTE, f"{text} and restored in {back.commit.text}")
        else:
            yield AuditEntry(what.experiment, AuditKind.CHANGED, text)


def uncommitted_records(history: History, below: str) -> Iterator[AuditEntry]:
    """Say of each record that it is not what the last commit has."""
    words = {"M": "has been changed", "D": "is gone"}
    for how, path in history.uncommitted(below):
        what = study_file(path, below)
        if what is not None and what.attempt and how in words:
            yield AuditEntry(
                what.experiment, AuditKind.CHANGED, f"{what.text} {words[how]} since the last commit"
            )
