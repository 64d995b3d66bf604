"""Which versions of a file git has, and when and by whom they were committed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pytest_exprunner._util import git

_SECONDS = 60.0
_FORMAT = "%x01%H%x1f%cI%x1f%an%x1f%s%x00"
_COMMIT = re.compile("\x01(?=[0-9a-f]{40,64}\x1f)")
_ABBREVIATED = 9


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit."""

    id: str
    time: str
    """ISO 8601, of the committer's clock."""
    author: str
    subject: str

    @property
    def short(self) -> str:
        """``3f9a2c41e``."""
        return self.id[:_ABBREVIATED]

    @property
    def when(self) -> datetime | None:
        """The time, where that is one."""
        try:
            return datetime.fromisoformat(self.time)
        except ValueError:
            return None

    @property
    def text(self) -> str:
        """``3f9a2c41e (2026-01-20, A. Person: Relax the threshold)``."""
        return f"{self.short} ({self.time[:10]}, {self.author}: {self.subject})"


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file as a commit touched it."""

    commit: Commit
    how: str
    """Git's letter: A, M or D; R or C where it came from another name, which is gone or still there."""
    path: str
    before: str
    """The id of its content before; zeros where it was not there."""
    after: str
    """The id of its content since then; zeros where it is not there any more."""


class History:
    """Looks at the commits behind HEAD."""

    def __init__(self, root: Path) -> None:
        """``root`` is any folder of a repository, or of none."""
        self._root = root
        top = git.ask_text(root, "rev-parse", "--show-toplevel")
        self.top = Path(top) if top else None
        """The repository's folder; None if there is none or git cannot read it."""
        self.is_shallow = git.ask_text(root, "rev-parse", "--is-shallow-repository") == "true"
        """Whether early commits are missing."""

    def inside(self, file: Path) -> str | None:
        """Return where something stands in the repository; None where it does not."""
        if self.top is None or not file.resolve().is_relative_to(self.top.resolve()):
            return None
        return file.resolve().relative_to(self.top.resolve()).as_posix()

    def touched(self, below: str, since: str = "", until: str = "HEAD") -> list[FileVersion]:
        """Return, oldest first, how files below a folder were touched, by merges against each parent, too.

        Only by commits behind ``until`` that are not behind ``since``.
        """
        span = [until, *([f"^{since}"] if since else [])]
        how = ("-m", "--full-history", "--topo-order", "--no-renames")
        return list(self._touched(*how, *span, "--", _literal(below)))[::-1]

    def uncommitted(self, below: str) -> Iterator[tuple[str, str]]:
        """Yield how, and where, tracked files below a folder differ from the last commit."""
        output = self._ask("diff", "HEAD", "--name-status", "--no-renames", "-z", "--", _literal(below))
        fields = output.split("\0")
        yield from zip((how[:1] for how in fields[::2]), fields[1::2], strict=False)

    def followed(self, name: str, tip: str) -> Iterator[FileVersion]:
        """Yield, newest first, how a file was touched on the main line to ``tip``, also under earlier names.

        What a merge brought was touched by the merge.
        """
        how = ("-m", "--first-parent", "--follow", "--find-renames")
        yield from self._touched(*how, tip, "--", _literal(name))

    def deleted(self, name: str, tip: str) -> FileVersion | None:
        """Return the last commit on the main line to ``tip`` that took a file away from where it stood."""
        how = ("-m", "--first-parent", "--no-renames", "--diff-filter=D", "--max-count=1")
        return next(self._touched(*how, tip, "--", _literal(name)), None)

    def _touched(self, *arguments: str) -> Iterator[FileVersion]:
        output = self._ask("log", "--raw", "--no-abbrev", "-z", f"--format={_FORMAT}", *arguments)
        for block in _COMMIT.split(output)[1:]:
            head, _, rest = block.partition("\0")
            commit = _commit(head)
            fields = iter([field for field in rest.lstrip("\n").split("\0") if field])
            for field in fields:
                _old_mode, _new_mode, before, after, how = (*field.split(), "", "", "", "", "")[:5]
                path = next(fields, "")
                if how[:1] in {"R", "C"}:
                    path = next(fields, "")  # the name that it has now
                yield FileVersion(commit, how[:1], path, before, after)

    def tree(self, commit: str, below: str = "") -> dict[str, str]:
        """Return the id of the content of each file that a commit has, by its path."""
        output = self._ask(
            "ls-tree", "-r", "-z", "--full-tree", commit, *(["--", _literal(below)] if below else [])
        )
        lines = (line.partition("\t") for line in output.split("\0"))
        return {path: head.split()[-1] for head, _, path in lines if path}

    def contents(self, names: list[str]) -> list[bytes]:
        """Return what stands under ids, or names such as ``COMMIT:PATH``; nothing where there is nothing."""
        asked = [name if "\n" not in name else "" for name in names]  # git reads a name per line
        given = "".join(f"{name}\n" for name in asked).encode("utf-8", "surrogateescape")
        output = git.ask(self._root, "cat-file", "--batch", seconds=_SECONDS, given=given) or b""
        found = []
        for _name in names:
            head, _, output = output.partition(b"\n")
            fields = head.rsplit(b" ", 2)
            is_there = fields[-1].isdigit() and len(fields) == 3  # id, type, size
            size = int(fields[-1]) if is_there else 0
            found.append(output[:size])
            output = output[size + 1 :] if is_there else output
        return found

    def _ask(self, *arguments: str) -> str:
        output = git.ask(self._root, *arguments, seconds=_SECONDS) if self.top is not None else None
        return (output or b"").decode("utf-8", "surrogateescape")


def _literal(path: str) -> str:
    """Return a path from the repository's folder, without a meaning of its characters."""
    return f":(top,literal){path}"


def _commit(head: str) -> Commit:
    commit, time, author, subject = (*head.split("\x1f", 3), "", "", "")[:4]
    return Commit(commit, time, author, subject)
