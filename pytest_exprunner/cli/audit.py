"""``exprunner audit`` and ``exprunner verify``: check whether the stored results can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from pytest_exprunner._util.errors import count
from pytest_exprunner.audit import audit as auditing
from pytest_exprunner.audit import verify as verification
from pytest_exprunner.audit.audit import Audit
from pytest_exprunner.audit.entry import AuditKind
from pytest_exprunner.audit.verify import Finding, FindingKind
from pytest_exprunner.cli.base import EXIT_FAILED, Opened, common, print_json, say
from pytest_exprunner.report import terminal
from pytest_exprunner.report.terminal import Line

_LONG = 1000


@click.command()
@common
def audit(plan: str | None, results: str | None, *, as_json: bool) -> None:
    """Show what changed after there were results: thresholds, membership, records; exit 1 if anything did."""
    opened = Opened(plan, results)
    study = opened.study()
    found = auditing.audit(study, opened.settings.plan_file, opened.settings.project_root)
    notes = [*found.notes, *study.problems, *study.edits]
    if as_json:
        entries = [asdict(entry) for entry in found.entries]
        print_json("audit", {"ok": not found.changed, "entries": entries, "notes": notes})
    else:
        say([*_audited(found), *(Line(terminal.safe(note), "warn") for note in notes)])
    if found.changed:
        raise SystemExit(EXIT_FAILED)


def _audited(found: Audit) -> Iterator[Line]:
    for experiment in dict.fromkeys(entry.experiment for entry in found.entries):
        yield Line(terminal.safe(experiment), "bold")
        for entry in found.entries:
            if entry.experiment == experiment:
                style: terminal.Style = "bad" if entry.kind is AuditKind.CHANGED else ""
                yield Line(f"  {entry.kind}: {terminal.safe(entry.text, _LONG)}", style)
    notes = len(found.entries) - len(found.changed)
    changed = f"{count(len(found.changed), 'change')} after the first result"
    yield Line(f"{changed}, {count(notes, 'note')}", _style(found.changed))


@click.command()
@common
@click.option("--strict", is_flag=True, help="Exit with 1 also if anything needs review.")
def verify(plan: str | None, results: str | None, *, as_json: bool, strict: bool) -> None:
    """Recompute verdicts from the records; check artifacts, ids, prose; exit 1 if there is an error."""
    opened = Opened(plan, results)
    study = opened.study()
    found = verification.verify(study, opened.scan(), opened.root)
    errors = [finding for finding in found if finding.kind is FindingKind.ERROR]
    notes = [*study.problems, *study.edits]
    if as_json:
        print_json(
            "verify", {"ok": not errors, "doubts": [asdict(finding) for finding in found], "notes": notes}
        )
    else:
        say([*_verified(found, errors), *(Line(terminal.safe(note), "warn") for note in notes)])
    if errors or (strict and found):
        raise SystemExit(EXIT_FAILED)


def _verified(found: Sequence[Finding], errors: Sequence[Finding]) -> Iterator[Line]:
    for place in dict.fromkeys(finding.place for finding in found):
        yield Line(terminal.safe(place), "bold")
        for finding in found:
            if finding.place == place:
                style: terminal.Style = "bad" if finding.kind is FindingKind.ERROR else "warn"
                yield Line(f"  {finding.kind}: {terminal.safe(finding.text, _LONG)}", style)
    rest = len(found) - len(errors)
    yield Line(f"{count(len(errors), 'error')}, {rest} to review", _style(errors))


def _style(found: Sequence[object]) -> terminal.Style:
    return "bad" if found else "good"
