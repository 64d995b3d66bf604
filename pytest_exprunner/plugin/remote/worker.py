"""The remote worker's pytest: it collects once and runs the items it receives, one at a time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from _pytest.config import Config

from pytest_exprunner.executors.base import Job
from pytest_exprunner.executors.link import LinePipe
from pytest_exprunner.plugin import calls
from pytest_exprunner.plugin.collection import LINK
from pytest_exprunner.session.session import ExperimentSession

if TYPE_CHECKING:
    import pytest


class RemoteWorkerHooks:
    """Runs jobs in place of pytest's loop."""

    def __init__(self, config: pytest.Config, session: ExperimentSession, link: LinePipe) -> None:
        """Registered on a remote worker only; ``link`` carries jobs and answers."""
        self._config = config
        self._session = session
        self._link = link
        self._reports: list[Any] = []
        self._problems: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep the reason why something could not be collected."""
        if report.failed:
            self._problems.append(report.longreprtext)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a report for the answer."""
        hook = self._config.hook
        self._reports.append(hook.pytest_report_to_serializable(config=self._config, report=report))

    def run_loop(self, session: pytest.Session) -> bool:
        """Run each job and answer it."""
        items = {item.nodeid: item for item in session.items}
        for job in self._link.jobs():
            item = items.get(job.nodeid)
            if item is None:
                self._link.answer([], self._missing(job.nodeid))
                continue
            self._reports.clear()
            problem = self._run(item, job)
            self._link.answer(self._reports, problem)
        return True

    def _run(self, item: pytest.Item, job: Job) -> str:
        self._session.attempts.assign(job.key)
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        except KeyboardInterrupt as error:
            return f"{calls.stopper(error)} stopped it"
        return ""

    def _missing(self, nodeid: str) -> str:
        why = "\n".join(self._problems) or "it is not among what was collected there"
        return f"{nodeid} could not be collected on the remote worker:\n{why}"


def main() -> int:
    """Collect the items, and read jobs from the pipes whose descriptors are the arguments."""
    link = LinePipe(*map(int, sys.argv[1:3]))
    # Named by its module, because the package may be importable but not installed. If it is installed, pytest
    # also warns that it is already imported, which is an error in projects that turn warnings into errors.
    own = ["-p", "no:exprunner", "-p", "pytest_exprunner.plugin"]
    own += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    config = Config.fromdictargs(dict(link.setup.options), [*own, *link.setup.arguments])
    config.stash[LINK] = link
    code: int = config.hook.pytest_cmdline_main(config=config)
    config._ensure_unconfigure()  # noqa: SLF001 - as pytest.main does
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
