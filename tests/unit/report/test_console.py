"""Findings on a terminal and in a pipe: aligned, whole, and harmless whatever the texts are."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.report import console
from pytest_exprunner.report.blocks import Block, Bullets, Code, Heading, Link, Paragraph, Strong, Table

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
TEXT = st.text(max_size=30)
SPANS = st.lists(
    st.one_of(TEXT, TEXT.map(Code), TEXT.map(Strong), st.builds(Link, TEXT, TEXT)), max_size=3
).map(tuple)
ROW = st.tuples(SPANS, SPANS)
BLOCKS = st.one_of(
    st.builds(Heading, st.integers(1, 3), SPANS),
    st.builds(Paragraph, SPANS),
    st.lists(SPANS, max_size=3).map(tuple).map(Bullets),
    st.builds(Table, st.tuples(TEXT, TEXT), st.lists(ROW, max_size=3).map(tuple)),
)


class Terminal(io.StringIO):
    """A stream that says that a person sits at it."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


@pytest.fixture
def capable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 60 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")


def printed(blocks: tuple[Block, ...], stream: io.StringIO | None = None, base: str = "") -> str:
    """What is written to a stream, a pipe where none is given."""
    chosen = stream if stream is not None else io.StringIO()
    console.write(blocks, chosen, base)
    return chosen.getvalue()


def test_plain_text() -> None:
    """Headings are underlined, tables aligned, links lead from where one stands."""
    blocks = (
        Heading(1, ("All of ", Code("x1"))),
        Paragraph(("It ", Strong("works"), ", see ", Link("plot", "../a/plot.png"), ".")),
        Bullets((("one",), (Code("two"),))),
        Table(("Name", "Value"), (((Code("long name"),), ("1",)), (("b",), (Strong("2"),)))),
    )
    assert printed(blocks, base="research/x1") == (
        "All of x1\n=========\n\n"
        "It works, see plot (research/a/plot.png).\n\n"
        "- one\n- two\n\n"
        "Name       Value\nlong name  1\nb          2\n"
    )


@given(st.lists(BLOCKS, max_size=5).map(tuple))
def test_whatever_the_texts_are_in_a_pipe(blocks: tuple[Block, ...]) -> None:
    """No control character gets through, no line is a workflow command, nothing raises."""
    text = printed(blocks)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert not re.search(r"^\s*::", text, re.MULTILINE)


@pytest.mark.usefixtures("capable")
@given(st.lists(BLOCKS, max_size=3).map(tuple))
def test_whatever_the_texts_are_on_a_terminal(blocks: tuple[Block, ...]) -> None:
    """Only our own colours reach the terminal; what looks like markup stays text."""
    text = _ESCAPES.sub("", printed((*blocks, Paragraph(("[bold]x[/bold] :smile:",))), Terminal()))
    assert "\x1b" not in text
    assert "[bold]x[/bold] :smile:" in text


@pytest.mark.usefixtures("capable")
def test_a_terminal_of_little_width() -> None:
    """Cells are folded, never cut."""
    cell = "word " * 40
    text = _ESCAPES.sub("", printed((Table(("A", "B"), (((cell,), ("end",)),)),), Terminal()))
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("word") == 40


@pytest.mark.usefixtures("capable")
def test_a_terminal_that_knows_ascii_alone() -> None:
    """What it cannot show is written otherwise."""
    stream = Terminal("ascii")
    text = printed((Paragraph(("0.9 ≥ 0.8 — ±",)), Table(("é",), (((Code("→"),),),))), stream)
    assert text.isascii()
    assert "0.9 >= 0.8 - +-" in text


def test_lines_of_a_diff() -> None:
    """Indentation stays; control characters and workflow commands do not."""
    stream = io.StringIO()
    console.write_diff(
        ["@@ -1 +1 @@", "-\tx = '\x1b[31m'", "+    y = 1", " ::error::no", "+  ##[error]"], stream
    )
    assert stream.getvalue() == (
        "  @@ -1 +1 @@\n  -   x = '\\x1b[31m'\n  +    y = 1\n   : :error::no\n  +  ## [error]\n"
    )
