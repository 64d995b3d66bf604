"""Numbers that people write of a metric: ``spatial IoU of 0.81``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

_LINK = r"(?:[`*_)\]]{0,3}\s?(?:[:=≈~]|\b(?:is|was|of|at|about|around|reached|reaches)\b)[`*_\s]{0,3}){1,3}"
_NUMBER = r"(?P<number>-?\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3})?)(?![\d.]*\d)\s?(?P<percent>%?)"
_LEAST = 3
"""Shorter names, such as p, stand for too many things."""


def numbers_near(text: str, names: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """Yield line, metric and number where a sentence gives a fraction or a percentage for a metric."""
    for name in names:
        if len(name) < _LEAST:
            continue
        words = r"[ _-]".join(map(re.escape, re.split(r"[ _-]", name)))
        line, position = 1, 0
        for found in re.finditer(rf"(?<![\w/]){words}(?![\w/]){_LINK}{_NUMBER}", text, re.IGNORECASE):
            line += text.count("\n", position, found.start())
            position = found.start()
            if "." in found["number"] or found["percent"]:
                yield line, name, found["number"] + found["percent"]


def reads_as(said: str, value: float) -> bool:
    """Return whether a person may have written a value like that: rounded, or in percent."""
    number = said.rstrip("%").lower()
    mantissa, _, exponent = number.partition("e")
    try:
        step = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        scaled = value * 100 if said.endswith("%") else value
        distance = abs(scaled - float(number))
    except (OverflowError, ValueError):
        return False
    return distance <= step * 0.5000001 and math.isfinite(distance)
