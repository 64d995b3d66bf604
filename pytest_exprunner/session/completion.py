"""Ends a run: judges what no item asserts, publishes results, stops the trackers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_exprunner._util.errors import os_reason
from pytest_exprunner.report.terminal import Summary
from pytest_exprunner.session import unfinished
from pytest_exprunner.session.judgment import (
    Judgement,
    judge_experiment,
    judge_gate,
)
from pytest_exprunner.store import manifest

if TYPE_CHECKING:
    from pytest_exprunner.audit.audit import Audit

from pytest_exprunner.session.state import RunState

_SECONDS_WHEN_STOPPED = 2.0  # for trackers, because the user waits for the run to end


class Completion:
    """Ends a run, and decides whether it succeeded."""

    def __init__(self, state: RunState) -> None:
        """``state`` is shared by all phases of the run."""
        self._state = state
        self._judged = False

    def judge(self) -> list[Judgement]:
        """Return the failures of experiments and gates, which no item asserts."""
        progress = self._state.progress
        self._judged = True
        found = []
        for experiment in progress.experiments:
            text = judge_experiment(
                self._state.study.state(experiment),
                slots=[i for i in progress.selected if i.experiment == experiment],
                own=self._state.own,
                outcomes=progress.outcomes,
                blocked=progress.blocked,
                uncollected=progress.uncollected,
                complete=experiment in progress.complete,
                without_handler=self._state.without_handler,
                level=self._state.settings.level,
                stub=self._state.settings.stub,
            )
            if text:
                found.append(Judgement(experiment, text))
        if not self._state.settings.stub:
            self._state.study.set_pending(
                self._state.run, self._state.pending()
            )  # blocked items are known by now
            found += self._changed() if self._state.settings.strict else []
            results = self._state.study.results()
            for gate in self._state.settings.gates:
                text = judge_gate(results.gates[gate])
                if text:
                    found.append(Judgement(gate, text))
        return found

    def _changed(self) -> list[Judgement]:
        """Return one failure for each experiment of this run that changed after its first result."""
        changed: dict[str, list[str]] = {}
        for entry in self.audit().changed:
            if entry.experiment in self._state.progress.experiments:
                changed.setdefault(entry.experiment, []).append(f"  {entry.text}")
        head = "something changed after there was a result (--exp-strict):"
        return [Judgement(name, "\n".join([head, *lines])) for name, lines in changed.items()]

    def audit(self) -> Audit:
        """Return what changed after the first result."""
        from pytest_exprunner.audit.audit import audit  # rarely needed, and reads git

        return audit(self._state.study, self._state.settings.plan_file, self._state.settings.project_root)

    def is_complete(self) -> bool:
        """Return whether everything selected has ended, was judged, and is on disk."""
        ended = self._state.progress.all_ended(self._state.study)
        return not self._state.started or (ended and self._judged and not self._state.damage)

    def finish(self, *, stopped: bool = False, say: Callable[[str], None] = lambda _text: None) -> None:
        """Write all results durably; remove finished items from the lists of pending ones.

        Trackers get ``tracker_timeout`` seconds to receive the remaining events, or less if the run was
        ``stopped``; if they need a while, ``say`` shows a line to the user.
        """
        if not self._state.started:
            return
        try:
            self._state.publication.publisher.prepare()
            # Attempts stopped in another process were only recorded on disk; no report carried them.
            open_ = (
                i
                for i in self._state.progress.selected
                if not self._state.progress.is_recorded(self._state.study, i)
            )
            self._state.study.reread((), {item.sub_experiment for item in open_})
            unfinished.mark(self._state.study, self._state.layout, self._state.run, self._state.pending())
            unfinished.drop_superseded(self._state.study, self._state.layout, self._state.progress)
            everything = (*self._state.progress.experiments, *self._comparing())
            self._state.publication.now(self._state.study, everything, durable=True)
        except OSError as error:
            self._state.damage.append(f"results and findings could not be written: {os_reason(error)}")
        finally:
            patience = self._state.settings.tracker_timeout
            patience = min(patience, _SECONDS_WHEN_STOPPED) if stopped else patience
            try:
                self._state.trackers.finish(self._state.progress.experiments, patience, say)
                self._remove_manifest()
            finally:
                self._state.lock.release()

    def _comparing(self) -> list[str]:
        """Return the other experiments whose stored results compare with those of this run."""
        own = self._state.progress.experiments
        others = dict.fromkeys(other for name in own for other in self._state.plan.comparing.get(name, ()))
        return [name for name in others if name not in own and self._state.layout.results_of(name).exists()]

    def _remove_manifest(self) -> None:
        """Remove the list of this run's attempts, once all its readers have read it."""
        with self._state.noting("the list of this run's attempts could not be removed"):
            manifest.sweep(self._state.layout.runs)

    def summary(self) -> Summary:
        """Return the data for the summary at the end of the run."""
        progress = self._state.progress
        results = self._state.study.results()
        notes = [
            *(
                *self._state.damage,
                *self._plan_edited(),
                *self._state.publication.publisher.notes,
                *self._state.study.problems,
            ),
            *self._state.trackers.notes,
        ]
        return Summary(
            results=results,
            touched=progress.experiments,
            without_handler={
                sub: hint
                for sub, hint in self._state.without_handler.items()
                if self._state.plan.owner(sub).id in progress.experiments
            },
            counts=progress.counts(self._state.study, self._state.without_handler),
            notes=notes,
            told=self._state.trackers.told,
            gates=self._state.settings.gates,
        )

    def _plan_edited(self) -> list[str]:
        if self._state.loaded.is_current():
            return []
        name = self._state.settings.shown(self._state.loaded.file)
        return [f"{name} was edited during the run; this run was judged by the plan as read at the start."]
