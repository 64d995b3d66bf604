"""Plain settings with their defaults, and where a plan is looked for. No pytest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_exprunner.layout import PLAN_PATH
from pytest_exprunner.records import Level

ENVIRONMENT_PREFIX = "EXPRUNNER_"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is asked to do, after options, environment and ini file were combined."""

    plan_file: Path
    results_root: Path
    folders: tuple[Path, ...]
    """Folders in which handlers are looked for."""
    root: Path
    """Paths in messages are relative to this folder."""
    level: Level = Level.ACCEPTABLE
    stub: bool = False
    gates: tuple[str, ...] = ()
    exploratory: bool = False
    ignore_dependencies: bool = False

    def shown(self, path: Path) -> str:
        """Return a path as messages show it: relative to the root where it is inside."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


def find_plan(start: Iterable[Path], root: Path) -> Path | None:
    """Return the nearest ``research/research_plan.yaml`` at or above one of the folders.

    The first folder that leads to one wins; ``root`` is looked at last.
    """
    for folder in start:
        for candidate in (folder, *folder.parents):
            file = candidate / PLAN_PATH
            if file.is_file():
                return file
            if candidate == root:
                break
    file = root / PLAN_PATH
    return file if file.is_file() else None


def study_root(plan_file: Path) -> Path:
    """Return the folder that holds ``research/``, or the plan's own where it stands elsewhere."""
    folder = plan_file.parent
    return folder.parent if folder.name == PLAN_PATH.parent.name else folder


def setting(name: str, option: str | None, environment: Mapping[str, str], ini: str | None) -> str | None:
    """Return the first that is given: command line, environment ``EXPRUNNER_X``, ini file."""
    return option or environment.get(f"{ENVIRONMENT_PREFIX}{name.upper()}") or ini or None
