"""Trackers by name: those that come along, those that packages offer, and any class by its place."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import entry_points

from pytest_exprunner.errors import ExprunnerError, did_you_mean
from pytest_exprunner.trackers.base import Tracker

GROUP = "pytest_exprunner.trackers"
_OURS = {"wandb": "pytest_exprunner.trackers.wandb:WandbTracker"}
_PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def place_of(name: str) -> str:
    """Return where the class of a tracker is, ``package.module:Class``. Raises `ExprunnerError`."""
    if _PLACE.fullmatch(name):
        return name
    offered = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    known = {**offered, **_OURS}
    if name not in known:
        hint = did_you_mean(name, known)
        raise ExprunnerError(
            f"unknown tracker {name!r}{hint}; known: {', '.join(sorted(known))}, or the place of a class "
            "such as 'package.module:MyTracker'"
        )
    return known[name]


def load(place: str) -> Tracker:
    """Return a tracker, given the place of its class. Raises ImportError with what to do."""
    module_name, _, class_name = place.partition(":")
    module = importlib.import_module(module_name)
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Tracker)):
        raise ImportError(  # noqa: TRY004 - for whoever asked, it is a class that is not there
            f"{place} is no tracker; expected a class derived from pytest_exprunner.Tracker"
        )
    return found()


def file_name(name: str) -> str:
    """Return a tracker's name as files may have it."""
    return re.sub(r"[^\w.-]", "-", name)
