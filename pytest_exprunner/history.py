"""Which versions of a file git has, and when and by whom they were committed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_exprunner import git

_SECONDS = 60.0
_FORMAT = "%x01%H%x1f%cI%x1f%an%x1f%s%x00"
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
        """The repository's folder; None where there is none."""

    def touched(self, *patterns: str) -> Iterator[Touched]:
        """Yield, oldest first, how files were touched; patterns are relative to the folder looked from."""
        output = self._log("--name-status", "-z", f"--format={_FORMAT}", "--", *patterns)
        for block in output.split("\x01")[1:]:
            head, _, rest = block.partition("\0")
            commit = _commit(head)
            fields = [field for field in rest.lstrip("\n").split("\0") if field]
            for how, path in zip(fields[::2], fields[1::2], strict=False):
                yield Touched(commit, how.strip()[:1], path)

    def versions(self, file: Path) -> Iterator[tuple[Commit, bytes]]:
        """Yield every committed version of a file, oldest first; an empty one where it was deleted."""
        if self.top is None or not file.resolve().is_relative_to(self.top.resolve()):
            return
        name = file.resolve().relative_to(self.top.resolve()).as_posix()
        commits = [touched.commit for touched in self.touched(f":(top,literal){name}")]
        yield from zip(commits, self.contents([f"{commit.id}:{name}" for commit in commits]), strict=True)

    def contents(self, names: list[str]) -> list[bytes]:
        """Return what stands under names such as ``COMMIT:PATH``; nothing where there is nothing."""
        given = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
        output = git.ask(self._root, "cat-file", "--batch", seconds=_SECONDS, given=given) or b""
        found = []
        for _name in names:
            head, _, output = output.partition(b"\n")
            size = int(head.rpartition(b" ")[2]) if head.split(b" ")[1:2] == [b"blob"] else None
            found.append(b"" if size is None else output[:size])
            output = output if size is None else output[size + 1 :]
        return found

    def _log(self, *arguments: str) -> str:
        if self.top is None:
            return ""
        output = git.ask(self._root, "log", "--reverse", "--no-renames", *arguments, seconds=_SECONDS)
        return (output or b"").decode("utf-8", "surrogateescape")


def _commit(head: str) -> Commit:
    commit, time, author, subject = (*head.split("\x1f", 3), "", "", "")[:4]
    return Commit(commit, time, author, subject)
