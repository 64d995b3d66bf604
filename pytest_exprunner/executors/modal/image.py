"""Builds container images: the project's dependencies first, then its code."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import modal
from packaging.dependency_groups import resolve_dependency_groups
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pytest_exprunner._util.errors import ExecutorError, os_reason
from pytest_exprunner.executors.modal.container import PROJECT
from pytest_exprunner.plan.compute import Container

_PACKAGE = "pytest_exprunner"
_DISTRIBUTION = "pytest-exprunner"


def image_of(settings: Container, root: Path, staged: Path) -> modal.Image:
    """Return the image. The project's code comes last, because it changes most often."""
    image = _with_dependencies(_base(settings), settings, root)
    paths = [PROJECT, *([f"{PROJECT}/src"] if (root / "src").is_dir() else [])]
    image = image.env({"PYTHONPATH": os.pathsep.join(["/root", *paths]), **settings.env})
    return image.add_local_python_source(_PACKAGE).add_local_dir(staged, PROJECT)


def _base(settings: Container) -> modal.Image:
    if settings.image:
        image = modal.Image.from_registry(settings.image)
    else:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        image = modal.Image.debian_slim(python_version=version)
    return image.apt_install(*settings.apt) if settings.apt else image


def _with_dependencies(image: modal.Image, settings: Container, root: Path) -> modal.Image:
    packages = [*_own_dependencies(), *settings.packages]
    if (root / "uv.lock").is_file():
        groups, extras = list(settings.groups) or None, list(settings.extras) or None
        image = image.uv_sync(str(root), groups=groups, extras=extras)
    else:
        packages = [*dependencies(root, settings.extras, settings.groups), *packages]
    return image.uv_pip_install(*packages)


def dependencies(root: Path, extras: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Return the dependencies that a project's pyproject.toml declares, with these extras and groups.

    Follows groups that include others, and extras that name extras of the project itself. Raises
    `ExecutorError` if an extra or a group is missing, or if the file cannot be parsed.
    """
    file = root / "pyproject.toml"
    try:
        found: Mapping[str, Any] = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        project = found.get("project", {})
        wanted = list(project.get("dependencies", ()))
        known = found.get("dependency-groups", {})
        for name in groups:
            _refuse_unknown("dependency group", name, known)
            wanted += resolve_dependency_groups(known, name)
        return _without_itself(project, [*wanted, *_of_extras(project, extras)], set(extras))
    except (ExceptionGroup, ValueError, LookupError, TypeError) as error:
        causes = error.exceptions if isinstance(error, ExceptionGroup) else [error]
        raise ExecutorError(f"modal: {file.name}: {'; '.join(map(str, causes))}") from error


def _of_extras(project: Mapping[str, Any], extras: Iterable[str]) -> list[str]:
    known = project.get("optional-dependencies", {})
    wanted: list[str] = []
    for name in extras:
        _refuse_unknown("extra", name, known)
        wanted += known[name]
    return wanted


def _refuse_unknown(kind: str, name: str, known: Mapping[str, Any]) -> None:
    if name not in known:
        raise ExecutorError(
            f"modal: the project has no {kind} {name!r}; it has: {', '.join(known) or 'none'}"
        )


def _without_itself(project: Mapping[str, Any], wanted: Iterable[str], seen: set[str]) -> list[str]:
    """Replace ``project[extra]`` with the dependencies of that extra; the project's code is uploaded."""
    own = canonicalize_name(str(project.get("name", "")))
    kept: list[str] = []
    for text in wanted:
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) != own:
            kept.append(text)
            continue
        new = requirement.extras - seen
        seen |= new
        kept += _without_itself(project, _of_extras(project, sorted(new)), seen)
    return kept


def _own_dependencies() -> list[str]:
    return [text for text in metadata.requires(_DISTRIBUTION) or () if "extra ==" not in text]


def stage(root: Path, names: Sequence[str]) -> tempfile.TemporaryDirectory[str]:
    """Copy the files to upload, so that later edits do not change what runs."""
    staged = tempfile.TemporaryDirectory(prefix="exprunner-ship-")
    try:
        for name in names:
            target = Path(staged.name, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target)
    except OSError as error:
        staged.cleanup()
        raise ExecutorError(
            f"the project's files could not be prepared for upload: {os_reason(error)}"
        ) from error
    return staged
