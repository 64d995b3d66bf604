"""What is sent to where handlers are called, and what comes back: plain values, the same for every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from pytest_exprunner._util.errors import ExecutorError
from pytest_exprunner.executors.content_store import FileContent
from pytest_exprunner.model.attempt import AttemptKey
from pytest_exprunner.model.layout import attempt_name

PROJECT = "{project}/"
"""Stands for the project's folder, wherever that is on the remote worker."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is the same for every item of a run. Paths are relative to the project's folder."""

    run: str
    arguments: Sequence[str]
    """What pytest was asked to collect."""
    options: Mapping[str, Any]
    """pytest's options, as far as they are plain values."""
    folder: str
    """Where pytest was started."""
    results: str
    branch: str
    """Of the results folder: ``stub``, or an empty text."""
    autoload: bool
    """Whether pytest loads every plugin that is installed."""
    provenance: Mapping[str, Any]
    """What only the machine that leads the run knows: the commit."""

    def dump(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Setup:
        """Read what `dump` returned."""
        return cls(**value)


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt that is to be made elsewhere; its number has been taken here."""

    nodeid: str
    experiment: str
    sub_experiment: str
    variant: str | None
    seed: int | None
    sequence: int
    files: Sequence[FileContent] = ()
    """What it reads of other attempts, relative to the results folder."""
    token: str = ""
    """Tells it from any other job that ever had its number."""

    @property
    def key(self) -> AttemptKey:
        """The attempt."""
        return AttemptKey(self.experiment, self.sub_experiment, self.sequence, self.variant, self.seed)

    @property
    def name(self) -> str:
        """``p2-hybrid-encoder/e_p2_1/0001-3f9a2c41``: unique within a run."""
        return f"{self.experiment}/{self.sub_experiment}/{attempt_name(self.sequence)}-{self.token}"

    def dump(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Job:
        """Read what `dump` returned."""
        entries = tuple(FileContent(**entry) for entry in value["files"])
        return cls(**{**value, "files": entries})


class StillAwayError(ExecutorError):
    """Nobody knows what has become of a job; it may go on, or have ended."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a job."""

    reports: Sequence[Mapping[str, Any]] = ()
    """pytest's reports, serialised."""
    files: Sequence[FileContent] = ()
    """Everything in the attempt's folder."""
    problem: str = ""
    """Why there are no reports: what became of the process, in words."""

    def dump(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Answer:
        """Read what `dump` returned."""
        return cls(
            value["reports"], tuple(FileContent(**entry) for entry in value["files"]), value["problem"]
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file that an attempt is writing, as it grows."""

    name: str
    offset: int
    data: bytes
    start: str
    """Another text where the attempt was begun anew, on another machine."""


Told = Callable[[Piece], None]
Began = Callable[[str], None]


class Executor(Protocol):
    """Makes attempts elsewhere. Opened for a run; closing it ends what is still under way."""

    most: int
    """How many jobs may be under way at once."""

    def __enter__(self) -> Self:
        """Make ready. Raises `ExecutorError` where that is not possible."""
        ...

    def __exit__(self, *exc: object) -> None:
        """End what is under way and free everything."""
        ...

    def submit(self, job: Job, source: Path, told: Told, began: Began) -> Future[Answer]:
        """Start a job whose files stand below ``source``.

        From another thread ``began`` is called with what the engine knows it by, then ``told`` with what
        the attempt writes. The future ends with what became of the job, or with `ExecutorError` where the
        engine failed it.
        """
        ...

    def leave(self, job: Job, source: Path) -> str:
        """Start a job that goes on when the executor is closed; return what the engine knows it by."""
        ...

    def fetch(self, entry: FileContent) -> Iterator[bytes]:
        """Yield the content of a file that an answer lists."""
        ...

    def cancel(self) -> None:
        """Ask everything that is under way to note that it was stopped, and to end."""
        ...
