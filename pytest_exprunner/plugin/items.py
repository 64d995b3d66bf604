"""Hooks for single items: they collect, start, call and record, alike in every process that runs items."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from pytest_exprunner._util.errors import os_reason
from pytest_exprunner._util.redaction import redacted
from pytest_exprunner._util.serialization import text
from pytest_exprunner._util.text import encodable
from pytest_exprunner.execution.attempt import Attempt
from pytest_exprunner.model.attempt import Status
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.plugin import calls
from pytest_exprunner.plugin import hints as hinting
from pytest_exprunner.plugin.collection import (
    ATTEMPT,
    EXPLORATORY,
    SELECTED,
    HandlerCollection,
    StubItem,
    offer_runner,
    only_setup,
    params_of,
    seed_id,
)
from pytest_exprunner.plugin.selection import Selection, in_order, with_variants
from pytest_exprunner.provenance import environment
from pytest_exprunner.report import terminal
from pytest_exprunner.session.session import ExperimentSession
from pytest_exprunner.verdicts.gates import Action

RECORD = "exprunner_record"
"""Attribute of a report: the record of the attempt, as written."""
BLOCKED = "exprunner_blocked"
"""Attribute of a report: why the item was not run."""
REPLAYED = "exprunner_replayed"
"""Attribute of a report: the sequence number of the attempt that is reused."""
JUDGED = "exprunner_judged"
"""Attribute of a report: the experiment or gate that fails as a whole."""
_BLOCKED = pytest.StashKey[str]()
_JUDGED = pytest.StashKey[bool]()
_MAX_LINE = 300


def printable(config: pytest.Config, line: str) -> str:
    """Return text that the console can show, in ASCII if its encoding requires that."""
    if not config.pluginmanager.has_plugin("terminalreporter"):
        return line
    writer = config.get_terminal_writer()
    return encodable(line, getattr(writer._file, "encoding", None))  # noqa: SLF001 - no public way


def note_interruption(session: ExperimentSession, item: pytest.Item, error: BaseException) -> None:
    """Record that the running attempt of an item was stopped."""
    attempt = item.stash.get(ATTEMPT, None)
    # If that cannot be written, the attempt stays unfinished; stopping has priority.
    with contextlib.suppress(OSError):
        if attempt is None or attempt.record is not None:
            return
        session.attempts.interrupted(attempt, f"{calls.stopper(error)} stopped it")


def _note_late_failure(attempt: Attempt, report: pytest.TestReport) -> None:
    """Record a failure after the attempt completed, usually in a fixture."""
    if attempt.record is not None and attempt.record.status is Status.COMPLETED:
        lines = text(report.longreprtext).strip().splitlines() or ["the reason is unknown"]
        with contextlib.suppress(OSError):
            attempt.item_failed(lines[-1][:_MAX_LINE])


class ItemHooks:
    """Hooks around one `ExperimentSession`, in every process that runs items."""

    def __init__(
        self,
        config: pytest.Config,
        session: ExperimentSession,
        collecting: HandlerCollection,
        folders: tuple[Path, ...],
    ) -> None:
        """Built once per process, after the plan has been read."""
        self._config = config
        self._session = session
        self._collecting = collecting
        self._folders = folders

    # --- collection ---------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> Generator[None, list[Any], list[Any]]:
        """Collect handlers once, whatever ``python_files`` contains."""
        collected = yield
        return self._collecting.file(file_path, parent, collected)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Add the names that select a handler."""
        self._collecting.item(item)

    @pytest.hookimpl(trylast=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Add the seeds after all other parametrization, so that other parameters become variants."""
        self._collecting.generate(metafunc)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Order the selected items; in a stub run, add sub-experiments without a handler."""
        if self._session.settings.stub:
            items.extend(self._stub_items(session))
        items[:] = in_order(items, self._session.plan)
        handlers = [item for item in items if SELECTED in item.stash]
        selected = (item.stash[SELECTED] for item in handlers)
        for item, one in zip(handlers, with_variants(selected, self._collecting.variants), strict=True):
            item.stash[SELECTED] = one
        if handlers:
            self._session.setup.snapshot()

    def _stub_items(self, session: pytest.Session) -> list[pytest.Item]:
        selection = Selection(self._config, self._collecting, self._folders)
        if not selection.covers_all():
            return []
        made: list[pytest.Item] = []
        for sub in self._session.without_handler:
            if selection.names(sub):
                made += [self._stub_item(session, sub, s) for s in self._collecting.seeds_of(sub) or (None,)]
        return made

    def _stub_item(self, session: pytest.Session, sub: str, seed: int | None) -> pytest.Item:
        name = sub if seed is None else f"{sub}[{seed_id(seed)}]"
        nodeid = f"{self._collecting.plan_name}::{name}"
        item = StubItem.from_parent(session, name=name, nodeid=nodeid, plan_name=self._collecting.plan_name)
        experiment = self._session.plan.owner(sub)
        item.stash[SELECTED] = Selected(experiment.id, sub, None, seed, nodeid)
        return item

    # --- one item -----------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Record an attempt that was stopped from outside, even in its fixtures."""
        try:
            return (yield)
        except (KeyboardInterrupt, pytest.exit.Exception) as error:
            note_interruption(self._session, item, error)
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Refuse a blocked item; record the start of the attempt before any of its code runs."""
        __tracebackhide__ = True
        selected = item.stash.get(SELECTED, None)
        if selected is None or only_setup(self._config):
            return
        if EXPLORATORY not in item.stash:
            decision = self._session.admission.decide(selected)
            if decision.action is Action.BLOCK:
                item.stash[_BLOCKED] = "; ".join(decision.reasons)
                calls.fail(f"blocked: {item.stash[_BLOCKED]}")
        attempt = item.stash[ATTEMPT] = self._begin(item, selected)
        offer_runner(item, attempt)
        calls.keep_result(item)
        # Seeded here for the fixtures, and again before the handler, whatever the fixtures drew.
        environment.seed_everything(attempt.runner.seed)

    def _begin(self, item: pytest.Item, selected: Selected) -> Attempt:
        exploratory = EXPLORATORY in item.stash
        begin = self._session.attempts.begin_exploratory if exploratory else self._session.attempts.begin
        try:
            attempt = begin(selected, params_of(item), self._watch())
        except OSError as error:
            problem = f"the attempt could not be started: {os_reason(error)}"
        else:
            return attempt
        return calls.fail(problem)

    def _watch(self) -> Callable[[str], None]:
        """Return a function that shows progress lines: live with ``-v``, else in the captured output."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")

        def watch(line: str) -> None:
            shown = terminal.safe(line)
            if capture is None or not capture.is_globally_capturing():
                print(printable(self._config, shown))  # noqa: T201 - with -s output goes straight to the terminal
            elif reporter is not None and self._config.get_verbosity() > 0:
                with capture.global_and_fixture_disabled():
                    reporter.ensure_newline()
                    reporter.write_line(f"  {printable(self._config, shown)}")

        return watch

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Call a handler, record its result, and assert the criteria that it decides alone."""
        __tracebackhide__ = True
        attempt = pyfuncitem.stash.get(ATTEMPT, None)
        if attempt is None:
            return None
        if self._session.settings.stub:
            attempt.stub()
            return True
        environment.seed_everything(attempt.runner.seed)
        with calls.process_kept():
            try:
                returned = calls.call(pyfuncitem)
            finally:
                attempt.end_forked()
        problem = calls.complete(attempt, returned)
        if problem:
            calls.fail(problem)
        if EXPLORATORY not in pyfuncitem.stash:
            self._assert(pyfuncitem, attempt)
        return True

    def _assert(self, item: pytest.Item, attempt: Attempt) -> None:
        assertion = self._session.attempts.assertion(attempt)
        item.stash[_JUDGED] = assertion.kind != "pass"
        if assertion.kind == "fail":
            calls.fail(printable(self._config, assertion.text))
        if assertion.kind == "expected":
            pytest.xfail(printable(self._config, assertion.text))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Publish the outcome of an attempt that did not complete; attach its record to the report."""
        report = yield
        if report.when == "setup" and item.stash.get(_BLOCKED, ""):
            report.when = "call"  # the item itself was not run, so this is not a fixture's failure
            setattr(report, BLOCKED, item.stash[_BLOCKED])
        attempt = item.stash.get(ATTEMPT, None)
        if attempt is None:
            return report
        attempt.end_forked()
        report.longrepr = calls.rewritten(report.longrepr, redacted)
        if attempt.record is None and (call.when == "call" or not report.passed):
            self._publish_incomplete(item, attempt, call, report)
        if report.failed and (call.when == "teardown" or not item.stash.get(_JUDGED, False)):
            _note_late_failure(attempt, report)
        if attempt.record is not None and (call.when in {"call", "setup"}):
            setattr(report, RECORD, attempt.published)
        if call.when == "teardown":
            calls.write_log(attempt, report)
            attempt.close()
            del item.stash[ATTEMPT]
        report.sections = calls.capped(report.sections)
        return report

    def _publish_incomplete(
        self, item: pytest.Item, attempt: Attempt, call: pytest.CallInfo[None], report: pytest.TestReport
    ) -> None:
        hints = hinting.Hinting(self._config, item.ihook)
        try:
            calls.publish_incomplete(attempt, call, report, hints)
        except OSError as error:
            report.outcome = "failed"
            report.longrepr = f"the record of {item.name} could not be written: {error}"
            return
        assert attempt.record is not None
        lines = hints.lines(attempt.record.hints)
        if lines:
            place = self._session.settings.shown(Path(attempt.folder))
            lines.append(f"Attempt {attempt.key.sequence} of {attempt.key.label}; its files are in {place}")
            hinting.show(report, [printable(self._config, line) for line in lines])
