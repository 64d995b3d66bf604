"""``exprunner report`` and ``exprunner collect``: rebuild files from the stored attempts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from pytest_exprunner._util.errors import ExprunnerError, count, did_you_mean
from pytest_exprunner._util.location import absolute
from pytest_exprunner.audit import audit
from pytest_exprunner.cli.base import EXIT_FAILED, Opened, common, print_json, say
from pytest_exprunner.executors.pending_jobs import CollectedJobs, JobSource, PendingJobs
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.report import terminal
from pytest_exprunner.report.html import file as report_file
from pytest_exprunner.report.html.model import ReportContext
from pytest_exprunner.report.publish import Publisher
from pytest_exprunner.report.terminal import Line
from pytest_exprunner.schedule.advice import Known
from pytest_exprunner.store.lock import RunLock


@click.command()
@click.option("--html", metavar="FILE", help="Write only a single HTML page of the study.")
@click.option(
    "--only",
    "only",
    metavar="ID",
    multiple=True,
    help="With --html: include only this experiment; repeatable.",
)
@common
def report(
    plan: str | None, results: str | None, *, html: str | None, only: tuple[str, ...], as_json: bool
) -> None:
    """Rebuild results.yaml and FINDINGS.md from the stored attempts, or write an HTML page."""
    opened = Opened(plan, results)
    if only and html is None:
        raise ExprunnerError("--only needs --html FILE")
    if html is not None:
        _write_page(opened, absolute(Path.cwd(), html), only, as_json=as_json)
        return
    with _locked(opened, "report"):
        written = _rebuild(opened)
    _report_written(opened, written, "report", {}, as_json=as_json)


def _write_page(opened: Opened, file: Path, only: tuple[str, ...], *, as_json: bool) -> None:
    for name in only:
        if name not in opened.loaded.plan.experiments:
            hint = did_you_mean(name, opened.loaded.plan.experiments)
            raise ExprunnerError(f"unknown experiment {name!r}{hint}")
    study, found = opened.study(), opened.scan()
    handlers = {sub: handler.place for sub, handler in found.planned().items()}
    without = found.without_handler(opened.loaded.plan)
    changes = audit.audit(study, opened.settings.plan_file, opened.settings.project_root).by_experiment()
    page = report_file.write(study, file, ReportContext(Known(handlers, without), changes, only))
    name, notes = opened.settings.shown(file), [*study.problems, *study.edits]
    if as_json:
        sizes = {"bytes": page.size, "bytes_without_images": page.without_images, "reduced": page.reduced}
        print_json("page", {"page": name, **sizes, "notes": notes})
        return
    say([Line(f"wrote {name} ({page.size / 1000:.0f} kB)", "good")])
    if page.reduced:
        text = (
            "the study is large: texts are shortened and curves left out; --only ID shows one experiment "
            "in full"
        )
        say([Line(text, "warn")])
    say([Line(terminal.safe(note), "warn") for note in notes])


@click.command()
@common
def collect(plan: str | None, results: str | None, *, as_json: bool) -> None:
    """Fetch the results of pending remote attempts and rebuild results.yaml and FINDINGS.md."""
    opened = Opened(plan, results)
    layout = Layout(opened.settings.results_root)
    with _locked(opened, "collect"):
        collected = CollectedJobs()
        if PendingJobs(layout).pending():
            collected = PendingJobs(layout).collect(_answer_store())
        written = _rebuild(opened)
    if not as_json:
        brought, gone = ", ".join(collected.brought) or "nothing", ", ".join(collected.gone)
        say([Line(f"collected: {brought}", "good" if collected.brought else "")])
        if collected.going_on:
            say([Line(f"still running: {', '.join(collected.going_on)}")])
        if gone:
            say([Line(f"left no results: {gone}; 'pytest --exp-resume' runs them again", "warn")])
        for label in collected.failed:
            say([Line(f"could not be collected: {label}", "bad")])
    outcome = {
        "brought": list(collected.brought),
        "going_on": list(collected.going_on),
        "left_nothing": list(collected.gone),
        "failed": list(collected.failed),
    }
    _report_written(opened, written, "collect", outcome, as_json=as_json)
    if collected.failed:
        raise SystemExit(EXIT_FAILED)


def _answer_store() -> JobSource:
    """Return the store of answers. Raises `ExprunnerError` if a package that it needs is not installed."""
    try:
        from pytest_exprunner.executors.modal.results import VolumeResults as OnModal  # optional, and slow
    except ImportError as error:
        raise ExprunnerError(f"{error}; install it with: pip install 'pytest-exprunner[modal]'") from None
    return OnModal()


@contextlib.contextmanager
def _locked(opened: Opened, command: str) -> Iterator[None]:
    """Lock the results folder."""
    layout = Layout(opened.settings.results_root)
    Publisher(layout).prepare()
    lock = RunLock(layout.lock_folder)
    lock.acquire(f"'exprunner {command}'", 0, opened.settings.shown(layout.root))
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class _Written:
    """The experiments whose files were rebuilt, with notes and problems to report."""

    experiments: list[str]
    notes: list[str]
    problems: list[str]


def _rebuild(opened: Opened) -> _Written:
    publisher, study = Publisher(Layout(opened.settings.results_root)), opened.study()
    stored = study.results()
    written = [e for e, state in stored.experiments.items() if state.started]
    for experiment in written:
        publisher.experiment(stored.experiments[experiment], stored, study.attempts(experiment))
    publisher.project(stored)
    publisher.flush(durable=True)
    return _Written(written, publisher.notes, study.problems)


def _report_written(
    opened: Opened, written: _Written, kind: str, fields: Mapping[str, Any], *, as_json: bool
) -> None:
    findings = opened.settings.shown(Layout(opened.settings.results_root).findings)
    if as_json:
        print_json(kind, {**fields, **asdict(written), "findings": findings})
    else:
        what = (
            f"wrote results and findings of {count(len(written.experiments), 'experiment')}, and {findings}"
        )
        notes = (Line(terminal.safe(note), "warn") for note in [*written.notes, *written.problems])
        say([Line(what, "good"), *notes])
    if written.problems:
        raise SystemExit(EXIT_FAILED)
