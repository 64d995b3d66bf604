"""Data files that the plan declares: whether they are there, and whether their content has changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import orjson

from pytest_exprunner.store import atomic

_DIGITS = 16


class DataFiles:
    """Hashes files; what is known of one is remembered while its size and times stay as they are."""

    def __init__(self, root: Path, store: Path) -> None:
        """Names are relative to ``root``; hashes are remembered in ``store``."""
        self._root = root
        self._store = store

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the names behind which there is nothing."""
        return [name for name in names if not (self._root / name).exists()]

    def hashes(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return a hash of each file, or of everything in each folder; empty for what is not there."""
        return {name: self._hash(self._root / name) for name in names}

    def _hash(self, path: Path) -> str:
        if not path.is_dir():
            return self._hash_file(path)
        whole = hashlib.sha256()
        for file in sorted(_files(path)):
            whole.update(f"{file.relative_to(path).as_posix()}\0{self._hash_file(file)}\n".encode())
        return whole.hexdigest()[:_DIGITS]

    def _hash_file(self, path: Path) -> str:
        try:
            stat = path.stat()
        except OSError:
            return ""
        kept = self._store / f"{hashlib.sha256(str(path).encode()).hexdigest()[:_DIGITS]}.json"
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            known = orjson.loads(kept.read_bytes())
            if known["stamp"] == stamp:
                return str(known["sha256"])
        digest = atomic.digest(path)[:_DIGITS]
        with contextlib.suppress(OSError):
            self._store.mkdir(parents=True, exist_ok=True)
            atomic.replace(kept, orjson.dumps({"stamp": stamp, "sha256": digest}))
        return digest


def _files(folder: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        stat = Path(root).stat()
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()  # a link back to where we have been
            continue
        seen.add((stat.st_dev, stat.st_ino))
        yield from (Path(root, name) for name in names)
