"""Hooks for CI services: they add annotations and summaries, and disarm text that looks like commands."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_exprunner._util.serialization import text
from pytest_exprunner.diagnosis.match import place_of
from pytest_exprunner.handlers.scan import Handler
from pytest_exprunner.model.attempt import AttemptRecord, Failure, Status
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.results import ExperimentState
from pytest_exprunner.plugin import calls
from pytest_exprunner.plugin.ci import github
from pytest_exprunner.plugin.ci.github import Annotation
from pytest_exprunner.plugin.collection import HandlerCollection
from pytest_exprunner.plugin.items import BLOCKED, JUDGED, RECORD, REPLAYED, printable
from pytest_exprunner.report import markdown, step_summary
from pytest_exprunner.report.step_summary import Failed
from pytest_exprunner.session.session import ExperimentSession
from pytest_exprunner.verdicts.formatting import explain

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MOST_PROPERTIES = 200
_LONGEST = 200
_ENDED = {0: "Passed", 1: "Failed", 2: "Interrupted", 3: "Broken off", 5: "Nothing was collected"}


class AnnotateHooks:
    """Adds annotations and summaries around a run, in the controller."""

    def __init__(
        self, config: pytest.Config, session: ExperimentSession, collecting: HandlerCollection
    ) -> None:
        """Registered before the plugins that read reports, so that these get the changed reports."""
        self._config = config
        self._session = session
        self._plan_name = collecting.plan_name
        self._handlers = collecting.scan.planned()
        self._on_github = github.is_github(os.environ)
        self._failed: list[Failed] = []
        self._annotations: list[Annotation] = []
        self._problem = ""
        self._ours: dict[str, bool] = {}
        """Whether a file contains experiments; cached, because each item needs it three times."""

    # --- reports ------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Disarm a handler's output, and add properties to its case in a JUnit file."""
        if not self._is_experiment(report.nodeid):
            return
        self._disarm(report)
        self._add_properties(report)
        explained = [name for name in (RECORD, BLOCKED, REPLAYED) if hasattr(report, name)]
        if report.failed and not explained:
            name = getattr(report, JUDGED, None) or report.nodeid
            self._failed.append(Failed(name, _failure_line(report)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Disarm a file's output during its import."""
        if self._is_experiment(report.nodeid):
            self._disarm(report)
            if report.failed:
                self._failed.append(Failed(report.nodeid, _failure_line(report)))

    def _is_experiment(self, nodeid: str) -> bool:
        file = nodeid.partition("::")[0]
        if file not in self._ours:
            path = self._config.rootpath / file
            inside = any(path.is_relative_to(folder) for folder in self._session.settings.folders)
            self._ours[file] = inside or file == self._plan_name
        return self._ours[file]

    def _disarm(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if self._on_github:
            report.sections = [
                (github.harmless(name), github.harmless(content)) for name, content in report.sections
            ]
            report.longrepr = calls.rewritten(report.longrepr, github.harmless)

    def _add_properties(self, report: pytest.TestReport) -> None:
        if not getattr(self._config.option, "xmlpath", None):
            return
        item = self._session.item_of(report.nodeid)
        record = self._session.record_of(item) if item is not None and report.when != "setup" else None
        properties = _properties(record) if record is not None else {}
        own = [(xml_text(text(name)), value) for name, value in report.user_properties]
        report.user_properties = [*own, *properties.items()]

    # --- the end ------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Add the findings to the step's summary; an error in this does not fail the run."""
        option = self._config.option
        if option.collectonly or self._session.settings.explain:
            return
        self._disarm_warnings()
        try:
            self._annotations = list(self._found()) if self._on_github and self._session.started else []
            self._write_summary(int(session.exitstatus))
        except Exception as error:  # noqa: BLE001 - an error here must not change the run's outcome
            self._problem = f"{type(error).__name__}: {text(error)}"

    def _disarm_warnings(self) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        for warning in reporter.stats.get("warnings", ()) if reporter and self._on_github else ():
            warning.message = github.harmless(text(warning.message))

    def _write_summary(self, code: int) -> None:
        file = os.environ.get(github.STEP_SUMMARY)
        if not file or not (self._session.started or self._failed):
            return
        session = self._session
        items = [session.record_of(item) for item in session.selected]
        document = step_summary.build(
            session.completion.summary() if session.started else None,
            ended=_ENDED.get(code, f"Ended with exit code {code}"),
            records=[record for record in items if record is not None],
            failed=self._failed,
            findings=session.findings_shown,
            level=session.settings.level,
        )
        github.append_summary(Path(file), markdown.render(document))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Warn if the step has no summary."""
        if self._problem:
            warning = f"the summary of this step could not be written: {self._problem}"
            terminalreporter.write_line(printable(self._config, warning), yellow=True)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Print the annotations for GitHub, each on its own line."""
        for annotation in github.few(self._annotations):
            print(printable(self._config, annotation.command), file=sys.stdout, flush=True)  # noqa: T201

    def _found(self) -> Iterator[Annotation]:
        session = self._session
        for item in session.selected:
            record = session.record_of(item)
            if record is not None and record.status is Status.FAILED and record.error is not None:
                yield self._broke(item.sub_experiment, f"{item.label} failed", record.error)
        summary = session.completion.summary()
        states = [summary.results.experiments[name] for name in summary.touched]
        if not session.settings.stub:
            yield from self._unmet(states)
            yield from self._borderline(states)

    def _unmet(self, states: list[ExperimentState]) -> Iterator[Annotation]:
        for state in states:
            waived = {waiver.criterion for waiver in state.waived}
            if state.replaced_by is not None:
                continue
            level = self._session.settings.level
            for problem, results in (
                ("is not met", state.unmet(level)),
                ("has no value that counts", state.without_value()),
            ):
                for result in results:
                    if result.name not in waived:
                        yield self._of(state, result, "error", f"{state.id}: {result.name} {problem}")

    def _borderline(self, states: list[ExperimentState]) -> Iterator[Annotation]:
        level = self._session.settings.level
        for state in states:
            unmet = {result.name for result in state.unmet(level)}
            for result in state.criteria.values():
                if result.borderline and result.name not in unmet:
                    yield self._of(state, result, "warning", f"{state.id}: {result.name} is borderline")

    def _of(self, state: ExperimentState, result: CriterionResult, level: Any, title: str) -> Annotation:
        sub = result.decided_by.sub_experiment if result.decided_by else ""
        return self._at(sub, level, title, explain(state.plan.success_criteria[result.name], result))

    def _broke(self, sub: str, title: str, failure: Failure) -> Annotation:
        """Point to the line of the project that raised, if the traceback has one."""
        path, _colon, line = place_of(failure).rpartition(":")
        if not path:
            return self._at(sub, "error", title, failure.line)
        file = self._in_repository(self._config.invocation_params.dir / path)
        return Annotation("error", title, failure.line, file, int(line))

    def _at(self, sub: str, level: Any, title: str, message: str) -> Annotation:
        handler = self._handlers.get(sub)
        if handler is None:
            return Annotation(level, title, message)
        return Annotation(level, title, message, self._place(handler), handler.line)

    def _place(self, handler: Handler) -> str:
        return self._in_repository(self._config.rootpath / handler.file)

    def _in_repository(self, file: Path) -> str:
        """Return a file's path within the repository."""
        workspace = os.environ.get("GITHUB_WORKSPACE")
        for base in (workspace and Path(workspace), self._config.rootpath):
            if base and file.is_relative_to(base):
                return file.relative_to(base).as_posix()
        return file.as_posix()


def _failure_line(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return a failure on one line: the last line of a traceback, or a complete judgement."""
    lines = [line.strip() for line in text(report.longreprtext).strip().splitlines()]
    return " ".join(lines if hasattr(report, JUDGED) else lines[-1:])


def xml_text(name: str) -> str:
    """Return a name that is valid as an attribute in an XML file."""
    return _NOT_IN_XML.sub("�", name)[:_LONGEST]


def _properties(record: AttemptRecord) -> Mapping[str, str]:
    """Return the properties of a test case: single values by name, and verdicts."""
    shown = [
        (name, value)
        for name, value in record.metrics.items()
        if isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _LONGEST)
    ]
    metrics = {xml_text(f"metric.{name}"): _short(value) for name, value in shown[:_MOST_PROPERTIES]}
    verdicts = {xml_text(f"criterion.{name}"): str(verdict) for name, verdict in record.verdicts.items()}
    return {"attempt": str(record.key.sequence), "status": str(record.status), **metrics, **verdicts}


def _short(value: Any) -> str:
    return hex(value) if type(value) is int and value.bit_length() > 64 else text(value)
