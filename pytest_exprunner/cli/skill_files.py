"""The agent skill that is shipped with the package: its files and their installation.

A manifest next to the installed files has the digest of each file as it was written. A file with another
digest was changed by the user and is never replaced. Line ends are ignored, because git may change them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from pytest_exprunner._util.errors import ExprunnerError, printable
from pytest_exprunner.model.attempt import stays_inside
from pytest_exprunner.store import atomic

NAME = "exprunner"
"""The skill's name, and that of its folder."""
MANIFEST = ".exprunner-skill.json"
_TEMPLATE = ".template"  # without this suffix, such a file would count as a part of the package


@dataclass(frozen=True, slots=True)
class Installed:
    """The outcome for each file of a folder, by its path in the skill."""

    written: tuple[str, ...]
    replaced: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]


@cache
def shipped() -> Mapping[str, str]:
    """Return the text of every file of the skill, by its path."""
    found = dict(_texts(resources.files("pytest_exprunner") / "skill", PurePosixPath()))
    return {name: found[name] for name in sorted(found, key=lambda name: (name.count("/"), name))}


def _texts(folder: Traversable, path: PurePosixPath) -> list[tuple[str, str]]:
    texts: list[tuple[str, str]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            texts += _texts(entry, path / entry.name)
        else:
            name = (path / entry.name.removesuffix(_TEMPLATE)).as_posix()
            texts.append((name, entry.read_text(encoding="utf-8")))
    return texts


def install(folder: Path, shown: str, version: str, texts: Mapping[str, str]) -> Installed:
    """Write the skill into a folder, or update an earlier version of it.

    Raises `ExprunnerError` with every file that the user changed, before anything is written.
    """
    recorded = _manifest(folder)
    digests = {name: _digest_on_disk(folder / name) for name in {*texts, *recorded}}
    wanted = {name: _digest(text) for name, text in texts.items()}
    _refuse_to_overwrite(folder, shown, recorded, digests, wanted)
    removed = [n for n in recorded if n not in texts and digests[n] == recorded[n]]
    unchanged = [name for name in texts if digests[name] == wanted[name]]
    for name, text in texts.items():
        if name not in unchanged:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            atomic.replace(folder / name, text.encode())
    for name in removed:
        (folder / name).unlink()
    about = {"skill": NAME, "version": version, "files": wanted}
    atomic.replace(folder / MANIFEST, f"{json.dumps(about, indent=2)}\n".encode())
    return Installed(
        written=tuple(name for name in texts if digests[name] is None),
        replaced=tuple(n for n in texts if digests[n] is not None and n not in unchanged),
        removed=tuple(removed),
        unchanged=tuple(unchanged),
    )


def _refuse_to_overwrite(
    folder: Path,
    shown: str,
    recorded: Mapping[str, str],
    digests: Mapping[str, str | None],
    wanted: Mapping[str, str],
) -> None:
    parents = dict.fromkeys(p for name in wanted for p in reversed((folder / name).parents))
    blocked = [str(parent) for parent in parents if os.path.lexists(parent) and not parent.is_dir()]
    if blocked:
        raise ExprunnerError(f"{printable(blocked[0])} is not a folder; nothing was written")
    changed = [name for name in wanted if digests[name] not in (None, wanted[name], recorded.get(name))]
    if changed:
        names = ", ".join(f"{shown}/{name}" for name in changed)
        verb, it = ("has", "it") if len(changed) == 1 else ("have", "them")
        raise ExprunnerError(
            f"{names} {verb} changed since exprunner wrote {it}; nothing was written. Save your version "
            f"under another name and run this again; 'exprunner skill --show {changed[0]}' prints what "
            "would be written"
        )


def _manifest(folder: Path) -> dict[str, str]:
    """Return the digest of each file as it was written, by path; empty without a valid manifest."""
    try:
        value = json.loads((folder / MANIFEST).read_bytes())
        stored = value["files"]
        return {str(name): str(digest) for name, digest in stored.items() if _is_inside(str(name))}
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return {}


def _is_inside(name: str) -> bool:
    return stays_inside(name) and "\\" not in name


def _digest(text: str) -> str:
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def _digest_on_disk(file: Path) -> str | None:
    """Return the digest of a file: None if it is missing, empty if it is not plain text."""
    if not os.path.lexists(file):
        return None
    try:
        return "" if file.is_symlink() else _digest(file.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
