"""The hooks behind ``--exp-json``: they write a run's events, one JSON object per line."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pytest_exprunner._util.background import Ticking
from pytest_exprunner._util.errors import ExprunnerError
from pytest_exprunner._util.serialization import text
from pytest_exprunner.execution.specs import EXPLORATORY
from pytest_exprunner.model.attempt import AttemptRecord, parse_record
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.plugin.collection import SELECTED
from pytest_exprunner.plugin.event_output import EventLines, into_file, into_standard_output
from pytest_exprunner.plugin.items import BLOCKED, JUDGED, RECORD, REPLAYED
from pytest_exprunner.report import events
from pytest_exprunner.report.terminal import gates_to_show
from pytest_exprunner.session.session import ExperimentSession
from pytest_exprunner.store.journal import read_attempt
from pytest_exprunner.store.tail import Follower, Seen

_BETWEEN_LOOKS = 0.25  # seconds
_COMMANDS = ("pytest", "py.test", "__main__.py")
STANDARD_OUTPUT = "-"


class Stream:
    """Numbers and writes the events of a run."""

    def __init__(self, lines: EventLines) -> None:
        """Start without any event written."""
        self.lines = lines
        self.run: str | None = None
        self.over = False
        """Whether the last line has been written."""
        self.totals: Mapping[str, Any] | None = None
        """The summary without the exit code, once everything has ended."""
        self._sequence = 0
        self._lock = threading.Lock()

    def emit(self, event: str, data: Mapping[str, Any], seconds: float | None = None) -> None:
        """Write an event with its time, by default the current time."""
        with self._lock:
            self._sequence += 1
            moment = time.time() if seconds is None else seconds
            self.lines.write(events.line(event, data, run=self.run, sequence=self._sequence, seconds=moment))

    def fail(self, error: BaseException, exit_code: int) -> None:
        """Write why the run did not start or was cut short, as the last line."""
        if not self.over:
            self.over = True
            message = "\n".join(map(text, error.args)) or type(error).__name__
            self.emit("error", events.error(message, error.__context__, exit_code))

    def end(self, exit_code: int) -> None:
        """Write the summary as the last line."""
        if self.over or self.totals is None:
            return
        self.over = True
        self.emit("summary", {"exit_code": exit_code, **self.totals})

    def close(self) -> None:
        """Close the file, or restore standard output."""
        # In pytest's own process standard output is not restored, because other code may still print to it.
        self.lines.close(give_back=self.lines.name == STANDARD_OUTPUT and not _is_command())


STREAM = pytest.StashKey[Stream]()


def _is_command() -> bool:
    """Return whether this process is pytest's own, so that only its exit follows."""
    main = sys.modules.get("__main__")
    file = Path(getattr(main, "__file__", None) or "")
    return file.name in _COMMANDS and (file.name != "__main__.py" or file.parent.name == "pytest")


def open_stream(config: pytest.Config, target: str) -> None:
    """Open the stream before anything is captured or run. Raises `pytest.UsageError` if that fails."""
    try:
        if target == STANDARD_OUTPUT:
            lines = into_standard_output()
        else:
            lines = into_file(config.invocation_params.dir / target, target)
    except ExprunnerError as error:
        raise pytest.UsageError(f"--exp-json: {error}") from None
    stream = config.stash[STREAM] = Stream(lines)
    config.add_cleanup(lambda: _closed(stream))
    config.pluginmanager.register(_ExitCode(stream), "exprunner-json-ends")


def _closed(stream: Stream) -> None:
    """Close the stream if pytest failed before running anything; else `_ExitCode` closes it later."""
    error = sys.exception()
    if error is not None:
        stream.fail(error, int(pytest.ExitCode.USAGE_ERROR))
        stream.close()


class _ExitCode:
    """Writes the last line, which holds pytest's exit code."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(self) -> Generator[None, int | pytest.ExitCode | None, Any]:
        """Write the last line, with pytest's exit code."""
        try:
            code = yield
        except BaseException as error:
            usage = isinstance(error, pytest.UsageError)
            kind = pytest.ExitCode.USAGE_ERROR if usage else pytest.ExitCode.INTERNAL_ERROR
            self._stream.fail(error, int(kind))
            raise
        else:
            self._stream.end(int(code or 0))
            return code
        finally:
            self._stream.close()


class StreamHooks:
    """Writes the events of a run, in the controller, from its journals and reports."""

    def __init__(
        self, config: pytest.Config, session: ExperimentSession, stream: Stream, plan_name: str
    ) -> None:
        """``plan_name`` is the plan's file as messages show it."""
        self._config = config
        self._session = session
        self._stream = stream
        self._plan_name = plan_name
        self._follower = Follower(session.layout, session.run)
        self._running: dict[tuple[str, str, int], events.Milestones] = {}
        self._begun = False
        self._held: list[dict[str, Any]] = []
        self._collected: list[Selected] = []
        self._lock = threading.RLock()
        self._ticking = Ticking("exprunner-events", _BETWEEN_LOOKS, self._look)
        stream.run = session.run

    # --- the beginning ------------------------------------------------------------------------

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep import failures until ``run_started`` has been written."""
        if report.failed:
            failed = events.item_failed(report.nodeid, "collect", text(report.longreprtext))
            self._held.append(failed)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Record the collected items; with ``--collect-only`` none of them starts."""
        self._collected = [item.stash[SELECTED] for item in session.items if SELECTED in item.stash]

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        session = self._session
        selected = session.selected if session.started else self._collected
        workers = len(getattr(self._config.option, "tx", None) or ())
        started = events.run_started(
            session.plan, self._plan_name, session.settings, selected, workers=workers
        )
        self._stream.emit("run_started", started)
        for item in selected:
            self._stream.emit("planned", events.planned(session.plan, item))
        for failed in self._held:
            self._stream.emit("item_failed", failed)

    # --- during the run -----------------------------------------------------------------------

    @contextlib.contextmanager
    def around_loop(self, session: pytest.Session) -> Iterator[None]:
        """Read the journals at intervals, until the last handler has ended."""
        del session
        self._ticking.start()
        try:
            yield
        finally:
            self._ticking.stop()
            self._look()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Hold the lock; an error inside stops the stream, never the run."""
        with self._lock:
            try:
                yield
            except Exception as error:  # noqa: BLE001 - the stream must not stop a run
                self._stream.lines.problem = f"{type(error).__name__}: {text(error)}"

    def _look(self) -> None:
        with self._guarded():
            if not self._session.started:
                return
            self._begin()
            for seen in self._follower.poll():
                self._take(seen)
            now = time.time()
            for milestones in self._running.values():
                self._emit_all(milestones.due(now))

    def _emit_all(self, moments: Iterable[events.Told]) -> None:
        for event, data, seconds in moments:
            self._stream.emit(event, data, seconds)

    def _take(self, seen: Seen) -> None:
        key, event = seen
        name = (key.experiment, key.sub_experiment, key.sequence)
        if event is None:
            self._ended(read_attempt(self._session.layout.attempt(key), key))
        elif event.get("event") == "started":
            self._running[name] = events.Milestones(key, str(event.get("nodeid", "")))
            folder = self._session.settings.shown(self._session.layout.attempt(key))
            started = events.attempt_started(key, event, folder)
            self._stream.emit("attempt_started", started, events.time_of(event))
        elif name in self._running:
            self._emit_all(self._running[name].take(event))

    def _ended(self, record: AttemptRecord) -> None:
        key = record.key
        milestones = self._running.pop((key.experiment, key.sub_experiment, key.sequence), None)
        if milestones is not None:
            self._emit_all(milestones.last())
            self._finished(record, self._session.layout)
        else:
            self._emit_both(record, self._session.layout)

    def _emit_both(self, record: AttemptRecord, layout: Layout) -> None:
        """Write both events of an attempt that has ended, because its journal was not followed."""
        folder = self._session.settings.shown(layout.attempt(record.key))
        began = datetime.fromisoformat(record.started_at).timestamp()
        started = events.attempt_started(record.key, {"nodeid": record.nodeid}, folder)
        self._stream.emit("attempt_started", started, began)
        self._finished(record, layout)

    def _finished(self, record: AttemptRecord, layout: Layout) -> None:
        session = self._session
        experiment = session.plan.experiments.get(record.key.experiment)
        folder = session.settings.shown(layout.attempt(record.key))
        data = events.attempt_finished(record, experiment, session.settings.level, folder)
        self._stream.emit("attempt_finished", data)

    # --- reports ------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write an attempt's end immediately, and outcomes that only the report has."""
        with self._guarded():
            self._begin()
            if report.passed and report.when != "call":
                return
            self._look()
            self._take_report(report)

    def _take_report(self, report: pytest.TestReport) -> None:
        item = self._session.item_of(report.nodeid)
        judged, sequence = getattr(report, JUDGED, None), getattr(report, REPLAYED, None)
        message = text(report.longreprtext)
        if judged is not None:
            gate = judged in self._session.plan.gates
            self._stream.emit("judged", events.judged(judged, message, gate=gate))
        elif hasattr(report, RECORD):
            if item is None:
                # The journals of exploratory attempts are in a separate folder.
                exploratory = Layout(self._session.settings.results_root, EXPLORATORY)
                self._emit_both(parse_record(getattr(report, RECORD)), exploratory)
        elif item is not None and sequence is not None:
            expected = text(getattr(report, "wasxfail", "")).removeprefix("reason: ")
            outcome = "xfailed" if expected else report.outcome
            self._stream.emit("replayed", events.replayed(item, sequence, outcome, message or expected))
        elif item is not None and hasattr(report, BLOCKED):
            self._stream.emit("blocked", events.blocked(item, getattr(report, BLOCKED)))
        elif report.failed:
            self._stream.emit("item_failed", events.item_failed(report.nodeid, str(report.when), message))

    # --- the end ------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """Write the state of every experiment and gate after results are on disk."""
        self._look()
        with self._guarded():
            self._begin()
        result = yield
        self._look()
        with self._guarded():
            for milestones in list(
                self._running.values()
            ):  # killed, or stopped before it could record its end
                key = milestones.key
                self._ended(read_attempt(self._session.layout.attempt(key), key))
            self._follower.close()
            self._emit_states()
        return result

    def _emit_states(self) -> None:
        session = self._session
        summary = session.completion.summary() if session.started else None
        states = [summary.results.experiments[name] for name in summary.touched] if summary else []
        stub = session.settings.stub
        for state in states:
            findings = session.settings.shown(session.layout.findings_of(state.id))
            data = events.experiment(state, session.settings.level, findings, stub=stub)
            self._stream.emit("experiment", data)
        for gate in gates_to_show(summary) if summary else ():
            self._stream.emit("gate", events.gate(gate))
        self._stream.totals = events.summary(
            states,
            counts=summary.counts if summary else {},
            findings=session.findings_shown,
            notes=summary.notes if summary else (),
            stub=stub,
        )

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Warn if the stream could not be written completely."""
        lines = self._stream.lines
        if lines.problem:
            where = "standard output" if lines.name == STANDARD_OUTPUT else lines.name
            terminalreporter.write_line(
                f"--exp-json: writing to {where} failed ({lines.problem}); the run continued without it",
                yellow=True,
            )
