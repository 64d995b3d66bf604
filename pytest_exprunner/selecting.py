"""What a run selected: order, experiments that are selected as a whole, and -k / -m without items."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from _pytest.mark.expression import Expression

from pytest_exprunner import graph
from pytest_exprunner.collecting import SELECTED, Collecting
from pytest_exprunner.plan import Plan
from pytest_exprunner.session import Selected

if TYPE_CHECKING:
    import pytest


def in_order(items: list[pytest.Item], plan: Plan) -> list[pytest.Item]:
    """Return the items with every experiment after those it depends on, otherwise as they stand.

    Ordinary tests keep their places.
    """
    handlers = [item for item in items if SELECTED in item.stash]
    present = dict.fromkeys(item.stash[SELECTED].experiment for item in handlers)
    edges = {e: _prerequisites(plan, e) for e in present if e in plan.experiments}
    if not any(set(needed) & set(present) for needed in edges.values()):
        return items
    rank = {experiment: place for place, experiment in enumerate(graph.order(edges))}
    ordered = iter(sorted(handlers, key=lambda item: rank.get(item.stash[SELECTED].experiment, -1)))
    return [next(ordered) if SELECTED in item.stash else item for item in items]


def _prerequisites(plan: Plan, experiment: str) -> list[str]:
    """The experiments that must be settled first, gates taken apart, also over several steps."""
    found: dict[str, None] = {}
    pending = list(plan.requirements(experiment))
    while pending:
        needed = pending.pop()
        if needed in plan.gates:
            pending.extend(plan.gates[needed].experiments)
        elif needed not in found:
            found[needed] = None
            pending.extend(plan.requirements(needed))
    return list(found)


def with_variants(
    selected: Iterable[Selected], variants: Mapping[str, tuple[str | None, ...]]
) -> list[Selected]:
    """Tell each selected item which variants its handler defines."""
    return [
        item
        if item.variants == (defined := variants.get(item.sub_experiment, (None,)))
        else replace(item, variants=defined)
        for item in selected
    ]


class Selection:
    """Tells which sub-experiments without items a run would have selected."""

    def __init__(self, config: pytest.Config, collecting: Collecting, folders: Sequence[Path]) -> None:
        """Read the selection expressions of the command line."""
        self._config = config
        self._collecting = collecting
        self._folders = folders
        self._keyword = _compiled(config.getoption("keyword", ""))
        self._marker = _compiled(config.getoption("markexpr", ""))
        self._args = [str(arg) for arg in config.args]
        self._start = config.invocation_params.dir

    def names(self, sub: str) -> bool:
        """Tell whether ``-k`` and ``-m`` would keep a sub-experiment."""
        experiment = self._collecting.plan.owner(sub)
        names = self._collecting.names(experiment, sub)
        lowered = [name.lower() for name in names]

        def by_keyword(name: str, /, **_: object) -> bool:
            return any(name.lower() in known for known in lowered)

        def by_marker(name: str, /, **_: object) -> bool:
            return name in names

        return self._keyword(by_keyword) and self._marker(by_marker)

    def covers_all(self) -> bool:
        """Tell whether every handlers' folder was named as a whole."""
        paths = {self._path(arg) for arg in self._args if "::" not in arg}
        return all(any(folder.is_relative_to(path) for path in paths) for folder in self._folders)

    def covered(self) -> set[str]:
        """Experiments of which a file with a handler, or a folder above it, was named (not a node id)."""
        paths = [self._path(arg) for arg in self._args if "::" not in arg]
        found: set[str] = set()
        for file, scanned in self._collecting.scan.files.items():
            if any(file.is_relative_to(path) for path in paths):
                subs = (h.sub_experiment for h in scanned.handlers)
                found.update(self._collecting.plan.owner(sub).id for sub in subs if sub is not None)
        return found

    def uncollected(self) -> dict[str, str]:
        """Handlers in named folders that pytest did not collect, though nobody asked to leave them out."""
        left_out = any(self._config.getoption(name, None) for name in ("ignore", "ignore_glob", "lf"))
        paths = [self._path(arg) for arg in self._args if "::" not in arg]
        found: dict[str, str] = {}
        for file, scanned in self._collecting.scan.files.items():
            if not left_out and any(file.is_relative_to(path) for path in paths):
                for handler in scanned.handlers:
                    sub = handler.sub_experiment
                    if sub is not None and sub not in self._collecting.variants and self.names(sub):
                        found[sub] = handler.place
        return found

    def _path(self, arg: str) -> Path:
        return Path(os.path.abspath(self._start / arg))

    def whole(self, items: Sequence[pytest.Item]) -> list[str]:
        """Return the experiments none of whose planned sub-experiments, or variants, was left out."""
        kept: dict[str, int] = {}
        for item in items:
            selected = item.stash.get(SELECTED, None)
            if selected is not None:
                kept[selected.sub_experiment] = kept.get(selected.sub_experiment, 0) + 1
        handlers, defined = self._collecting.scan.planned(), self._collecting.variants
        covered, covers_all = self.covered(), self.covers_all()
        found = []
        for experiment in self._collecting.plan.experiments.values():
            with_handler = [sub for sub in experiment.sub_experiments if sub in handlers]
            without = [sub for sub in experiment.sub_experiments if sub not in handlers]
            whole = all(kept.get(s) == len(defined.get(s, ())) for s in with_handler)
            reached = experiment.id in covered if with_handler else covers_all
            named = all(self.names(sub) for sub in without)
            if whole and named and (reached or not without):
                found.append(experiment.id)
        return found


_Matcher = Callable[..., bool]


def _compiled(expression: str) -> Callable[[_Matcher], bool]:
    if not expression:
        return _everything
    try:
        compiled: Callable[[_Matcher], bool] = Expression.compile(expression).evaluate
    except Exception:  # noqa: BLE001 - its class differs between versions of pytest
        return _everything  # pytest itself reports a wrong expression
    return compiled


def _everything(_matcher: _Matcher) -> bool:
    return True
