"""The contract of an executor, and the plain values sent and received, the same for every engine."""

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
"""Placeholder for the project's folder on the remote worker."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Settings that all jobs of a run share. Paths are relative to the project's folder."""

    run: str
    arguments: Sequence[str]
    """Arguments that select what pytest collects."""
    options: Mapping[str, Any]
    """pytest's options whose values are plain."""
    folder: str
    """Folder in which pytest was started."""
    results: str
    branch: str
    """Branch of the results folder: ``stub``, or an empty string."""
    autoload: bool
    """Whether pytest loads all installed plugins."""
    provenance: Mapping[str, Any]
    """Provenance that only the controller knows: the commit."""

    def dump(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Setup:
        """Read the result of `dump`."""
        return cls(**value)


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt to run on another machine; its number is already taken on this one."""

    nodeid: str
    experiment: str
    sub_experiment: str
    variant: str | None
    seed: int | None
    sequence: int
    files: Sequence[FileContent] = ()
    """Files of other attempts that it reads, relative to the results folder."""
    token: str = ""
    """Distinguishes it from any other job that ever had its number."""

    @property
    def key(self) -> AttemptKey:
        """The key of the attempt."""
        return AttemptKey(self.experiment, self.sub_experiment, self.sequence, self.variant, self.seed)

    @property
    def name(self) -> str:
        """A name unique within a run, such as ``p2-hybrid-encoder/e_p2_1/0001-3f9a2c41``."""
        return f"{self.experiment}/{self.sub_experiment}/{attempt_name(self.sequence)}-{self.token}"

    def dump(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Job:
        """Read the result of `dump`."""
        entries = tuple(FileContent(**entry) for entry in value["files"])
        return cls(**{**value, "files": entries})


class StillAwayError(ExecutorError):
    """The outcome of a job is unknown: it may still run or have ended."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a job."""

    reports: Sequence[Mapping[str, Any]] = ()
    """Serialised pytest reports."""
    files: Sequence[FileContent] = ()
    """Every file in the attempt's folder."""
    problem: str = ""
    """Why there are no reports: how the process ended."""

    def dump(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Answer:
        """Read the result of `dump`."""
        return cls(
            value["reports"], tuple(FileContent(**entry) for entry in value["files"]), value["problem"]
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file that an attempt is still writing."""

    name: str
    offset: int
    data: bytes
    start: str
    """Identifies one start of the attempt; a restart on another machine has another value."""


Told = Callable[[Piece], None]
Began = Callable[[str], None]


class Executor(Protocol):
    """Runs attempts elsewhere. Opened for a run; closing it stops the jobs that `submit` started."""

    most: int
    """Maximum number of concurrent jobs."""

    def __enter__(self) -> Self:
        """Prepare to run jobs. Raises `ExecutorError` if that fails."""
        ...

    def __exit__(self, *exc: object) -> None:
        """Stop the jobs in progress and release all resources."""
        ...

    def submit(self, job: Job, source: Path, on_piece: Told, on_start: Began) -> Future[Answer]:
        """Start a job whose files are below ``source``.

        Another thread calls ``on_start`` with the engine's id of the job, then ``on_piece`` with what the
        attempt writes. The future returns the answer, or raises `ExecutorError` if the engine failed the job.
        """
        ...

    def leave(self, job: Job, source: Path) -> str:
        """Start a job that continues after the executor is closed; return the engine's id of the job."""
        ...

    def fetch(self, entry: FileContent) -> Iterator[bytes]:
        """Yield the content of a file that an answer lists."""
        ...

    def cancel(self) -> None:
        """Ask all jobs in progress to record the interruption and stop."""
        ...
