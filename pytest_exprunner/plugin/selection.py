"""What a run selects: the order of items, completely selected experiments, and -k / -m without items."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from _pytest.mark.expression import Expression

from pytest_exprunner.model.selection import Selected
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.plugin.collection import SELECTED, HandlerCollection
from pytest_exprunner.schedule import order

if TYPE_CHECKING:
    import pytest


def in_order(items: list[pytest.Item], plan: Plan) -> list[pytest.Item]:
    """Return the items with each handler after those it depends on, otherwise in the given order.

    Ordinary tests keep their places.
    """
    handlers = [item for item in items if SELECTED in item.stash]
    if not waits_for_anything(plan):
        return items
    subs = ((i, item.stash[SELECTED]) for i, item in enumerate(handlers))
    planned = order.of_plan(plan, {i: (s.experiment, s.sub_experiment) for i, s in subs}, len(handlers))
    ordered = iter([handlers[index] for index in order.in_order(planned) if isinstance(index, int)])
    return [next(ordered) if SELECTED in item.stash else item for item in items]


def waits_for_anything(plan: Plan) -> bool:
    """Return whether the plan contains any dependency."""
    return any(plan.requirements(experiment) for experiment in plan.experiments) or any(
        sub.needs for _experiment, sub in plan.sub_experiments()
    )


def with_variants(
    selected: Iterable[Selected], variants: Mapping[str, tuple[str | None, ...]]
) -> list[Selected]:
    """Return the selected items, each with the variants that its handler defines."""
    return [
        item
        if item.variants == (defined := variants.get(item.sub_experiment, (None,)))
        else replace(item, variants=defined)
        for item in selected
    ]


class Selection:
    """Determines which sub-experiments without items a run would have selected."""

    def __init__(self, config: pytest.Config, collecting: HandlerCollection, folders: Sequence[Path]) -> None:
        """Read the selection expressions of the command line."""
        self._config = config
        self._collecting = collecting
        self._folders = folders
        self._keyword = _compiled(config.getoption("keyword", ""))
        self._marker = _compiled(config.getoption("markexpr", ""))
        self._args = [str(arg) for arg in config.args]
        self._start = config.invocation_params.dir

    def names(self, sub: str) -> bool:
        """Return whether ``-k`` and ``-m`` would keep a sub-experiment."""
        experiment = self._collecting.plan.owner(sub)
        names = self._collecting.names(experiment, sub)
        lowered = [name.lower() for name in names]

        def by_keyword(name: str, /, **_: object) -> bool:
            return any(name.lower() in known for known in lowered)

        def by_marker(name: str, /, **_: object) -> bool:
            return name in names

        return self._keyword(by_keyword) and self._marker(by_marker)

    def covers_all(self) -> bool:
        """Return whether the arguments include every handlers' folder, or a folder above it."""
        paths = {self._path(arg) for arg in self._args if "::" not in arg}
        return all(any(folder.is_relative_to(path) for path in paths) for folder in self._folders)

    def covered(self) -> set[str]:
        """Return the experiments with a handler file in the given paths; node ids do not count."""
        paths = [self._path(arg) for arg in self._args if "::" not in arg]
        found: set[str] = set()
        for file, scanned in self._collecting.scan.files.items():
            if any(file.is_relative_to(path) for path in paths):
                subs = (h.sub_experiment for h in scanned.handlers)
                found.update(self._collecting.plan.owner(sub).id for sub in subs if sub is not None)
        return found

    def uncollected(self) -> dict[str, str]:
        """Return handlers in the given paths that pytest did not collect, though no option excludes them."""
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

    def complete(self, selected: Iterable[str]) -> list[str]:
        """Return the experiments of which every planned sub-experiment and variant is selected.

        ``selected`` contains a sub-experiment once for each selected variant and seed.
        """
        kept: dict[str, int] = {}
        for sub in selected:
            kept[sub] = kept.get(sub, 0) + 1
        handlers, defined = self._collecting.scan.planned(), self._collecting.variants
        covered, covers_all = self.covered(), self.covers_all()
        found = []
        for experiment in self._collecting.plan.experiments.values():
            with_handler = [sub for sub in experiment.sub_experiments if sub in handlers]
            without = [sub for sub in experiment.sub_experiments if sub not in handlers]
            seeds = self._collecting.seeds_of
            all_kept = all(
                kept.get(s) == len(defined.get(s, ())) * (len(seeds(s)) or 1) for s in with_handler
            )
            reached = experiment.id in covered if with_handler else covers_all
            named = all(self.names(sub) for sub in without)
            if all_kept and named and (reached or not without):
                found.append(experiment.id)
        return found


_Matcher = Callable[..., bool]


def _compiled(expression: str) -> Callable[[_Matcher], bool]:
    if not expression:
        return _everything
    try:
        compiled: Callable[[_Matcher], bool] = Expression.compile(expression).evaluate
    except Exception:  # noqa: BLE001 - its class differs between versions of pytest
        return _everything  # pytest itself reports an invalid expression
    return compiled


def _everything(_matcher: _Matcher) -> bool:
    return True
