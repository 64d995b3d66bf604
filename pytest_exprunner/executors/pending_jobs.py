"""Attempts that were begun elsewhere and have not come home: known here also when who began them is gone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_exprunner._util.errors import ExecutorError
from pytest_exprunner.executors.base import Answer, Job
from pytest_exprunner.executors.content_store import FileContent
from pytest_exprunner.executors.mirror import Mirror
from pytest_exprunner.model.layout import AWAY, Layout
from pytest_exprunner.store import atomic


class JobSource(Protocol):
    """Where answers are kept."""

    def answer(self, run: str, job: Job, *, stopped: bool) -> Answer | None:
        """Return what became of a job, also where it was ``stopped``; None where nothing is there."""
        ...

    def fetch(self, entry: FileContent) -> Iterator[bytes]:
        """Yield the content of a file that an answer lists."""
        ...

    def goes_on(self, call: str) -> bool:
        """Tell whether something is still being made."""
        ...

    def over(self, run: str) -> None:
        """Take in that nothing of a run is waited for any more."""
        ...


@dataclass(frozen=True, slots=True)
class PendingJob:
    """An attempt that was begun elsewhere."""

    run: str
    job: Job
    call: str
    """What the engine knows it by; an empty text until it does."""


@dataclass(frozen=True, slots=True)
class CollectedJobs:
    """What was looked for, by the labels of attempts."""

    brought: tuple[str, ...] = ()
    """What is here now."""
    going_on: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    """What left nothing behind, and why where that is known."""
    failed: tuple[str, ...] = ()
    """What may be there and could not be had, and why; another time it may."""


class PendingJobs:
    """One small file for each of them."""

    def __init__(self, layout: Layout) -> None:
        """Nothing is read or written yet."""
        self._layout = layout
        self._folder = layout.lock_folder / AWAY

    def note(self, run: str, job: Job, call: str = "") -> None:
        """Take in that a job is about to begin; or, with its ``call``, that it has."""
        self._folder.mkdir(parents=True, exist_ok=True)
        value = {"run": run, "job": job.dump(), "call": call}
        atomic.replace(self._file(run, job), json.dumps(value).encode())

    def settle(self, run: str, job: Job) -> None:
        """Take in that it is over, and here."""
        self._file(run, job).unlink(missing_ok=True)

    def pending(self) -> list[PendingJob]:
        """Return what is not."""
        found = []
        for file in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                value = json.loads(file.read_bytes())
                found.append(
                    PendingJob(str(value["run"]), Job.parse(value["job"]), str(value.get("call", "")))
                )
        return found

    def collect(self, source: JobSource) -> CollectedJobs:
        """Bring home what has ended since; forget what has left nothing."""
        found: dict[str, list[str]] = {"brought": [], "going_on": [], "gone": [], "failed": []}
        pending = self.pending()
        for begun in pending:
            label = begun.job.key.label
            try:
                what, why = self._collect(begun, source)
            except (ExecutorError, OSError) as error:
                what, why = "failed", str(error)
            found[what].append(f"{label} ({why})" if why else label)
            if what in {"brought", "gone"}:
                self.settle(begun.run, begun.job)
        for run in {begun.run for begun in pending} - {begun.run for begun in self.pending()}:
            source.over(run)
        return CollectedJobs(**{what: tuple(labels) for what, labels in found.items()})

    def _collect(self, begun: PendingJob, source: JobSource) -> tuple[str, str]:
        """Return what has become of one, and why where there is more to say."""
        # Asked first: what has ended by then has left what it leaves.
        alive = bool(begun.call) and source.goes_on(begun.call)
        answer = source.answer(begun.run, begun.job, stopped=not alive)
        if answer is not None and answer.files:
            Mirror(self._layout.attempt(begun.job.key)).bring(answer, source.fetch)
            return "brought", ""
        if alive:
            return "going_on", ""
        return "gone", answer.problem if answer else ""

    def _file(self, run: str, job: Job) -> Path:
        return self._folder / f"{run}-{job.sub_experiment}-{job.sequence}.json"
