"""Data files that the plan declares: whether they are there, and whether their content has changed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import orjson

from pytest_exprunner import files

_DIGITS = 16


class DataFiles:
    """Hashes files once; what is known of large ones is remembered while size and time stay."""

    def __init__(self, root: Path, store: Path) -> None:
        """Names are relative to ``root``; hashes are remembered in ``store``."""
        self._root = root
        self._store = store
        self._known: dict[str, str] = {}

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the names behind which there is nothing."""
        return [name for name in names if not (self._root / name).exists()]

    def hashes(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return a hash of each file, or of everything in each folder; empty for what is not there."""
        for name in names:
            if name not in self._known:
                self._known[name] = self._hash(self._root / name)
        return {name: self._known[name] for name in names}

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
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            known = orjson.loads(kept.read_bytes())
            if known["stamp"] == stamp:
                return str(known["sha256"])
        digest = files.digest(path)[:_DIGITS]
        with contextlib.suppress(OSError):
            self._store.mkdir(parents=True, exist_ok=True)
            files.replace(kept, orjson.dumps({"stamp": stamp, "sha256": digest}))
        return digest


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
