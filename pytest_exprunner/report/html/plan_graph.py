"""The plan as a picture: experiments and gates from left to right, as geometry for a template.

Columns follow phases and dependencies; within a column, a node is placed near its dependencies. A
very large plan is drawn as a grid of small squares, without edges.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Literal

from pytest_exprunner.plan.models import Plan

Kind = Literal["experiment", "gate"]
Relation = Literal["needs", "gates", "replaces"]

_WIDE, _HIGH = 212.0, 52.0
_GAP_X, _GAP_Y = 64.0, 16.0
_MARGIN, _LANE = 12.0, 24.0
_PAGE, _LEGIBLE = 900.0, 1660.0
_MAX_DRAWN = 60
_SQUARE, _STEP = 20.0, 24.0
_SQUARES_IN_A_ROW = 40


@dataclass(frozen=True, slots=True)
class Node:
    """An experiment or a gate, and the position of its box."""

    id: str
    kind: Kind
    x: float
    y: float
    width: float = _WIDE
    height: float = _HIGH


@dataclass(frozen=True, slots=True)
class Edge:
    """A curve from one node to another."""

    source: str
    target: str
    relation: Relation
    path: str


@dataclass(frozen=True, slots=True)
class Lane:
    """The columns of a phase."""

    phase: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing of the plan."""

    width: float
    height: float
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()
    lanes: tuple[Lane, ...] = ()
    squares: bool = False

    @property
    def shrinks(self) -> bool:
        """Whether to scale the picture to the page: it is wider, and still legible when scaled."""
        return _PAGE < self.width <= _LEGIBLE


def draw(plan: Plan) -> Picture:
    """Return the plan's picture."""
    if len(plan.experiments) + len(plan.gates) > _MAX_DRAWN:
        return _grid(plan)
    relations = list(_relations(plan))
    columns = _columns(plan, relations)
    nodes = {node.id: node for node in _placed(plan, columns, relations)}
    lanes = tuple(_lanes(plan, columns))
    edges = tuple(Edge(a, b, kind, _path(nodes[a], nodes[b])) for a, b, kind in relations)
    right = max(node.x + node.width for node in nodes.values())
    bottom = max(node.y + node.height for node in nodes.values())
    return Picture(right + _MARGIN, bottom + _MARGIN, tuple(nodes.values()), edges, lanes)


def _grid(plan: Plan) -> Picture:
    ids: list[tuple[str, Kind]] = [(name, "experiment") for name in plan.experiments]
    ids += [(name, "gate") for name in plan.gates]
    nodes = tuple(
        Node(
            name,
            kind,
            _MARGIN + (place % _SQUARES_IN_A_ROW) * _STEP,
            _MARGIN + (place // _SQUARES_IN_A_ROW) * _STEP,
            _SQUARE,
            _SQUARE,
        )
        for place, (name, kind) in enumerate(ids)
    )
    width = _SQUARES_IN_A_ROW * _STEP + 2 * _MARGIN
    return Picture(width, nodes[-1].y + _SQUARE + _MARGIN, nodes, squares=True)


def _relations(plan: Plan) -> Iterator[tuple[str, str, Relation]]:
    """Yield the relations as (source, target, kind); an arrow points from source to target."""
    for name, experiment in plan.experiments.items():
        for requirement in plan.requirements(name):
            yield requirement, name, "needs"
        for old in experiment.replaces:
            yield old, name, "replaces"
    for name, gate in plan.gates.items():
        for member in gate.experiments:
            yield member, name, "gates"


def _columns(plan: Plan, relations: Iterable[tuple[str, str, Relation]]) -> dict[str, int]:
    """Return each node's column: after its dependencies and after earlier phases."""
    before: dict[str, set[str]] = {name: set() for name in (*plan.experiments, *plan.gates)}
    for source, target, _kind in relations:
        before[target].add(source)
    before = _acyclic(before)
    order = list(TopologicalSorter(before).static_order())
    phases = list(dict.fromkeys(e.phase for e in plan.experiments.values() if e.phase is not None))
    floors: dict[int | str | None, int] = {}
    columns = _levels(plan, order, before, floors)
    # One phase after another, because the end of a phase is known only once all of it is placed.
    for phase in phases:
        settled = [columns[name] + 1 for name in order if _phase(plan, name) in floors]
        floors[phase] = max(settled, default=0)
        columns = _levels(plan, order, before, floors)
    return columns


def _levels(
    plan: Plan,
    order: Iterable[str],
    before: Mapping[str, set[str]],
    floors: Mapping[int | str | None, int],
) -> dict[str, int]:
    levels: dict[str, int] = {}
    for name in order:
        past = (levels[source] + 1 for source in before[name])
        levels[name] = max([floors.get(_phase(plan, name), 0), *past])
    return levels


def _phase(plan: Plan, name: str) -> int | str | None:
    experiment = plan.experiments.get(name)
    return None if experiment is None else experiment.phase


def _acyclic(before: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the relations without cycles, because a replacement may contradict a dependency."""
    kept: dict[str, set[str]] = {name: set() for name in before}
    for name, sources in before.items():
        for source in sources:
            if not _precedes(kept, source, name):
                kept[name].add(source)
    return kept


def _precedes(before: Mapping[str, set[str]], start: str, end: str) -> bool:
    """Return whether ``end`` comes before ``start``."""
    waiting, seen = [start], set()
    while waiting:
        name = waiting.pop()
        if name == end:
            return True
        if name not in seen:
            seen.add(name)
            waiting += before[name]
    return False


def _placed(
    plan: Plan, columns: Mapping[str, int], relations: Iterable[tuple[str, str, Relation]]
) -> Iterator[Node]:
    before: dict[str, list[str]] = {}
    for source, target, _kind in relations:
        before.setdefault(target, []).append(source)
    top = _MARGIN + _LANE
    placed: dict[str, Node] = {}
    for column, names in itertools.groupby(sorted(columns, key=columns.__getitem__), columns.__getitem__):
        x = _MARGIN + column * (_WIDE + _GAP_X)
        wishes = {name: _wish(before.get(name, ()), placed) for name in names}
        y = top
        for name in sorted(wishes, key=lambda name: (wishes[name] is None, wishes[name] or 0.0)):
            wish = wishes[name]
            y = max(y, wish) if wish is not None and len(wishes) <= _FEW else y
            kind: Kind = "gate" if name in plan.gates else "experiment"
            placed[name] = Node(name, kind, x, y)
            y += _HIGH + _GAP_Y
    yield from placed.values()


_FEW = 4
"""In a column of at most this many nodes, each is level with its dependencies; others are packed."""


def _wish(sources: Iterable[str], placed: Mapping[str, Node]) -> float | None:
    heights = [placed[source].y for source in sources if source in placed]
    return sum(heights) / len(heights) if heights else None


def _lanes(plan: Plan, columns: Mapping[str, int]) -> Iterator[Lane]:
    """Yield a lane for each phase, or nothing if the columns of two phases overlap."""
    found: dict[str, list[int]] = {}
    for name, experiment in plan.experiments.items():
        if experiment.phase is not None:
            found.setdefault(str(experiment.phase), []).append(columns[name])
    spans = sorted((min(places), max(places), phase) for phase, places in found.items())
    if any(a[1] >= b[0] for a, b in itertools.pairwise(spans)):
        return
    for first, last, phase in spans:
        x = _MARGIN + first * (_WIDE + _GAP_X)
        yield Lane(phase, x, (last - first) * (_WIDE + _GAP_X) + _WIDE)


def _path(source: Node, target: Node) -> str:
    """Return a curve from the right side of one box to the left side of another."""
    x1, y1 = source.x + source.width, source.y + source.height / 2
    x2, y2 = target.x, target.y + target.height / 2
    if x2 <= x1:  # in the same column: around the side
        bend = x1 + _GAP_X / 2
        x2 = target.x + target.width
        return f"M{x1:g} {y1:g} C{bend:g} {y1:g} {bend:g} {y2:g} {x2:g} {y2:g}"
    middle = (x1 + x2) / 2
    return f"M{x1:g} {y1:g} C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}"
