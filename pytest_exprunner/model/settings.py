"""Plain settings with their defaults. No pytest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_exprunner._util.paths import shown_path
from pytest_exprunner.model.attempt import Level


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is asked to do, after options, environment and ini file were combined."""

    plan_file: Path
    results_root: Path
    folders: tuple[Path, ...]
    """Folders in which handlers are looked for."""
    root: Path
    """Paths in messages are relative to this folder."""
    project: Path | None = None
    """Code is recorded relative to this folder, wherever a run was started: by default ``root``."""
    level: Level = Level.ACCEPTABLE
    stub: bool = False
    gates: tuple[str, ...] = ()
    exploratory: bool = False
    ignore_dependencies: bool = False
    resume: bool = False
    report: Path | None = None
    """Where the report is written as a page, if it is."""
    strict: bool = False
    """Fail where something moved after there was a result."""
    explain: bool = False
    executor: str = "inline"
    detach: bool = False
    """Begin what can be begun elsewhere, and wait for none of it."""
    most_containers: int | None = None
    """How many handlers may be called at once elsewhere, where the plan's word does not count."""
    devices: tuple[str, ...] = ()
    """GPUs that may be used; looked for only where the plan asks for any."""
    seeds: int | None = None
    """How many seeds each sub-experiment gets at least."""
    timeout: float | None = None
    """Seconds that a handler may take if the plan sets no limit."""
    trackers: Mapping[str, str] = field(default_factory=dict)
    """The trackers: the import paths of their classes, by name."""
    tracker_timeout: float = 60.0
    """Seconds that they get after the run for what is left to send."""
    lock_timeout: float = 0.0
    """Seconds to wait for another run on the same results folder."""

    @property
    def project_root(self) -> Path:
        """The folder that the project's code is recorded relative to."""
        return self.project or self.root

    def shown(self, path: Path) -> str:
        """Return a path as messages show it: relative to the root where it is inside."""
        return shown_path(path, self.root)
