"""The hooks around a run as a whole. Each translates, and calls one verb of the session."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from pytest_exprunner._util import processes
from pytest_exprunner._util.errors import ExprunnerError, LockedError, count, did_you_mean
from pytest_exprunner._util.exit_guard import QuietExits
from pytest_exprunner._util.location import study_root
from pytest_exprunner.handlers.scan import scan
from pytest_exprunner.model.attempt import Level
from pytest_exprunner.model.layout import AWAY, Layout
from pytest_exprunner.model.selection import Selected, SharedRun
from pytest_exprunner.model.settings import Settings
from pytest_exprunner.plan import loader
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.plugin import calls, options, progress
from pytest_exprunner.plugin.ci import AnnotateHooks
from pytest_exprunner.plugin.collection import EXPLORATORY, LINK, SELECTED, Collecting, only_setup, params_of
from pytest_exprunner.plugin.explain import ExplainHooks
from pytest_exprunner.plugin.isolation import IsolateHooks
from pytest_exprunner.plugin.items import BLOCKED, JUDGED, RECORD, REPLAYED, ItemHooks, printable
from pytest_exprunner.plugin.reuse import ReplayHooks
from pytest_exprunner.plugin.selection import Selection
from pytest_exprunner.provenance import gpus
from pytest_exprunner.report import terminal
from pytest_exprunner.session.judgment import Judgement, Outcome
from pytest_exprunner.session.session import ExperimentSession
from pytest_exprunner.store.lock import RunLock

_SHOWN_OUTCOMES = {"passed": (".", "PASSED"), "failed": ("F", "FAILED")}
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
        loaded = loader.load(plan_path, shown)
        found = scan(loaded.plan, folders, root)
        found.check()
    except ExprunnerError as error:
        raise pytest.UsageError(str(error)) from None
    settings = _settings(config, loaded.plan, plan_path, folders)
    collecting = Collecting(
        loaded.plan,
        found,
        study_root(plan_path),
        shown,
        exploratory=settings.exploratory,
        seeds=settings.seeds,
        enabled=bool(asked) or settings.stub or settings.exploratory,
    )
    collecting.register_markers(config)  # last of all plugins, so that markers with a meaning are known
    shared = _shared_run(config)
    looks_only = settings.explain or config.option.collectonly or only_setup(config)
    remarks = _brought_home(settings) if shared is None and settings.resume and not looks_only else []
    session = ExperimentSession(settings, loaded, found.without_handler(loaded.plan), found.planned(), shared)
    if settings.stub and config.pluginmanager.has_plugin("lfplugin"):
        config.pluginmanager.unregister(name="lfplugin")  # a stub run passes nothing that --lf waits for
    manager = config.pluginmanager
    manager.register(ItemHooks(config, session, collecting, folders), "exprunner-items")
    manager.register(IsolateHooks(config, session), "exprunner-isolate")
    if settings.explain:
        manager.register(ExplainHooks(config, session), "exprunner-explain")
    if settings.resume:
        manager.register(ReplayHooks(config, session), "exprunner-replay")
    if LINK in config.stash:
        from pytest_exprunner.plugin.remote_worker import FarHooks  # not needed as a rule

        manager.register(FarHooks(config, session, config.stash[LINK]), "exprunner-far")
        return
    if shared is not None:
        from pytest_exprunner.plugin.xdist import WorkerHooks  # needs xdist

        manager.register(WorkerHooks(collecting), "exprunner-worker")
        return
    parallel = _is_distributed(config)
    run = RunHooks(config, session, collecting, folders, parallel=parallel)
    run.remarks += remarks
    run.remarks += [f"warning: {warning}" for warning in loaded.warnings]
    run.remarks += [f"warning: {problem}; no handler was looked for in it" for problem in found.problems()]
    manager.register(AnnotateHooks(config, session, collecting), "exprunner-annotate")
    manager.register(run, "exprunner-run")
    _show(config, session, shown)
    if settings.executor == "modal":
        manager.register(_modal(config, session), "exprunner-dispatch")
    if parallel:
        _distribute(config, session, collecting, run)


def _distribute(
    config: pytest.Config, session: ExperimentSession, collecting: Collecting, run: RunHooks
) -> None:
    """Have workers of xdist run the items. Raises `pytest.UsageError` where that cannot be."""
    from pytest_exprunner.plugin import xdist as distributed  # needs xdist

    refusal = distributed.refusal(config)
    if refusal:
        raise pytest.UsageError(refusal)
    manager = config.pluginmanager
    manager.register(distributed.ControllerHooks(session, collecting, run.begin), "exprunner-controller")


def _show(config: pytest.Config, session: ExperimentSession, plan_name: str) -> None:
    """Let people and programs follow the run."""
    if config.option.exp_json is not None:
        _stream(config, session, plan_name)
    if progress.wanted(config):
        config.pluginmanager.register(progress.ShowHooks(config, session), "exprunner-show")


def _stream(config: pytest.Config, session: ExperimentSession, plan_name: str) -> None:
    """Tell a program what happens. Raises `pytest.UsageError` where that did not begin with pytest."""
    from pytest_exprunner.plugin.json_stream import STREAM, StreamHooks  # not needed as a rule

    stream = config.stash.get(STREAM, None)
    if stream is None:
        raise pytest.UsageError(
            "--exp-json needs pytest-exprunner from pytest's start: have it installed, or load it with "
            "-p pytest_exprunner.plugin, not from a conftest file"
        )
    config.pluginmanager.register(StreamHooks(config, session, stream, plan_name), "exprunner-json")


def _brought_home(settings: Settings) -> list[str]:
    """Bring home what a run that is gone has left elsewhere; return what a person should know of that."""
    layout = Layout(settings.results_root)
    if not (layout.lock_folder / AWAY).is_dir():
        return []
    from pytest_exprunner.executors.pending_jobs import PendingJobs  # not needed as a rule

    away = PendingJobs(layout)
    if not away.pending():
        return []
    lock = RunLock(layout.lock_folder)
    try:
        from pytest_exprunner.executors.modal.results import VolumeResults  # optional, and heavy

        lock.acquire("bringing attempts home", 0, settings.shown(layout.root))
        collected = away.collect(VolumeResults())
    except LockedError:
        return []  # they belong to a run that goes on
    except (ImportError, ExprunnerError, OSError) as error:
        return [f"warning: what an earlier run began on Modal could not be brought home: {error}"]
    finally:
        lock.release()
    brought = [f"brought home from Modal: {', '.join(collected.brought)}"] if collected.brought else []
    return [
        *brought,
        *(f"warning: could not be brought home from Modal: {label}" for label in collected.failed),
    ]


def _modal(config: pytest.Config, session: ExperimentSession) -> object:
    """Return the hooks that have Modal call handlers. Raises `pytest.UsageError` where that cannot be."""
    if _is_distributed(config):
        raise pytest.UsageError(
            "-n cannot be combined with --exp-executor modal: one process calls many handlers at once there; "
            "use --exp-max-containers N"
        )
    try:
        from pytest_exprunner.executors.modal.executor import ModalExecutor  # optional, and heavy
        from pytest_exprunner.plugin.remote import DispatchHooks  # not needed as a rule
    except ImportError as error:
        raise pytest.UsageError(
            f"--exp-executor modal: {error}; install it with: pip install 'pytest-exprunner[modal]'"
        ) from None
    return DispatchHooks(config, session, ModalExecutor)


def _is_distributed(config: pytest.Config) -> bool:
    """Tell whether xdist is going to run the items in workers."""
    option = config.option
    return bool(getattr(option, "tx", None)) and option.dist != "no" and not option.collectonly


def _shared_run(config: pytest.Config) -> SharedRun | None:
    if LINK in config.stash:
        return config.stash[LINK].shared_run()
    if not hasattr(config, "workerinput"):
        return None
    from pytest_exprunner.plugin.xdist import shared_run  # needs xdist

    return shared_run(config)


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
    if config.getoption("exp_stub") and (config.getoption("exp_resume") or config.getoption("exp_explain")):
        other = "--exp-resume" if config.getoption("exp_resume") else "--exp-explain"
        raise pytest.UsageError(
            f"{other} cannot be combined with --exp-stub: a stub run takes everything through the harness; "
            "use one of them"
        )
    return Settings(
        plan_file=plan_path,
        results_root=options.results_root(config, plan_path),
        folders=folders,
        root=config.rootpath,
        # Without an ini file pytest's root is where it was started, and nothing to record paths by.
        project=config.rootpath if config.inipath is not None else study_root(plan_path),
        level=Level(config.getoption("exp_level")),
        stub=config.getoption("exp_stub"),
        gates=tuple(dict.fromkeys(gates)),
        exploratory=config.getoption("exp_exploratory"),
        ignore_dependencies=config.getoption("exp_ignore_dependencies"),
        resume=config.getoption("exp_resume"),
        strict=config.getoption("exp_strict"),
        report=_report(config),
        explain=config.getoption("exp_explain"),
        executor=options.executor(config),
        detach=_detach(config),
        most_containers=options.most_containers(config),
        devices=_devices(config, plan),
        seeds=options.seeds(config),
        timeout=options.timeout(config),
        trackers=options.trackers(config),
        tracker_timeout=options.tracker_timeout(config),
        lock_timeout=options.lock_timeout(config),
    )


def _report(config: pytest.Config) -> Path | None:
    file = options.report(config)
    if file is not None:
        from pytest_exprunner.report.html import file as report_file  # not needed as a rule

        try:
            report_file.check(file)
        except ExprunnerError as error:
            raise pytest.UsageError(f"--exp-report: {error}") from None
    return file


def _detach(config: pytest.Config) -> bool:
    asked = bool(config.getoption("exp_detach"))
    if asked and options.executor(config) != "modal":
        raise pytest.UsageError(
            "--exp-detach needs --exp-executor modal: nothing here goes on without pytest"
        )
    if asked and config.getoption("exp_stub"):
        raise pytest.UsageError(
            "--exp-stub cannot be combined with --exp-detach: a stub run is over at once; use one of them"
        )
    if asked and config.getoption("exp_gate"):
        raise pytest.UsageError(
            "--exp-gate cannot be combined with --exp-detach, which waits for no result; "
            "'exprunner gates' tells once they are collected"
        )
    return asked


def _devices(config: pytest.Config, plan: Plan) -> tuple[str, ...]:
    if not any(sub.resources.gpu for _experiment, sub in plan.sub_experiments()):
        return ()
    return gpus.available(options.devices(config))


class RunHooks:
    """Hooks around the run as a whole, in the process that leads it."""

    def __init__(
        self,
        config: pytest.Config,
        session: ExperimentSession,
        collecting: Collecting,
        folders: tuple[Path, ...],
        *,
        parallel: bool,
    ) -> None:
        """Built once per run, after the plan was read; in a ``parallel`` run items are elsewhere."""
        self.remarks: list[str] = []
        self._config = config
        self._session = session
        self._collecting = collecting
        self._folders = folders
        self._parallel = parallel
        self._signals = processes.StopSignals()
        self._judged: set[str] = set()
        self._emitting = False
        self._exits = QuietExits(_under_way, self._say_at_last)
        self._exits.refuse()

    # --- the loop -----------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Mark what was selected as in progress; judge the whole after the last item."""
        if session.config.option.collectonly or only_setup(session.config) or self._session.settings.explain:
            return (yield)
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
            result = yield
        except KeyboardInterrupt:
            if not self._parallel:
                processes.end_children(patience=0, spared=self._session.trackers.pids)
            raise
        if self._session.started and not self._session.settings.detach:
            for judgement in self._session.completion.judge():
                self._report(judgement)
        return result

    def begin(self, selected: Sequence[Selected], *, reused: bool = False) -> None:
        """Start the run over what was selected. Raises `pytest.UsageError` if nothing can be written.

        ``reused`` if a stored attempt is reused for all of it.
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
        """Take in a record, wherever its item ran."""
        record, blocked = getattr(report, RECORD, None), getattr(report, BLOCKED, None)
        replayed = getattr(report, REPLAYED, None)
        if record is not None:
            self._session.attempts.record(record, _outcome(report))
        elif replayed is not None:
            self._session.attempts.reused(report.nodeid, replayed, _outcome(report))
        elif blocked is not None:
            self._session.attempts.blocked(report.nodeid, blocked)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count the failure of an experiment as a whole, and leave it out of the progress of items."""
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
        """Write results and findings. A run that was cut short is not a success, whoever says so."""
        self._session.completion.finish(stopped=exitstatus == pytest.ExitCode.INTERRUPTED, say=self._say)
        self._write_report()
        self._signals.restore()
        left = self._config.stash.get(options.LEFT, False)
        if exitstatus == pytest.ExitCode.OK and (left or not self._session.completion.is_complete()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note that somebody called ``pytest.exit``, with whatever exit code."""
        self._config.stash[options.LEFT] = isinstance(excinfo.value, pytest.exit.Exception)

    def pytest_unconfigure(self) -> None:
        """Give back what kept the process from ending quietly."""
        self._exits.allow()

    def _say_at_last(self, line: str) -> None:
        with contextlib.suppress(Exception):
            capture = self._config.pluginmanager.getplugin("capturemanager")
            if capture is not None:
                capture.suspend_global_capture(in_=True)
            os.write(2, f"\n{line}\n".encode("utf-8", "replace"))

    def _write_report(self) -> None:
        file = self._session.settings.report
        if file is None or not self._session.started:
            return
        from pytest_exprunner.report.html import file as report_file  # not needed as a rule
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
            if reporter._tw.width_of_current_line:  # noqa: SLF001 - ensure_newline knows nothing of xdist's dots
                reporter.write_line("")
            reporter.write_line(printable(self._config, text))

    def pytest_report_header(self) -> list[str]:
        """Which plan, and what is odd about it."""
        plan = self._session.plan
        handlers = len(self._collecting.scan.planned())
        line = (
            f"research plan: {self._collecting.plan_name} ({count(len(plan.experiments), 'experiment')}, "
            f"{count(handlers, 'handler')})"
        )
        trackers = ", ".join(self._session.settings.trackers)
        told = [f"trackers: {trackers}"] if trackers else []
        return [printable(self._config, text) for text in (line, *told, *map(terminal.safe, self.remarks))]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """What was found, in a short table."""
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


def _under_way() -> str:
    """Return the name of the item that is under way, as pytest tells it."""
    item, _space, _phase = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")
    return item.rpartition("::")[2] or "something outside of any handler"


def _outcome(report: pytest.TestReport) -> Outcome:
    if report.failed:
        return "failed"
    return "skipped" if report.skipped else "passed"
