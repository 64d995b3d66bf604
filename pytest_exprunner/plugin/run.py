"""Hooks around the entire run. Each translates and calls one phase of the session."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pytest_exprunner._util import processes
from pytest_exprunner._util.errors import ExprunnerError, count
from pytest_exprunner._util.exit_guard import QuietExits
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.plugin import calls, options
from pytest_exprunner.plugin.collection import EXPLORATORY, SELECTED, HandlerCollection, only_setup, params_of
from pytest_exprunner.plugin.items import BLOCKED, JUDGED, RECORD, REPLAYED, printable
from pytest_exprunner.plugin.selection import Selection
from pytest_exprunner.report import terminal
from pytest_exprunner.session.judgment import Judgement, Outcome
from pytest_exprunner.session.session import ExperimentSession

_SHOWN_OUTCOMES = {"passed": (".", "PASSED"), "failed": ("F", "FAILED")}
_MARKUP: dict[terminal.Style, dict[str, bool]] = {
    "good": {"green": True},
    "bad": {"red": True},
    "warn": {"yellow": True},
    "bold": {"bold": True},
    "": {},
}


class RunHooks:
    """Hooks around the entire run, in the controller."""

    def __init__(
        self,
        config: pytest.Config,
        session: ExperimentSession,
        collecting: HandlerCollection,
        folders: tuple[Path, ...],
        *,
        parallel: bool,
    ) -> None:
        """Built once per run, after the plan has been read; in a ``parallel`` run, workers have the items."""
        self.remarks: list[str] = []
        self._config = config
        self._session = session
        self._collecting = collecting
        self._folders = folders
        self._parallel = parallel
        self._signals = processes.StopSignals()
        self._judged: set[str] = set()
        self._emitting = False
        self._exits = QuietExits(_running_item, self._write_last)
        self._exits.refuse()

    # --- the loop -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def around_loop(self, session: pytest.Session) -> Iterator[None]:
        """Mark the selected items as in progress; judge experiments and gates after the last item."""
        if session.config.option.collectonly or only_setup(session.config) or self._session.settings.explain:
            yield
            return
        self._signals.install()
        stopped = session.testsfailed and not session.config.option.continue_on_collection_errors
        if not (stopped or self._parallel):
            handlers = [i for i in session.items if SELECTED in i.stash and EXPLORATORY not in i.stash]
            reused = self._session.settings.resume and all(
                self._session.admission.is_reusable(item.stash[SELECTED], params_of(item))
                for item in handlers
            )
            self.begin([item.stash[SELECTED] for item in handlers], reused=reused)
        try:
            yield
        except KeyboardInterrupt:
            if not self._parallel:
                processes.end_children(patience=0, spared=self._session.trackers.pids)
            raise
        if self._session.started and not self._session.settings.detach:
            for judgement in self._session.completion.judge():
                self._report(judgement)

    def begin(self, selected: Sequence[Selected], *, reused: bool = False) -> None:
        """Start the run over the selected items. Raises `pytest.UsageError` if nothing can be written.

        ``reused`` if all of them reuse a stored attempt.
        """
        selection = Selection(self._config, self._collecting, self._folders)
        enabled = self._collecting.enabled
        complete = selection.complete(item.sub_experiment for item in selected) if enabled else []
        uncollected = selection.uncollected() if enabled else {}
        if not (selected or complete or uncollected or self._session.settings.gates):
            return
        self._collecting.spare()
        try:
            self._session.setup.start(selected, complete, uncollected, reused=reused)
        except ExprunnerError as error:
            raise pytest.UsageError(str(error)) from None

    def _report(self, judgement: Judgement) -> None:
        """Let pytest count a failure that belongs to no item."""
        plan_name = self._collecting.plan_name
        longrepr = calls.representation(printable(self._config, judgement.text))
        nodeid = f"{plan_name}::{judgement.subject}"
        self._judged.add(nodeid)
        report = pytest.TestReport(
            nodeid=nodeid,
            location=(plan_name, None, judgement.subject),
            keywords={},
            outcome="failed",
            longrepr=longrepr,
            when="call",
        )
        setattr(report, JUDGED, judgement.subject)
        self._emitting = True
        self._config.hook.pytest_runtest_logreport(report=report)
        self._emitting = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Store a record from any process of the run."""
        record, blocked = getattr(report, RECORD, None), getattr(report, BLOCKED, None)
        replayed = getattr(report, REPLAYED, None)
        if record is not None:
            self._session.attempts.record(record, _outcome(report))
        elif replayed is not None:
            self._session.attempts.reused(report.nodeid, replayed, _outcome(report))
        elif blocked is not None:
            self._session.attempts.blocked(report.nodeid, blocked)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count the failure of an experiment, but do not show it in the progress of items."""
        if getattr(report, "when", None) == "call" and report.nodeid in self._judged:
            return "failed", "", "" if self._emitting else "FAILED"
        number = getattr(report, REPLAYED, None)
        if number is not None and report.outcome in _SHOWN_OUTCOMES:
            letter, word = _SHOWN_OUTCOMES[report.outcome]
            return report.outcome, letter, f"{word} (attempt {number})"
        return None

    # --- the end ------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write results and findings. A run that was cut short never succeeds."""
        self._session.completion.finish(stopped=exitstatus == pytest.ExitCode.INTERRUPTED, say=self._say)
        self._write_report()
        self._signals.restore()
        exited = self._config.stash.get(options.EXITED, False)
        if exitstatus == pytest.ExitCode.OK and (exited or not self._session.completion.is_complete()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Record whether the interruption came from ``pytest.exit``, with any exit code."""
        self._config.stash[options.EXITED] = isinstance(excinfo.value, pytest.exit.Exception)

    def pytest_unconfigure(self) -> None:
        """Let the process exit again."""
        self._exits.allow()

    def _write_last(self, line: str) -> None:
        with contextlib.suppress(Exception):
            capture = self._config.pluginmanager.getplugin("capturemanager")
            if capture is not None:
                capture.suspend_global_capture(in_=True)
            os.write(2, f"\n{line}\n".encode("utf-8", "replace"))

    def _write_report(self) -> None:
        file = self._session.settings.report
        if file is None or not self._session.started:
            return
        from pytest_exprunner.report.html import file as report_file
        from pytest_exprunner.report.html.model import ReportContext
        from pytest_exprunner.schedule.advice import Known

        try:
            handlers = {sub: handler.place for sub, handler in self._collecting.scan.planned().items()}
            known = Known(handlers, self._session.without_handler)
            report_file.write(
                self._session.study,
                file,
                ReportContext(known, self._session.completion.audit().by_experiment()),
            )
        except ExprunnerError as error:
            self._session.damage.append(str(error))

    def _say(self, text: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and self._config.get_verbosity() >= 0:
            if reporter._tw.width_of_current_line:  # noqa: SLF001 - ensure_newline does not count xdist's dots
                reporter.write_line("")
            reporter.write_line(printable(self._config, text))

    def pytest_report_header(self) -> list[str]:
        """Return the plan's name and anything unusual about the run."""
        plan = self._session.plan
        handlers = len(self._collecting.scan.planned())
        line = (
            f"research plan: {self._collecting.plan_name} ({count(len(plan.experiments), 'experiment')}, "
            f"{count(handlers, 'handler')})"
        )
        trackers = ", ".join(self._session.settings.trackers)
        tracked = [f"trackers: {trackers}"] if trackers else []
        return [printable(self._config, text) for text in (line, *tracked, *map(terminal.safe, self.remarks))]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the results in a short table."""
        exploratory = self._collecting.scan.exploratory()
        if exploratory and not self._session.settings.exploratory:
            names = ", ".join(f"{h.name} ({h.place})" for h in exploratory[:5])
            more = f" and {len(exploratory) - 5} more" if len(exploratory) > 5 else ""
            terminalreporter.write_line(
                printable(self._config, f"exploratory, not run (--exp-exploratory runs them): {names}{more}")
            )
        if not self._session.started:
            return
        summary = self._session.completion.summary()
        verbosity = self._config.get_verbosity()
        if verbosity >= 0:
            terminalreporter.write_sep("=", printable(self._config, terminal.heading(summary.results)))
        for line in terminal.render(summary, verbosity):
            terminalreporter.write_line(printable(self._config, line.text), **_MARKUP[line.style])
        if verbosity > 0:
            terminalreporter.write_line(f"Findings: {self._session.findings_shown}")
        report = self._session.settings.report
        if report is not None and report.is_file():
            terminalreporter.write_line(f"Report: {self._session.settings.shown(report)}")


def _running_item() -> str:
    """Return the name of the item that runs, from pytest's environment variable."""
    item, _space, _phase = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")
    return item.rpartition("::")[2] or "code outside any handler"


def _outcome(report: pytest.TestReport) -> Outcome:
    if report.failed:
        return "failed"
    return "skipped" if report.skipped else "passed"
