"""Problems and warnings of a plan, each at the line and column of what it is about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from pytest_exprunner._util import yaml as yaml_nodes
from pytest_exprunner._util.errors import PlanError, Problem, did_you_mean, printable

MAX_PROBLEMS = 100
_MAX_PATH = 200
_MAX_PART = 60
_MAX_SUGGESTIONS = 20


class ProblemList:
    """Collects the problems of a plan, each of them once, and its warnings."""

    def __init__(self, name: str, document: yaml_nodes.Document) -> None:
        """Report on a document that is shown as ``name``."""
        self.document = document
        self.warnings: list[Problem] = []
        self._name = name
        self._problems: dict[Problem, None] = {}
        self._suggestions = 0
        for fault in document.faults:
            self._keep(Problem(name, fault.line, fault.column, dotted(fault.path), fault.text))

    def add(self, path: yaml_nodes.Path, text: str, hint: str = "", *, at_key: bool = False) -> None:
        """Report a problem with the value at a path, or with its key."""
        self._keep(self._problem(path, text, hint, at_key=at_key))

    def warn(self, path: yaml_nodes.Path, text: str, hint: str = "") -> None:
        """Report what is odd about a key without being wrong."""
        if len(self.warnings) < MAX_PROBLEMS:
            self.warnings.append(self._problem(path, text, hint, at_key=True))

    def suggest(self, word: object, known: Iterable[str], similarity: float = 0.6) -> str:
        """Return ``(did you mean …?)``; after some of them no more, since looking takes time."""
        if self._suggestions >= _MAX_SUGGESTIONS or not isinstance(word, str) or len(word) > _MAX_PART:
            return ""
        hint = did_you_mean(word, known, similarity)
        self._suggestions += bool(hint)
        return hint

    @property
    def failed(self) -> bool:
        """Whether there is any problem."""
        return bool(self._problems)

    def refuse(self) -> NoReturn:
        """Raise everything that was found."""
        raise PlanError(list(self._problems))

    def _keep(self, problem: Problem) -> None:
        self._problems[problem] = None

    def _problem(self, path: yaml_nodes.Path, text: str, hint: str, *, at_key: bool) -> Problem:
        line, column = self._place(path, at_key=at_key)
        return Problem(self._name, line, column, dotted(path), text, hint)

    def _place(self, path: yaml_nodes.Path, *, at_key: bool) -> tuple[int, int]:
        first, second = self.document.marks, self.document.key_marks
        if at_key:
            first, second = second, first
        for length in range(len(path), -1, -1):
            part = path[:length]
            if part in first or part in second:
                return first.get(part) or second[part]
        return (1, 1)


def dotted(path: yaml_nodes.Path) -> str:
    """``experiments.p2.sub_experiments[0]``, on one line and of bounded length."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{printable(part)}" if text else printable(part)
    return text if len(text) <= _MAX_PATH else f"{text[: _MAX_PATH - 1]}…"
