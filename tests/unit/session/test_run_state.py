"""What a run selected, and what has become of it."""

from __future__ import annotations

from typing import cast

from builders import SUB, X1, make_plan, make_record

from pytest_exprunner.model.attempt import AttemptRecord, Status
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.session.run_state import RunProgress
from pytest_exprunner.store.study import Study

RUN = "run-1"
ITEM = Selected(X1, SUB, None, None, f"experiments/test_x1.py::{SUB}")


class StoredAttempts:
    """A study in memory: a plan and its attempts."""

    def __init__(self, *records: AttemptRecord) -> None:
        """``records`` are all of one sub-experiment."""
        self.plan = make_plan()
        self._records = list(records)

    def attempts(self, experiment: str) -> dict[str, list[AttemptRecord]]:
        """Return the attempts of an experiment by sub-experiment."""
        return {SUB: self._records} if experiment == X1 else {}


def study_of(*records: AttemptRecord) -> Study:
    """Return a study that holds nothing but records."""
    return cast("Study", StoredAttempts(*records))


def test_an_item_without_an_attempt_has_not_ended() -> None:
    """It is neither recorded nor does it let the run count as ended."""
    progress = RunProgress(RUN, selected=[ITEM], experiments=(X1,))
    assert progress.status(study_of(), ITEM) is None
    assert not progress.is_recorded(study_of(), ITEM)
    assert not progress.all_ended(study_of())


def test_a_blocked_item_has_ended() -> None:
    """It will not run any more, though it has no attempt."""
    progress = RunProgress(RUN, selected=[ITEM], experiments=(X1,), blocked={ITEM.slot: "no data"})
    assert progress.all_ended(study_of())
    assert progress.counts(study_of(), ())["Blocked"] == 1


def test_a_reused_attempt_is_the_items_own() -> None:
    """It decides for the item, though another run made it."""
    record = make_record()
    progress = RunProgress("another run", selected=[ITEM], experiments=(X1,), reused={ITEM.slot: record})
    assert progress.own(study_of(), ITEM) == [record]
    assert progress.status(study_of(), ITEM) is Status.COMPLETED
    assert progress.is_recorded(study_of(), ITEM)
    assert progress.counts(study_of(), ())["Not run again"] == 1


def test_only_experiments_of_the_run_count_their_missing_handlers() -> None:
    """An experiment that the run was not about has none in its summary."""
    about = RunProgress(RUN, experiments=(X1,))
    assert about.counts(study_of(), [SUB])["No handler"] == 1
    assert RunProgress(RUN).counts(study_of(), [SUB])["No handler"] == 0
