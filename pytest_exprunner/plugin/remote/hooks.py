"""Calls handlers on other machines: many at the same time, from one process, with the usual reports."""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_exprunner._util.errors import ExecutorError, ExprunnerError, count, os_reason
from pytest_exprunner.executors import project_files
from pytest_exprunner.executors.base import Answer, Executor, Job, Setup, StillAwayError
from pytest_exprunner.executors.content_store import entry_of
from pytest_exprunner.executors.mirror import Mirror
from pytest_exprunner.executors.pending_jobs import PendingJobs
from pytest_exprunner.model.layout import RECORD as RECORD_FILE
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.model.settings import Settings
from pytest_exprunner.plan.models import Plan, SubExperiment
from pytest_exprunner.plugin import calls, isolation
from pytest_exprunner.plugin.collection import EXPLORATORY, SELECTED, StubItem, only_setup, params_of
from pytest_exprunner.plugin.items import RECORD
from pytest_exprunner.plugin.remote.preflight import refuse_left_behind, setup_of
from pytest_exprunner.schedule import order
from pytest_exprunner.schedule.order import Schedule
from pytest_exprunner.session.session import ExperimentSession
from pytest_exprunner.verdicts.gates import Action

_LOOK = 0.2  # seconds; Ctrl-C is noticed within this time
_PATIENCE = 10.0  # seconds for running jobs to record that they were stopped
Make = Callable[[Plan, Settings, Setup, Path, Sequence[str], Sequence[SubExperiment]], Executor]
"""Returns an executor that is not open yet. The arguments are the plan, the settings, the setup that all jobs
share, the project's folder, the files to upload and the sub-experiments that may run.
"""


@dataclass(frozen=True, slots=True)
class _RunningJob:
    """An item whose attempt runs on another machine."""

    item: pytest.Item
    index: int
    job: Job
    mirror: Mirror


class RemoteHooks:
    """Replaces pytest's loop in the controller, and calls handlers remotely."""

    def __init__(self, config: pytest.Config, session: ExperimentSession, make: Make) -> None:
        """``make`` is called just before the first remote call."""
        self._config = config
        self._session = session
        self._make = make
        self._pending = PendingJobs(session.layout)
        self._executor: Executor

    def run_loop(self, session: pytest.Session) -> bool | None:
        """Run ordinary tests locally, then handlers remotely."""
        option = session.config.option
        stopped = session.testsfailed and not option.continue_on_collection_errors
        if stopped or option.collectonly or only_setup(session.config) or self._session.settings.explain:
            return None
        ordinary = [item for item in session.items if SELECTED not in item.stash]
        for item, following in itertools.zip_longest(ordinary, ordinary[1:]):
            self._run_locally(item, following)
        handlers = [item for item in session.items if SELECTED in item.stash]
        if not handlers:
            return True
        try:
            with self._opened(handlers) as self._executor:
                if self._session.settings.detach:
                    self._submit_detached(handlers)
                else:
                    self._run_remotely(handlers)
        except ExprunnerError as error:
            raise pytest.UsageError(str(error)) from None
        return True

    def _opened(self, handlers: Sequence[pytest.Item]) -> Executor:
        session, root = self._session, self._config.rootpath
        names = project_files.shipped(root, session.layout.root, session.plan.experiments)
        planned = [item.stash[SELECTED] for item in handlers if EXPLORATORY not in item.stash]
        setup = setup_of(self._config, session)
        refuse_left_behind(session, planned, set(names), root)
        experiments = session.plan.experiments
        subs = {
            p.sub_experiment: experiments[p.experiment].sub_experiments[p.sub_experiment] for p in planned
        }
        return self._make(session.plan, session.settings, setup, root, names, list(subs.values()))

    def _run_remotely(self, items: Sequence[pytest.Item]) -> None:
        planned = self._schedule(items)
        running: dict[Future[Answer], _RunningJob] = {}
        try:
            while not planned.finished:
                self._start(items, planned, running)
                if not running:
                    break
                done, _ = wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED)
                for future in done:
                    self._ended(running.pop(future), future, planned)
        except BaseException:
            self._stop(running)
            raise

    def _submit_detached(self, items: Sequence[pytest.Item]) -> None:
        """Submit the items that can run now, without waiting for them."""
        planned = self._schedule(items)
        waiting = dict(enumerate(items))
        submitted = 0
        while isinstance(index := planned.start(), int):
            item = waiting.pop(index)
            if self._runs_locally(item):
                self._run_locally(item, None)
                planned.done(index)
                continue
            call = self._detach(item)
            if call:
                submitted += 1
                self._skip(item, f"submitted to Modal as {call}; 'exprunner collect' fetches it")
        for item in waiting.values():
            self._skip(item, "waits for a job pending on Modal")
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(
                f"{count(submitted, 'sub-experiment')} submitted to Modal; 'exprunner status' lists them, "
                "'exprunner collect' fetches what has ended"
            )

    def _detach(self, item: pytest.Item) -> str:
        """Submit an item and return the call id; on failure, report it and return an empty string."""
        try:
            job = self._job(item)
            call = self._executor.leave(job, self._session.layout.root)
            self._pending.note(self._session.run, job, call)
        except OSError as error:
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            self._report(item, _reports_of_failure(item, _not_begun(item, error)))
            return ""
        return call

    def _skip(self, item: pytest.Item, reason: str) -> None:
        """Report an item as skipped, because its outcome is not known yet."""
        path, line, _name = item.location
        report = calls.plain_report(item, "setup", "skipped")
        report.longrepr = (path, line or 0, f"Skipped: {reason}")
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._report(item, [report, calls.plain_report(item, "teardown", "passed")])

    def _report(self, item: pytest.Item, reports: Sequence[pytest.TestReport]) -> None:
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _schedule(self, items: Sequence[pytest.Item]) -> Schedule[order.Node]:
        selected = [item.stash[SELECTED] for item in items]
        planned = {
            index: (one.experiment, one.sub_experiment)
            for index, (item, one) in enumerate(zip(items, selected, strict=True))
            if EXPLORATORY not in item.stash
        }
        durations: dict[order.Node, float] = {}
        durations.update(
            zip(planned, self._session.setup.durations([selected[i] for i in planned]), strict=True)
        )
        return order.of_plan(self._session.plan, planned, len(items), durations)

    def _start(
        self,
        items: Sequence[pytest.Item],
        planned: Schedule[order.Node],
        running: dict[Future[Answer], _RunningJob],
    ) -> None:
        while len(running) < self._executor.most and (index := planned.start()) is not None:
            assert isinstance(index, int)
            item = items[index]
            if self._runs_locally(item):
                self._run_locally(item, None)
                planned.done(index)
                continue
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            try:
                future, what = self._submit(item, index)
                running[future] = what
            except OSError as error:
                self._report(item, _reports_of_failure(item, _not_begun(item, error)))
                planned.done(index)
                self._raise_if_stopped(item)

    def _runs_locally(self, item: pytest.Item) -> bool:
        """Return whether an item needs no remote call: it is reused, blocked, or has no handler."""
        selected = item.stash[SELECTED]
        if isinstance(item, StubItem) or EXPLORATORY in item.stash:
            return True
        if self._session.admission.decide(selected).action is Action.BLOCK:
            return True
        resume = self._session.settings.resume
        return resume and self._session.admission.resume(selected, params_of(item)).record is not None

    def _run_locally(self, item: pytest.Item, following: pytest.Item | None) -> None:
        self._config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        self._raise_if_stopped(item)

    def _submit(self, item: pytest.Item, index: int) -> tuple[Future[Answer], _RunningJob]:
        job, run = self._job(item), self._session.run
        mirror = Mirror(self._session.layout.attempt(job.key))

        def began(call: str) -> None:
            self._pending.note(run, job, call)

        future = self._executor.submit(job, self._session.layout.root, mirror.take, began)
        return future, _RunningJob(item, index, job, mirror)

    def _job(self, item: pytest.Item) -> Job:
        """Reserve an attempt, build its job, and record it as pending before it is submitted."""
        key, needed = self._session.attempts.reserve(item.stash[SELECTED])
        entries = [entry_of(file, self._session.layout.root) for file in needed]
        job = Job(
            item.nodeid,
            key.experiment,
            key.sub_experiment,
            key.variant,
            key.seed,
            key.sequence,
            entries,
            secrets.token_hex(4),
        )
        self._pending.note(self._session.run, job)
        return job

    # --- the end of an item -------------------------------------------------------------------

    def _ended(self, sent: _RunningJob, future: Future[Answer], planned: Schedule[order.Node] | None) -> None:
        item, selected = sent.item, sent.item.stash[SELECTED]
        self._report(item, self._reports(sent, selected, future))
        if planned is not None:
            planned.done(sent.index)
            self._raise_if_stopped(item)

    def _reports(
        self, sent: _RunningJob, selected: Selected, future: Future[Answer]
    ) -> list[pytest.TestReport]:
        try:
            answer = _answer_of(future)
            sent.mirror.bring(answer, self._executor.fetch)
            _check_record(sent, answer)
        except (ExecutorError, OSError) as error:
            # It has no record, and stays a pending job.
            text = f"{selected.label} could not be collected: {error}; 'exprunner collect' tries again"
            return _reports_of_failure(sent.item, text)
        self._pending.settle(self._session.run, sent.job)
        self._session.attempts.collected(selected)
        if answer.problem:
            return isolation.reports_of_lost(self._session, sent.item, selected, answer.problem)
        return [isolation.report_from(self._config, dict(data)) for data in answer.reports]

    # --- stopping -----------------------------------------------------------------------------

    def _raise_if_stopped(self, item: pytest.Item) -> None:
        session = item.session
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def _stop(self, running: Mapping[Future[Answer], _RunningJob]) -> None:
        """Cancel running jobs, and fetch their records of being stopped."""
        if not running:
            return
        self._executor.cancel()
        done, _ = wait(running, timeout=_PATIENCE)
        for future in done:
            if not future.cancelled() and future.exception() is None:
                sent = running[future]
                with contextlib.suppress(ExecutorError, OSError):
                    sent.mirror.bring(future.result(), self._executor.fetch)
                    self._pending.settle(self._session.run, sent.job)


def _not_begun(item: pytest.Item, error: OSError) -> str:
    return f"{item.stash[SELECTED].label} could not be submitted: {os_reason(error)}"


def _reports_of_failure(item: pytest.Item, text: str) -> list[pytest.TestReport]:
    report = calls.plain_report(item, "call", "failed")
    report.longrepr = calls.representation(text)
    before, after = (calls.plain_report(item, when, "passed") for when in ("setup", "teardown"))
    return [before, report, after]


def _answer_of(future: Future[Answer]) -> Answer:
    """Return a job's answer. Raises `StillAwayError` if it is not known yet."""
    try:
        return future.result()
    except StillAwayError:
        raise
    except ExecutorError as error:
        return Answer(problem=str(error))


def _check_record(sent: _RunningJob, answer: Answer) -> None:
    """Raise `ExecutorError` if a report's record is not among the fetched files."""
    for report in answer.reports:
        record = report.get(RECORD)
        file = sent.mirror.folder / RECORD_FILE
        if record is not None and (not file.is_file() or file.read_text(encoding="utf-8") != record):
            raise ExecutorError(f"the record of attempt {sent.job.sequence} is not among its files")
