"""Render hints as lines for a terminal, and the table of known errors as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from pytest_exprunner.diagnosis.match import hint_of, more_of
from pytest_exprunner.diagnosis.rules import Rule
from pytest_exprunner.model.attempt import Hint
from pytest_exprunner.report.terminal import Line, safe

_MAX_SENTENCES = 2000
_WIDTH = 100
_HEAD = """\
# Common errors

How known failures look, why they happen, and what to do. The hint for a failed handler is shown below its
traceback, in `results.yaml` and in the findings. `exprunner hints` lists every rule, and
`exprunner hints RULE` shows one in full, also offline.

A project can add its own hints, which come first, with a hook in its `conftest.py`:

```python
from pytest_exprunner import Hint


def pytest_exprunner_diagnose(failure):
    if "simulator licence" in failure.message:
        return [
            Hint(
                rule="simulator-licence",
                cause="All seats of the simulator are taken.",
                fix="Run it again after six, or set SIM_SERVER to the server of the other group.",
                link="https://wiki.example.org/simulator#licence",
            )
        ]
    return None
```

`failure` has `type`, `message` and `traceback`, all text.
"""

_SHORT_HEAD = """\
# Common errors

The failures that pytest-exprunner knows: how they look, why they happen, and what to do. A failed attempt
names the rule in its hints. `exprunner hints RULE --json` has more examples and a few lines of Python.
An error that is not listed has no hint: read its traceback.
"""


def hint_lines(hints: Sequence[Hint]) -> list[str]:
    """Return the lines that show hints below a failure."""
    lines: list[str] = []
    for hint in hints:
        lines += _wrapped(hint.cause or hint.rule, "Hint: ")
        lines += _wrapped(hint.fix, "  ")
        lines += [f"      {line}" if line else "" for line in _code(hint.snippet)]
        if hint.link:
            lines.append(f"  More: {safe(more_of(hint))}")
    return lines


def _wrapped(text: str, start: str) -> list[str]:
    """Return sentences wrapped to the line width, indented after the first line."""
    flat = safe(text, _MAX_SENTENCES)
    return textwrap.wrap(
        flat,
        _WIDTH,
        initial_indent=start,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _code(snippet: str) -> Iterator[str]:
    """Yield the lines of a snippet with their indentation."""
    for line in snippet.rstrip().splitlines():
        bare = line.lstrip()
        shown = "  ".join(map(safe, bare.split("  ")))  # two spaces precede a comment
        yield f"{' ' * (len(line) - len(bare))}{shown}" if bare else ""


def table(rules: Sequence[Rule]) -> list[Line]:
    """Return every rule with its title, one per line."""
    width = max(len(rule.id) for rule in rules)
    return [Line(f"{rule.id:<{width}}  {rule.title}") for rule in rules]


def whole(rule: Rule) -> list[Line]:
    """Return the complete description of one rule."""
    hint = hint_of(rule)
    return [
        Line(f"{rule.id}: {rule.title}", "bold"),
        Line(""),
        Line("How it looks:"),
        *(Line(f"  {safe(example)}") for example in rule.examples),
        Line(""),
        *map(Line, _wrapped(hint.cause, "Why: ")),
        *map(Line, _wrapped(hint.fix, "What to do: ")),
        Line(""),
        *(Line(f"    {line}" if line else "") for line in _code(hint.snippet)),
    ]


def page(rules: Sequence[Rule]) -> str:
    """Return the document of common errors; each rule's heading is its anchor."""
    contents = "\n".join(f"- [{rule.title}](#{rule.id})" for rule in rules)
    return "\n".join([_HEAD, contents, "", *(_section(rule) for rule in rules)])


def short_page(rules: Sequence[Rule]) -> str:
    """Return the common errors for the agent skill: without code, one example each."""
    return "\n".join([_SHORT_HEAD, *(_short_section(rule) for rule in rules)])


def _short_section(rule: Rule) -> str:
    hint = hint_of(rule)
    return f"## {rule.id}\n\n```text\n{rule.examples[0]}\n```\n\n{hint.cause} **Do:** {hint.fix}\n"


def _section(rule: Rule) -> str:
    hint = hint_of(rule)
    seen = "\n".join(rule.examples)
    return (
        f"## {rule.id}\n\n**{rule.title}.**\n\n```text\n{seen}\n```\n\n"
        f"**Why:** {hint.cause}\n\n**What to do:** {hint.fix}\n\n```python\n{hint.snippet}\n```\n"
    )
