"""The events that a tracker receives, and the tracker that ignores them.

A tracker runs in its own process and reads the journals of attempts there. If it raises or is slow, no
handler waits and no result changes; ``exprunner sync`` sends what it missed. Calls come one after the
other, for each attempt in the order of its events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_exprunner._util.serialization import Plain
from pytest_exprunner.model.attempt import AttemptKey, AttemptRecord
from pytest_exprunner.model.results import Results
from pytest_exprunner.plan.models import Experiment, SubExperiment


@dataclass(frozen=True, slots=True)
class TrackerContext:
    """What a tracker receives when it is opened."""

    project: str
    """Name of the study; empty if the plan gives none."""
    settings: Mapping[str, object]
    """Settings of this tracker under ``tracking`` in the plan."""
    root: Path
    """The project's folder."""
    store: Path
    """A folder for files that are not committed; it may not exist yet."""
    stub: bool = False
    replaying: bool = False
    """Whether missed events are sent from the journals, without a run in progress."""


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A handler is about to be called."""

    key: AttemptKey
    run: str
    time: float
    """Seconds since 1970, UTC, as in all other events."""
    experiment: Experiment
    sub_experiment: SubExperiment
    gates: tuple[str, ...]
    """Gates that include the experiment."""
    params: Mapping[str, Plain]
    rng_seed: int | None
    stub: bool


@dataclass(frozen=True, slots=True)
class MetricsLogged:
    """One call of ``log_metrics``; names have no prefix."""

    key: AttemptKey
    time: float
    metrics: Mapping[str, Plain]
    step: int | None
    row: int
    """Number of calls before this one."""


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """Progress or evidence: ``kind`` is stage, progress, track or evidence."""

    key: AttemptKey
    time: float
    kind: str
    data: Mapping[str, Plain]


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """A file that an attempt saved and that exists."""

    name: str
    """The name that the handler gave, such as ``plots/iou.png``."""
    file: Path
    type: str
    """The kind of file: image, data, model, text, page or file, or what the handler gave."""


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt has ended; it has this record."""

    key: AttemptKey
    record: AttemptRecord
    artifacts: tuple[StoredArtifact, ...]
    rows: int
    """Number of calls of ``log_metrics``."""
    folder: Path


@dataclass(frozen=True, slots=True)
class RunEnded:
    """Results and findings have been written."""

    run: str
    results: Results
    experiments: Sequence[str]
    """The experiments of the run."""
    files: tuple[Path, ...]
    """The results files and findings of these experiments, and the findings of the study."""


class Tracker:
    """Does nothing. Override the methods you need; each may raise anything."""

    @property
    def is_final(self) -> bool:
        """Whether what it receives now need not be sent again. Read after `open`."""
        return True

    @property
    def place(self) -> str:
        """Where the data goes, for people: an address or a folder; may be empty."""
        return ""

    def open(self, context: TrackerContext) -> Sequence[str]:
        """Prepare the tracker; return warnings for people. Called first, once."""
        del context
        return ()

    def attempt_started(self, event: AttemptStarted) -> int:
        """Return how many rows of this attempt's metrics are already stored; they are not sent again."""
        del event
        return 0

    def metrics_logged(self, event: MetricsLogged) -> None:
        """Receive one row of metrics."""

    def progress_reported(self, event: ProgressEvent) -> None:
        """Receive progress or evidence."""

    def attempt_ended(self, event: AttemptEnded) -> str | None:
        """Receive the outcome; return where it went, a path or an address, or None if it went nowhere.

        The attempt is delivered when this has returned, unless it returned None. ``exprunner sync`` sends an
        attempt that never ended, in the state in which its process was lost.
        """
        del event
        return ""

    def run_ended(self, event: RunEnded) -> None:
        """Receive the results of a run. ``exprunner sync`` does not call this."""

    def close(self) -> None:
        """Release all resources, including attempts that have not ended. Called last, once."""
