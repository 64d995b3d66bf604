"""Markdown: any string stays text, in one cell or on one line, and means what it says."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner._util.marked_sections import merge
from pytest_exprunner.report.blocks import (
    Block,
    Bullets,
    Code,
    Heading,
    Link,
    Paragraph,
    Span,
    Strong,
    Table,
)
from pytest_exprunner.report.markdown import escape, render

HOSTILE = [
    "a|b", "a\\|b", "\\", "\\|", "|", "||", "a\nb", "a\r\nb", "a\n\n# b", "\n", "a\u2028b", "a\x0bb", "a\x85b",
    "`", "``", "a`b", "`a", "a``", "```\ncode\n```", "~~~", "<script>alert(1)</script>", "<b>", "<!--", "-->",
    "<!-- exprunner:end -->", "<!-- exprunner:begin 0123456789abcdef -->", "[x](y)", "![x](y)", "[x]: y",
    "[x][y]", "[^1]", "*a*", "**a**", "_a_", "__a__", "~~a~~", "$a$", "&lt;", "&#60;", "&", "# a", "- a", "+ a",
    "1. a", "1) a", "> a", "=====", "-----", "***", "    code", "\tcode", "\x00", "\x1b[31m", "\x7f", "\u202ea",
    "\u2066a", "", " ", "a ", " a", "---|---", ":--", "<a href='javascript:x'>", "</td></table>", "👩\u200d🔬",
]  # fmt: skip
texts = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
marks = st.text("|`\\<>[]()!*_~#-+=&; \n\tab1.", max_size=12)

SPANS: list[Callable[[str], Span]] = [
    lambda t: t, Code, Strong, lambda t: Link(t, "a.png"), lambda t: Link("a", t),
]  # fmt: skip
SPAN_NAMES = ["text", "code", "strong", "link text", "link target"]


def cells(row: str) -> list[str]:
    """Split a table row as GitHub does: a pipe with a backslash before it is no separator."""
    assert row.startswith("| ")
    assert row.endswith(" |")
    return re.split(r"(?<!\\)\|", row)[1:-1]


def outside_code(line: str) -> str:
    """Return a line without its code spans: a run of backticks up to the next run of that length."""
    return re.sub(r"(?<![\\`])(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", line)


def one(span: Span) -> str:
    """Return a paragraph with a word on both sides of a span."""
    return render((Paragraph(("a ", span, " z")),))


# --- blocks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (Heading(1, ("P2: Hybrid Encoder",)), "# P2: Hybrid Encoder"),
        (Heading(3, (Code("e_p2_1"), " — Spatial features")), "### `e_p2_1` — Spatial features"),
        (Paragraph(("Status ", Strong("completed"), ".")), "Status **completed**."),
        (Paragraph(("One.\n\nTwo\nlines.",)), "One.\n\nTwo lines."),
        (Paragraph((Link("iou.png", "artifacts/e_1/iou.png", image=True),)), "![iou.png](artifacts/e_1/iou.png)"),
        (Bullets((("a",), (Code("b"), ": c"))), "- a\n- `b`: c"),
        (
            Table(("Metric", "Value"), (((Code("iou"),), ("≥ 0.70",)),)),
            "| Metric | Value |\n| --- | --- |\n| `iou` | ≥ 0.70 |",
        ),
        (Paragraph(("1. not a list",)), "1\\. not a list"),
        (Paragraph(("123456789) not a list",)), "123456789\\) not a list"),
        (Paragraph(("2026.",)), "2026\\."),
        (Paragraph(("92.9% of the words",)), "92.9% of the words"),
        (Paragraph(("1234567890. is too long for a list",)), "1234567890. is too long for a list"),
        (Paragraph(("-0.03 below, +.5 above",)), "-0.03 below, +.5 above"),
        (Paragraph(("-.",)), "\\-."),
        (Paragraph(("# not a heading",)), "\\# not a heading"),
        (Paragraph(("- not a list",)), "\\- not a list"),
    ],
)  # fmt: skip
def test_blocks(block: Block, text: str) -> None:
    """Each block has its form; a text that looks like another block stays a text."""
    assert render((block,)) == f"{text}\n"


def test_blocks_are_apart() -> None:
    """An empty line stands between two blocks; an empty paragraph leaves nothing behind."""
    document = (Heading(1, ("a",)), Paragraph(("",)), Paragraph(("b",)))
    assert render(document) == "# a\n\nb\n"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("spatial_iou", "spatial_iou"),
        ("_private_", "\\_private\\_"),
        ("a*b", "a\\*b"),
        ("a|b", "a\\|b"),
        ("<b>", "&lt;b&gt;"),
        ("&lt;", "&amp;lt;"),
        ("a & b", "a & b"),
        ("[x](y)", "\\[x\\](y)"),
        ("a\n b", "a b"),
        ("\x00\u202e", "\\\\x00\\\\u202e"),
        ("café 🧪 ≥", "café 🧪 ≥"),
    ],
)
def test_escape(text: str, escaped: str) -> None:
    """What Markdown would take for a sign is shown as it is; ordinary text stays readable."""
    assert escape(text) == escaped


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("e_p2_1", "`e_p2_1`"),
        ("a`b", "``a`b``"),
        ("`a", "`` `a ``"),
        ("a|b", "`a\\|b`"),
        ("a\nb", "`a b`"),
        ("", "` `"),
    ],
)
def test_code(text: str, code: str) -> None:
    """A code span has a fence that its text cannot close."""
    assert render((Paragraph((Code(text),)),)) == f"{code}\n"


# --- hostile strings --------------------------------------------------------------------------


@pytest.mark.parametrize("make", SPANS, ids=SPAN_NAMES)
@pytest.mark.parametrize("text", HOSTILE)
def test_one_cell_one_line(make: Callable[[str], Span], text: str) -> None:
    """In a table any string stays one cell of one row."""
    span = make(text)
    table = Table(("a", "b", "c"), (((span,), ("x", span), (span, " y")), (("1",), ("2",), ("3",))))
    rows = render((table,)).splitlines()
    assert len(rows) == 4
    assert [len(cells(row)) for row in rows] == [3, 3, 3, 3]


@pytest.mark.parametrize("make", SPANS, ids=SPAN_NAMES)
@pytest.mark.parametrize("text", HOSTILE)
def test_no_markup_gets_through(make: Callable[[str], Span], text: str) -> None:
    """No string can start a tag, a comment, a picture or a code span of its own."""
    found = outside_code(one(make(text)))
    assert not re.search(r"(?<!\\)<", found)
    assert found.startswith("a ")
    assert found.endswith(" z\n")
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\]\(", found)) == isinstance(make(text), Link)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", found)


@pytest.mark.parametrize("text", HOSTILE)
def test_the_generated_part_cannot_be_closed_from_inside(text: str) -> None:
    """No string in a document can pass for a marker: the file can be merged again and again."""
    document: tuple[Block, ...] = (
        Heading(1, (text,)), Heading(2, (Code(text),)), Paragraph((text,)), Paragraph((Code(text),)),
        Paragraph((Link(text, text),)), Bullets(((text,), (Code(text),))),
        Table((text[:0], "b"), (((text,), (Code(text),)),)),
    )  # fmt: skip
    part = render(document)
    once = merge(None, part).text
    assert merge(once, part).problem == ""
    assert merge(once, part).text == once


@pytest.mark.parametrize("text", ["# a", "- a", "+ a", "1. a", "2) a", "-----"])
def test_an_item_of_a_list_is_only_an_item(text: str) -> None:
    """An item that looks like a heading or a list stays a line of text."""
    line = render((Bullets(((text,),)),))
    assert not re.match(r"- (?:#{1,6} |[-+] |\d+[.)] |=+$|-+$)", line)


@given(texts | marks)
def test_escaped_text_says_the_same(text: str) -> None:
    """Undoing backslashes and entities gives the words again, on one line."""
    escaped = escape(text)
    assert "\n" not in escaped
    undone = html.unescape(re.sub(r"\\([\\`*\[\]<>|~$_])", r"\1", escaped))
    printable = "".join(c for c in text if c.isprintable() or c.isspace())
    if printable == text and not re.search(r"[\x00-\x1f\x7f-\x9f\ufeff\u2028\u2029]", text):
        assert undone.split() == text.split()


@given(st.lists(texts | marks, min_size=3, max_size=3), st.sampled_from(SPANS))
def test_every_row_has_its_cells(row: list[str], make: Callable[[str], Span]) -> None:
    """Whatever stands in them, the rows of a table keep their shape."""
    table = Table(("a", "b", "c"), (tuple((make(text),) for text in row),))
    lines = render((table,)).splitlines()
    assert len(lines) == 3
    assert len(cells(lines[2])) == 3


@given(texts | marks)
def test_a_code_span_is_closed_by_its_own_fence(text: str) -> None:
    """Nothing of a code span runs out into what follows."""
    found = one(Code(text))
    assert outside_code(found) == "a  z\n"
