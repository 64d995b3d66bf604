"""Plain values → YAML that readers of YAML 1.1 and of YAML 1.2 understand alike.

Written line by line, because a results file is written far more often than it is read by a person,
and PyYAML's emitters take most of the time of a run for it. Only block collections and four ways to
write a text are used: plain, in single quotes, in double quotes, and as a literal block.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pytest_exprunner._util.serialization import special_name
from pytest_exprunner._util.yaml import NUMBER_LIKE

_WIDTH = 100
_REPEATED = 60  # characters of a text that is likely to stand there again
_LONGEST_KEY = 120  # beyond it the key is marked as one; readers give up looking for its end at 1,024
_MAX_BITS = 13_000  # about as many digits as readers take for a number
# Texts that a reader of YAML 1.1 takes for something else.
_OTHER_MEANING = re.compile(
    r"""(?:
      [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?    # 12:30
    | [-+]?[0-9_]+(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?       # 1_000, 1.5e3; some readers: +_1
    | [-+]?\.[0-9_]+(?:[eE][-+]?[0-9]+)?                  # .5
    | [-+]?0b[01_]+ | [-+]?0o[0-7_]+ | [-+]?0x[0-9a-fA-F_]+
    | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN)
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt\s].*)?          # dates
    | y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF
    | ~|null|Null|NULL|<<|=|
    )\Z""",
    re.VERBOSE,
)
_MAY_MEAN_MORE = frozenset("-+.0123456789yYnNtTfFoO~<=")
# First characters that have a meaning in YAML's own grammar, or may have one.
_INDICATORS = frozenset("-?:,[]{}#&*!|>'\"%@` ")
_SPECIAL = {"NaN": ".nan", "Infinity": ".inf", "-Infinity": "-.inf"}
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}


def dump(value: Mapping[str, Any]) -> bytes:
    """Return one YAML document. Takes None, bool, int, float, str, list, tuple and mappings of them."""
    lines: list[str] = []
    if value:
        _mapping(lines, value, 0, "")
    return "".join(lines or ["{}\n"]).encode("utf-8")


def _mapping(lines: list[str], value: Mapping[str, Any], indent: int, start: str) -> None:
    """Write a mapping that is not empty; ``start`` is what stands on its first line already."""
    margin = " " * indent
    for key, item in value.items():
        written = _one_line(key)
        long = len(written) > _LONGEST_KEY
        lead = f"{start}? {written}\n{margin}:" if long else f"{start}{written}:"
        if isinstance(item, dict) and item:
            lines.append(f"{lead}\n")
            _mapping(lines, item, indent + 2, margin + "  ")
        elif isinstance(item, list | tuple) and item:
            lines.append(f"{lead}\n")
            _sequence(lines, item, indent, margin)
        else:
            lines.append(f"{lead} {_scalar(item, len(lead), margin)}\n")
        start = margin


def _sequence(lines: list[str], value: list[Any] | tuple[Any, ...], indent: int, start: str) -> None:
    """Write a sequence that is not empty."""
    margin = " " * indent
    for item in value:
        if isinstance(item, dict) and item:
            _mapping(lines, item, indent + 2, f"{start}- ")
        elif isinstance(item, list | tuple) and item:
            _sequence(lines, item, indent + 2, f"{start}- ")
        else:
            lines.append(f"{start}- {_scalar(item, indent + 1, margin)}\n")
        start = margin


def _scalar(value: Any, column: int, margin: str) -> str:
    if type(value) is int and value.bit_length() > _MAX_BITS:
        value = hex(value)
    if isinstance(value, str):
        return _text(value, column, margin)
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    return _plain_text(value)


def _text(value: str, column: int, margin: str) -> str:
    """Write a text; ``column`` is where its line is, ``margin`` what deeper lines are indented from."""
    if "\n" in value and _is_literal(value):
        return _literal(value, margin + "  ")
    written = _one_line(value)
    if column + len(written) < _WIDTH or written[0] == '"' or "  " in value:
        return written
    return _folded(written, column, f"\n{margin}  ")


def _one_line(value: str) -> str:
    return _short_text(value) if len(value) <= _REPEATED else _quoted_if_needed(value)


@lru_cache(maxsize=8192)
def _short_text(value: str) -> str:
    # Keys, words and run ids stand in a file over and over.
    return _quoted_if_needed(value)


def _quoted_if_needed(value: str) -> str:
    if not value.isprintable():
        return f'"{"".join(map(_escaped, value))}"'
    return value if _is_plain(value) else "'" + value.replace("'", "''") + "'"


def _is_plain(text: str) -> bool:
    """Return whether a printable text means itself where it stands without quotes."""
    if not text or text[0] in _INDICATORS or text[-1] in ": " or text[:2] == "..":
        return False
    if ": " in text or " #" in text:
        return False
    return text[0] not in _MAY_MEAN_MORE or not (_OTHER_MEANING.match(text) or NUMBER_LIKE.fullmatch(text))


def _is_literal(text: str) -> bool:
    """Return whether a text of several lines can stand as it is, indented."""
    lines = text.removesuffix("\n").split("\n")
    return lines[0][:1] not in ("", " ") and lines[-1] != "" and all(line.isprintable() for line in lines)


def _literal(text: str, margin: str) -> str:
    """Write lines as they are; without the hyphen the text ends with a line break."""
    lines = text.removesuffix("\n").split("\n")
    body = "".join(f"\n{margin}{line}" if line else "\n" for line in lines)
    return ("|" if text.endswith("\n") else "|-") + body


def _folded(written: str, column: int, newline: str) -> str:
    """Break a long line at single spaces; a reader makes spaces of the breaks again."""
    parts: list[str] = []
    length = column
    for word in written.split(" "):
        if parts and length + len(word) >= _WIDTH:
            parts.append(newline)
            length = len(newline)
        elif parts:
            parts.append(" ")
        parts.append(word)
        length += len(word) + 1
    return "".join(parts)


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _plain_text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        text = repr(value)
        if text[-1] in "fn":  # inf, -inf, nan
            return _SPECIAL[special_name(value)]
        # YAML 1.1 wants a point in a number with an exponent.
        return text if "." in text or "e" not in text else text.replace("e", ".0e")
    raise TypeError(f"{type(value).__name__} has no place in a results file")
