"""Numbers that people write near the name of a metric."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_NUMBER = r"[^\n0-9.]{0,25}?(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s?(?P<percent>%?)"


def numbers_near(text: str, names: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """Yield line, metric and number where a fraction or a percentage follows the name of a metric."""
    for name in names:
        words = r"[ _-]".join(map(re.escape, re.split(r"[ _-]", name)))
        for found in re.finditer(rf"(?<![\w/]){words}(?![\w/]){_NUMBER}", text, re.IGNORECASE):
            if "." in found["number"] or found["percent"]:
                line = text.count("\n", 0, found.start()) + 1
                yield line, name, found["number"] + found["percent"]


def reads_as(said: str, value: float) -> bool:
    """Tell whether a person may have written a value like that: rounded, or in percent."""
    percent = said.endswith("%")
    digits = said.rstrip("%")
    mantissa = digits.lower().partition("e")[0]
    step = 10.0 ** -len(mantissa.partition(".")[2])
    if "e" in digits.lower():
        step *= 10.0 ** int(digits.lower().partition("e")[2])
    scaled = value * 100 if percent else value
    return abs(scaled - float(digits)) <= step * 0.5000001
