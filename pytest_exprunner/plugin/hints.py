"""Hints for a failure, from plugins and from the built-in rules, and their display."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from pytest_exprunner._util.serialization import clipped, shown, text
from pytest_exprunner.diagnosis.match import MOST, diagnose
from pytest_exprunner.model.attempt import Failure, Hint
from pytest_exprunner.report.hints import hint_lines
from pytest_exprunner.report.terminal import safe

if TYPE_CHECKING:
    import pytest

_HOOK = "pytest_exprunner_diagnose"
_TITLE = "what may help"
_MAX_TEXT = 4_000


class Hinting:
    """Calls each plugin separately, so that an exception in one does not lose the hints of the others."""

    def __init__(self, config: pytest.Config, hook: Any) -> None:
        """``hook`` calls the plugins that apply: ``item.ihook`` includes the conftest files of an item."""
        self._manager = config.pluginmanager
        self._hook = hook
        self.warnings: list[str] = []
        """Faults of plugins, one line each."""

    def __call__(self, failure: Failure) -> tuple[Hint, ...]:
        """Return the hints of plugins, followed by the built-in ones. Never raises."""
        theirs = {hint.rule: hint for hint in self._of_plugins(failure)}
        return (*theirs.values(), *(hint for hint in diagnose(failure) if hint.rule not in theirs))

    def lines(self, hints: Sequence[Hint]) -> list[str]:
        """Return the lines that are shown below a failure."""
        return [*hint_lines(hints), *self.remarks()]

    def remarks(self) -> list[str]:
        """Return a warning for each plugin that failed."""
        return [f"warning: {warning}" for warning in self.warnings]

    def _of_plugins(self, failure: Failure) -> Iterator[Hint]:
        implementations = getattr(self._hook, _HOOK).get_hookimpls()
        plugins = [implementation.plugin for implementation in implementations]
        for implementation in reversed(implementations):  # the order in which pluggy calls them
            others = [plugin for plugin in self._manager.get_plugins() if plugin in plugins]
            others.remove(implementation.plugin)
            name = safe(text(implementation.plugin_name))
            try:
                answers = self._manager.subset_hook_caller(_HOOK, others)(failure=failure)
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                self._warn(name, f"raised {type(error).__name__}: {text(error)}")
                continue
            for answer in answers:
                yield from self._checked(name, answer)

    def _checked(self, name: str, answer: object) -> Iterator[Hint]:
        if not isinstance(answer, list | tuple):
            self._warn(name, f"returned {shown(answer)}; expected a list of pytest_exprunner.Hint, or None")
            return
        for hint in answer[:MOST]:
            problem = _problem(hint)
            if problem:
                self._warn(name, problem)
                continue
            kept = {part.name: clipped(text(getattr(hint, part.name)), _MAX_TEXT) for part in fields(hint)}
            yield replace(hint, **kept)

    def _warn(self, name: str, what: str) -> None:
        self.warnings.append(safe(f"{_HOOK} of {name} {what}"))


def _problem(hint: object) -> str:
    """Return why something is not a hint, or an empty string."""
    if not isinstance(hint, Hint):
        return f"returned {shown(hint)} in its list; expected a pytest_exprunner.Hint"
    wrong = [part.name for part in fields(hint) if not isinstance(getattr(hint, part.name), str)]
    if wrong:
        return f"returned a hint whose {wrong[0]} is {shown(getattr(hint, wrong[0]))}; expected text"
    return "" if hint.rule and (hint.cause or hint.fix) else "returned a hint without a rule or without words"


def show(report: pytest.TestReport, lines: Sequence[str]) -> None:
    """Add lines below the traceback of a report."""
    shown_below = getattr(report.longrepr, "addsection", None)
    if shown_below is not None:
        shown_below(_TITLE, "\n".join(lines))
    elif isinstance(report.longrepr, str):
        report.longrepr = "\n".join([report.longrepr, "", *lines])
