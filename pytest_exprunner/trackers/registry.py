"""Trackers by name: built-in ones, those that packages offer, and any class by its import path."""

from __future__ import annotations

import importlib
import importlib.machinery
import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

from pytest_exprunner._util.errors import ExprunnerError, did_you_mean
from pytest_exprunner.trackers.base import Tracker

GROUP = "pytest_exprunner.trackers"
_OURS = {"wandb": "pytest_exprunner.trackers.wandb:WandbTracker"}
_PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def place_of(name: str, root: Path) -> str:
    """Return the import path of a tracker's class, ``package.module:Class``. Raises `ExprunnerError`.

    Modules are looked up where Python looks for them, and in the project's folder.
    """
    if _PLACE.fullmatch(name):
        _refuse_missing(name.partition(":")[0], root)
        return name
    offered = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    known = {**offered, **_OURS}
    if name not in known:
        hint = did_you_mean(name, known)
        raise ExprunnerError(
            f"unknown tracker {name!r}{hint}; known: {', '.join(sorted(known))}, or the import path of a "
            "class such as 'package.module:MyTracker'"
        )
    return known[name]


def _refuse_missing(module: str, root: Path) -> None:
    """Raise `ExprunnerError` if there is no such module. None of it is executed."""
    first = module.partition(".")[0]
    try:
        there = importlib.machinery.PathFinder.find_spec(first, [str(root), *sys.path]) is not None
    except (ImportError, ValueError):
        there = True  # importing it gives a better message
    if not (there or first in sys.modules or first in sys.builtin_module_names):
        raise ExprunnerError(f"there is no module {first!r} in {root} or where Python looks for modules")


def load(place: str, root: Path) -> Tracker:
    """Return a tracker, given the import path of its class. Raises ImportError with what to do.

    Modules in the project's folder can be imported from then on, with the lowest priority.
    """
    if str(root) not in sys.path:
        sys.path.append(str(root))
    module_name, _, class_name = place.partition(":")
    module = importlib.import_module(module_name)
    found = getattr(module, class_name, None)
    if found is None:
        hint = did_you_mean(class_name, vars(module))
        raise ImportError(f"there is no {class_name} in {module_name}{hint}")
    if not (isinstance(found, type) and issubclass(found, Tracker)):
        raise ImportError(  # noqa: TRY004 - for the user, the class is missing
            f"{place} is not a tracker; expected a subclass of pytest_exprunner.Tracker"
        )
    return found()
