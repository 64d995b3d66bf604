"""What may start, given what has to be finished first: the one order of serial and parallel runs.

Pure: no clock, no processes. Work and milestones are both nodes of a graph. Work is started and
done by whoever asks; a milestone ("everything of x1 is settled") passes by itself, so that a hundred
items waiting for a hundred others cost two hundred edges and not ten thousand.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from pytest_exprunner.plan.models import Plan

N = TypeVar("N", bound=Hashable)


class Slots(Generic[N]):
    """A number of equal things, such as GPUs, of which some work needs so many to itself."""

    def __init__(self, number: int, needed: Mapping[N, int]) -> None:
        """No work may need more than there are."""
        self._free = number
        self._needed = needed

    def needs(self, node: N) -> int:
        """Return how many some work needs."""
        return self._needed.get(node, 0)

    def take(self, node: N) -> bool:
        """Take what some work needs; return whether there was enough."""
        if self.needs(node) > self._free:
            return False
        self._free -= self.needs(node)
        return True

    def free(self, node: N) -> None:
        """Give back what some work had taken."""
        self._free += self.needs(node)


class Schedule(Generic[N]):
    """Hands out work that is ready, the longest chain first where durations are known."""

    def __init__(
        self,
        waits: Mapping[N, Iterable[N]],
        work: Sequence[N],
        durations: Mapping[N, float] | None = None,
        slots: Slots[N] | None = None,
    ) -> None:
        """``waits`` maps each node to what it waits for; nodes that are not in ``work`` are milestones.

        ``durations`` are seconds of work, 0 where unknown; among equals the order of ``work``
        decides. Raises ValueError where nodes wait for one another.
        """
        self._place = {node: index for index, node in enumerate(work)}
        nodes = dict.fromkeys(work)
        for node, before in waits.items():
            nodes.setdefault(node)
            nodes.update(dict.fromkeys(before))
        self._open = dict.fromkeys(nodes, 0)
        self._after: dict[N, list[N]] = {node: [] for node in nodes}
        for node, before in waits.items():
            for other in dict.fromkeys(before):
                self._after[other].append(node)
                self._open[node] += 1
        self._chain = self._chains(durations or {})
        self._ready: list[tuple[float, int, N]] = []
        self._left = len(self._place)
        self._slots = slots or Slots(0, {})
        self._running: set[N] = set()
        self._pass([node for node, waiting in self._open.items() if not waiting])

    def _chains(self, durations: Mapping[N, float]) -> dict[N, float]:
        """Return the seconds from the start of each node to the end of the longest chain behind it."""
        open_, order = dict(self._open), [node for node, waiting in self._open.items() if not waiting]
        for node in order:
            for later in self._after[node]:
                open_[later] -= 1
                if not open_[later]:
                    order.append(later)
        if len(order) < len(open_):
            stuck = ", ".join(str(node) for node, waiting in open_.items() if waiting)
            raise ValueError(f"these wait for one another: {stuck}")
        chain: dict[N, float] = {}
        for node in reversed(order):
            rest = max((chain[later] for later in self._after[node]), default=0.0)
            chain[node] = durations.get(node, 0.0) + rest
        return chain

    def start(self, *, ahead: bool = False) -> N | None:
        """Take the most urgent work that is ready and for which there are slots; None where there is none.

        What is only taken ``ahead`` of its time takes no slots from others.
        """
        passed = []
        found = None
        while self._ready and found is None:
            entry = heapq.heappop(self._ready)
            if (ahead and self._slots.needs(entry[2])) or not self._slots.take(entry[2]):
                passed.append(entry)
            else:
                found = entry[2]
                self._running.add(found)
        for entry in passed:
            heapq.heappush(self._ready, entry)
        return found

    def done(self, node: N) -> None:
        """Say that started work has ended, in whatever way; what waited for it may start."""
        self._running.remove(node)
        self._slots.free(node)
        self._left -= 1
        self._pass(self._released(node))

    def give_back(self, node: N) -> None:
        """Say that started work was not done after all and has to be started again."""
        self._running.remove(node)
        self._slots.free(node)
        self._offer(node)

    def again(self, node: N) -> None:
        """Say that work which has ended is to be done once more; what waited for it is not held back."""
        self._left += 1
        self._offer(node)

    @property
    def finished(self) -> bool:
        """Return whether all work has ended."""
        return not self._left

    def _released(self, node: N) -> list[N]:
        free = []
        for later in self._after[node]:
            self._open[later] -= 1
            if not self._open[later]:
                free.append(later)
        return free

    def _pass(self, free: list[N]) -> None:
        """Offer work; go on through milestones."""
        for node in free:
            if node in self._place:
                self._offer(node)
            else:
                free += self._released(node)

    def _offer(self, node: N) -> None:
        heapq.heappush(self._ready, (-self._chain[node], self._place[node], node))


Node = int | tuple[str, str]


def of_plan(
    plan: Plan,
    items: Mapping[int, tuple[str, str]],
    count: int,
    durations: Mapping[Node, float] | None = None,
    slots: Slots[Node] | None = None,
) -> Schedule[Node]:
    """Return the schedule of ``count`` things of which some are (experiment, sub-experiment).

    A sub-experiment waits for everything selected of the experiments and gates that its experiment
    requires, over several steps too, and for the sub-experiments that it needs. An experiment is done
    when what its criteria compare with is done, too. The rest is free.
    """
    waits: dict[Node, list[Node]] = {}
    for index, (experiment, sub) in items.items():
        if experiment not in plan.experiments:
            continue
        waits[index] = [("before", experiment), ("before sub", sub)]
        waits.setdefault(("experiment", experiment), []).append(index)
        waits.setdefault(("sub", sub), []).append(index)
    for experiment in plan.experiments:
        required: list[Node] = [
            ("gate" if name in plan.gates else "experiment", name) for name in plan.requirements(experiment)
        ]
        waits[("before", experiment)] = required
        # One that is not selected itself hands on what it waits for.
        decided_by = waits.setdefault(("experiment", experiment), [])
        decided_by += [("before", experiment), *(("sub", sub) for sub in sorted(plan.compared[experiment]))]
    for gate in plan.gates.values():
        waits[("gate", gate.id)] = [("experiment", member) for member in gate.experiments]
    for _experiment, sub_experiment in plan.sub_experiments():
        waits[("before sub", sub_experiment.id)] = [("sub", needed) for needed in sub_experiment.needs]
        waits.setdefault(("sub", sub_experiment.id), []).append(("before sub", sub_experiment.id))
    return Schedule(waits, range(count), durations, slots)


def in_order(schedule: Schedule[N]) -> list[N]:
    """Return all work in an order in which one after the other can be done."""
    order = []
    while (node := schedule.start()) is not None:
        order.append(node)
        schedule.done(node)
    return order
