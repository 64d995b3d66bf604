"""Which versions of a file git has, and when and by whom they were committed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_exprunner import git

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
    def text(self) -> str:
        """``3f9a2c41e (2026-01-20, A. Person: Relax the threshold)``."""
        return f"{self.id[:_ABBREVIATED]} ({self.time[:10]}, {self.author}: {self.subject})"


@dataclass(frozen=True, slots=True)
class Touched:
    """A file as a commit touched it: ``how`` is git's letter, A, M or D."""

    commit: Commit
    how: str
    path: str


class History:
    """Looks at the commits behind HEAD."""

    def __init__(self, root: Path) -> None:
        """``root`` is any folder of a repository, or of none."""
        self._root = root
        top = git.ask_text(root, "rev-parse", "--show-toplevel")
        self.top = Path(top) if top else None
        """The repository's folder; None where there is none, or git tells nothing of it."""
        self.is_shallow = git.ask_text(root, "rev-parse", "--is-shallow-repository") == "true"
        """Whether early commits are missing."""

    def inside(self, file: Path) -> str | None:
        """Return where something stands in the repository; None where it does not."""
        if self.top is None or not file.resolve().is_relative_to(self.top.resolve()):
            return None
        return file.resolve().relative_to(self.top.resolve()).as_posix()

    def touched(self, below: str) -> Iterator[Touched]:
        """Yield, oldest first, how files below a folder were touched, by merges against each parent, too."""
        yield from self._touched("-m", "--full-history", "--no-renames", "--", _literal(below))

    def uncommitted(self, below: str) -> Iterator[tuple[str, str]]:
        """Yield how, and where, tracked files below a folder differ from the last commit."""
        output = self._ask("diff", "HEAD", "--name-status", "--no-renames", "-z", "--", _literal(below))
        fields = output.split("\0")
        yield from zip((how[:1] for how in fields[::2]), fields[1::2], strict=False)

    def versions(self, file: Path) -> list[tuple[Commit, bytes]]:
        """Return every version of a file on the way to HEAD, oldest first, also under earlier names.

        What a merge brought is a version of the merge. Where the file was deleted it is empty.
        """
        name = self.inside(file)
        if name is None:
            return []
        found = list(
            self._touched("-m", "--first-parent", "--follow", "--find-renames", "--", _literal(name))
        )
        places = [f"{touched.commit.id}:{touched.path}" for touched in found]
        return list(zip((touched.commit for touched in found), self.contents(places), strict=True))

    def _touched(self, *arguments: str) -> Iterator[Touched]:
        # Turned around here: together with --follow, git's own --reverse stops at the first rename.
        output = self._ask("log", "--name-status", "-z", f"--format={_FORMAT}", *arguments)
        for block in reversed(_COMMIT.split(output)[1:]):
            head, _, rest = block.partition("\0")
            commit = _commit(head)
            fields = iter([field for field in rest.lstrip("\n").split("\0") if field])
            for how in fields:
                path = next(fields, "")
                if how.strip()[:1] in {"R", "C"}:
                    path = next(fields, "")  # the name that it has now
                yield Touched(commit, how.strip()[:1], path)

    def contents(self, names: list[str]) -> list[bytes]:
        """Return what stands under names such as ``COMMIT:PATH``; nothing where there is nothing."""
        asked = [name if "\n" not in name else "" for name in names]  # git reads a name per line
        given = "".join(f"{name}\n" for name in asked).encode("utf-8", "surrogateescape")
        output = git.ask(self._root, "cat-file", "--batch", seconds=_SECONDS, given=given) or b""
        found = []
        for _name in names:
            head, _, output = output.partition(b"\n")
            fields = head.rsplit(b" ", 2)
            is_there = fields[-1].isdigit() and len(fields) == len(("id", "type", "size"))
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
