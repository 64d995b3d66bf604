"""``exprunner next``: shows what to do next, and why."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from pytest_exprunner._util.location import study_root
from pytest_exprunner.cli.base import Opened, common, print_json, say
from pytest_exprunner.cli.watch import is_led
from pytest_exprunner.executors.pending_jobs import PendingJobs
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.provenance.data_files import DataFiles
from pytest_exprunner.report import terminal
from pytest_exprunner.report.terminal import Line, Style
from pytest_exprunner.report.watch import current_run
from pytest_exprunner.schedule.advice import Advice, Known, advise
from pytest_exprunner.schedule.reuse import files_missing

_LONG = 1000
_LEAST_WIDTH = 30
_STYLES: dict[str, Style] = {
    "repair": "bad",
    "decide": "warn",
    "seeds": "warn",
    "blocked": "warn",
    "go_on": "good",
}


@click.command(name="next")
@common
def next_(plan: str | None, results: str | None, *, as_json: bool) -> None:
    """Show what to do next and why, most urgent first."""
    opened = Opened(plan, results)
    study, found = opened.study(), opened.scan()
    stored = study.results()
    known = Known(
        {sub: handler.place for sub, handler in found.planned().items()},
        found.without_handler(opened.loaded.plan),
        dict(_lacking(opened, study.layout)),
        current_run(study.layout) if is_led(study.layout) else "",
        _handler_folders(opened) + _options(("--exp-plan", plan), ("--exp-results", results)),
        _options(("--plan", plan), ("--results", results)),
    )
    actions = [*_pending(study.layout, known), *advise(stored, known)]
    notes = [*study.problems, *study.edits]
    if as_json:
        print_json("next", {"actions": [asdict(action) for action in actions], "notes": notes})
        return
    say(list(_lines(actions)))
    say([Line(terminal.safe(note), "warn") for note in notes])


def _handler_folders(opened: Opened) -> str:
    """Return the folders of the handlers, as arguments to type in the current folder."""
    names = (os.path.relpath(folder) for folder in opened.settings.folders)
    return " ".join(shlex.quote(f"{name}/") for name in names)


def _options(*given: tuple[str, str | None]) -> str:
    """Return the options that were given to this command, as arguments to type."""
    return "".join(f" {name} {shlex.quote(value)}" for name, value in given if value is not None)


def _lacking(opened: Opened, layout: Layout) -> Iterator[tuple[str, str]]:
    """Yield the sub-experiments that lack data declared in the plan, each with a message."""
    data = DataFiles(study_root(opened.settings.plan_file), layout.state / "hashes")
    for _experiment, sub in opened.loaded.plan.sub_experiments():
        missing = data.missing(sub.data)
        if missing:
            yield sub.id, files_missing(sub.id, missing)


def _pending(layout: Layout, known: Known) -> Iterator[Advice]:
    """Yield advice to collect the Modal jobs of runs that have ended."""
    for entry in PendingJobs(layout).pending():
        if entry.run != known.going_on:
            label = entry.job.key.label
            why = f"{label} was submitted to Modal by run {entry.run}, which has ended"
            yield Advice("resume", label, f"exprunner collect{known.options}", why)


def _lines(actions: Sequence[Advice]) -> Iterator[Line]:
    if not actions:
        yield Line("this plan is complete; nothing is left to do", "good")
    for number, action in enumerate(actions, start=1):
        style = _STYLES.get(action.kind, "")
        head = f"{number}. {action.kind.replace('_', ' ')}: {action.target}"
        yield Line(terminal.safe(head), style or "bold")
        yield from (Line(f"   {line}") for line in _wrapped(terminal.safe(action.why, _LONG)))
        if action.command is not None:
            yield Line(f"   $ {terminal.safe(action.command, _LONG)}")


def _wrapped(text: str) -> list[str]:
    """Return a text as lines that fit the terminal, or as one line if there is no terminal."""
    if not sys.stdout.isatty():
        return [text]
    return textwrap.wrap(text, max(shutil.get_terminal_size().columns - len("   "), _LEAST_WIDTH))
