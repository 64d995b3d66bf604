"""Decides whether an item can run, whether it must, and how, from the plan and the stored attempts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_exprunner.executors.pending_jobs import PendingJob
from pytest_exprunner.model.attempt import (
    Status,
)
from pytest_exprunner.model.results import ExperimentState
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.provenance.gpus import leased
from pytest_exprunner.schedule import reuse
from pytest_exprunner.schedule.reuse import Resumption
from pytest_exprunner.session.run_state import ENDED
from pytest_exprunner.session.state import RunState
from pytest_exprunner.store import journal
from pytest_exprunner.verdicts import gates
from pytest_exprunner.verdicts.fold import of_seed
from pytest_exprunner.verdicts.gates import Action, Decision


class Admission:
    """Decides about items before they run."""

    def __init__(self, state: RunState) -> None:
        """``state`` is shared by all phases of the run."""
        self._state = state
        self._settled: set[str] = set()

    def decide(self, item: Selected) -> Decision:
        """Decide whether an item can run, from the attempts that have finished so far."""
        if self._state.settings.stub:
            return Decision(Action.RUN)
        experiment = self._state.plan.experiments[item.experiment]
        missing = self._state.inputs.missing(experiment.sub_experiments[item.sub_experiment])
        if missing:
            return Decision(Action.BLOCK, (reuse.files_missing(item.sub_experiment, missing),))
        if item.slot in self._state.assigned:
            return Decision(Action.RUN)  # the controller has decided
        if item.slot in self._state.pending_jobs:
            return Decision(Action.BLOCK, (_pending_reason(self._state.pending_jobs[item.slot]),))
        needs = experiment.sub_experiments[item.sub_experiment].needs
        if self._state.settings.ignore_dependencies:
            if not self._state.leads:
                self._state.study.reread((), needs)
            return Decision(Action.RUN)
        needed = self.requires(item.experiment)
        if not (needed or needs or experiment.blockers):
            return Decision(Action.RUN)
        if not self._state.leads:
            open_ = needed - self._settled
            self._state.study.reread(
                open_, {*needs, *(sub for name in open_ for sub in self._state.plan.compared[name])}
            )
        states = {experiment: self._state.study.state(experiment) for experiment in needed}
        self._settled |= {name for name, state in states.items() if _is_settled(state)}
        subs = [of_seed(self._state.study.sub(sub), item.seed) for sub in needs]
        return gates.decide(self._state.plan, item.experiment, states, self._state.settings.level, subs)

    def requires(self, experiment: str) -> set[str]:
        """Return the experiments whose state decides whether this one can run."""
        needed: set[str] = set()
        for requirement in self._state.plan.requirements(experiment):
            gate = self._state.plan.gates.get(requirement)
            needed.update(gate.experiments if gate else [requirement])
        return needed

    def is_reusable(self, item: Selected, params: Mapping[str, Any]) -> bool:
        """Return whether an item can reuse a stored attempt, before anything has run."""
        return self.decide(item).action is Action.RUN and self.resume(item, params).record is not None

    def resume(self, item: Selected, params: Mapping[str, Any]) -> Resumption:
        """Decide whether an item reuses a stored attempt, with the reason."""
        sub = self._state.plan.experiments[item.experiment].sub_experiments[item.sub_experiment]
        known = self._state.study.attempts(item.experiment).get(item.sub_experiment, ())
        earlier = [
            p
            for run, pending in self._state.study.runs.items()
            if run != self._state.run
            for p in pending.get(item.experiment, ())
            if p.slot == item.slot
        ]
        return reuse.resume(
            [a for a in known if a.key.slot == item.slot[1:]],
            earlier,
            self._state.inputs.of(sub, params),
            self._state.upstream(sub).used(),
            lambda before: self._state.inputs.code_change(sub.id, before),
            lambda record: journal.item_failed(self._state.layout.attempt(record.key)),
        )

    def isolation(self, item: Selected | None) -> tuple[bool, float | None]:
        """Return whether an item gets its own process, and its time limit in seconds.

        A time limit requires a separate process, because only another process can enforce it.
        """
        sub = None
        if item is not None:
            sub = self._state.plan.experiments[item.experiment].sub_experiments[item.sub_experiment]
        timeout = self._state.settings.timeout if sub is None or sub.timeout is None else sub.timeout
        asked = self._state.settings.executor == "subprocess" or timeout is not None
        # CUDA fixes the visible GPUs at its first use, so each choice of GPUs needs its own process.
        own = sub is not None and (sub.isolate or sub.resources.gpu)
        return not self._state.settings.stub and bool(asked or own), timeout

    def lease(self, item: Selected | None) -> contextlib.AbstractContextManager[tuple[str, ...]]:
        """Reserve the GPUs that an item needs, inside the ``with`` block."""
        number = 0 if item is None or self._state.settings.stub else self._state.gpus(item)
        if item is not None and item.slot in self._state.assigned:
            number = 0  # a remote machine is reserved for the item
        if not number:
            return contextlib.nullcontext(())
        return leased(number, self._state.settings.devices, self._state.layout.lock_folder / "devices")

    def code_behind(self, items: Iterable[Selected]) -> set[str]:
        """Return the project files that contain the handlers' code, relative to the project's folder."""
        found: set[str] = set()
        for item in items:
            code = self._state.inputs.of(
                self._state.plan.experiments[item.experiment].sub_experiments[item.sub_experiment], {}
            )["code"]
            found.update(code if isinstance(code, dict) else ())
        return found


def _pending_reason(pending: PendingJob) -> str:
    return (
        f"attempt {pending.job.sequence} was submitted to Modal ({pending.run}); fetch it with "
        "'exprunner collect' once it has ended"
    )


def _is_settled(state: ExperimentState) -> bool:
    """Return whether no attempt of an experiment can still end in this run."""
    ended = {Status.BLOCKED, *ENDED}
    return all(sub.currents and {c.status for c in sub.currents} <= ended for sub in state.subs.values())
