"""pytest's ini file, read by the command line: the same settings hold for both."""

from __future__ import annotations

import configparser
import tomllib
from pathlib import Path
from typing import Any

_FILES = (
    "pytest.toml",
    ".pytest.toml",
    "pytest.ini",
    ".pytest.ini",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
)


def read(start: Path) -> tuple[Path, dict[str, str]]:
    """Return pytest's root folder as seen from ``start``, and its ``exp_…`` settings.

    The root is the folder of the nearest file with settings for pytest; ``start`` where there
    is none. A file that cannot be parsed counts as one without settings.
    """
    for folder in (start, *start.parents):
        for name in _FILES:
            found = _section(folder / name)
            if found is not None:
                return folder, {k: _text(v) for k, v in found.items() if k.startswith("exp_")}
    return start, {}


def has_settings(folder: Path) -> bool:
    """Return whether a folder has a file with settings for pytest, which makes it pytest's root."""
    return any(_section(folder / name) is not None for name in _FILES)


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _section(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        if file.suffix == ".toml":
            with file.open("rb") as stream:
                return _toml_section(tomllib.load(stream), file.name)
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(file, encoding="utf-8")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, configparser.Error):
        return None
    name = "tool:pytest" if file.name == "setup.cfg" else "pytest"
    if parser.has_section(name):
        return dict(parser[name])
    return {} if file.name in ("pytest.ini", ".pytest.ini") else None


def _toml_section(value: dict[str, Any], name: str) -> dict[str, Any] | None:
    if name != "pyproject.toml":
        native = value.get("pytest")
        return native if isinstance(native, dict) else {}
    section = value.get("tool", {}).get("pytest")
    if not isinstance(section, dict):
        return None
    return {**section, **section.get("ini_options", {})}
