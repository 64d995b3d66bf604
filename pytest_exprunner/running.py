"""The hooks of a run that includes handlers. Each translates, and calls one verb of the session."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_exprunner import calling, options, plan_file, provenance
from pytest_exprunner.attempt import Attempt
from pytest_exprunner.collecting import (
    ATTEMPT,
    EXPLORATORY,
    SELECTED,
    Collecting,
    StubItem,
    offer_runner,
    only_setup,
)
from pytest_exprunner.errors import ExprunnerError, count, did_you_mean
from pytest_exprunner.gates import Action
from pytest_exprunner.judging import Judgement, Outcome
from pytest_exprunner.location import study_root
from pytest_exprunner.plan import Plan
from pytest_exprunner.records import Level
from pytest_exprunner.render import terminal
from pytest_exprunner.scan import scan
from pytest_exprunner.selecting import Selection, in_order, with_variants
from pytest_exprunner.session import ExperimentSession, Selected
from pytest_exprunner.settings import Settings

_BLOCKED = pytest.StashKey[bool]()
_RECORD = "exprunner_record"
_MARKUP: dict[terminal.Style, dict[str, bool]] = {
    "good": {"green": True},
    "bad": {"red": True},
    "warn": {"yellow": True},
    "bold": {"bold": True},
    "": {},
}


def configure(
    config: pytest.Config, plan_path: Path, folders: tuple[Path, ...], asked: Sequence[Path]
) -> None:
    """Load the plan, find the handlers and register the hooks. Raises `pytest.UsageError`."""
    root = config.rootpath
    shown = plan_path.relative_to(root).as_posix() if plan_path.is_relative_to(root) else str(plan_path)
    try:
        loaded = plan_file.load(plan_path, shown)
        found = scan(loaded.plan, folders, root)
        found.check()
    except ExprunnerError as error:
        raise pytest.UsageError(str(error)) from None
    _refuse_parallel(config, asked)
    settings = _settings(config, loaded.plan, plan_path, folders)
    collecting = Collecting(
        loaded.plan,
        found,
        study_root(plan_path),
        shown,
        exploratory=settings.exploratory,
        enabled=bool(asked) or settings.stub or settings.exploratory,
    )
    collecting.register_markers(config)  # last of all plugins, so that markers with a meaning are known
    session = ExperimentSession(settings, loaded, found.without_handler(loaded.plan))
    if settings.stub and config.pluginmanager.has_plugin("lfplugin"):
        config.pluginmanager.unregister(name="lfplugin")  # a stub run passes nothing that --lf waits for
    plugin = ResearchPlanPlugin(config, session, collecting, folders)
    plugin.remarks += [f"warning: {warning}" for warning in loaded.warnings]
    plugin.remarks += [f"warning: {problem}; no handler was looked for in it" for problem in found.problems()]
    config.pluginmanager.register(plugin, "exprunner-research-plan")


def _refuse_parallel(config: pytest.Config, asked: Sequence[Path]) -> None:
    workers = getattr(config.option, "numprocesses", None) or getattr(config.option, "tx", None)
    if (asked or options.intent(config)) and workers and getattr(config.option, "dist", "no") != "no":
        raise pytest.UsageError(
            "experiments do not run in parallel yet: run 'pytest experiments/' with -n0, "
            "and other tests with -n as you like"
        )


def _settings(config: pytest.Config, plan: Plan, plan_path: Path, folders: tuple[Path, ...]) -> Settings:
    asked_gates: list[str] = config.getoption("exp_gate")
    gates = list(plan.gates) if "all" in asked_gates else asked_gates
    for gate in gates:
        if gate not in plan.gates:
            hint = did_you_mean(gate, plan.gates)
            known = ", ".join(plan.gates) or "none"
            raise pytest.UsageError(f"--exp-gate: unknown gate {gate!r}{hint}; known: {known}")
    if asked_gates and not plan.gates:
        raise pytest.UsageError("--exp-gate: the plan has no gates")
    if asked_gates and config.getoption("exp_stub"):
        raise pytest.UsageError(
            "--exp-gate cannot be combined with --exp-stub: a stub run measures nothing, so no gate can "
            "pass; use one of them"
        )
    return Settings(
        plan_file=plan_path,
        results_root=options.results_root(config, plan_path),
        folders=folders,
        root=config.rootpath,
        level=Level(config.getoption("exp_level")),
        stub=config.getoption("exp_stub"),
        gates=tuple(dict.fromkeys(gates)),
        exploratory=config.getoption("exp_exploratory"),
        ignore_dependencies=config.getoption("exp_ignore_dependencies"),
    )


class ResearchPlanPlugin:
    """Hooks around one `ExperimentSession`."""

    def __init__(
        self,
        config: pytest.Config,
        session: ExperimentSession,
        collecting: Collecting,
        folders: tuple[Path, ...],
    ) -> None:
        """Built once per run, after the plan was read."""
        self.remarks: list[str] = []
        self._config = config
        self._session = session
        self._collecting = collecting
        self._folders = folders
        self._judged: set[str] = set()
        self._emitting = False

    # --- collection ---------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> Generator[None, list[Any], list[Any]]:
        """Handlers are collected once, whatever ``python_files`` says."""
        collected = yield
        return self._collecting.file(file_path, parent, collected)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Give a handler the names that select it."""
        self._collecting.item(item)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Put what is left after deselection into order; in a stub run, add what has no handler."""
        if self._session.settings.stub:
            items.extend(self._stub_items(session))
        items[:] = in_order(items, self._session.plan)

    def _stub_items(self, session: pytest.Session) -> list[pytest.Item]:
        selection = Selection(self._config, self._collecting, self._folders)
        if not selection.covers_all():
            return []
        made: list[pytest.Item] = []
        for sub in self._session.without_handler:
            if selection.names(sub):
                nodeid = f"{self._collecting.plan_name}::{sub}"
                item = StubItem.from_parent(
                    session, name=sub, nodeid=nodeid, plan_name=self._collecting.plan_name
                )
                experiment = self._session.plan.owner(sub)
                item.stash[SELECTED] = Selected(experiment.id, sub, None, None, nodeid)
                made.append(item)
        return made

    # --- the loop -----------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Mark what was selected as in progress; judge the whole after the last item."""
        if session.config.option.collectonly or only_setup(session.config):
            return (yield)
        if not session.testsfailed or session.config.option.continue_on_collection_errors:
            self._start(session.items)
        result = yield
        if self._session.started:
            for judgement in self._session.judge():
                self._report(judgement)
        return result

    def _start(self, items: Sequence[pytest.Item]) -> None:
        handlers = [i for i in items if SELECTED in i.stash]
        for item, told in zip(
            handlers,
            with_variants((i.stash[SELECTED] for i in handlers), self._collecting.variants),
            strict=True,
        ):
            item.stash[SELECTED] = told
        selected = [i.stash[SELECTED] for i in handlers if EXPLORATORY not in i.stash]
        selection = Selection(self._config, self._collecting, self._folders)
        enabled = self._collecting.enabled
        whole = selection.whole(items) if enabled else []
        uncollected = selection.uncollected() if enabled else {}
        if not (selected or whole or uncollected or self._session.settings.gates):
            return
        gc.freeze()  # what was collected lives as long as the run: looking through it again is waste
        try:
            self._session.start(selected, whole, uncollected)
        except ExprunnerError as error:
            raise pytest.UsageError(str(error)) from None

    def _report(self, judgement: Judgement) -> None:
        """Let pytest count a failure that belongs to no item."""
        plan_name = self._collecting.plan_name
        try:
            calling.fail(self._printable(judgement.text))
        except pytest.fail.Exception as error:
            longrepr = pytest.ExceptionInfo.from_exception(error).getrepr(style="value")
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
        self._emitting = True
        self._config.hook.pytest_runtest_logreport(report=report)
        self._emitting = False

    # --- one item -----------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Refuse what is blocked; mark the attempt started before anything of it runs."""
        __tracebackhide__ = True
        selected = item.stash.get(SELECTED, None)
        if selected is None or only_setup(self._config):
            return
        if EXPLORATORY not in item.stash:
            decision = self._session.decide(selected)
            if decision.action is Action.BLOCK:
                item.stash[_BLOCKED] = True
                calling.fail("blocked: " + "; ".join(decision.reasons))
        attempt = item.stash[ATTEMPT] = self._begin(item, selected)
        offer_runner(item, attempt)
        calling.keep_result(item)
        # Here for fixtures, and again for the handler, whatever fixtures drew.
        provenance.seed_everything(attempt.runner.seed)

    def _begin(self, item: pytest.Item, selected: Selected) -> Attempt:
        params = getattr(getattr(item, "callspec", None), "params", {})
        exploratory = EXPLORATORY in item.stash
        begin = self._session.begin_exploratory if exploratory else self._session.begin
        try:
            attempt = begin(selected, params, self._watch())
        except OSError as error:
            problem = f"the attempt could not be started: {error.strerror or error} ({error.filename})"
        else:
            return attempt
        return calling.fail(problem)

    def _watch(self) -> Callable[[str], None]:
        """Show progress lines: live with ``-v``, else where captured output goes."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")

        def watch(line: str) -> None:
            shown = terminal.safe(line)
            if capture is None or not capture.is_globally_capturing():
                print(self._printable(shown))  # noqa: T201 - with -s this is where a person looks
            elif reporter is not None and self._config.get_verbosity() > 0:
                with capture.global_and_fixture_disabled():
                    reporter.ensure_newline()
                    reporter.write_line(f"  {self._printable(shown)}")

        return watch

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Call a handler, record what it returns, and assert the criteria that it alone decides."""
        __tracebackhide__ = True
        attempt = pyfuncitem.stash.get(ATTEMPT, None)
        if attempt is None:
            return None
        if self._session.settings.stub:
            attempt.stub()
            return True
        provenance.seed_everything(attempt.runner.seed)
        try:
            with calling.process_kept():
                returned = calling.call(pyfuncitem)
        except (KeyboardInterrupt, pytest.exit.Exception) as error:
            self._session.interrupted(attempt, f"{type(error).__name__} stopped it")
            raise
        problem = calling.complete(attempt, returned)
        if problem:
            calling.fail(problem)
        if EXPLORATORY not in pyfuncitem.stash:
            self._assert(attempt)
        return True

    def _assert(self, attempt: Attempt) -> None:
        assertion = self._session.assertion(attempt)
        if assertion.kind == "fail":
            calling.fail(self._printable(assertion.text))
        if assertion.kind == "expected":
            pytest.xfail(self._printable(assertion.text))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Publish the outcome of an attempt that did not complete; send its record along."""
        report = yield
        if item.stash.get(_BLOCKED, False) and report.when == "setup":
            report.when = "call"  # it was not run: a failure of the item, not of a fixture
            item.stash[_BLOCKED] = False
        attempt = item.stash.get(ATTEMPT, None)
        if attempt is None:
            return report
        if attempt.record is None and (call.when == "call" or not report.passed):
            try:
                calling.publish_incomplete(attempt, call, report)
            except OSError as error:
                report.outcome = "failed"
                report.longrepr = f"the record of {item.name} could not be written: {error}"
        if attempt.record is not None and (call.when in {"call", "setup"}):
            setattr(report, _RECORD, attempt.published)
        if call.when == "teardown":
            calling.write_log(attempt, report)
            attempt.close()
            del item.stash[ATTEMPT]
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in a record, wherever its item ran."""
        record = getattr(report, _RECORD, None)
        if record is not None:
            self._session.record(record, _outcome(report))

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count the failure of an experiment as a whole, and leave it out of the progress of items."""
        if getattr(report, "when", None) == "call" and report.nodeid in self._judged:
            return "failed", "", "" if self._emitting else "FAILED"
        return None

    # --- the end ------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write results and findings. A run that was cut short is not a success, whoever says so."""
        self._session.finish()
        gc.unfreeze()
        if exitstatus == pytest.ExitCode.OK and not self._session.is_whole():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_report_header(self) -> list[str]:
        """Which plan, and what is odd about it."""
        plan = self._session.plan
        handlers = len(self._collecting.scan.planned())
        line = (
            f"research plan: {self._collecting.plan_name} ({count(len(plan.experiments), 'experiment')}, "
            f"{count(handlers, 'handler')})"
        )
        return [self._printable(text) for text in (line, *map(terminal.safe, self.remarks))]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """What was found, in a short table."""
        exploratory = self._collecting.scan.exploratory()
        if exploratory and not self._session.settings.exploratory:
            names = ", ".join(f"{h.name} ({h.place})" for h in exploratory[:5])
            more = f" and {len(exploratory) - 5} more" if len(exploratory) > 5 else ""
            terminalreporter.write_line(
                self._printable(f"exploratory, not run (--exp-exploratory runs them): {names}{more}")
            )
        if not self._session.started:
            return
        summary = self._session.summary()
        verbosity = self._config.get_verbosity()
        if verbosity >= 0:
            terminalreporter.write_sep("=", self._printable(terminal.heading(summary.results)))
        for line in terminal.render(summary, verbosity):
            terminalreporter.write_line(self._printable(line.text), **_MARKUP[line.style])
        if verbosity > 0:
            terminalreporter.write_line(f"Findings: {self._session.findings_shown}")

    def _printable(self, line: str) -> str:
        """Return text that the console can show: ASCII where it knows nothing else."""
        writer = self._config.get_terminal_writer()
        encoding = getattr(writer._file, "encoding", None) or "utf-8"  # noqa: SLF001 - no public way
        try:
            line.encode(encoding)
        except (UnicodeEncodeError, LookupError):
            return terminal.ascii_only(line)
        return line


def _outcome(report: pytest.TestReport) -> Outcome:
    if report.failed:
        return "failed"
    return "skipped" if report.skipped else "passed"
