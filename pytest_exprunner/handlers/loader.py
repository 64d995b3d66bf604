"""Handler files imported by path: two of one name are fine, asserts are rewritten."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

from pytest_exprunner._util.errors import HandlerError


def import_handlers(file: Path, root: Path, imports: Iterable[str]) -> ModuleType:
    """Import a handler file, which imports ``imports`` itself; whatever it raises is raised.

    The file's own folder is importable while it runs, as with ``python file.py``. In a package it
    is imported as a part of that package. Raises `HandlerError` where a helper module of the same
    name was already loaded from another folder, since the handler would silently use the wrong one.
    """
    package = _package_root(file)
    name = _module_name(file, package.parent if package else root)
    pytest.register_assert_rewrite(name)
    _make_importable(package.parent if package else file.parent)
    if package:
        return importlib.import_module(name)
    _refuse_foreign_helpers(file, imports)
    return _import_file(name, file)


def _package_root(file: Path) -> Path | None:
    """The topmost folder of the package that a file is in, if it is in one."""
    root = None
    for folder in file.parents:
        if not (folder / "__init__.py").is_file():
            break
        root = folder
    return root


def _module_name(file: Path, root: Path) -> str:
    inside = file.relative_to(root) if file.is_relative_to(root) else Path(*file.parts[1:])
    parts = [*inside.parent.parts, file.stem]
    return ".".join(part.replace(".", "_") for part in parts)


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _import_file(name: str, file: Path) -> ModuleType:
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(file):
        return loaded
    spec = None
    for finder in sys.meta_path:
        # pytest's own finder stands first and rewrites asserts.
        spec = finder.find_spec(name, [str(file.parent)])
        if spec is not None:
            break
    if spec is None or spec.origin != str(file):
        spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _refuse_foreign_helpers(file: Path, imports: Iterable[str]) -> None:
    for name in imports:
        sibling = _sibling(file.parent, name)
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if sibling is not None and loaded is not None and Path(loaded) != sibling:
            raise HandlerError(
                f"{file.name} imports {name!r} and means {sibling}, but {loaded} was already imported "
                "under that name; rename one of them, or put an __init__.py into both folders"
            )


def _sibling(folder: Path, name: str) -> Path | None:
    for candidate in (folder / f"{name}.py", folder / name / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
