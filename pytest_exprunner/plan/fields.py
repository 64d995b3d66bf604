"""What may stand in the fields of a plan, and how anything else is refused."""

from __future__ import annotations

import math
import re
from datetime import date
from typing import Annotated

from pydantic import BeforeValidator

from pytest_exprunner._util.errors import quoted
from pytest_exprunner.plan.base import KEY_ALIAS, listed, refuse

_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}
_SUB_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_FOLDER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


def check_experiment_id(value: object) -> object:
    """Return an id of an experiment or a gate if it can name a folder; raise a pydantic error if not."""
    if not isinstance(value, str):
        raise refuse("id", f"an id is text, not {quoted(value)}; expected quotes around it")
    if not _FOLDER_ID.fullmatch(value) or value[-1] == "." or value.split(".")[0].lower() in _RESERVED:
        raise refuse(
            "id",
            f"{quoted(value)} cannot be an id; expected letters, digits, '.', '_', '+' or '-', starting "
            "with a letter or digit, at most 100 characters (it names a folder)",
        )
    return value


def check_sub_experiment_id(value: object) -> object:
    """Return the id of a sub-experiment if a function's name can start with it; raise if not."""
    if not isinstance(value, str) or not _SUB_ID.fullmatch(value) or value.lower() in _RESERVED:
        raise refuse(
            "id",
            f"{quoted(value)} cannot be a sub-experiment id; expected letters, digits and '_', starting "
            "with a letter, at most 100 characters (a handler's name starts with it)",
        )
    return value


def check_text_key(value: object) -> object:
    """Return a key that is text; raise a pydantic error if it is not."""
    if not isinstance(value, str) or value == KEY_ALIAS:
        raise refuse("key", f"the key {quoted(value)} is not text; expected quotes around it")
    return value


def _threshold(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse("number", f"{quoted(value)} is not a number; expected one, such as 0.7")
    try:
        finite = math.isfinite(float(value))
    except OverflowError:
        finite = False
    if not finite:
        raise refuse("number", f"{quoted(value)} is not a finite number; expected one, such as 0.7")
    return float(value) if abs(value) >= 2**53 else value


def _said(value: object) -> object:
    if not isinstance(value, str) or not value.strip():
        raise refuse("text", f"{quoted(value)} is empty; a waiver must be signed: expected text")
    return value


def _iso_date(value: object) -> object:
    if not isinstance(value, str):
        raise refuse("date", f"{quoted(value)} is not a date; expected one such as 2026-01-22")
    try:
        date.fromisoformat(value)
    except ValueError:
        raise refuse("date", f"{quoted(value)} is not a date; expected one such as 2026-01-22") from None
    return value


def _phase(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise refuse("phase", f"{quoted(value)} is not a phase; expected an integer or text")
    return value


def _unlocks(value: object) -> object:
    if isinstance(value, list):
        for item in value:
            if not isinstance(item, str):
                return tuple(value)  # the type of the item is reported at its place
        return tuple(value)
    if not isinstance(value, str):
        raise refuse("unlocks", f"{quoted(value)} is not text; expected text or a list of experiment ids")
    return value


def _seeds(value: object) -> object:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, bool) or not isinstance(item, int) or not 0 <= item < 2**32:
            raise refuse("seed", f"{quoted(item)} is not a seed; expected an integer from 0 to {2**32 - 1}")
    if isinstance(value, list) and len(set(value)) < len(value):
        raise refuse("seed", "a seed is listed twice; expected each once")
    return listed(value)


def _bounds(value: object) -> object:
    if not isinstance(value, list) or len(value) != 2:
        raise refuse("bounds", f"{quoted(value)} is not a pair of bounds; expected [lowest, highest]")
    low, high = value
    if type(low) in {int, float} and type(high) in {int, float} and low >= high:
        raise refuse("bounds", f"bounds [{low}, {high}] are out of order; expected [lowest, highest]")
    return tuple(value)


_NO_PROJECT = re.compile(r"[/\\\\#?%:]")


def _project_name(value: object) -> object:
    if isinstance(value, str) and (not value or len(value) > 128 or _NO_PROJECT.search(value)):
        raise refuse(
            "project",
            f"{quoted(value)} is not a W&B project; expected a name without / \\ # ? % : and of at most "
            "128 characters",
        )
    return value


ExperimentId = Annotated[str, BeforeValidator(check_experiment_id)]
SubExperimentId = Annotated[str, BeforeValidator(check_sub_experiment_id)]
Threshold = Annotated[int | float, BeforeValidator(_threshold)]
IsoDate = Annotated[str, BeforeValidator(_iso_date)]
Bounds = Annotated[tuple[Threshold | None, Threshold | None], BeforeValidator(_bounds)]
Seeds = Annotated[tuple[int, ...], BeforeValidator(_seeds, json_schema_input_type=list[int])]
Phase = Annotated[int | str, BeforeValidator(_phase)]
Unlocks = Annotated[str | tuple[str, ...], BeforeValidator(_unlocks, json_schema_input_type=str | list[str])]
Signed = Annotated[str, BeforeValidator(_said)]
WandbProject = Annotated[str, BeforeValidator(_project_name)]
