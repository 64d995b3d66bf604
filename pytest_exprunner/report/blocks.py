"""A document without formatting: headings, paragraphs, tables and lists, for renderers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """A name or a value, shown verbatim."""

    text: str


@dataclass(frozen=True, slots=True)
class Strong:
    """Emphasised text."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A file, relative to the document; ``image`` if it can be shown inline."""

    text: str
    target: str
    image: bool = False


Span = str | Code | Strong | Link
Spans = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; level 1 is the document's title."""

    level: int
    spans: Spans


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One paragraph."""

    spans: Spans


@dataclass(frozen=True, slots=True)
class Bullets:
    """An unordered list."""

    items: tuple[Spans, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; each cell is one line."""

    header: tuple[str, ...]
    rows: tuple[tuple[Spans, ...], ...]


Block = Heading | Paragraph | Bullets | Table
Findings = tuple[Block, ...]
