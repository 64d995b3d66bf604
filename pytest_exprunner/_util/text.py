"""Text for people: lists in sentences, characters that must not reach a console or a page, ASCII."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff"
_INVISIBLE = r"\u200b-\u200f"
_STEERING = re.compile(f"[{_CONTROL}]")
_STEERING_OR_INVISIBLE = re.compile(f"[{_CONTROL}{_INVISIBLE}]")
_ASCII = str.maketrans(
    {"≥": ">=", "≤": "<=", "–": "-", "—": "-", "→": "->", "±": "+-", "…": "...", "∞": "inf", "−": "-"}
)


def has_control(text: str) -> bool:
    """Return whether a text has characters that steer a terminal, reverse it or break a line."""
    return "\t" in text or "\n" in text or _STEERING.search(text) is not None


def show_control(text: str) -> str:
    """Return a text in which such characters are written as their codes; lines stay."""
    return _STEERING.sub(_escape, text)


def replace_control(text: str) -> str:
    """Return a text for a terminal: such characters, and invisible ones, become a replacement mark."""
    return _STEERING_OR_INVISIBLE.sub("�", text)


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def ascii_only(text: str) -> str:
    """Return a text for a console that knows ASCII alone."""
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")


def encodable(text: str, encoding: str | None) -> str:
    """Return a text as a stream of some encoding can show it: ASCII where it cannot show all of it."""
    try:
        text.encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return ascii_only(text)
    return text


def sentence_list(items: Sequence[str]) -> str:
    """``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def few(items: Sequence[str], most: int = 3) -> str:
    """``a, b, c and 4 more``."""
    shown = list(items[:most])
    return sentence_list([*shown, f"{len(items) - most} more"] if len(items) > most else shown)
