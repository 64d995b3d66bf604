"""Render findings for a terminal with rich, or as plain aligned text for other streams.

Text from the plan and from handlers is untrusted: it passes `safe` and reaches rich as `Text`, never as
markup.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from pytest_exprunner._util.errors import printable
from pytest_exprunner._util.text import encodable
from pytest_exprunner.report.blocks import (
    Block,
    Bullets,
    Code,
    Findings,
    Heading,
    Link,
    Paragraph,
    Span,
    Spans,
    Strong,
    Table,
)
from pytest_exprunner.report.terminal import safe

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_LONG = 10_000
_TAB = 4
_COMMAND = re.compile(r"^\s*::|##\[")
"""Matches text that a CI service would read as a workflow command."""
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def write(findings: Findings, stream: TextIO, base: str = "") -> None:
    """Print findings to a stream: with rich on a terminal, as plain text elsewhere.

    ``base`` is the folder that links start from, as the user would type it.
    """
    findings = _from(findings, base)
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        _Fancy(stream).write(findings)
    else:
        _print(stream, plain(findings))


def _from(findings: Findings, base: str) -> Findings:
    """Return findings with links relative to the reader's folder."""
    return tuple(
        replace(block, spans=tuple(_moved(span, base) for span in block.spans))
        if isinstance(block, Paragraph)
        else block
        for block in findings
    )


def _moved(span: Span, base: str) -> Span:
    if not isinstance(span, Link):
        return span
    return replace(span, target=posixpath.normpath(posixpath.join(base, span.target)))


def write_diff(lines: Sequence[str], stream: TextIO) -> None:
    """Print the lines of a unified diff, indented and without control characters."""
    shown = [printable(line.expandtabs(_TAB)) for line in lines]
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        _Fancy(stream).write_diff(shown)
    else:
        _print(stream, (f"  {line}" for line in shown))


def _print(stream: TextIO, lines: Iterator[str]) -> None:
    encoding = getattr(stream, "encoding", None)
    stream.writelines(f"{encodable(_COMMAND.sub(_split, line), encoding)}\n" for line in lines)


def _split(found: re.Match[str]) -> str:
    return f"{found[0][:-1]} {found[0][-1]}"


# --- plain --------------------------------------------------------------------------------------


def plain(findings: Findings) -> Iterator[str]:
    """Yield the lines of findings: tables are aligned, and each item is one line of any length."""
    for number, block in enumerate(findings):
        if number:
            yield ""
        yield from _plain(block)


def _plain(block: Block) -> Iterator[str]:
    match block:
        case Heading(level, spans):
            text = _flat(spans)
            yield text
            if level <= 2:
                yield ("=" if level == 1 else "-") * len(text)
        case Paragraph(spans):
            yield _flat(spans)
        case Bullets(items):
            yield from (f"- {_flat(item)}" for item in items)
        case Table(header, rows):
            yield from _aligned(
                [[safe(name) for name in header], *([_flat(cell) for cell in row] for row in rows)]
            )


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _flat(spans: Spans) -> str:
    return safe("".join(map(_span_text, spans)), _LONG)


def _span_text(span: Span) -> str:
    match span:
        case Code(text) | Strong(text):
            return text
        case Link(text, target):
            return target if target.rpartition("/")[2] == text else f"{text} ({target})"
        case _:
            return span


# --- rich ---------------------------------------------------------------------------------------


class _Fancy:
    """Prints blocks with rich, which only this class imports."""

    def __init__(self, stream: TextIO) -> None:
        """Use ``stream``, which must be a terminal."""
        from rich.console import Console  # imported only for a terminal

        self._encoding = getattr(stream, "encoding", None)
        self._console = Console(file=stream, markup=False, highlight=False, emoji=False)

    def write(self, findings: Findings) -> None:
        """Print blocks, separated by an empty line."""
        spaced = True  # a table adds an empty line above and below
        for block in findings:
            if not (spaced or isinstance(block, Table)):
                self._console.print()
            self._console.print(self._block(block))
            spaced = isinstance(block, Table)

    def write_diff(self, lines: Sequence[str]) -> None:
        """Print the lines of a diff in the usual colours."""
        for line in lines:
            self._console.print(self._text(f"  {line}", _STYLES.get(line[:1], "")), soft_wrap=True)

    def _block(self, block: Block) -> RenderableType:
        match block:
            case Heading(level, spans):
                return self._text(_flat(spans), "bold underline" if level == 1 else "bold")
            case Paragraph(spans):
                return self._spans(spans)
            case Bullets(items):
                return self._bullets(items)
            case Table():
                return self._table(block)

    def _text(self, text: str, style: str = "") -> Text:
        from rich.text import Text

        return Text(encodable(text, self._encoding), style=style)

    def _spans(self, spans: Spans) -> Text:
        parts = [self._text(_edged(span), _style(span)) for span in spans]
        return self._text("").join(parts)

    def _bullets(self, items: tuple[Spans, ...]) -> RenderableType:
        from rich.table import Table as Grid

        grid = Grid.grid(padding=(0, 1))
        for item in items:
            grid.add_row(self._text("-"), self._spans(item))
        return grid

    def _table(self, table: Table) -> RenderableType:
        from rich import box
        from rich.table import Table as Grid

        grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for name in table.header:
            grid.add_column(self._text(safe(name)), overflow="fold")
        for row in table.rows:
            grid.add_row(*(self._spans(cell) for cell in row))
        return grid


def _edged(span: Span) -> str:
    """Return the text of a span, made safe; a space at either end is kept as a separator."""
    text = _span_text(span)
    middle = safe(text, _LONG)
    start, end = (" " if edge.isspace() and middle else "" for edge in (text[:1], text[-1:]))
    return f"{start}{middle}{end}"


def _style(span: Span) -> str:
    match span:
        case Code():
            return "cyan"
        case Strong(text):
            return _TONES.get(text.partition(",")[0].partition(" (")[0], "bold")
        case Link():
            return "blue"
        case _:
            return ""


_TONES = {
    **dict.fromkeys(("target", "acceptable", "proceed", "passed", "completed"), "bold green"),
    **dict.fromkeys(("missed", "failure", "pivot", "failed", "Failed"), "bold red"),
    **dict.fromkeys(("not measured", "inadmissible", "investigate", "block", "pending"), "bold yellow"),
}
