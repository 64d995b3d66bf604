"""A generated part, between markers, of a file that belongs to people.

What stands outside the markers is never touched. The opening marker carries a digest of the part,
so that changes made inside are noticed and a copy is kept before the part is written again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

_BEGIN = re.compile(r"^<!-- exprunner:begin ([0-9a-f]{16}) .*-->$", re.MULTILINE)
_END = re.compile(r"^<!-- exprunner:end -->$", re.MULTILINE)

NOTES = {"Notes": "Write here; text outside the generated part is never changed."}


@dataclass(frozen=True, slots=True)
class Merged:
    """A file with a fresh generated part; ``edited`` if the old part was changed by a person."""

    text: str
    edited: bool = False
    problem: str = ""


def merge(existing: str | None, part: str, prose: Mapping[str, str] = NOTES) -> Merged:
    """Put ``part`` into the place of the old one, at the end where there is none.

    A new file offers sections for ``prose``, by title, each with a line about what belongs there. Where the
    markers are damaged the text comes back as it was, with the problem in words.
    """
    marked = _marked(part)
    if existing is None:
        offered = (f"\n## {title}\n\n_{about}_\n" for title, about in prose.items())
        return Merged(f"{marked}{''.join(offered)}")
    begins, ends = list(_BEGIN.finditer(existing)), list(_END.finditer(existing))
    if not begins and not ends and "exprunner:begin" not in existing:
        separator = (
            "" if existing.endswith("\n\n") or not existing else "\n" if existing.endswith("\n") else "\n\n"
        )
        return Merged(f"{existing}{separator}{marked}")
    if len(begins) != 1 or len(ends) != 1 or ends[0].start() < begins[0].end():
        return Merged(
            existing,
            problem=f"has {len(begins)} opening and {len(ends)} closing exprunner markers; expected one "
            "of each, in order. It was left unchanged: repair or delete the markers",
        )
    old = existing[begins[0].end() + 1 : ends[0].start()]
    return Merged(
        f"{existing[: begins[0].start()]}{marked.rstrip()}{existing[ends[0].end() :]}",
        edited=begins[0][1] != _digest(old),
    )


def outside(text: str) -> str:
    """Return what people wrote around a generated part, each line in its place."""
    begin, end = _BEGIN.search(text), _END.search(text)
    if begin is None or end is None or end.start() < begin.end():
        return text
    inside = text[begin.start() : end.end()]
    return text[: begin.start()] + "\n" * inside.count("\n") + text[end.end() :]


def is_edited(text: str) -> bool:
    """Return whether somebody changed a generated part since it was written."""
    begin, end = _BEGIN.search(text), _END.search(text)
    if begin is None or end is None or end.start() < begin.end():
        return False
    return begin[1] != _digest(text[begin.end() + 1 : end.start()])


def _marked(part: str) -> str:
    body = part if part.endswith("\n") else f"{part}\n"
    return (
        f"<!-- exprunner:begin {_digest(body)} generated from the plan and the attempts; write outside -->\n"
        f"{body}<!-- exprunner:end -->\n"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
