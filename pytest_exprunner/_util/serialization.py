"""Values as research code produces them, made plain: numbers, text, lists and mappings.

Nothing is imported to recognise a NumPy scalar or a torch tensor; both answer ``item()``.
JSON has no NaN, no infinity and no integers beyond 64 bits, so records write them as
``{"$float": "NaN"}`` and ``{"$int": "0x…"}``; ``encode`` and ``decode`` are exact inverses.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import orjson

Plain = None | bool | int | float | str | list[Any] | dict[str, Any]

MAX_DEPTH = 32
MAX_TEXT = 1_000_000
_HEX = re.compile(r"-?0x[0-9a-f]+")
_INT64 = range(-(2**63), 2**63)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def unbox(value: Any) -> Any:
    """Return the python scalar inside a NumPy scalar, a 0-d array or a one-element tensor.

    Works on any device and with gradients attached; anything else comes back unchanged.
    """
    return value if type(value) in (float, int, str, bool) else _item(value, one_is_enough=True)


def _item(value: Any, *, one_is_enough: bool) -> Any:
    """Return what ``item()`` gives; an array of one element has one only if that ``is_enough``."""
    try:
        shape = tuple(value.shape)
        if isinstance(value, type) or math.prod(shape) != 1 or (shape and not one_is_enough):
            return value
        inner = value.item()
    except Exception:
        return value
    return value if type(inner) is type(value) else inner


def number(value: Any) -> float | int | None:
    """Return ``value`` as a number, or None: a bool, a text and a complex number are none."""
    value = unbox(value)
    if type(value) is float or type(value) is int:
        return value
    if isinstance(value, bool | str | bytes | complex):
        return None
    try:
        if isinstance(value, int):
            return int(value)
        found = value.__float__()
    except OverflowError:
        return math.inf
    except Exception:
        return None
    return found if isinstance(found, float) else None


def as_float(value: float) -> float:
    """Return a float; an integer too large for one becomes an infinity of its sign."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def text(value: object) -> str:
    """Return text that any UTF-8 file can hold: lone surrogates are written as escapes."""
    try:
        result = value if type(value) is str else str(value)
    except Exception as error:
        result = f"<{type(value).__name__}: its text raised {type(error).__name__}>"
    return result.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(value: object, limit: int = 80) -> str:
    """Return a short ``repr`` that never raises, for messages."""
    try:
        result = repr(value)
    except Exception as error:
        result = f"<{type(value).__name__}: its repr raised {type(error).__name__}>"
    result = text(result)
    return result if len(result) <= limit else result[: limit - 1] + "…"


def plain(value: object, *, keep_arrays: bool = False) -> Plain:
    """Return ``value`` built from None, bool, int, float, str, list and dict alone.

    Tuples and sets become lists, arrays and tensors nested lists (one of a single element its number,
    unless ``keep_arrays``), dataclasses mappings; what has no plain form is kept as its ``repr``.
    Never raises.
    """
    result: Plain = _plain(value, 0, frozenset(), not keep_arrays)
    return result


def _plain(value: object, depth: int, parents: frozenset[int], unboxed: bool) -> Any:  # noqa: FBT001
    try:
        return _looked_at(value, depth, parents, unboxed)
    except Exception as error:
        return f"<{type(value).__name__}: reading it raised {type(error).__name__}>"


def _looked_at(value: Any, depth: int, parents: frozenset[int], unboxed: bool) -> Any:  # noqa: FBT001
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, str):
        return clipped(text(value))
    value = _item(value, one_is_enough=unboxed)
    if isinstance(value, bool | int | float):
        return bool(value) if isinstance(value, bool) else number(value)
    if id(value) in parents or depth >= MAX_DEPTH:
        why = "refers to itself" if id(value) in parents else "nested too deeply"
        return f"<{type(value).__name__}: {why}>"
    return _container(value, depth + 1, parents | {id(value)}, unboxed)


def _container(value: object, depth: int, parents: frozenset[int], unboxed: bool) -> Any:  # noqa: FBT001
    if isinstance(value, Mapping):
        return {text(unbox(key)): _plain(item, depth, parents, unboxed) for key, item in value.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [_plain(item, depth, parents, unboxed) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name: _plain(getattr(value, f.name, None), depth, parents, unboxed) for f in fields}
    for convert in _CONVERSIONS:
        converted = convert(value)
        if converted is not None and type(converted) is not type(value):
            return _plain(converted, depth, parents, unboxed)
    return clipped(shown(value, 2000))


def _from_tensor(value: object) -> object:
    if not hasattr(value, "tolist"):
        return None
    detached = value.detach().cpu() if hasattr(value, "detach") else value
    return detached.tolist()


def _from_model(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) and not isinstance(value, type) else None


def _from_fspath(value: object) -> object:
    return str(value) if hasattr(value, "__fspath__") or hasattr(value, "isoformat") else None


def _from_number(value: object) -> object:
    return None if isinstance(value, complex) else number(value)


_CONVERSIONS: tuple[Callable[[object], object], ...] = (
    _from_tensor,
    _from_model,
    _from_fspath,
    _from_number,
)


def clipped(value: str, most: int = MAX_TEXT) -> str:
    """Return a text of bounded length, with the size of what is left out."""
    if len(value) <= most:
        return value
    return f"{value[:most]}… ({len(value) - most} more characters left out)"


def encode(value: Any) -> Any:
    """Return a plain value in which nothing is left that JSON cannot carry."""
    kind = type(value)
    if kind is float:
        return value if -math.inf < value < math.inf else {"$float": special_name(value)}
    if kind is str or kind is bool or value is None:
        return value
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": special_name(value)}
    if isinstance(value, int):
        return value if value in _INT64 else {"$int": hex(value)}
    if isinstance(value, dict):
        encoded = {key: encode(item) for key, item in value.items()}
        return {"$map": encoded} if len(encoded) == 1 and next(iter(encoded))[:1] == "$" else encoded
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


def decode(value: Plain) -> Any:
    """Undo `encode`."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        key, item = next(iter(value.items()))
        if key == "$float" and isinstance(item, str) and item in _SPECIAL:
            return _SPECIAL[item]
        if key == "$int" and isinstance(item, str) and _HEX.fullmatch(item):
            return int(item, 16)
        if key == "$map" and isinstance(item, dict):
            value = item
    return {key: decode(item) for key, item in value.items()}


def digest_of(value: object) -> str:
    """Return 16 hex digits of a value as a record would hold it; objects count by their type alone."""
    return hashlib.sha256(
        orjson.dumps(encode(_addressless(plain(value))), option=orjson.OPT_SORT_KEYS)
    ).hexdigest()[:16]


_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def _addressless(value: Plain) -> Plain:
    if isinstance(value, str):
        return _ADDRESS.sub("", value)
    if isinstance(value, dict):
        return {_ADDRESS.sub("", key): _addressless(item) for key, item in value.items()}
    return [_addressless(item) for item in value] if isinstance(value, list) else value


def special_name(value: float) -> str:
    """Return the name of NaN or an infinity: ``NaN``, ``Infinity``, ``-Infinity``."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def named_floats(value: Plain) -> Plain:
    """Return a plain value with NaN and infinities as their names, for JSON that others read."""
    if isinstance(value, float) and not math.isfinite(value):
        return special_name(value)
    if isinstance(value, dict):
        return {key: named_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [named_floats(item) for item in value]
    return value
