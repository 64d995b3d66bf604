"""``exprunner audit`` and ``exprunner verify``: whether what is written can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from pytest_exprunner._util.errors import count
from pytest_exprunner.audit import audit as auditing
from pytest_exprunner.audit import verify as verification
from pytest_exprunner.audit.audit import Audit
from pytest_exprunner.audit.verify import Finding
from pytest_exprunner.cli.base import EXIT_FAILED, Opened, common, print_json, say
from pytest_exprunner.report import terminal
from pytest_exprunner.report.terminal import Line

_LONG = 1000


@click.command()
@common
def audit(plan: str | None, results: str | None, *, as_json: bool) -> None:
    """Tell what moved after there were results: thresholds, membership, records; exit 1 if anything did."""
    opened = Opened(plan, results)
    study = opened.study()
    found = auditing.audit(study, opened.settings.plan_file, opened.settings.project_root)
    notes = [*found.notes, *study.problems, *study.edits]
    if as_json:
        entries = [asdict(entry) for entry in found.entries]
        print_json("audit", {"ok": not found.moved, "entries": entries, "notes": notes})
    else:
        say([*_audited(found), *(Line(terminal.safe(note), "warn") for note in notes)])
    if found.moved:
        raise SystemExit(EXIT_FAILED)


def _audited(found: Audit) -> Iterator[Line]:
    for experiment in dict.fromkeys(entry.experiment for entry in found.entries):
        yield Line(terminal.safe(experiment), "bold")
        for entry in found.entries:
            if entry.experiment == experiment:
                style: terminal.Style = "bad" if entry.kind == "moved" else ""
                yield Line(f"  {entry.kind}: {terminal.safe(entry.text, _LONG)}", style)
    told = len(found.entries) - len(found.moved)
    moved = f"{count(len(found.moved), 'thing')} moved after there was a result"
    yield Line(f"{moved}; {told} more to know", _style(found.moved))


@click.command()
@common
@click.option("--strict", is_flag=True, help="Exit 1 also for what only a person can judge.")
def verify(plan: str | None, results: str | None, *, as_json: bool, strict: bool) -> None:
    """Recompute verdicts from the records; check artifacts, ids, prose; exit 1 if something is wrong."""
    opened = Opened(plan, results)
    study = opened.study()
    found = verification.verify(study, opened.scan(), opened.root)
    wrong = [doubt for doubt in found if doubt.kind == "wrong"]
    notes = [*study.problems, *study.edits]
    if as_json:
        print_json("verify", {"ok": not wrong, "doubts": [asdict(d) for d in found], "notes": notes})
    else:
        say([*_verified(found, wrong), *(Line(terminal.safe(note), "warn") for note in notes)])
    if wrong or (strict and found):
        raise SystemExit(EXIT_FAILED)


def _verified(found: Sequence[Finding], wrong: Sequence[Finding]) -> Iterator[Line]:
    for place in dict.fromkeys(doubt.place for doubt in found):
        yield Line(terminal.safe(place), "bold")
        for doubt in found:
            if doubt.place == place:
                style: terminal.Style = "bad" if doubt.kind == "wrong" else "warn"
                yield Line(f"  {doubt.kind}: {terminal.safe(doubt.text, _LONG)}", style)
    rest = len(found) - len(wrong)
    yield Line(f"{count(len(wrong), 'thing')} wrong, {rest} for a person to look at", _style(wrong))


def _style(found: Sequence[object]) -> terminal.Style:
    return "bad" if found else "good"
