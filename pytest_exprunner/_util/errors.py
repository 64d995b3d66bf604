"""Errors for people: what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SHOWN_PROBLEMS = 100
_MAX_QUOTED = 60


class ExprunnerError(Exception):
    """Base of every error that is meant to be read by the person who runs an experiment."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file, in the place where it is wrong.

    ``line`` and ``column`` count from 1; 0 means that the whole file is meant.
    """

    file: str
    line: int
    column: int
    path: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        """``file:line:column: path: what is wrong; what is expected``."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        where = f"{place}: {self.path}" if self.path else place
        return f"{where}: {self.text}{self.hint}"


class PlanError(ExprunnerError):
    """The plan cannot be used; carries every problem that was found in it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep the problems in the order in which they stand in the file."""
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        super().__init__(self.text())

    def text(self) -> str:
        """Every problem on a line of its own, then how many there are and what to do."""
        lines = [str(problem) for problem in self.problems[:_SHOWN_PROBLEMS]]
        hidden = len(self.problems) - len(lines)
        if hidden:
            lines.append(f"… and {hidden} more")
        total = count(len(self.problems), "problem")
        return "\n".join([*lines, f"{total}; run 'exprunner check' after editing."])


class HandlerError(ExprunnerError):
    """Handlers and plan do not fit together, or a handler returned something unusable."""


class ArtifactError(ExprunnerError):
    """An artifact cannot be stored under the name that was given."""


class LockedError(ExprunnerError):
    """Another run is at work on the same results folder."""


class ExecutorError(ExprunnerError):
    """Where handlers are called, something stands in the way; nothing is wrong with them."""


class ResourceError(ExprunnerError):
    """What an attempt needs to itself is not there."""


class NeedsError(ExprunnerError, LookupError):
    """What another sub-experiment should have left is not there, or not what it was."""


class MissingMetricError(NeedsError, KeyError):
    """Another sub-experiment returned no metric of such a name."""

    def __str__(self) -> str:
        """Return the message; a `KeyError` would quote it."""
        return str(self.args[0])


class ResultsError(ExprunnerError):
    """A stored results file cannot be read; nothing in it is used and nothing in it is lost."""


def closest(word: object, known: Iterable[str], similarity: float = 0.6) -> str | None:
    """Return the known word that a misspelt one most likely means, or None."""
    candidates = {name.casefold(): name for name in known}
    if not candidates:
        return None
    close = difflib.get_close_matches(str(word).casefold()[:200], candidates, n=1, cutoff=similarity)
    return candidates[close[0]] if close else None


def did_you_mean(word: object, known: Iterable[str], similarity: float = 0.6) -> str:
    """Return `` (did you mean 'x'?)`` for the closest known word, or nothing."""
    close = closest(word, known, similarity)
    return "" if close is None else f" (did you mean {close!r}?)"


def os_reason(error: OSError) -> str:
    """``No space left on device (research/FINDINGS.md)``: the reason that the system gives, and the file."""
    said = str(error.strerror or error)
    return f"{said} ({error.filename})" if error.filename else said


def count(number: int, singular: str, plural: str = "") -> str:
    """``1 handler``, ``3 handlers``: a number with the right form of its noun."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def printable(text: str) -> str:
    """Return text on one line that cannot steer a terminal: other characters as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def quoted(value: object) -> str:
    """Return a value as the file has it, for a message: ``'x'``, ``true``, ``a list``, ``nothing``."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(value) if len(value) <= _MAX_QUOTED else f"{value[: _MAX_QUOTED - 1]!r}…"
    if isinstance(value, int) and value.bit_length() > _MAX_QUOTED * 64:
        return "an integer of very many digits"
    text = repr(value)
    return text if len(text) <= _MAX_QUOTED else f"{text[: _MAX_QUOTED - 1]}…"
