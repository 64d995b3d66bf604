"""research_plan.yaml → `Plan`, with every problem at its line and column, all at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pytest_exprunner import graph, yaml_nodes
from pytest_exprunner.errors import PlanError, Problem, did_you_mean
from pytest_exprunner.plan import (
    _KEY_ALIAS,
    Criterion,
    Experiment,
    Gate,
    Model,
    Plan,
    Project,
    SubExperiment,
    Waiver,
)


@dataclass(frozen=True, slots=True)
class LoadedPlan:
    """A plan, what is odd about it without being wrong, and where it came from."""

    plan: Plan
    warnings: tuple[Problem, ...]
    file: Path
    digest: str


def load(file: Path, shown_as: str = "") -> LoadedPlan:
    """Read and check a plan. Raises `PlanError` with every problem in it."""
    name = shown_as or str(file)
    try:
        source = _read_bounded(file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise PlanError([Problem(name, 0, 0, "", f"cannot be read: {reason}")]) from error
    plan, warnings = parse(source, name)
    return LoadedPlan(plan, warnings, file, hashlib.sha256(source).hexdigest())


def _read_bounded(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(yaml_nodes.PLAN_LIMITS.bytes + 1)


def parse(source: bytes, name: str) -> tuple[Plan, tuple[Problem, ...]]:
    """Return the plan in ``source`` and its warnings. Raises `PlanError`."""
    document = yaml_nodes.read(source)
    report = _Report(name, document)
    for fault in document.faults:
        report.problems.append(Problem(name, fault.line, fault.column, dotted(fault.path), fault.text))
    if not isinstance(document.value, dict):
        if not report.problems:
            report.add(
                (),
                "the file is empty" if document.value is None else "this is not a mapping",
                "; expected 'experiments:' with at least one experiment",
            )
        raise PlanError(report.problems)
    _check_shape(document.value, report)
    plan = _validate(document.value, report)
    if plan is not None:
        _check_references(plan, _Names.of(document.value), report)
    if report.problems:
        raise PlanError(report.problems)
    assert plan is not None
    return plan, tuple(report.warnings)


class _Report:
    """Collects problems and warnings, each at the place of the path it is about."""

    def __init__(self, name: str, document: yaml_nodes.Document) -> None:
        self.name = name
        self.document = document
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def add(self, path: yaml_nodes.Path, text: str, hint: str = "", *, at_key: bool = False) -> None:
        self.problems.append(self.problem(path, text, hint, at_key=at_key))

    def warn(self, path: yaml_nodes.Path, text: str, hint: str = "") -> None:
        self.warnings.append(self.problem(path, text, hint, at_key=True))

    def problem(self, path: yaml_nodes.Path, text: str, hint: str, *, at_key: bool) -> Problem:
        line, column = self.place(path, at_key=at_key)
        return Problem(self.name, line, column, dotted(path), text, hint)

    def place(self, path: yaml_nodes.Path, *, at_key: bool) -> tuple[int, int]:
        first, second = self.document.marks, self.document.key_marks
        if at_key:
            first, second = second, first
        for length in range(len(path), -1, -1):
            part = path[:length]
            if part in first or part in second:
                return first.get(part) or second[part]
        return (1, 1)


def dotted(path: yaml_nodes.Path) -> str:
    """``experiments.p2.sub_experiments[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text if len(text) <= 200 else f"{text[:199]}…"


# --- shape: unknown keys and keys of a later version -----------------------------------------


def _check_shape(value: Mapping[Any, Any], report: _Report) -> None:
    for path, model, entry in _entries(value):
        for key in entry:
            if not isinstance(key, str):
                report.add(
                    (*path, str(key)),
                    f"the key {key!r} is not text",
                    "; expected quotes around it",
                    at_key=True,
                )
                continue
            if key in model.LATER:
                _refuse_later(report, (*path, key), entry[key])
            elif key not in known_keys(model) and len(report.warnings) < yaml_nodes.MAX_PROBLEMS:
                hint = did_you_mean(key, known_keys(model))
                if hint:
                    report.warn((*path, key), f"unknown key {key!r}, kept", hint)


def _refuse_later(report: _Report, path: yaml_nodes.Path, value: object) -> None:
    if value not in (None, [], {}, False):
        report.add(path, f"'{path[-1]}' is not supported yet", "; expected a plan without it", at_key=True)


def known_keys(model: type[BaseModel]) -> frozenset[str]:
    """Return the keys that a model gives a meaning to, as they are written in a plan."""
    names = (field.alias or name for name, field in model.model_fields.items())
    return frozenset(name for name in names if name != _KEY_ALIAS)


def _entries(
    value: Mapping[Any, Any],
) -> Iterator[tuple[yaml_nodes.Path, type[Model], Mapping[Any, Any]]]:
    """Every mapping of a plan that a model describes, however broken its surroundings are."""
    yield (), Plan, value
    project = value.get("project")
    if isinstance(project, dict):
        yield ("project",), Project, project
    for exp_id, experiment in _mappings(value.get("experiments")):
        path: yaml_nodes.Path = ("experiments", exp_id)
        yield path, Experiment, experiment
        for sub_id, sub in _mappings(experiment.get("sub_experiments")):
            yield (*path, "sub_experiments", sub_id), SubExperiment, sub
        for name, criterion in _mappings(experiment.get("success_criteria")):
            yield (*path, "success_criteria", name), Criterion, criterion
    for gate_id, gate in _mappings(value.get("gates")):
        yield ("gates", gate_id), Gate, gate
    waivers = value.get("waivers")
    for index, waiver in enumerate(waivers if isinstance(waivers, list) else ()):
        if isinstance(waiver, dict):
            yield ("waivers", index), Waiver, waiver


def _mappings(value: object) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict):
                yield str(key), item


# --- types: what pydantic says, in the words of the field ------------------------------------


_ATTEMPTS = 5


def _validate(value: Mapping[Any, Any], report: _Report) -> Plan | None:
    """Return the plan, without its broken parts if there are any, so that the rest is checked too."""
    remaining = _without_nulls(_text_keys(value))
    pruned: set[yaml_nodes.Path] = set()
    for _ in range(_ATTEMPTS):
        try:
            return Plan.model_validate(remaining)
        except ValidationError as error:
            details = error.errors(include_url=False)
        for detail in details:
            path = _document_path(detail)
            if not any(done[: len(path)] == path for done in pruned):
                _translate(detail, report)
        for detail in details:
            path = _document_path(detail)
            gone = detail["type"] == "missing" or path in pruned
            pruned.add(_prune(remaining, path[:-1] if gone else path))
    return None


def _text_keys(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if isinstance(key, str)}


def _document_path(detail: Any) -> yaml_nodes.Path:
    parts = (part for part in detail["loc"] if part not in ("[key]", _KEY_ALIAS))
    return tuple(p for p in parts if not (isinstance(p, str) and p.startswith(_INTERNAL_PARTS)))


def _prune(value: Any, path: yaml_nodes.Path) -> yaml_nodes.Path:
    """Take out the smallest keyed entry that holds ``path``; return the path of what went."""
    for depth, part in enumerate(path):
        if not isinstance(value, dict) or part not in value:
            break
        inner = value[part]
        if depth == len(path) - 1 or not isinstance(inner, dict):
            del value[part]
            return path[: depth + 1]
        value = inner
    return path


def _without_nulls(value: Mapping[Any, Any]) -> dict[Any, Any]:
    """Treat a known key without a value (``gates:``) as absent, as every YAML user expects."""
    result = dict(value)
    for path, model, _entry in list(_entries(value)):
        target: Any = result
        for part in path:
            target[part] = dict(target[part]) if isinstance(target[part], dict) else list(target[part])
            target = target[part]
        for key in known_keys(model):
            if key in target and target[key] is None:
                del target[key]
    return result


def _translate(detail: Any, report: _Report) -> None:
    path = _document_path(detail)
    at_key = "[key]" in detail["loc"] or detail["type"] == "missing"
    text, hint = _words(detail, path)
    problem = report.problem(path, text, hint, at_key=at_key)
    if problem not in report.problems:
        report.problems.append(problem)


def _words(detail: Any, path: yaml_nodes.Path) -> tuple[str, str]:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    shown = _shown(value)
    expected = _EXPECTED.get(kind)
    if "message" in context:
        return context["message"], ""
    if kind == "missing":
        return f"'{path[-1]}' is missing", f"; expected {_MISSING.get(str(path[-1]), 'a value')}"
    if kind == "literal_error":
        known = [word.strip(" '") for word in context["expected"].replace(" or ", ",").split(",")]
        noun = str(next((p for p in reversed(path) if isinstance(p, str)), "value"))
        choices = ", ".join(known[:-1]) + f" or {known[-1]}" if len(known) > 1 else known[0]
        article = "an" if noun[:1] in "aeiou" else "a"
        return (
            f"{shown} is not {article} {noun}",
            f"; expected {choices}{did_you_mean(value, known)}",
        )
    if kind == "too_short":
        return "this is empty", "; expected at least one entry"
    if kind == "too_long":
        return "this has too many entries", f"; expected at most {context.get('max_length')}"
    if expected:
        return f"{shown} is not {expected[0]}", f"; expected {expected[1]}"
    return f"{shown}: {detail['msg']}", ""


# Parts that pydantic puts into a location to name the branch of a union or a wrapper.
_INTERNAL_PARTS = ("function-", "tuple[", "constrained-")
_MAPPING = ("a mapping", "keys and values")
_EXPECTED: dict[str, tuple[str, str]] = {
    "string_type": ("text", "text, in quotes if it looks like a number"),
    "string_unicode": ("text", "valid Unicode"),
    "int_type": ("a whole number", "one, such as 3"),
    "float_type": ("a number", "one, such as 0.5"),
    "finite_number": ("a finite number", "one, such as 0.5"),
    "bool_type": ("true or false", "true or false"),
    "tuple_type": ("a list", "a list, such as [a, b]"),
    "mapping_type": _MAPPING,
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "greater_than": ("above zero", "a number above zero"),
    "greater_than_equal": ("zero or above", "zero or a number above"),
}
_MISSING = {
    "target": "a number, such as target: 0.7",
    "sub_experiments": "a list of ids, such as [e1_1]",
    "experiments": "at least one experiment",
}


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


# --- references: ids that must exist, and must exist once ------------------------------------


@dataclass(frozen=True, slots=True)
class _Names:
    """Every id that the document mentions as a key, whether its entry is sound or not."""

    experiments: tuple[str, ...]
    gates: tuple[str, ...]
    subs: Mapping[str, tuple[str, ...]]
    criteria: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, value: Mapping[Any, Any]) -> _Names:
        experiments = dict(_mappings(value.get("experiments")))
        return cls(
            experiments=_texts(value.get("experiments")),
            gates=_texts(value.get("gates")),
            subs={name: _texts(entry.get("sub_experiments")) for name, entry in experiments.items()},
            criteria={n: _texts(entry.get("success_criteria")) for n, entry in experiments.items()},
        )


def _texts(value: object) -> tuple[str, ...]:
    """The texts in a list, or among the keys of a mapping."""
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, dict | list) else ()


def _check_references(plan: Plan, names: _Names, report: _Report) -> None:
    _check_ids(names, report)
    _check_relations(plan, names, report)
    _check_sources(plan, names, report)
    _check_gates(plan, names, report)
    _check_cycles(plan, report)
    _check_waivers(plan, names, report)


def _check_ids(names: _Names, report: _Report) -> None:
    owners: dict[str, str] = {}
    for experiment, subs in names.subs.items():
        for index, sub in enumerate(subs):
            first = owners.setdefault(sub.casefold(), experiment)
            if first != experiment:
                report.add(
                    _sub_path(report, experiment, sub, index),
                    f"sub-experiment {sub!r} is also in {first}",
                    "; expected each in one experiment",
                    at_key=True,
                )
        _check_twins(("experiments", experiment, "sub_experiments"), subs, report)
    _check_twins(("experiments",), names.experiments, report)
    _check_twins(("gates",), names.gates, report)
    for shared in (gate for gate in names.gates if gate in names.experiments):
        report.add(
            ("gates", shared),
            f"{shared!r} is an experiment too",
            "; expected another id",
            at_key=True,
        )


def _sub_path(report: _Report, experiment: str, sub: str, index: int) -> yaml_nodes.Path:
    path = ("experiments", experiment, "sub_experiments")
    return (*path, index) if (*path, index) in report.document.marks else (*path, sub)


def _check_twins(path: yaml_nodes.Path, ids: Iterable[str], report: _Report) -> None:
    seen: dict[str, str] = {}
    for name in ids:
        first = seen.setdefault(name.casefold(), name)
        if first != name:
            report.add(
                (*path, name),
                f"{name!r} differs from {first!r} only in case",
                "; expected ids that are distinct as file names",
                at_key=True,
            )


def _check_relations(plan: Plan, names: _Names, report: _Report) -> None:
    replaced: dict[str, str] = {}
    for experiment in plan.experiments.values():
        path = ("experiments", experiment.id)
        for index, old in enumerate(experiment.replaces):
            _known(report, (*path, "replaces", index), old, "experiment", names.experiments)
            if replaced.setdefault(old, experiment.id) != experiment.id:
                report.add(
                    (*path, "replaces", index),
                    f"{old!r} is already replaced by {replaced[old]}",
                    "; expected one replacement",
                )
        for index, needed in enumerate(experiment.dependencies):
            _known(
                report,
                (*path, "dependencies", index),
                needed,
                "experiment or gate",
                [*names.experiments, *names.gates],
            )


def _known(report: _Report, path: yaml_nodes.Path, name: str, noun: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        report.add(path, f"unknown {noun} {name!r}", did_you_mean(name, names))


def _check_sources(plan: Plan, names: _Names, report: _Report) -> None:
    for experiment in plan.experiments.values():
        for criterion in experiment.success_criteria.values():
            sub, _variant = criterion.source
            if sub is not None and sub not in names.subs[experiment.id]:
                path = ("experiments", experiment.id, "success_criteria", criterion.name, "from")
                hint = did_you_mean(sub, names.subs[experiment.id])
                report.add(path, f"unknown sub-experiment {sub!r} of {experiment.id}", hint)


def _check_gates(plan: Plan, names: _Names, report: _Report) -> None:
    for gate in plan.gates.values():
        for index, member in enumerate(gate.experiments):
            _known(
                report,
                ("gates", gate.id, "experiments", index),
                member,
                "experiment",
                names.experiments,
            )
        for index, unlocked in enumerate(gate.unlocked):
            _known(
                report,
                ("gates", gate.id, "unlocks", index),
                unlocked,
                "experiment",
                names.experiments,
            )


def _check_cycles(plan: Plan, report: _Report) -> None:
    edges: dict[str, tuple[str, ...]] = {e: plan.requirements(e) for e in plan.experiments}
    edges.update({gate.id: gate.experiments for gate in plan.gates.values()})
    _report_cycle(edges, "dependencies", report)
    _report_cycle({e.id: e.replaces for e in plan.experiments.values()}, "replaces", report)


def _report_cycle(edges: Mapping[str, tuple[str, ...]], field: str, report: _Report) -> None:
    loop = graph.cycle(edges)
    if loop:
        place = next((e for e in loop if ("experiments", e, field) in report.document.marks), loop[0])
        report.add(
            ("experiments", place, field),
            f"cycle: {' → '.join(loop)}",
            "; expected no experiment to depend on itself",
        )


def _check_waivers(plan: Plan, names: _Names, report: _Report) -> None:
    for index, waiver in enumerate(plan.waivers):
        path = ("waivers", index)
        _known(report, (*path, "experiment"), waiver.experiment, "experiment", names.experiments)
        if waiver.experiment in names.criteria:
            _known(
                report,
                (*path, "criterion"),
                waiver.criterion,
                "criterion",
                names.criteria[waiver.experiment],
            )
