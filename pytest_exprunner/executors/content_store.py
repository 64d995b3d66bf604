"""Files sent between machines: listed with hashes, stored by content, installed atomically."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_exprunner._util.errors import ExecutorError
from pytest_exprunner.model.attempt import stays_inside
from pytest_exprunner.store import atomic


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file: its path below some folder, and the hash and size of its content."""

    path: str
    """Relative, with forward slashes."""
    sha256: str
    bytes: int


def listed(folder: Path) -> list[FileContent]:
    """Return every file below a folder, except temporary files and links."""
    found = []
    for root, inner, names in os.walk(folder):
        inner.sort()
        for name in sorted(names):
            file = Path(root, name)
            if file.is_file() and not file.is_symlink() and not (name[0] == "." and name.endswith(".tmp")):
                found.append(entry_of(file, folder))
    return found


def entry_of(file: Path, folder: Path) -> FileContent:
    """Return the path, hash and size of one file."""
    return FileContent(file.relative_to(folder).as_posix(), atomic.digest(file), file.stat().st_size)


def place_of(folder: Path, name: str) -> Path:
    """Return the local path of a received file. Raises `ExecutorError` if it is not below ``folder``."""
    if not stays_inside(name) or "\\" in name:
        raise ExecutorError(f"a received file is called {name!r}, which leads outside its folder")
    return folder / PurePosixPath(name)


def object_name(sha256: str) -> str:
    """Return the path in a store of the content with this hash."""
    return f"objects/{sha256[:2]}/{sha256}"


def install(
    entries: Iterable[FileContent], folder: Path, fetch: Callable[[FileContent], Iterator[bytes]]
) -> None:
    """Install files, each in one step and only if its hash matches.

    A file that already has this content is left unchanged. Raises `ExecutorError` on other content, and
    whatever ``fetch`` raises.
    """
    for entry in entries:
        target = place_of(folder, entry.path)
        if (
            target.is_file()
            and target.stat().st_size == entry.bytes
            and atomic.digest(target) == entry.sha256
        ):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as stream:
                for piece in fetch(entry):
                    stream.write(piece)
            if atomic.digest(temporary) != entry.sha256:
                raise ExecutorError(f"{entry.path} arrived damaged: its hash differs")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


class Store:
    """A folder that stores files by content, so that identical files are sent and stored once."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or written yet."""
        self.folder = folder

    def keep(self, entries: Iterable[FileContent], source: Path) -> None:
        """Store files that are below ``source``."""
        for entry in entries:
            kept = self.folder / object_name(entry.sha256)
            if not kept.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                temporary = kept.with_name(f".{kept.name}.{uuid.uuid4().hex}.tmp")
                shutil.copyfile(source / entry.path, temporary)
                temporary.replace(kept)

    def fetch(self, entry: FileContent) -> Iterator[bytes]:
        """Yield the content of a file piece by piece."""
        with (self.folder / object_name(entry.sha256)).open("rb") as stream:
            while piece := stream.read(1 << 20):
                yield piece
