"""A failure in, hints out: which of the known errors it is, by exception, message and traceback. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from string import Template

from pytest_exprunner.diagnosis.rules import DOCUMENT, RULES, Rule, Sign
from pytest_exprunner.model.attempt import Failure, Hint

MOST = 3
"""More hints than these for one failure help nobody."""
_MAX_TYPE = 200
_MAX_MESSAGE = 4_000
_MAX_TRACEBACK = 30_000
_MAX_CAUSES = 5
_CHAINED = re.compile(
    r"^(?:The above exception was the direct cause of the following exception:|"
    r"(?P<context>During handling of the above exception, another exception occurred:))$",
    re.MULTILINE,
)
_RAISED = re.compile(r"^E {3,20}(?P<type>[A-Za-z_][\w.]{0,200})(?:: (?P<message>.*))?$", re.MULTILINE)
_MORE = re.compile(r"^E {3,20}(?P<line>.*)$", re.MULTILINE)
_PLACE = re.compile(r"^(?:  File \")?(?P<path>[^\s:\"][^:\"\n]{0,400}\.pyx?)(?:\", line |:)\d", re.MULTILINE)
_LOCATED = re.compile(r"^(?![E>] )(?P<path>[^\s:\"][^:\"\n]{0,400}\.py):(?P<line>\d{1,7}):", re.MULTILINE)
_ELSEWHERE = re.compile(r"^(?:/|\.\.|\w:)|[/\\](?:site|dist)-packages[/\\]")
_CODE = re.compile(r"^> (?P<line>.{0,400})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Raised:
    """One exception of a failure: what was raised, or what led to that."""

    type: str
    message: str
    place: str = ""
    code: str = ""


def diagnose(failure: Failure, rules: Sequence[Rule] = RULES) -> tuple[Hint, ...]:
    """Return what is known of a failure, the most specific first, three hints at most. Never raises.

    The exception itself is looked at first, then those it was raised from. Of one exception the rule that
    stands first in the table speaks, so that a general one does not repeat what a special one has said.
    """
    found: dict[str, Hint] = {}
    for raised in _exceptions(failure):
        hint = next((hint for rule in rules if (hint := _hint(rule, raised)) is not None), None)
        if hint is not None:
            found.setdefault(hint.rule, hint)
    return tuple(found.values())[:MOST]


def place_of(failure: Failure) -> str:
    """Return ``file:line`` of the project's own code nearest to where it was raised, if that is known.

    As the traceback names it: relative to where pytest was started. Code outside of that folder, such as
    Python's own and what is installed, is not the project's.
    """
    own = [
        f"{found['path']}:{found['line']}"
        for found in _LOCATED.finditer(failure.traceback[-_MAX_TRACEBACK:])
        if not _ELSEWHERE.search(found["path"])
    ]
    return own[-1] if own else ""


def hint_of(rule: Rule) -> Hint:
    """Return the hint of a rule as it is for its first example."""
    kind, _, message = rule.examples[0].partition(": ")
    return _hint(rule, _Raised(kind, message)) or _filled(rule, {})


def more_of(hint: Hint) -> str:
    """Return where one reads more of a hint: of a built-in one by a command, which needs no network."""
    return f"exprunner hints {hint.rule}" if hint.link.startswith(f"{DOCUMENT}#") else hint.link


def _hint(rule: Rule, raised: _Raised) -> Hint | None:
    for sign in rule.signs:
        filled = _seen(sign, raised)
        if filled is not None:
            return _filled(rule, filled)
    return None


def _filled(rule: Rule, values: Mapping[str, str]) -> Hint:
    cause, fix, snippet = (
        Template(part).safe_substitute(values) for part in (rule.cause, rule.fix, rule.snippet)
    )
    return Hint(rule.id, cause, fix, snippet, rule.link)


def _seen(sign: Sign, raised: _Raised) -> Mapping[str, str] | None:
    """Return what a sign reads from an exception; None where it does not show."""
    if sign.types and raised.type not in sign.types.split():
        return None
    for pattern, given in ((sign.place, raised.place), (sign.code, raised.code)):
        if pattern and not _pattern(pattern).search(given):
            return None
    found = _pattern(sign.message).search(raised.message)
    return None if found is None else found.groupdict("")


@cache
def _pattern(source: str) -> re.Pattern[str]:
    # Compiled when a failure asks for it: most processes never meet one.
    return re.compile(source)


def _exceptions(failure: Failure) -> Iterator[_Raised]:
    """What was raised, then its causes, the nearest first; what was merely being handled is no cause."""
    traceback = failure.traceback[-_MAX_TRACEBACK:]
    parts, direct = [], []
    start = 0
    for separator in _CHAINED.finditer(traceback):
        parts.append(traceback[start : separator.start()])
        direct.append(separator["context"] is None)
        start = separator.end()
    place, code = _where(traceback[start:])
    kind = failure.type[-_MAX_TYPE:].rpartition(".")[2]
    yield _Raised(kind, failure.message[:_MAX_MESSAGE], place, code)
    for part, is_cause in list(zip(reversed(parts), reversed(direct), strict=True))[:_MAX_CAUSES]:
        if not is_cause:
            return
        raised = _RAISED.search(part)
        if raised is None:
            return
        more = (line["line"].strip() for line in _MORE.finditer(part, raised.end()))
        message = "\n".join([raised["message"] or "", *more])
        yield _Raised(raised["type"].rpartition(".")[2], message[:_MAX_MESSAGE], *_where(part))


def _where(part: str) -> tuple[str, str]:
    """Return the file that raised, and the line of code there, as far as a traceback shows them."""
    places, lines = _PLACE.findall(part), _CODE.findall(part)
    return (places[-1] if places else ""), (lines[-1] if lines else "")
