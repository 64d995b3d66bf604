"""Runs over several xdist workers, in which items wait only for their dependencies.

An xdist worker starts an item only when it holds the next one. So every item is sent with a barrier
after it: an item at the end of each worker's collection that does nothing and can be sent any number of
times.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from xdist.report import report_collection_diff
from xdist.workermanage import parse_tx_spec_config

from pytest_exprunner._util import processes
from pytest_exprunner._util.redaction import redacted
from pytest_exprunner._util.supervised import cause_of
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.plugin import calls
from pytest_exprunner.plugin.collection import HandlerCollection
from pytest_exprunner.plugin.hints import Hinting
from pytest_exprunner.plugin.items import RECORD
from pytest_exprunner.plugin.xdist_worker import INPUT, Collected
from pytest_exprunner.schedule import order
from pytest_exprunner.schedule.order import Schedule
from pytest_exprunner.session.session import ExperimentSession

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

_PATIENCE = 2.0  # seconds for workers to record that they were stopped
_DISTRIBUTIONS = ("load", "worksteal")


def refusal(config: pytest.Config) -> str:
    """Return why experiments cannot be distributed as requested, or an empty string."""
    if config.option.dist not in _DISTRIBUTIONS:
        return (
            f"--dist {config.option.dist} cannot keep the order that dependencies require; "
            "run experiments with -n N alone, which starts each of them as soon as it can"
        )
    if any(not str(spec).startswith("popen") for spec in config.option.tx or ()):
        return "experiments run in parallel on one machine only: use -n N instead of --tx"
    return ""


class PlanScheduling:
    """An xdist scheduler over one `Schedule`: each free worker gets an item, and one in advance.

    The item in advance saves the worker from waiting. If another worker is idle, the item is taken back and
    given to that worker.
    """

    def __init__(
        self,
        config: pytest.Config,
        begin: Callable[[Sequence[str]], Schedule[order.Node]],
        crashed: Callable[[WorkerController, str], None],
    ) -> None:
        """``begin`` is called once, with all node ids; ``crashed`` is called first after a crash."""
        self.config = config
        self._begin = begin
        self._crashed = crashed
        self._expected = len(parse_tx_spec_config(config))
        self._ids: list[str] | None = None
        self._collections: dict[WorkerController, list[str]] = {}
        self._given: dict[WorkerController, list[int]] = {}
        self._asked: set[WorkerController] = set()
        self._dying: set[WorkerController] = set()
        self._schedule: Schedule[order.Node] | None = None
        self._given_up = False

    @property
    def nodes(self) -> list[WorkerController]:
        """The live workers."""
        return list(self._given)

    @property
    def collection_is_completed(self) -> bool:
        """Whether all expected workers have collected."""
        return len(self._collections) >= self._expected

    @property
    def tests_finished(self) -> bool:
        """Whether everything has ended."""
        if self._given_up:
            return True
        return self._schedule is not None and self._schedule.finished

    @property
    def has_pending(self) -> bool:
        """Whether there are unfinished items."""
        return self._schedule is not None and not self._schedule.finished

    def add_node(self, node: WorkerController) -> None:
        """Add a new worker."""
        self._given[node] = []

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """Store the items that a worker collected."""
        self._collections[node] = list(collection)

    def schedule(self) -> None:
        """Start the run once all workers have collected; later, give a new worker an item."""
        if self._schedule is None and not self._given_up:
            if not self._collected_alike():
                self._given_up = True
                return
            self._ids = next(iter(self._collections.values()))
            self._schedule = self._begin(self._ids)
        self._hand_out()
        self._stop_if_stuck()

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Mark an item as done, and hand out items that are no longer blocked."""
        del duration
        given = self._given.get(node)
        if self._schedule is None or not given or given[0] != item_index:
            return  # a barrier
        del given[0]
        self._schedule.done(item_index)
        self._hand_out()

    def mark_test_pending(self, item: str) -> None:
        """Start the item of a crashed worker again, if a plugin requests it."""
        assert self._schedule is not None
        assert self._ids is not None
        self._schedule.again(self._ids.index(item))
        self._hand_out()

    def remove_pending_tests_from_node(self, node: WorkerController, indices: Sequence[int]) -> None:
        """Give the returned items to other workers; a worker does not return an item that it has started."""
        self._asked.discard(node)
        for index in indices:
            self._given[node].remove(index)
            self._give_back(index)
        self._hand_out()

    def _give_back(self, index: int) -> None:
        assert self._schedule is not None
        self._schedule.give_back(index)

    def remove_node(self, node: WorkerController) -> str | None:
        """Return the item that a worker was running when it ended, if any."""
        given = self._given.pop(node)
        self._asked.discard(node)
        if self._schedule is None or self._ids is None:
            self._collections.pop(node, None)
            return None
        for index in given[1:]:
            self._give_back(index)
        if given:
            self._crashed(node, self._ids[given[0]])
            self._schedule.done(given[0])
        self._hand_out()
        return self._ids[given[0]] if given else None

    def _hand_out(self) -> None:
        free = [node for node, given in self._given.items() if not given and self._can_run(node)]
        for node in free:
            self._give(node)
        for node, given in self._given.items():
            if len(given) == 1 and self._can_run(node):
                self._give(node, ahead=True)
        idle = sum(not self._given[node] for node in free) - len(self._asked)
        for node, given in self._given.items():
            if idle > 0 and len(given) > 1 and node not in self._asked and not node.shutting_down:
                self._asked.add(node)
                with contextlib.suppress(OSError):
                    node.send_steal(given[1:])
                idle -= 1

    def _can_run(self, node: WorkerController) -> bool:
        alive = not (node.shutting_down or node in self._dying)
        return alive and self._ids is not None and self._collections.get(node) == self._ids

    def _give(self, node: WorkerController, *, ahead: bool = False) -> None:
        index = self._schedule.start(ahead=ahead) if self._schedule is not None else None
        if isinstance(index, int):
            assert self._ids is not None
            try:
                node.send_runtest_some([index, len(self._ids)])
            except OSError:  # the worker has died; xdist reports that next
                self._dying.add(node)
                self._give_back(index)
                return
            self._given[node].append(index)

    def _stop_if_stuck(self) -> None:
        """Stop if every remaining worker collected different tests than the first ones."""
        if self._ids is None or any(self._collections.get(n, self._ids) == self._ids for n in self._given):
            return
        node = next(iter(self._given))
        text = (
            "this worker, which replaced one that crashed, collected different tests; the run cannot continue"
        )
        report = pytest.CollectReport(node.gateway.id, "failed", longrepr=text, result=[])
        self.config.hook.pytest_collectreport(report=report)
        self._given_up = True

    def _collected_alike(self) -> bool:
        (first, ids), *others = self._collections.items()
        alike = True
        for node, collection in others:
            difference = report_collection_diff(ids, collection, first.gateway.id, node.gateway.id)
            if difference:
                alike = False
                report = pytest.CollectReport(node.gateway.id, "failed", longrepr=difference, result=[])
                self.config.hook.pytest_collectreport(report=report)
        return alike


class ControllerHooks:
    """Sends the run to its workers, and reads what they report."""

    def __init__(
        self,
        session: ExperimentSession,
        collecting: HandlerCollection,
        begin: Callable[[Sequence[Selected]], None],
    ) -> None:
        """``begin`` starts the run with the selected items."""
        self._session = session
        self._collecting = collecting
        self._begin_run = begin
        self._news = ""
        self._crashes: dict[str, tuple[str, str]] = {}
        self._nodes: list[WorkerController] = []

    def pytest_configure_node(self, node: Any) -> None:
        """Send the run to a worker."""
        self._nodes.append(node)
        shared = self._session.setup.share()
        node.workerinput[INPUT] = orjson.dumps([shared.run, shared.provenance]).decode()

    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:
        """Remove the barrier from the collected ids, and keep the news in its id."""
        del node
        self._news = ids.pop()

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Producer) -> PlanScheduling:
        """Return a scheduler that follows the plan."""
        del log
        return PlanScheduling(config, self._begin, self._crashed)

    @contextlib.contextmanager
    def around_loop(self, session: pytest.Session) -> Iterator[None]:
        """On Ctrl-C let each worker record the interruption and exit before it is killed."""
        del session
        try:
            yield
        except KeyboardInterrupt:
            workers = {process.pid for node in self._nodes if (process := _process(node)) is not None}
            if workers:
                processes.end_children(_PATIENCE, workers, self._session.trackers.pids)
            raise

    def pytest_testnodedown(self, node: WorkerController) -> None:
        """Remove a worker that has finished; its process may still exist."""
        self._nodes.remove(node)

    def _begin(self, ids: Sequence[str]) -> Schedule[order.Node]:
        collected = Collected.parse(self._news, ids)
        self._collecting.variants.update(collected.variants)
        selected = list(collected.handlers.values())
        self._begin_run(selected)
        durations: dict[order.Node, float] = {}
        durations.update(zip(collected.handlers, self._session.setup.durations(selected), strict=True))
        items = {index: (s.experiment, s.sub_experiment) for index, s in collected.handlers.items()}
        needed: dict[order.Node, int] = {}
        needed.update((index, self._session.gpus(s)) for index, s in collected.handlers.items())
        slots = order.Slots(len(self._session.settings.devices), needed)
        return order.of_plan(self._session.plan, items, len(ids), durations, slots)

    def _crashed(self, node: WorkerController, nodeid: str) -> None:
        """Record the attempt of a crashed worker, before decisions about its dependents."""
        item = self._session.item_of(nodeid)
        if item is not None:
            hints = Hinting(node.config, node.config.hook)
            record, message = self._session.attempts.record_crash(item, nodeid, _cause(node), diagnose=hints)
            self._crashes[nodeid] = record, "\n".join([message, *hints.remarks()]) if message else ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: object) -> None:
        """Report the recorded cause of a crash instead of "worker crashed"."""
        del sched
        record, message = self._crashes.pop(crashitem, ("", ""))
        if message:
            report.longrepr = calls.representation(redacted(message))
            report.location = (report.location[0], None, crashitem.partition("::")[2])
        if record:
            setattr(report, RECORD, record)


def _cause(node: WorkerController) -> str:
    """Return how a worker ended: ``crashed: SIGSEGV``, ``exited with code 0``."""
    process = _process(node)
    try:
        return "its worker is gone" if process is None else cause_of(process.wait(timeout=5))
    except subprocess.TimeoutExpired:
        return "its worker no longer responds"


def _process(node: WorkerController) -> subprocess.Popen[bytes] | None:
    """Return the process of a worker, which execnet does not expose."""
    process = getattr(getattr(getattr(node, "gateway", None), "_io", None), "popen", None)
    return process if isinstance(process, subprocess.Popen) else None
