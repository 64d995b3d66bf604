"""Paths as people read them."""

from __future__ import annotations

from pathlib import Path


def shown_path(path: Path, root: Path) -> str:
    """Return a path relative to a folder where it lies inside, with forward slashes; else as it is."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
