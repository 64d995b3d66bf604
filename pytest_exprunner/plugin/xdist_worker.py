"""The xdist worker's side: what it sends to the controller, and the barrier between its items."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from pytest_exprunner._util import serialization
from pytest_exprunner.model.selection import Selected, SharedRun
from pytest_exprunner.plugin import calls
from pytest_exprunner.plugin.collection import EXPLORATORY, SELECTED, HandlerCollection

INPUT = "exprunner"
"""The key of the data that the controller sends to a worker at its start."""
_BARRIER = "between items"


@dataclass(frozen=True, slots=True)
class Collected:
    """A worker's items that are planned handlers, and every variant that handlers define."""

    handlers: Mapping[int, Selected]
    variants: Mapping[str, tuple[str | None, ...]]

    def dump(self) -> str:
        """Return the object as text."""
        rows = [
            [index, s.experiment, s.sub_experiment, s.variant, s.seed] for index, s in self.handlers.items()
        ]
        return orjson.dumps([rows, self.variants]).decode()

    @classmethod
    def parse(cls, text: str, ids: Sequence[str]) -> Collected:
        """Return the object from the output of `dump` and the node ids of the items."""
        rows, defined = orjson.loads(text)
        variants = {sub: tuple(names) for sub, names in defined.items()}
        handlers = {
            index: Selected(experiment, sub, variant, seed, ids[index], variants.get(sub, (None,)))
            for index, experiment, sub, variant, seed in rows
        }
        return cls(handlers, variants)


def shared_run(config: pytest.Config) -> SharedRun | None:
    """Return the run that a worker belongs to, or None in any other process."""
    given = getattr(config, "workerinput", {}).get(INPUT)
    return SharedRun(*orjson.loads(given)) if given else None


class Barrier(pytest.Item):
    """Separates items that are sent one by one."""

    after: pytest.Item | None = None
    news: str = ""
    """Data for the controller that replaces its node id."""

    @property
    def nodeid(self) -> str:
        """The news if there are any, else a name for reports."""
        return self.news or _BARRIER

    def runtest(self) -> None:
        """Do nothing."""

    def listchain(self) -> list[Any]:
        """Return the parents of the previous item, so that their fixtures stay alive."""
        if self.after is None:
            return super().listchain()
        return [*self.after.listchain()[:-1], self]


class WorkerHooks:
    """Sends the collected items to the controller, and handles the barrier."""

    def __init__(self, collecting: HandlerCollection) -> None:
        """``collecting`` holds the variants."""
        self._collecting = collecting
        self._barrier: Barrier | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Append the barrier after all sorting and selection; its id carries the news."""
        handlers = {
            index: item.stash[SELECTED]
            for index, item in enumerate(session.items)
            if SELECTED in item.stash and EXPLORATORY not in item.stash
        }
        news = Collected(handlers, self._collecting.variants).dump()
        self._barrier = barrier = Barrier.from_parent(session, name=_BARRIER)
        barrier.news = news
        session.items.append(barrier)
        result = yield
        barrier.news = ""
        self._collecting.spare()
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Make a report sendable, because any other would end the worker and lose its other results."""
        calls.made_sendable(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Make an item's report sendable."""
        calls.made_sendable(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Make a warning sendable."""
        text = serialization.text(warning_message.message)
        if text != str(warning_message.message):
            warning_message.message, warning_message.category = UserWarning(text), UserWarning

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Tear down at the barrier what the next item does not share with the last one."""
        barrier = self._barrier
        if item is not barrier or barrier is None:
            if barrier is not None:
                barrier.after = item
            return None
        calls.settle(barrier, nextitem)
        return True
