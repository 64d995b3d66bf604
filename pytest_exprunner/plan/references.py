"""Ids in a plan that must exist, stand once, and not lead back to themselves.

Checked on the document, not on the models, so that a broken part does not hide what is wrong
beside it.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_exprunner._util.errors import printable, quoted
from pytest_exprunner._util.yaml import Path
from pytest_exprunner.plan.criterion import split_source
from pytest_exprunner.plan.problems import ProblemList

Table = Mapping[str, Any]
_MAX_CYCLES = 20
_SHOWN_STEPS = 12


def check(value: Table, problems: ProblemList) -> None:
    """Check every reference in a document whose keys are text."""
    experiments = entries(value.get("experiments"))
    gates = entries(value.get("gates"))
    _check_distinct(experiments, gates, problems)
    known = {"experiment": frozenset(experiments), "gate": frozenset(gates)}
    either = known["experiment"] | known["gate"]
    owned = frozenset(sub for experiment in experiments.values() for sub in _subs(experiment))
    replaced: dict[str, str] = {}
    for name, experiment in experiments.items():
        path: Path = ("experiments", name)
        for index, old in texts(experiment.get("replaces")):
            place = (*path, "replaces", index)
            _known(problems, place, old, "experiment", known["experiment"])
            first = replaced.setdefault(old, name)
            if first != name:
                problems.add(
                    place, f"{quoted(old)} is already replaced by {first}", "; expected one replacement"
                )
        for index, needed in texts(experiment.get("dependencies")):
            _known(problems, (*path, "dependencies", index), needed, "experiment or gate", either)
        _check_sources(path, experiment, owned, problems)
        _check_needs(path, experiment, owned, problems)
    for name, gate in gates.items():
        for field in ("experiments", "unlocks"):
            for index, member in texts(gate.get(field)):
                _known(problems, ("gates", name, field, index), member, "experiment", known["experiment"])
    _check_waivers(value.get("waivers"), experiments, problems)
    _check_cycles(experiments, gates, problems)


def _check_waivers(waivers: object, experiments: Table, problems: ProblemList) -> None:
    seen: set[tuple[str, str]] = set()
    for index, waiver in enumerate(waivers if isinstance(waivers, list) else []):
        entry = waiver if isinstance(waiver, dict) else {}
        experiment, criterion = entry.get("experiment"), entry.get("criterion")
        if not isinstance(experiment, str) or not isinstance(criterion, str):
            continue
        place: Path = ("waivers", index)
        _known(problems, (*place, "experiment"), experiment, "experiment", frozenset(experiments))
        criteria = frozenset(entries(entries(experiments).get(experiment, {}).get("success_criteria")))
        if experiment in experiments and criterion not in criteria:
            text = f"unknown criterion {quoted(criterion)} of {printable(experiment)}"
            problems.add((*place, "criterion"), text, problems.suggest(criterion, criteria))
        if (experiment, criterion) in seen:
            text = f"{quoted(criterion)} of {printable(experiment)} is waived twice"
            problems.add((*place, "criterion"), text, "; expected one waiver")
        seen.add((experiment, criterion))


def entries(value: object) -> dict[str, Table]:
    """Return the entries of a mapping; an entry that is not a mapping counts as empty."""
    if not isinstance(value, dict):
        return {}
    return {key: item if isinstance(item, dict) else {} for key, item in value.items()}


def texts(value: object) -> list[tuple[int, str]]:
    """Return the texts in a list with their places."""
    return [(i, v) for i, v in enumerate(value) if isinstance(v, str)] if isinstance(value, list) else []


def _subs(experiment: Table) -> list[str]:
    return list(entries(experiment.get("sub_experiments")))


def _known(problems: ProblemList, path: Path, name: str, noun: str, known: frozenset[str]) -> None:
    if name not in known:
        problems.add(path, f"unknown {noun} {quoted(name)}", problems.suggest(name, known))


def _check_distinct(experiments: Table, gates: Table, problems: ProblemList) -> None:
    owners: dict[str, str] = {}
    for name, experiment in experiments.items():
        subs = _subs(experiment)
        for index, sub in enumerate(subs):
            first = owners.setdefault(sub.casefold(), name)
            if first != name:
                text = f"sub-experiment {quoted(sub)} is also in {first}"
                path = _sub_path(problems, name, sub, index)
                problems.add(path, text, "; expected each in one experiment", at_key=True)
        _check_twins(subs, problems, lambda sub, index, name=name: _sub_path(problems, name, sub, index))
    _check_twins(experiments, problems, lambda name, _index: ("experiments", name))
    _check_twins(gates, problems, lambda name, _index: ("gates", name))
    for shared in (gate for gate in gates if gate in experiments):
        text = f"{quoted(shared)} is also an experiment"
        problems.add(("gates", shared), text, "; expected another id", at_key=True)
    if "all" in gates:
        problems.add(("gates", "all"), "'all' means every gate", "; expected another id", at_key=True)


def _sub_path(problems: ProblemList, experiment: str, sub: str, index: int) -> Path:
    path = ("experiments", experiment, "sub_experiments")
    in_list = (*path, 0) in problems.document.marks
    return (*path, index) if in_list else (*path, sub)


def _check_twins(ids: Iterable[str], problems: ProblemList, path: Any) -> None:
    seen: dict[str, str] = {}
    for index, name in enumerate(ids):
        first = seen.setdefault(name.casefold(), name)
        if first != name:
            text = f"{quoted(name)} differs from {quoted(first)} only in case"
            hint = "; expected ids that are distinct as file names"
            problems.add(path(name, index), text, hint, at_key=True)


def _check_sources(path: Path, experiment: Table, owned: frozenset[str], problems: ProblemList) -> None:
    subs = _subs(experiment)
    known = frozenset(subs)
    for name, criterion in entries(experiment.get("success_criteria")).items():
        source = criterion.get("from")
        for field in ("minus", "over"):
            named = criterion.get(field)
            if isinstance(named, str) and split_source(named)[0] in owned:
                text = f"the baseline {quoted(named)} is a sub-experiment"
                hint = f"; expected a metric of it: {named}/accuracy"
                problems.add((*path, "success_criteria", name, field), text, hint)
            elif isinstance(named, str) and "/" in named:
                sub, _variant = split_source(named.partition("/")[0])
                if sub not in owned:
                    text = f"unknown sub-experiment {quoted(sub)} of the baseline {quoted(named)}"
                    hint = problems.suggest(sub, owned) or "; expected one, or a metric of the same attempt"
                    problems.add((*path, "success_criteria", name, field), text, hint)
        if not isinstance(source, str):
            continue
        sub, _variant = split_source(source)
        if sub not in known:
            text = f"unknown sub-experiment {quoted(sub)} of {printable(str(path[-1]))}"
            problems.add((*path, "success_criteria", name, "from"), text, problems.suggest(sub, subs))


def _check_needs(path: Path, experiment: Table, known: frozenset[str], problems: ProblemList) -> None:
    for sub, entry in entries(experiment.get("sub_experiments")).items():
        for index, needed in texts(entry.get("needs")):
            place = (*path, "sub_experiments", sub, "needs", index)
            _known(problems, place, needed, "sub-experiment", known)


# --- cycles -----------------------------------------------------------------------------------


def _check_cycles(experiments: Table, gates: Table, problems: ProblemList) -> None:
    waits: dict[str, dict[str, Path]] = {name: {} for name in experiments}
    for name, experiment in experiments.items():
        for _index, needed in texts(experiment.get("dependencies")):
            waits[name][needed] = ("experiments", name, "dependencies")
    for name, gate in gates.items():
        if name in experiments:
            continue
        members = {member for _index, member in texts(gate.get("experiments")) if member in experiments}
        waits[name] = dict.fromkeys(members, ("gates", name, "experiments"))
        for _index, unlocked in texts(gate.get("unlocks")):
            if unlocked in experiments:
                waits[unlocked].setdefault(name, ("gates", name, "unlocks"))
    if not _report_cycles(waits, "no experiment that depends on itself", problems):
        _report_cycles(_sub_waits(experiments, waits), "no sub-experiment that needs itself", problems)
    old: dict[str, dict[str, Path]] = {
        name: dict.fromkeys((o for _i, o in texts(e.get("replaces"))), ("experiments", name, "replaces"))
        for name, e in experiments.items()
    }
    _report_cycles(old, "no experiment that replaces itself", problems)


_SUB = "\0"  # in front of an id of a sub-experiment, which may also be an experiment's


def _sub_waits(experiments: Table, waits: Mapping[str, dict[str, Path]]) -> dict[str, dict[str, Path]]:
    """Return what waits for what down to sub-experiments; empty where none needs another, or compares."""
    found: dict[str, dict[str, Path]] = {name: dict(edges) for name, edges in waits.items()}
    needed = False
    for name, experiment in experiments.items():
        for criterion, entry in entries(experiment.get("success_criteria")).items():
            for field in ("minus", "over"):
                named = entry.get(field)
                sub = split_source(named.partition("/")[0])[0] if isinstance(named, str) else ""
                if isinstance(named, str) and "/" in named and sub not in _subs(experiment):
                    needed = True  # its verdict is known when that one is done
                    found[name].setdefault(
                        _SUB + sub, ("experiments", name, "success_criteria", criterion, field)
                    )
    for name, experiment in experiments.items():
        inside: Path = ("experiments", name, "sub_experiments")
        for sub, entry in entries(experiment.get("sub_experiments")).items():
            needs = [other for _index, other in texts(entry.get("needs"))]
            needed = needed or bool(needs)
            edges = found[_SUB + sub] = dict.fromkeys((_SUB + n for n in needs), (*inside, sub, "needs"))
            edges.update(waits[name])
            found[name][_SUB + sub] = (*inside, sub)
    return found if needed else {}


def cycle(edges: Mapping[str, Iterable[str]]) -> Sequence[str]:
    """Return the ids along one cycle, the first repeated at the end; empty where there is none.

    Each id depends on the one after it.
    """
    try:
        graphlib.TopologicalSorter({n: list(d) for n, d in edges.items()}).prepare()
    except graphlib.CycleError as error:
        path: list[str] = error.args[1]
        return path[::-1]
    return ()


def _report_cycles(edges: Mapping[str, dict[str, Path]], expected: str, problems: ProblemList) -> bool:
    """Report disjoint cycles, each where its first step is written; return whether there was any."""
    for found in range(_MAX_CYCLES):
        loop = list(cycle(edges))
        if not loop:
            return found > 0
        steps = loop[:-1]
        first = min(range(len(steps)), key=lambda i: _order(problems, edges, steps, i))
        steps = [*steps[first:], *steps[:first]]
        path = edges[steps[0]][steps[1 % len(steps)]]
        shown = [*steps, steps[0]]
        if len(shown) > _SHOWN_STEPS:
            shown = [*shown[: _SHOWN_STEPS - 1], f"… {len(shown) - _SHOWN_STEPS} more …", shown[-1]]
        way = " → ".join(printable(step.removeprefix(_SUB)) for step in shown)
        problems.add(path, f"cycle: {way}", f"; expected {expected}")
        inside = set(steps)
        for step in steps:
            for other in edges[step].keys() & inside:
                del edges[step][other]
    return True


def _order(
    problems: ProblemList, edges: Mapping[str, dict[str, Path]], steps: list[str], i: int
) -> tuple[int, int]:
    path = edges[steps[i]][steps[(i + 1) % len(steps)]]
    written = path[-1] != "experiments"  # a gate's members are what it is; say what waits for it
    line, column = problems.document.marks.get(path, (0, 0))
    return (line if written else line + 10**9, column)
