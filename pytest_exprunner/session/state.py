"""The state that all phases of a run share: the study, the selection, the progress."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from pytest_exprunner._util.errors import os_reason
from pytest_exprunner._util.location import study_root
from pytest_exprunner._util.serialization import Plain
from pytest_exprunner.execution.specs import Specs
from pytest_exprunner.execution.upstream import Needs
from pytest_exprunner.executors.pending_jobs import PendingJob, PendingJobs
from pytest_exprunner.handlers.scan import Handler
from pytest_exprunner.model.attempt import (
    AttemptRecord,
)
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.model.selection import Selected, SharedRun
from pytest_exprunner.model.settings import Settings
from pytest_exprunner.plan.loader import LoadedPlan
from pytest_exprunner.plan.models import SubExperiment
from pytest_exprunner.provenance import environment
from pytest_exprunner.provenance.inputs import Inputs
from pytest_exprunner.report.publish import Publisher
from pytest_exprunner.session import unfinished
from pytest_exprunner.session.judgment import (
    SelectedItem,
    Slot,
)
from pytest_exprunner.session.publication import Publication
from pytest_exprunner.session.run_state import RunProgress
from pytest_exprunner.store.lock import RunLock
from pytest_exprunner.store.results_file import Reader
from pytest_exprunner.store.study import Study
from pytest_exprunner.trackers.supervisor import Trackers
from pytest_exprunner.verdicts.fold import Pending, deciding


class RunState:
    """One run over a study; its phases read and change it."""

    def __init__(
        self,
        settings: Settings,
        loaded: LoadedPlan,
        without_handler: Mapping[str, str],
        handlers: Mapping[str, Handler],
        shared: SharedRun | None = None,
    ) -> None:
        """Open the study under ``settings.results_root`` without writing.

        ``shared`` is given in a worker: the controller starts and publishes the run.
        """
        self.settings = settings
        self.plan = loaded.plan
        self.loaded = loaded
        self.run = shared.run if shared else environment.new_run_id()
        self.leads = shared is None
        """Whether this process is the controller."""
        self.layout = Layout(settings.results_root, "stub" if settings.stub else "")
        self.reader = Reader()
        self.study = Study(self.plan, self.layout, self.run, self.reader)
        self.without_handler = without_handler
        study = study_root(settings.plan_file)
        self.inputs = Inputs(settings.root, settings.project_root, study, self.layout.state, handlers)
        self.publication = Publication(Publisher(self.layout, self.reader))
        self.lock = RunLock(self.layout.lock_folder)
        self.trackers = Trackers(settings.trackers, settings.plan_file, settings.root, self.layout)
        self.progress = RunProgress(self.run)
        self.provenance: Mapping[str, Plain] = shared.provenance if shared else {}
        self.specs = Specs(self.plan, settings, self.run)
        self.assigned: dict[Slot, int] = {}
        """For each attempt assigned to this process, the preceding sequence number."""
        self.pending_jobs = _pending_jobs(self.layout) if settings.resume else {}
        """Jobs of earlier runs that have not been collected."""
        self.reserved = {slot: pending.job.sequence for slot, pending in self.pending_jobs.items()}
        self.started = False
        self.damage: list[str] = []
        """Messages about everything that could not be written."""

    def gpus(self, item: Selected) -> int:
        """Return how many GPUs an item needs to itself."""
        return self.plan.experiments[item.experiment].sub_experiments[item.sub_experiment].resources.gpu

    @property
    def findings_shown(self) -> str:
        """Return the path of the project's findings, as messages show it."""
        return self.settings.shown(self.layout.findings)

    @property
    def selected(self) -> Sequence[Selected]:
        """Return the items that this run selected."""
        return self.progress.selected

    def item_of(self, nodeid: str) -> Selected | None:
        """Return the selected item with a node id, or None if there is none."""
        return self.progress.by_node.get(nodeid)

    def record_of(self, item: Selected) -> AttemptRecord | None:
        """Return the current attempt of an item in this run, including a reused one."""
        own = self.own(item)
        return deciding(own) if own else None

    def own(self, item: SelectedItem) -> list[AttemptRecord]:
        """Return this run's records of an item, or the record that it reuses."""
        return self.progress.own(self.study, item)

    def pending(self) -> dict[str, list[Pending]]:
        """Return the selected items that have not ended, by experiment."""
        resumed = self.settings.resume
        return unfinished.pending_of(self.study, self.progress, self.reserved, resumed=resumed)

    @contextlib.contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Continue after a write error; the run reports it and does not succeed."""
        try:
            yield
        except OSError as error:
            self.damage.append(f"{what}: {os_reason(error)}")

    def last_sequence(self, item: Selected) -> int:
        """Return the sequence number that an item's attempt must exceed."""
        if item.slot in self.assigned:
            return self.assigned[item.slot]
        if self.leads:
            return self.study.last_sequence(item.experiment, item.sub_experiment)
        # The controller has determined the number and written it to the manifest.
        if self.run not in self.study.runs:
            self.study.reread(())
        pending = self.study.runs.get(self.run, {}).get(item.experiment, ())
        return max((p.after for p in pending if p.sub_experiment == item.sub_experiment), default=0)

    def upstream(self, sub: SubExperiment, seed: int | None = None) -> Needs:
        """Return access to the attempts that a sub-experiment needs."""
        return Needs(
            sub.id, sub.needs, self.plan, self.layout, lambda needed: self.study.sub(needed).currents, seed
        )


def _pending_jobs(layout: Layout) -> dict[Slot, PendingJob]:
    pending = PendingJobs(layout).pending()
    return {(one.job.sub_experiment, one.job.variant, one.job.seed): one for one in pending}
