"""``--exp-explain``: show what would run and why; nothing is run or written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_exprunner._util.errors import count
from pytest_exprunner._util.text import few
from pytest_exprunner.executors.modal import options
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.plugin.collection import EXPLORATORY, SELECTED, params_of
from pytest_exprunner.plugin.items import printable
from pytest_exprunner.report import terminal
from pytest_exprunner.session.session import ExperimentSession
from pytest_exprunner.verdicts.gates import Action

if TYPE_CHECKING:
    import pytest


class ExplainHooks:
    """Prints an explanation instead of running pytest's loop over items."""

    def __init__(self, config: pytest.Config, session: ExperimentSession) -> None:
        """Registered with ``--exp-explain`` only."""
        self._config = config
        self._session = session

    def run_loop(self, session: pytest.Session) -> bool | None:
        """Print a line per handler instead of running it."""
        reporter: pytest.TerminalReporter | None = self._config.pluginmanager.get_plugin("terminalreporter")
        if session.config.option.collectonly or session.testsfailed:
            return None
        if reporter is not None:
            reporter.ensure_newline()
            for line in Explanation(self._session).lines(session.items):
                reporter.write_line(printable(self._config, terminal.safe(line)))
        return True


class Explanation:
    """Decides about the items in order, because running one makes its dependents run again."""

    def __init__(self, session: ExperimentSession) -> None:
        """``session`` has not been started, and is not started here."""
        self._session = session
        self._running: dict[str, str] = {}
        self._same = 0
        self._asked: list[Mapping[str, Any]] = []

    def lines(self, items: Sequence[pytest.Item]) -> Iterator[str]:
        """Yield a line per handler and a line of totals."""
        handlers = [item for item in items if SELECTED in item.stash and EXPLORATORY not in item.stash]
        counts = {"run": 0, "skip": 0, "block": 0}
        for item in handlers:
            action, reason = self._decide(item)
            counts[action] += 1
            where = self._where(item.stash[SELECTED]) if action == "run" else ""
            yield f"{action} {item.stash[SELECTED].label}: {reason}{where}"
        yield (
            f"{counts['run']} to run, {counts['skip']} to skip, {counts['block']} blocked; "
            "nothing was run (--exp-explain)"
        )
        if self._asked:
            yield f"on Modal: {options.bound(self._asked)}"
        if self._same and not self._session.settings.resume:
            yield f"with --exp-resume, {count(self._same, 'unchanged one')} would be reused"

    def _where(self, selected: Selected) -> str:
        """Return the resources of the requested container, or an empty string."""
        settings = self._session.settings
        if settings.executor != "modal":
            return ""
        plan = self._session.plan
        sub = plan.experiments[selected.experiment].sub_experiments[selected.sub_experiment]
        limit = settings.timeout if sub.timeout is None else sub.timeout
        self._asked.append(options.asked(sub.resources, limit, plan.modal))
        return f" [Modal: {options.in_words(self._asked[-1])}]"

    def _decide(self, item: pytest.Item) -> tuple[str, str]:
        selected = item.stash[SELECTED]
        session = self._session
        experiment = session.plan.experiments[selected.experiment]
        waits = [
            name for name in session.admission.requires(selected.experiment) if name in self._running.values()
        ]
        needs = [
            sub for sub in experiment.sub_experiments[selected.sub_experiment].needs if sub in self._running
        ]
        decision = session.admission.decide(selected)
        if decision.action is Action.BLOCK and not (waits or needs):
            return "block", "; ".join(decision.reasons)
        resumption = session.admission.resume(selected, params_of(item))
        reason = resumption.reason
        if needs:
            reason = f"it needs {few(needs)} to run first"
        elif resumption.record is not None:
            self._same += 1
            if session.settings.resume:
                return "skip", reason
            reason = "--exp-resume is not given"
        self._running[selected.sub_experiment] = selected.experiment
        if waits:
            reason += f", if {few(waits)} {'proceeds' if len(waits) == 1 else 'proceed'}"
        return "run", reason
