"""Files that are at each instant the whole old one or the whole new one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pytest_exprunner.model.layout import RECORD

_PARALLEL_SYNCS = 16
_OURS = re.compile(rf"\.(?:.+\.(?:\d+|[0-9a-f]{{32}})|[0-9a-f]{{12}}|{re.escape(RECORD)})\.tmp")
"""Names of temporary files that this package writes, and not those of people."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def replace(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` in one step: a temporary file beside it, then a rename."""
    _rename(_write(path, data), path)


def replace_durably(contents: Mapping[Path, bytes]) -> None:
    """Replace several files, each in one step; when this returns a power cut leaves them as they are.

    Each content is on disk before it gets its name. Waiting for the disk happens in parallel, which
    lets the file system join the waits.
    """
    written: dict[Path, str] = {}
    try:
        for path, data in contents.items():
            written[path] = _write(path, data)
        with ThreadPoolExecutor(_PARALLEL_SYNCS) as pool:
            list(pool.map(_sync, written.values()))
            for path, temporary in written.items():
                _rename(temporary, path)
            list(pool.map(_sync, {str(path.parent) for path in written}))
    except BaseException:
        for temporary in written.values():
            _remove(temporary)
        raise


def write(path: str, data: bytes | bytearray | memoryview) -> None:
    """Write a file that nobody reads yet. Without a buffer between: a small one costs more than the file."""
    descriptor = os.open(path, _NEW, 0o666)
    try:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes) -> str:
    temporary = f"{path.parent}/.{path.name}.{os.getpid()}.tmp"
    try:
        write(temporary, data)
    except BaseException:
        _remove(temporary)
        raise
    return temporary


def _rename(temporary: str, path: Path) -> None:
    try:
        os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def _remove(file: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(file)


def _sync(path: str) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some file systems cannot sync a folder; the names in it are as they are all the same.
        if not os.path.isdir(path):
            raise
    finally:
        os.close(descriptor)


def sweep(folders: Iterable[str | Path], *, deep: bool = False) -> None:
    """Remove temporary files that a killed process left; ``deep`` looks into subfolders, too."""
    for folder in folders:
        for root, inner, names in os.walk(folder):
            for name in names:
                if _OURS.fullmatch(name):
                    _remove(os.path.join(root, name))
            if not deep:
                inner.clear()


def set_aside(path: Path, word: str) -> Path:
    """Keep a copy of a file under a name of its own: ``results.edited-1.yaml``."""
    for number in range(1, 10_000):
        copy = path.with_name(f"{path.stem}.{word}-{number}{path.suffix}")
        try:
            with copy.open("xb") as target, path.open("rb") as source:
                shutil.copyfileobj(source, target)
        except FileExistsError:
            if copy.stat().st_size == path.stat().st_size and digest(copy) == digest(path):
                return copy
            continue
        return copy
    raise OSError(f"cannot set {path} aside: 10,000 copies exist already")


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, by a hard link where the system allows it."""
    temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}.tmp")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    try:
        temporary.replace(target)
    finally:
        # rename() leaves both names where they are links to the same file already.
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
