"""Items that reuse a stored attempt: they report its verdict without running."""

from __future__ import annotations

import pytest

from pytest_exprunner._util.errors import os_reason
from pytest_exprunner.model.attempt import AttemptRecord
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.plugin import calls
from pytest_exprunner.plugin.collection import EXPLORATORY, SELECTED, only_setup, params_of
from pytest_exprunner.plugin.items import REPLAYED, printable
from pytest_exprunner.session.session import ExperimentSession
from pytest_exprunner.verdicts.gates import Action


class ReuseHooks:
    """Replaces pytest's own protocol for reused items, in every process that runs items."""

    def __init__(self, config: pytest.Config, session: ExperimentSession) -> None:
        """Registered with ``--exp-resume`` only."""
        self._config = config
        self._session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Report the stored attempt of an item, or return None if the item must run."""
        selected = item.stash.get(SELECTED, None)
        if selected is None or EXPLORATORY in item.stash or only_setup(self._config):
            return None
        if self._session.admission.decide(selected).action is Action.BLOCK:
            return None
        record = self._session.admission.resume(selected, params_of(item)).record
        if record is None:
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        verdict = self._report(item, selected, record)
        for report in (_passed(item, "setup"), verdict, _passed(item, "teardown")):
            hook.pytest_runtest_logreport(report=report)
        calls.settle(item, nextitem)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _report(self, item: pytest.Item, selected: Selected, record: AttemptRecord) -> pytest.TestReport:
        try:
            self._session.attempts.note_reused(selected)
        except OSError as error:
            report = _passed(item, "call")
            report.outcome = "failed"
            report.longrepr = calls.representation(
                f"the reuse of attempt {record.key.sequence} of {selected.label} could not be recorded: "
                f"{os_reason(error)}"
            )
            return report
        return self._verdict(item, record)

    def _verdict(self, item: pytest.Item, record: AttemptRecord) -> pytest.TestReport:
        assertion = self._session.attempts.assertion_of(record)
        report = _passed(item, "call")
        if assertion.kind == "fail":
            report.outcome = "failed"
            report.longrepr = calls.representation(printable(self._config, assertion.text))
        elif assertion.kind == "expected":
            report.outcome = "skipped"
            report.wasxfail = f"reason: {printable(self._config, assertion.text)}"
        setattr(report, REPLAYED, record.key.sequence)
        return report


def _passed(item: pytest.Item, when: str) -> pytest.TestReport:
    return calls.plain_report(item, when, "passed")
