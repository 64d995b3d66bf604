"""Pending jobs. They are recorded on disk, so they survive the run that submitted them."""

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
    """A store of answers."""

    def answer(self, run: str, job: Job, *, stopped: bool) -> Answer | None:
        """Return the answer of a job, or None. With ``stopped``, also accept the answer of a stopped job."""
        ...

    def fetch(self, entry: FileContent) -> Iterator[bytes]:
        """Yield the content of a file that an answer lists."""
        ...

    def goes_on(self, call: str) -> bool:
        """Return whether a call is still running."""
        ...

    def over(self, run: str) -> None:
        """Release what was deployed for a run, because none of its jobs is pending."""
        ...


@dataclass(frozen=True, slots=True)
class PendingJob:
    """A submitted job whose result has not been fetched."""

    run: str
    job: Job
    call: str
    """The engine's id of the job; empty until it has one."""


@dataclass(frozen=True, slots=True)
class CollectedJobs:
    """The outcome of collecting jobs, by the labels of attempts."""

    brought: tuple[str, ...] = ()
    """Attempts whose files are now here."""
    going_on: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    """Attempts without results, each with the reason if it is known."""
    failed: tuple[str, ...] = ()
    """Attempts whose results could not be fetched, each with the reason; a later try may succeed."""


class PendingJobs:
    """The pending jobs of a results folder, in one small file each."""

    def __init__(self, layout: Layout) -> None:
        """Nothing is read or written yet."""
        self._layout = layout
        self._folder = layout.lock_folder / AWAY

    def note(self, run: str, job: Job, call: str = "") -> None:
        """Record that a job is about to start, or, with its ``call``, that it has started."""
        self._folder.mkdir(parents=True, exist_ok=True)
        value = {"run": run, "job": job.dump(), "call": call}
        atomic.replace(self._file(run, job), json.dumps(value).encode())

    def settle(self, run: str, job: Job) -> None:
        """Remove a job that is no longer pending."""
        self._file(run, job).unlink(missing_ok=True)

    def pending(self) -> list[PendingJob]:
        """Return the pending jobs."""
        found = []
        for file in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                value = json.loads(file.read_bytes())
                found.append(
                    PendingJob(str(value["run"]), Job.parse(value["job"]), str(value.get("call", "")))
                )
        return found

    def collect(self, source: JobSource) -> CollectedJobs:
        """Collect jobs that have finished since; drop those without results."""
        found: dict[str, list[str]] = {"brought": [], "going_on": [], "gone": [], "failed": []}
        pending = self.pending()
        for entry in pending:
            label = entry.job.key.label
            try:
                what, why = self._collect(entry, source)
            except (ExecutorError, OSError) as error:
                what, why = "failed", str(error)
            found[what].append(f"{label} ({why})" if why else label)
            if what in {"brought", "gone"}:
                self.settle(entry.run, entry.job)
        for run in {entry.run for entry in pending} - {entry.run for entry in self.pending()}:
            source.over(run)
        return CollectedJobs(**{what: tuple(labels) for what, labels in found.items()})

    def _collect(self, entry: PendingJob, source: JobSource) -> tuple[str, str]:
        """Return the outcome of one job, as a field of `CollectedJobs`, and the reason if there is one."""
        # Check this first: a call that has ended by now has published its answer.
        alive = bool(entry.call) and source.goes_on(entry.call)
        answer = source.answer(entry.run, entry.job, stopped=not alive)
        if answer is not None and answer.files:
            Mirror(self._layout.attempt(entry.job.key)).bring(answer, source.fetch)
            return "brought", ""
        if alive:
            return "going_on", ""
        return "gone", answer.problem if answer else ""

    def _file(self, run: str, job: Job) -> Path:
        return self._folder / f"{run}-{job.sub_experiment}-{job.sequence}.json"
