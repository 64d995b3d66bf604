"""The selection and the progress of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_exprunner.model.attempt import AttemptRecord, Status
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.session.judgment import Outcome, SelectedItem, Slot
from pytest_exprunner.store.study import Study
from pytest_exprunner.verdicts.fold import deciding, of_run

ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.SKIPPED})


@dataclass(slots=True)
class RunProgress:
    """What a run selected, and its progress in addition to the attempts on disk."""

    run: str
    selected: Sequence[Selected] = ()
    complete: frozenset[str] = frozenset()
    """Experiments with every planned sub-experiment selected."""
    uncollected: Mapping[str, str] = field(default_factory=dict)
    blocked: dict[Slot, str] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    experiments: tuple[str, ...] = ()
    by_node: dict[str, Selected] = field(default_factory=dict)
    reused: dict[Slot, AttemptRecord] = field(default_factory=dict)
    """The stored attempts of items that were not run again."""

    def own(self, study: Study, item: SelectedItem) -> list[AttemptRecord]:
        """Return the attempts of an item in this run, or the attempt that it reuses."""
        stored = self.reused.get(item.slot)
        if stored is not None:
            return [stored]
        attempts = study.attempts(study.plan.owner(item.sub_experiment).id)
        return of_run(attempts, self.run, item.sub_experiment, (item.variant, item.seed))

    def status(self, study: Study, item: Selected) -> Status | None:
        """Return how an item has ended, or None if it has not started."""
        own = self.own(study, item)
        return deciding(own).status if own else None

    def is_recorded(self, study: Study, item: Selected) -> bool:
        """Return whether an item has a finished attempt or reuses one."""
        return item.slot in self.reused or any(a.finished_at for a in self.own(study, item))

    def all_ended(self, study: Study) -> bool:
        """Return whether everything selected has ended or was blocked."""
        return all(i.slot in self.blocked or self.status(study, i) in ENDED for i in self.selected)

    def counts(self, study: Study, without_handler: Collection[str]) -> dict[str, int]:
        """Return the number of items per outcome, as the summary shows them."""
        statuses = [self.status(study, item) for item in self.selected]
        counts = {
            "Completed": statuses.count(Status.COMPLETED),
            "Failed": statuses.count(Status.FAILED),
            "Skipped": statuses.count(Status.SKIPPED),
            "Blocked": len(self.blocked),
            "No handler": sum(1 for s in without_handler if study.plan.owner(s).id in self.experiments),
        }
        if self.reused:
            counts["Not run again"] = len(self.reused)
        unfinished = len(statuses) - sum(list(counts.values())[:4])
        return {**counts, "Unfinished": unfinished} if unfinished else counts
