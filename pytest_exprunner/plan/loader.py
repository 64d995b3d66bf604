"""research_plan.yaml → `Plan`, with every problem at its line and column, all at once."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from pytest_exprunner._util import yaml as yaml_nodes
from pytest_exprunner._util.errors import PlanError, Problem, closest, did_you_mean, quoted
from pytest_exprunner.plan import keys, references
from pytest_exprunner.plan.base import KEY_ALIAS, Model
from pytest_exprunner.plan.compute import Container, Modal, Resources
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.fields import check_experiment_id, check_sub_experiment_id, check_text_key
from pytest_exprunner.plan.models import (
    Experiment,
    Gate,
    NextSteps,
    Plan,
    Project,
    SubExperiment,
    Tracking,
    Wandb,
)
from pytest_exprunner.plan.problems import ProblemList

_SIMILAR_KEYS = 0.75


@dataclass(frozen=True, slots=True)
class LoadedPlan:
    """A plan, what is odd about it without being wrong, and where it came from."""

    plan: Plan
    warnings: tuple[Problem, ...]
    file: Path
    digest: str

    def is_current(self) -> bool:
        """Return whether the file is still what was read from it."""
        try:
            return hashlib.sha256(_read_bounded(self.file)).hexdigest() == self.digest
        except (OSError, ValueError):
            return False


def load(file: Path, shown_as: str = "") -> LoadedPlan:
    """Read and check a plan. Raises `PlanError` with every problem in it."""
    name = shown_as or str(file)
    try:
        source = _read_bounded(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PlanError([Problem(name, 0, 0, "", f"cannot be read: {reason}")]) from error
    plan, warnings = parse(source, name)
    return LoadedPlan(plan, warnings, file, hashlib.sha256(source).hexdigest())


def _read_bounded(file: Path) -> bytes:
    if stat.S_ISFIFO(file.stat().st_mode):
        raise ValueError("it is a pipe; expected a file")
    with file.open("rb") as stream:
        return stream.read(yaml_nodes.PLAN_LIMITS.bytes + 1)


def parse(source: bytes, name: str) -> tuple[Plan, tuple[Problem, ...]]:
    """Return the plan in ``source`` and its warnings. Raises `PlanError`."""
    document = yaml_nodes.read(source)
    problems = ProblemList(name, document)
    if not isinstance(document.value, dict):
        if not problems.failed:
            text = "the file is empty" if document.value is None else "this is not a mapping"
            problems.add((), text, "; expected 'experiments:' with at least one experiment")
        problems.refuse()
    reader = _PlanReader(problems)
    value = reader.cleaned(Plan, document.value, ())
    plan = reader.validate(value)
    references.check(value, problems)
    if plan is None or problems.failed:
        problems.refuse()
    return plan, tuple(sorted(problems.warnings, key=lambda problem: (problem.line, problem.column)))


# Which model describes what stands under a key: one entry, or a mapping of entries by id.
_ONE: dict[tuple[type[Model], str], type[Model]] = {
    (Plan, "project"): Project,
    (Plan, "tracking"): Tracking,
    (Tracking, "wandb"): Wandb,
    (Experiment, "next_steps"): NextSteps,
    (SubExperiment, "resources"): Resources,
    (SubExperiment, "modal"): Container,
    (Plan, "modal"): Modal,
}
_MANY: dict[tuple[type[Model], str], type[Model]] = {
    (Plan, "experiments"): Experiment,
    (Plan, "gates"): Gate,
    (Experiment, "sub_experiments"): SubExperiment,
    (Experiment, "success_criteria"): Criterion,
}


_ELSEWHERE = {
    **dict.fromkeys(("needs", "seeds", "timeout", "isolate", "resources"), "sub-experiment"),
    "modal": "sub-experiment, or the plan as a whole",
}


class _PlanReader:
    """Matches a document to the models and reports unknown keys and ids; pydantic validates the rest."""

    def __init__(self, problems: ProblemList) -> None:
        self.problems = problems
        self.dropped: set[yaml_nodes.Path] = set()
        """Paths from which something was taken out, and all above them."""

    def cleaned(self, model: type[Model], value: Mapping[Any, Any], path: yaml_nodes.Path) -> dict[str, Any]:
        """Return a copy with known keys in their places: a key without a value counts as absent."""
        result: dict[str, Any] = {}
        for key, item in value.items():
            here = (*path, str(key) if not isinstance(key, str) else key)
            if not isinstance(key, str) or key == KEY_ALIAS:
                self.fit(Criterion, key, here, at_key=True)
            elif key not in keys.KNOWN[model]:
                result[key] = item
                self.unknown(model, key, value, here)
            elif item is not None:
                result[key] = self.inner(model, key, item, here)
        return result

    def unknown(self, model: type[Model], key: str, beside: Mapping[Any, Any], path: yaml_nodes.Path) -> None:
        """Report an unknown key where it looks like a known one; what its authors invented is theirs."""
        meant = keys.meant(model, key)
        # A missing required key is reported, with the key beside it that was probably meant.
        if meant is not None and (meant in beside or not keys.is_required(model, meant)):
            hint = f" (did you mean {meant!r}?); choose a more distinct name for a key of your own"
            self.problems.add(path, f"unknown key {quoted(key)}", hint, at_key=True)
        elif keys.belongs_to_experiment(model, key):
            text = f"{quoted(key)} has no meaning here"
            self.problems.add(path, text, "; it belongs to an experiment", at_key=True)
        elif hint := self.problems.suggest(key, keys.KNOWN[model], _SIMILAR_KEYS):
            self.problems.warn(path, f"unknown key {quoted(key)}, kept", hint)
        elif key in _ELSEWHERE:
            text = f"{quoted(key)} has no meaning here, kept"
            self.problems.warn(path, text, f"; it belongs to a {_ELSEWHERE[key]}")

    def drop(self, path: yaml_nodes.Path) -> None:
        """Remember that something at a path was reported and left out."""
        self.dropped.update(path[:length] for length in range(len(path) + 1))

    def inner(self, model: type[Model], key: str, item: Any, path: yaml_nodes.Path) -> Any:
        """Return what stands under a known key, cleaned by the model that describes it."""
        one, many = _ONE.get((model, key)), _MANY.get((model, key))
        if one is not None and isinstance(item, dict):
            return self.cleaned(one, item, path)
        if many is SubExperiment and isinstance(item, list):
            return self.listed(item, path)
        if many is not None and isinstance(item, dict):
            return self.entries(many, item, path)
        return item

    def entries(self, model: type[Model], value: Mapping[Any, Any], path: yaml_nodes.Path) -> dict[str, Any]:
        """Return the entries of a mapping whose keys are fit to be ids."""
        result: dict[str, Any] = {}
        for key, item in value.items():
            here = (*path, key if isinstance(key, str) else str(key))
            if not self.fit(model, key, here, at_key=True):
                continue
            if item is None and model is SubExperiment:
                result[key] = {}
            else:
                result[key] = self.cleaned(model, item, here) if isinstance(item, dict) else item
        return result

    def listed(self, value: list[Any], path: yaml_nodes.Path) -> dict[str, Any]:
        """Return a list of sub-experiment ids as a mapping without details."""
        result: dict[str, Any] = {}
        for index, item in enumerate(value):
            here = (*path, index)
            if isinstance(item, str) and item in result:
                text = f"{quoted(item)} is listed twice"
                self.problems.add(here, text, "; expected each id once")
                self.drop(here)
            elif self.fit(SubExperiment, item, here, at_key=False):
                result[item] = {}
        return result

    def fit(self, model: type[Model], key: object, path: yaml_nodes.Path, *, at_key: bool) -> bool:
        """Return whether a key can be the id of an entry; report it if not."""
        try:
            if model is SubExperiment:
                check_sub_experiment_id(key)
            elif model is not Criterion:
                check_experiment_id(key)
            else:
                check_text_key(key)
        except PydanticCustomError as error:
            self.problems.add(path, str(error), at_key=at_key)
            self.drop(path)
            return False
        return True

    def validate(self, value: dict[str, Any]) -> Plan | None:
        """Return the plan, or None where pydantic finds it wrong; every problem is reported."""
        try:
            return Plan.model_validate(value)
        except ValidationError as error:
            details = error.errors(include_url=False)
        said: set[yaml_nodes.Path] = set()
        found = [(self.path(detail, value), detail) for detail in details]
        wrong_inside = {path[:length] for path, _d in found for length in range(len(path))}
        for path, detail in found:
            emptied = detail["type"] in ("too_short", "missing") and path in self.dropped
            repeated = path in said or path in wrong_inside
            if not (emptied or repeated):
                said.add(path)
                self.translate(path, detail)
        return None

    def path(self, detail: Any, value: Any) -> yaml_nodes.Path:
        """Return where in the document an error is; pydantic names branches of unions as well."""
        path: list[str | int] = []
        location = [part for part in detail["loc"] if part != KEY_ALIAS]
        for number, part in enumerate(location):
            missing = detail["type"] == "missing" and number == len(location) - 1
            if (isinstance(value, dict) and part in value) or (
                isinstance(value, list) and isinstance(part, int) and part < len(value)
            ):
                value = value[part]
                path.append(part)
            elif missing:
                path.append(part)
        return tuple(path)

    def translate(self, path: yaml_nodes.Path, detail: Any) -> None:
        """Report one error of pydantic in the words of the plan."""
        text, hint = _words(detail, path)
        if detail["type"] == "missing":
            hint += self.misspelt(path, detail["input"])
        self.problems.add(path, text, hint, at_key=detail["type"] == "missing")

    def misspelt(self, path: yaml_nodes.Path, beside: object) -> str:
        """Name the key beside a missing one that was probably meant to be it."""
        others = [key for key in beside if isinstance(key, str)] if isinstance(beside, dict) else []
        unknown = [key for key in others if key not in keys.ALL]
        meant = closest(path[-1], unknown)
        return f"; {quoted(meant)} is not a known key" if meant is not None else ""


def _words(detail: Any, path: yaml_nodes.Path) -> tuple[str, str]:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if "message" in context:
        return context["message"], ""
    if kind == "missing":
        return f"'{path[-1]}' is missing", f"; expected {_MISSING.get(str(path[-1]), 'a value')}"
    if kind == "literal_error":
        return _literal_words(value, context["expected"], path)
    if kind == "too_short":
        return "this is empty", "; expected at least one entry"
    if kind in _EXPECTED:
        what, instead = _EXPECTED[kind]
        if len(path) > 1 and path[-2] == "success_criteria" and type(value) in (int, float):
            instead = f"tiers, such as {{target: {quoted(value)}}}"
        return f"{quoted(value)} is not {what}", f"; expected {instead}"
    return f"{quoted(value)}: {detail['msg']}", ""


def _literal_words(value: object, expected: str, path: yaml_nodes.Path) -> tuple[str, str]:
    known = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
    noun = {"evidence": "kind of evidence"}.get(name := _last_name(path), name)
    article = "an" if noun[:1] in "aeiou" else "a"
    choices = f"{', '.join(known[:-1])} or {known[-1]}" if len(known) > 1 else known[0]
    hint = did_you_mean(value, known) if isinstance(value, str) else ""
    return f"{quoted(value)} is not {article} {noun}", f"; expected {choices}{hint}"


def _last_name(path: yaml_nodes.Path) -> str:
    return next(_names_from_the_end(path), "value")


def _names_from_the_end(path: yaml_nodes.Path) -> Iterator[str]:
    return (part for part in reversed(path) if isinstance(part, str))


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
    "greater_than": ("above zero", "a positive number"),
    "greater_than_equal": ("zero or above", "zero or a positive number"),
}
_MISSING = {
    "target": "a number, such as target: 0.7",
    "sub_experiments": "a list of ids, such as [e1_1]",
    "experiments": "at least one experiment",
}
