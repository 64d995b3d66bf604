"""Words for people: lists in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def sentence_list(items: Sequence[str]) -> str:
    """``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def few(items: Sequence[str], most: int = 3) -> str:
    """``a, b, c and 4 more``."""
    shown = list(items[:most])
    return sentence_list([*shown, f"{len(items) - most} more"] if len(items) > most else shown)
