"""Render findings as Markdown that GitHub displays correctly, whatever the strings contain."""

from __future__ import annotations

import re
from urllib.parse import quote

from pytest_exprunner._util.text import show_control
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

# Words, numbers and plain punctuation with single spaces, which is most text and needs no escaping.
_HARMLESS = re.compile(r" ?(?:[A-Za-z0-9.,:;()%/'\"≥≤–-]+(?: [A-Za-z0-9.,:;()%/'\"≥≤–-]+)*)? ?")
_SPECIAL = re.compile(r"([\\`*\[\]<>|~$])")
_EDGE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LINE_START = re.compile(r"^(\s*)([#=]|[+-](?!\.?\d)|\d{1,9}[.)](?=\s|$))")
_ENTITY = re.compile(r"&(?=[#\w])")


def render(findings: Findings) -> str:
    """Return Markdown, with an empty line between blocks."""
    return "\n\n".join(text for block in findings if (text := _block(block))) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(level, spans):
            return f"{'#' * level} {_inline(spans)}"
        case Paragraph(spans):
            return "\n\n".join(_paragraphs(spans))
        case Bullets(items):
            return "\n".join(f"- {_guard(_inline(item))}" for item in items)
        case Table(header, rows):
            return _table(header, rows)


def _paragraphs(spans: Spans) -> list[str]:
    """Return the paragraphs of a text, split at empty lines."""
    if len(spans) == 1 and isinstance(spans[0], str):
        parts = re.split(r"\n\s*\n", spans[0])
        return [_guard(_inline((part,))) for part in parts if part.strip()]
    text = _guard(_inline(spans))
    return [text] if text else []


def _guard(text: str) -> str:
    """Keep a paragraph from becoming a heading, a list or a rule."""
    return _LINE_START.sub(lambda m: f"{m[1]}{_escape_start(m[2])}", text)


def _escape_start(marker: str) -> str:
    return f"{marker[:-1]}\\{marker[-1]}"


def _table(header: tuple[str, ...], rows: tuple[tuple[Spans, ...], ...]) -> str:
    lines = [
        f"| {' | '.join(header)} |",
        f"| {' | '.join('---' for _ in header)} |",
        *(f"| {' | '.join(_inline(cell) for cell in row)} |" for row in rows),
    ]
    return "\n".join(lines)


def _inline(spans: Spans) -> str:
    return "".join(_span(span) for span in spans)


def _span(span: Span) -> str:
    match span:
        case Code(text):
            return _code(text)
        case Strong(text):
            return f"**{escape(text)}**" if text.strip() else ""
        case Link(text, target, image):
            path = quote(target, safe="/._-~=+,@")
            return f"{'!' if image else ''}[{escape(text)}]({path})"
        case _:
            return escape(span)


def escape(text: str) -> str:
    """Return text that Markdown shows verbatim, on one line and in one table cell."""
    if _HARMLESS.fullmatch(text):
        return text
    flat = " ".join(show_control(text).split())
    padded = _keep_edges(text, flat)
    escaped = _SPECIAL.sub(r"\\\1", _ENTITY.sub("&amp;", padded))
    return _EDGE_UNDERSCORE.sub(r"\\_", escaped).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _keep_edges(original: str, flat: str) -> str:
    """Keep spaces at both ends, so that joining does not merge a text with its neighbours."""
    start = " " if original[:1].isspace() and flat else ""
    end = " " if original[-1:].isspace() and flat else ""
    return f"{start}{flat}{end}"


def _code(text: str) -> str:
    """Return a code span; a pipe is escaped, because it would end a table cell even inside one."""
    flat = " ".join(show_control(text).split()).replace("|", "\\|")
    if not flat:
        return "` `"
    fence = "`" * (max((len(run) for run in re.findall(r"`+", flat)), default=0) + 1)
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{pad}{flat}{pad}{fence}"
