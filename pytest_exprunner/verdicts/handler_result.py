"""What a handler returned: checked for its shape, and made plain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pytest_exprunner._util.errors import HandlerError, closest
from pytest_exprunner._util.serialization import Plain, plain, shown, text

_KEYS = ("finding", "metrics", "artifacts")
_EXPECTED = 'expected {"finding": "…", "metrics": {"name": number}, "artifacts": [path]}'


@dataclass(frozen=True, slots=True)
class Returned:
    """A finding in words, metrics by name, artifact paths, and whatever else was returned."""

    finding: str = ""
    metrics: Mapping[str, Plain] = field(default_factory=dict)
    artifacts: tuple[str, ...] = ()
    extra: Mapping[str, Plain] = field(default_factory=dict)


def check(value: object, prefix: str) -> Returned:
    """Return the parts of a handler's return value; ``prefix`` is its sub-experiment's id.

    Metrics may hold anything; only numbers are judged. Raises `HandlerError` that shows what
    was returned and what was expected.
    """
    if not isinstance(value, Mapping):
        _refuse(f"the handler returned {shown(value)}")
    try:
        keys = {text(key): value[key] for key in value}
    except Exception as error:  # noqa: BLE001 - a user's mapping may raise anything
        _refuse(f"reading what the handler returned raised {type(error).__name__}")
    _check_keys(keys)
    finding = keys.get("finding", "")
    if not isinstance(finding, str):
        _refuse(f"'finding' is {shown(finding)}, not text")
    return Returned(
        finding=text(finding),
        metrics=_metrics(keys.get("metrics", {}), prefix),
        artifacts=_artifacts(keys.get("artifacts", ())),
        extra={key: plain(item) for key, item in keys.items() if key not in _KEYS},
    )


def _check_keys(keys: Mapping[str, object]) -> None:
    for key in keys:
        meant = None if key in _KEYS else closest(key, _KEYS)
        if meant is not None and meant not in keys:
            _refuse(f"the handler returned the key {shown(key, 40)}; did you mean {meant!r}?")
    if not any(key in keys for key in _KEYS):
        names = ", ".join(shown(key, 40) for key in list(keys)[:5]) or "nothing"
        _refuse(
            f"the handler returned a mapping with {names} but none of 'finding', 'metrics' and "
            "'artifacts'; put numbers under 'metrics'"
        )


def _refuse(what: str) -> NoReturn:
    raise HandlerError(f"{what}; {_EXPECTED}")


def _metrics(value: object, prefix: str) -> dict[str, Plain]:
    if not isinstance(value, Mapping):
        _refuse(f"'metrics' is {shown(value)}, not a mapping")
    metrics = plain(value)
    if not isinstance(metrics, dict):
        _refuse(f"'metrics' is {metrics}")
    return bare_names(metrics, prefix)


def bare_names(metrics: Mapping[str, Plain], prefix: str) -> dict[str, Plain]:
    """Return metrics with ``e_p2_1/loss`` stored as ``loss``. Raises HandlerError if both are there."""
    start = f"{prefix}/"
    if not any(name.startswith(start) for name in metrics):
        return dict(metrics)
    result: dict[str, Plain] = {}
    for name, value in metrics.items():
        bare = name.removeprefix(start) or name
        if bare in result:
            raise HandlerError(f"the metric {bare!r} is given twice, bare and as {start + bare!r}")
        result[bare] = value
    return result


def _artifacts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str | bytes):
        _refuse(f"'artifacts' is {shown(value)}, not a list of paths")
    try:
        paths = [_path(item) for item in value]
    except TypeError:
        _refuse(f"'artifacts' is {shown(value)}, not a list of paths")
    except Exception as error:  # noqa: BLE001 - a user's list may raise anything
        _refuse(f"reading 'artifacts' raised {type(error).__name__}")
    for path, item in zip(paths, value, strict=False):
        if not isinstance(path, str):
            _refuse(f"'artifacts' holds {shown(item)}, which is not a path")
    return tuple(text(path) for path in paths)


def _path(item: object) -> object:
    return item.__fspath__() if hasattr(item, "__fspath__") else item
