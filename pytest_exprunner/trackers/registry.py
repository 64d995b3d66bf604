"""Trackers by name: those that come along, those that packages offer, and any class by its place."""

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
    """Return where the class of a tracker is, ``package.module:Class``. Raises `ExprunnerError`.

    Modules are looked for as Python does, and in the project's folder.
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
    """Refuse a module that cannot be imported from the project's folder; nothing of it is executed."""
    first = module.partition(".")[0]
    try:
        there = importlib.machinery.PathFinder.find_spec(first, [str(root), *sys.path]) is not None
    except (ImportError, ValueError):
        there = True  # whoever imports it says more
    if not (there or first in sys.modules or first in sys.builtin_module_names):
        raise ExprunnerError(f"there is no module {first!r} in {root} or where Python looks for modules")


def load(place: str, root: Path) -> Tracker:
    """Return a tracker, given the place of its class. Raises ImportError with what to do.

    From now on modules may be imported from the project's folder, after all others.
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
        raise ImportError(  # noqa: TRY004 - for whoever asked, it is a class that is not there
            f"{place} is not a tracker; expected a subclass of pytest_exprunner.Tracker"
        )
    return found()
