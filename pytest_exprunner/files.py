"""Files that are at each instant the whole old one or the whole new one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path


def replace(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` to ``path`` in one step: a temporary file beside it, then a rename.

    With ``durable`` the file and its folder are on disk when this returns, so that the new
    content survives a power cut.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write(temporary, data, durable=durable)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        _sync_folder(path.parent)


def _write(path: Path, data: bytes, *, durable: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    # Some file systems refuse to open or to sync a folder; the rename itself still happened.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def set_aside(path: Path, word: str) -> Path:
    """Keep a copy of a file under a name of its own: ``results.edited-1.yaml``."""
    for number in range(1, 10_000):
        copy = path.with_name(f"{path.stem}.{word}-{number}{path.suffix}")
        try:
            with copy.open("xb") as target, path.open("rb") as source:
                shutil.copyfileobj(source, target)
        except FileExistsError:
            if copy.read_bytes() == path.read_bytes():
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
