"""Where a plan is looked for, and which of several settings counts. Light: pytest loads it at every start."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

PLAN_NAME = "research_plan.yaml"
PLAN_PATH = Path("research") / PLAN_NAME
ENVIRONMENT_PREFIX = "EXPRUNNER_"


def find_plan(start: Iterable[Path], root: Path) -> Path | None:
    """Return the nearest ``research/research_plan.yaml`` at or above one of the folders.

    The first folder that leads to one wins; ``root`` is looked at last.
    """
    for folder in start:
        for candidate in (folder, *folder.parents):
            file = candidate / PLAN_PATH
            if file.is_file():
                return file
    file = root / PLAN_PATH
    return file if file.is_file() else None


def study_root(plan_file: Path) -> Path:
    """Return the folder that holds ``research/``, or the plan's own where it stands elsewhere."""
    folder = plan_file.parent
    return folder.parent if folder.name == PLAN_PATH.parent.name else folder


def absolute(start: Path, name: str) -> Path:
    """Return an absolute path for a setting; ``~`` is the user's folder, links stay as typed."""
    return Path(os.path.abspath(start / Path(name).expanduser()))


def setting(name: str, option: str | None, environment: Mapping[str, str], ini: str | None) -> str | None:
    """Return the first that is given: command line, environment ``EXPRUNNER_X``, ini file."""
    return option or environment.get(f"{ENVIRONMENT_PREFIX}{name.upper()}") or ini or None
