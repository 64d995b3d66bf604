"""What a container is made of: the project's dependencies, then its code."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import modal

from pytest_exprunner.errors import ExecutorError
from pytest_exprunner.plan import Modal

PROJECT = "/repo"
_PACKAGE = "pytest_exprunner"
_DISTRIBUTION = "pytest-exprunner"


def image_of(settings: Modal, root: Path, staged: Path) -> modal.Image:
    """Return the image: what the project depends on, then its code, which changes most, at the end."""
    image = _with_dependencies(_base(settings), settings, root)
    paths = [PROJECT, *([f"{PROJECT}/src"] if (root / "src").is_dir() else [])]
    image = image.env({"PYTHONPATH": os.pathsep.join(["/root", *paths]), **settings.env})
    return image.add_local_python_source(_PACKAGE).add_local_dir(staged, PROJECT)


def _base(settings: Modal) -> modal.Image:
    if settings.image:
        image = modal.Image.from_registry(settings.image)
    else:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        image = modal.Image.debian_slim(python_version=version)
    return image.apt_install(*settings.apt) if settings.apt else image


def _with_dependencies(image: modal.Image, settings: Modal, root: Path) -> modal.Image:
    packages = [*_own_dependencies(), *settings.packages]
    if (root / "uv.lock").is_file():
        groups, extras = list(settings.groups) or None, list(settings.extras) or None
        image = image.uv_sync(str(root), groups=groups, extras=extras)
    else:
        packages = [*dependencies(root, settings.extras, settings.groups), *packages]
    return image.uv_pip_install(*packages)


def dependencies(root: Path, extras: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Return what a project's pyproject.toml says that it depends on, by extras and groups.

    Raises `ExecutorError` where an extra or a group is not there.
    """
    file = root / "pyproject.toml"
    found: Mapping[str, Any] = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    project = found.get("project", {})
    wanted = list(project.get("dependencies", ()))
    for kind, names, known in (
        ("extra", extras, project.get("optional-dependencies", {})),
        ("dependency group", groups, found.get("dependency-groups", {})),
    ):
        for name in names:
            if name not in known:
                there = ", ".join(known) or "none"
                raise ExecutorError(f"modal: the project has no {kind} {name!r}; it has: {there}")
            wanted += [text for text in known[name] if isinstance(text, str)]
    own = str(project.get("name", ""))
    return [text for text in wanted if not own or not text.startswith((f"{own}[", f"{own} "))]


def _own_dependencies() -> list[str]:
    return [text for text in metadata.requires(_DISTRIBUTION) or () if "extra ==" not in text]


def stage(root: Path, names: Sequence[str]) -> tempfile.TemporaryDirectory[str]:
    """Copy what goes along: what is edited from now on is not what runs."""
    staged = tempfile.TemporaryDirectory(prefix="exprunner-ship-")
    for name in names:
        target = Path(staged.name, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target)
    return staged
