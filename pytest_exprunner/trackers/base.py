"""What a tracker is told, and the tracker that does nothing with it.

A tracker lives in a process of its own and reads the journals of attempts there. Whatever it raises,
and however long it takes, no handler waits for it and no result changes; what it missed is told again
by ``exprunner sync``. Calls come one after the other, for each attempt in the order of events.
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
    """What a tracker knows before anything happens."""

    project: str
    """The name of the study; empty where the plan gives it none."""
    settings: Mapping[str, object]
    """What the plan says about this tracker under ``tracking``."""
    root: Path
    """The project's folder."""
    store: Path
    """A folder, which may not exist yet, for what is not committed."""
    stub: bool = False
    replaying: bool = False
    """Nothing is going on: what was missed is told, from the journals."""


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A handler is about to be called."""

    key: AttemptKey
    run: str
    time: float
    """Seconds since 1970, UTC; so are the times of all other events."""
    experiment: Experiment
    sub_experiment: SubExperiment
    gates: tuple[str, ...]
    """The gates over the experiment."""
    params: Mapping[str, Plain]
    rng_seed: int | None
    stub: bool


@dataclass(frozen=True, slots=True)
class MetricsLogged:
    """One call of ``log_metrics``; names are bare."""

    key: AttemptKey
    time: float
    metrics: Mapping[str, Plain]
    step: int | None
    row: int
    """How many calls there were before this one."""


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """Progress or evidence: ``kind`` is stage, progress, track or evidence."""

    key: AttemptKey
    time: float
    kind: str
    data: Mapping[str, Plain]


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """A file that an attempt saved and that is there."""

    name: str
    """As the handler named it, such as ``plots/iou.png``."""
    file: Path
    type: str
    """What it is: image, data, model, text, page or file, or as the handler said."""


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt has ended, and this is its record."""

    key: AttemptKey
    record: AttemptRecord
    artifacts: tuple[StoredArtifact, ...]
    rows: int
    """How often ``log_metrics`` was called."""
    folder: Path


@dataclass(frozen=True, slots=True)
class RunEnded:
    """Results and findings are written."""

    run: str
    results: Results
    experiments: Sequence[str]
    """The experiments that the run was about."""
    files: tuple[Path, ...]
    """Every results file and all findings of these."""


class Tracker:
    """Does nothing. A tracker overrides what it cares for; each method may raise anything."""

    @property
    def is_final(self) -> bool:
        """Tell, once it is open, whether what it is told now need not be told again."""
        return True

    @property
    def place(self) -> str:
        """Where what it is told goes, for people: an address or a folder; may be empty."""
        return ""

    def open(self, context: TrackerContext) -> Sequence[str]:
        """Get ready; return what people should be warned of. Called first, once."""
        del context
        return ()

    def attempt_started(self, event: AttemptStarted) -> int:
        """Return how many rows of metrics of this attempt are known already; they are not sent again."""
        del event
        return 0

    def metrics_logged(self, event: MetricsLogged) -> None:
        """Take in one row of metrics."""

    def progress_reported(self, event: ProgressEvent) -> None:
        """Take in progress or evidence."""

    def attempt_ended(self, event: AttemptEnded) -> str | None:
        """Take in the outcome; return where it went, a path or an address, or None if it went nowhere.

        The attempt is delivered when this has returned, and it went somewhere. An attempt that never
        ended is told as what it was when its process was lost, by ``exprunner sync``.
        """
        del event
        return ""

    def run_ended(self, event: RunEnded) -> None:
        """Take in the results of a run. Not called by ``exprunner sync``."""

    def close(self) -> None:
        """Give back everything, attempts that have not ended included. Called last, once."""
