"""Runs handlers in their own processes, as items with their fixtures; reports are returned as text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from pytest_exprunner._util.errors import ResourceError, os_reason
from pytest_exprunner._util.redaction import redacted
from pytest_exprunner._util.supervised import Ended, supervise
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.plugin import calls
from pytest_exprunner.plugin.collection import EXPLORATORY, SELECTED, StubItem, only_setup
from pytest_exprunner.plugin.hints import Hinting
from pytest_exprunner.plugin.items import RECORD, note_interruption
from pytest_exprunner.session.session import ExperimentSession

_CALLER = f'"{calls.__file__}"'


class IsolateHooks:
    """Replaces pytest's own protocol for items that need their own process."""

    def __init__(self, config: pytest.Config, session: ExperimentSession) -> None:
        """Registered in every process that runs items."""
        self._config = config
        self._session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Run an item in its own process, or return None if it needs none."""
        selected = item.stash.get(SELECTED, None)
        shown_only = only_setup(self._config) or self._config.getoption("usepdb", None)
        if selected is None or isinstance(item, StubItem) or shown_only:
            return None
        planned = EXPLORATORY not in item.stash
        isolated, timeout = self._session.admission.isolation(selected if planned else None)
        if not isolated:
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        # The child process must not tear down fixtures that were set up here.
        calls.settle(item, None)
        try:
            with self._session.admission.lease(selected if planned else None):
                ended = supervise(lambda: self._run(item), timeout)
        except ResourceError as error:
            ended = Ended(b"", str(error))
        except OSError as error:  # no process or no temporary file can be created
            ended = Ended(b"", f"its process could not be started: {os_reason(error)}")
        for report in self._reports(item, selected, ended):
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _run(self, item: pytest.Item) -> bytes:
        """Run the item in the child process; return its reports as JSON."""
        try:
            reports = runtestprotocol(item, nextitem=None, log=False)
        except KeyboardInterrupt as error:
            note_interruption(self._session, item, error)
            raise
        hook = self._config.hook
        data = [hook.pytest_report_to_serializable(config=self._config, report=report) for report in reports]
        return json.dumps(data, default=str).encode("utf-8", "backslashreplace")

    def _reports(self, item: pytest.Item, selected: Selected, ended: Ended) -> list[pytest.TestReport]:
        if not ended.cause:
            return [report_from(self._config, data) for data in json.loads(ended.answer)]
        return reports_of_lost(self._session, item, selected, ended.cause, _of_handlers(ended.stacks))


def reports_of_lost(
    session: ExperimentSession, item: pytest.Item, selected: Selected, cause: str, stacks: str = ""
) -> list[pytest.TestReport]:
    """Record the attempt of an item whose process crashed, and return its reports."""
    hints = Hinting(item.config, item.ihook)
    record, message = session.attempts.record_crash(selected, item.nodeid, cause, stacks, hints)
    message = "\n".join([message, *hints.remarks()]) if message else ""
    message = message or f"{selected.label} failed before or during its attempt: {cause}."
    report = calls.plain_report(item, "call", "failed")
    shown = f"{message}\n\nWhere it was:\n{stacks}" if stacks else message
    report.longrepr = calls.representation(redacted(shown))
    if record:
        setattr(report, RECORD, record)
    before, after = (calls.plain_report(item, when, "passed") for when in ("setup", "teardown"))
    return [before, report, after]


def report_from(config: pytest.Config, data: dict[str, Any]) -> pytest.TestReport:
    """Return a report that another process has serialised."""
    data["location"] = tuple(data["location"])
    if isinstance(data["longrepr"], list):  # a skip, with its reason
        data["longrepr"] = tuple(data["longrepr"])
    data["sections"] = [tuple(section) for section in data["sections"]]
    report: pytest.TestReport = config.hook.pytest_report_from_serializable(config=config, data=data)
    return report


def _of_handlers(stacks: str) -> str:
    """Return stacks, newest frame first, without the frames that lead to a handler."""
    lines, led = [], False
    for line in stacks.splitlines():
        led = line.startswith("  File") and (led or _CALLER in line)
        if not led:
            lines.append(line)
    return "\n".join(lines)
