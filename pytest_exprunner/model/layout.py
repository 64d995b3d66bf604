"""Where everything stands on disk: the one place that knows file names."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pytest_exprunner.model.attempt import AttemptKey

RECORD = "record.json"
EVENTS = "events.jsonl"
LOG = "log.txt"
ARTIFACTS = "artifacts"
AWAY = "away"
"""Beside the lock: notes of attempts that were begun elsewhere and have not come home."""
ITEM_FAILED = "item-failed.txt"
"""In an attempt that completed: what failed afterwards, in a fixture or with the process."""

_SAFE = re.compile(r"[a-z0-9][a-z0-9._=+,-]{0,79}")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")
_SEED_LIKE = re.compile(r"seed-\d+")


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths under a results folder.

    A branch, ``stub`` or ``exploratory``, has a tree of its own, which can never count.
    """

    root: Path
    branch: str = ""

    @property
    def state(self) -> Path:
        """The folder of run state, which is not committed."""
        return self.root / ".exprunner"

    @property
    def base(self) -> Path:
        """The folder that results are written under."""
        return self.state / self.branch if self.branch else self.root

    @property
    def experiments(self) -> Path:
        """The folder of all experiments."""
        return self.base / "experiments"

    @property
    def runs(self) -> Path:
        """The folder of run manifests: what was selected and has not finished yet."""
        return (self.base if self.branch else self.state) / "runs"

    def begun_in(self, run: str) -> Path:
        """The list of the attempts that a run has begun, while it goes on."""
        return _begun_file(self, run)

    @property
    def checkpoints(self) -> Path:
        """The folder of what handlers keep for the next attempt at the same thing."""
        return _checkpoints_folder(self)

    @property
    def lock_folder(self) -> Path:
        """The folder of the lock that a run holds."""
        return self.runs.parent

    @property
    def findings(self) -> Path:
        """The findings of the whole project."""
        return self.base / "FINDINGS.md"

    def experiment(self, experiment: str) -> Path:
        """The folder of one experiment."""
        return _experiment_folder(self, experiment)

    def results_of(self, experiment: str) -> Path:
        """The results file of an experiment."""
        return self.experiment(experiment) / "results.yaml"

    def findings_of(self, experiment: str) -> Path:
        """The findings of an experiment."""
        return self.experiment(experiment) / "FINDINGS.md"

    def plan_of(self, experiment: str) -> Path:
        """The hand-written plan of an experiment; may not exist."""
        return self.root / "experiments" / f"{experiment}.md"

    def attempts(self, experiment: str) -> Path:
        """The folder of all attempts of an experiment, by sub-experiment."""
        return self.experiment(experiment) / "attempts"

    def attempt(self, key: AttemptKey) -> Path:
        """The folder of one attempt."""
        return self.attempts(key.experiment) / key.sub_experiment / attempt_name(key.sequence)


@lru_cache(maxsize=10_000)
def _experiment_folder(layout: Layout, experiment: str) -> Path:
    # Asked for several times per attempt; building paths is what a trivial attempt costs most.
    return layout.experiments / experiment


@lru_cache(maxsize=100)
def _begun_file(layout: Layout, run: str) -> Path:
    return layout.runs / f"{run}.attempts"


@lru_cache(maxsize=100)
def _checkpoints_folder(layout: Layout) -> Path:
    return layout.lock_folder / "checkpoints"


def attempt_name(sequence: int) -> str:
    """``0001``: the folder of an attempt within its sub-experiment's."""
    return f"{sequence:04d}"


def artifact_prefix(sub_experiment: str, variant: str | None, seed: int | None) -> str:
    """Return the folder of an attempt's artifacts, relative to the experiment's folder."""
    parts = [ARTIFACTS, sub_experiment]
    if variant is not None:
        parts.append(variant_folder(variant))
    if seed is not None:
        parts.append(f"seed-{seed}")
    return "/".join(parts)


def variant_folder(variant: str) -> str:
    """Return a folder name for a variant: itself where that is safe everywhere, else with a hash."""
    odd = _SEED_LIKE.fullmatch(variant) or _RESERVED.fullmatch(variant) or variant.endswith(".")
    if _SAFE.fullmatch(variant) and not odd:
        return variant
    slug = re.sub(r"[^a-z0-9._=+,-]+", "-", variant.casefold()).strip(".-")[:60]
    return f"{slug}-{hashlib.sha256(variant.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
