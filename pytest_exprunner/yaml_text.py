"""Plain values → YAML that readers of YAML 1.1 and of YAML 1.2 understand alike.

Events go to the emitter directly: building and resolving a tree of nodes first, as ``yaml.dump``
does, takes most of its time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

from pytest_exprunner.values import special_name
from pytest_exprunner.yaml_nodes import NUMBER_LIKE

_WIDTH = 100
_REPEATED = 60  # characters of a text that is likely to stand there again
_MAX_BITS = 13_000  # about as many digits as readers take for a number
_EMITTER: Any = getattr(yaml, "CDumper", yaml.Dumper)
# Texts that a reader of YAML 1.1 takes for something else; the emitter itself quotes what has
# a meaning in YAML's own grammar.
_OTHER_MEANING = re.compile(
    r"""(?:
      [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?    # 12:30
    | [-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?  # 1_000, 1.5e3
    | [-+]?\.[0-9_]+(?:[eE][-+]?[0-9]+)?                  # .5
    | [-+]?0b[01_]+ | [-+]?0x[0-9a-fA-F_]+
    | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN)
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt\s].*)?          # dates
    | y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF
    | ~|null|Null|NULL|<<|=|
    )\Z""",
    re.VERBOSE,
)
_SPECIAL = {"NaN": ".nan", "Infinity": ".inf", "-Infinity": "-.inf"}
_MAPPING_END = yaml.MappingEndEvent()
_SEQUENCE_END = yaml.SequenceEndEvent()
_FIRST = frozenset("-+.0123456789yYnNtTfFoO~<=")


def dump(value: Mapping[str, Any]) -> bytes:
    """Return one YAML document. Takes None, bool, int, float, str, list, tuple and mappings of them."""
    events: list[yaml.Event] = [yaml.StreamStartEvent(), yaml.DocumentStartEvent(explicit=False)]
    _add(events, value)
    events += [yaml.DocumentEndEvent(explicit=False), yaml.StreamEndEvent()]
    text: str = yaml.emit(events, Dumper=_EMITTER, allow_unicode=True, width=_WIDTH)
    return text.encode("utf-8")


def _add(events: list[yaml.Event], value: Any) -> None:
    if isinstance(value, dict):
        events.append(yaml.MappingStartEvent(None, None, implicit=True, flow_style=not value))
        for key, item in value.items():
            events.append(_scalar(key))
            _add(events, item)
        events.append(_MAPPING_END)
    elif isinstance(value, list | tuple):
        events.append(yaml.SequenceStartEvent(None, None, implicit=True, flow_style=not value))
        for item in value:
            _add(events, item)
        events.append(_SEQUENCE_END)
    else:
        events.append(_scalar(value))


def _scalar(value: Any) -> yaml.ScalarEvent:
    if type(value) is str and len(value) <= _REPEATED:
        return _short_text(value)
    if type(value) is int and value.bit_length() > _MAX_BITS:
        value = hex(value)
    if isinstance(value, str):
        return _text(value)
    return yaml.ScalarEvent(None, None, (True, False), _plain_text(value))


@lru_cache(maxsize=8192)
def _short_text(value: str) -> yaml.ScalarEvent:
    # Keys, words and run ids stand in a file over and over; the emitter does not change an event.
    return _text(value)


def _text(value: str) -> yaml.ScalarEvent:
    plain = not (value[:1] in _FIRST or not value) or not _means_something_else(value)
    # implicit = (may be written plain, may be written quoted)
    return yaml.ScalarEvent(None, None, (plain, True), value)


def _means_something_else(text: str) -> bool:
    return bool(_OTHER_MEANING.match(text) or NUMBER_LIKE.fullmatch(text))


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
