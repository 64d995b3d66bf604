"""The research plan as values: experiments, sub-experiments, criteria and gates.

Frozen pydantic models; reading a file is the business of `plan_file`. Unknown keys are kept.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BeforeValidator,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pytest_exprunner.errors import quoted
from pytest_exprunner.plan_compute import Container, Modal, Resources
from pytest_exprunner.plan_model import FREEZE, KEY, KEY_ALIAS, Ids, Model, Texts, listed, refuse, texts

Direction = Literal["higher", "lower"]
Severity = Literal["gate", "warn", "info"]
EvidenceName = Literal["real", "simulated", "fallback", "imported", "stub"]

_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}
_SUB_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_FOLDER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_VARIANT = re.compile(r"(?P<sub>[A-Za-z][A-Za-z0-9_]*)(?:\[(?P<variant>.*)\])?", re.DOTALL)


def check_experiment_id(value: object) -> object:
    """Return an id of an experiment or a gate if it can name a folder; raise a pydantic error if not."""
    if not isinstance(value, str):
        raise refuse("id", f"an id is text, not {quoted(value)}; expected quotes around it")
    if not _FOLDER_ID.fullmatch(value) or value[-1] == "." or value.split(".")[0].lower() in _RESERVED:
        raise refuse(
            "id",
            f"{quoted(value)} cannot be an id; expected letters, digits, '.', '_', '+' or '-', starting "
            "with a letter or digit, at most 100 characters (it names a folder)",
        )
    return value


def check_sub_experiment_id(value: object) -> object:
    """Return the id of a sub-experiment if a function's name can start with it; raise if not."""
    if not isinstance(value, str) or not _SUB_ID.fullmatch(value) or value.lower() in _RESERVED:
        raise refuse(
            "id",
            f"{quoted(value)} cannot be a sub-experiment id; expected letters, digits and '_', starting "
            "with a letter, at most 100 characters (a handler's name starts with it)",
        )
    return value


def check_text_key(value: object) -> object:
    """Return a key that is text; raise a pydantic error if it is not."""
    if not isinstance(value, str) or value == KEY_ALIAS:
        raise refuse("key", f"the key {quoted(value)} is not text; expected quotes around it")
    return value


def _threshold(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse("number", f"{quoted(value)} is not a number; expected one, such as 0.7")
    try:
        finite = math.isfinite(float(value))
    except OverflowError:
        finite = False
    if not finite:
        raise refuse("number", f"{quoted(value)} is not a finite number; expected one, such as 0.7")
    return float(value) if abs(value) >= 2**53 else value


def _said(value: object) -> object:
    if not isinstance(value, str) or not value.strip():
        raise refuse("text", f"{quoted(value)} says nothing; a waiver is signed: expected a text")
    return value


def _iso_date(value: object) -> object:
    if not isinstance(value, str):
        raise refuse("date", f"{quoted(value)} is not a date; expected one such as 2026-01-22")
    try:
        date.fromisoformat(value)
    except ValueError:
        raise refuse("date", f"{quoted(value)} is not a date; expected one such as 2026-01-22") from None
    return value


def _phase(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise refuse("phase", f"{quoted(value)} is not a phase; expected a whole number or a text")
    return value


def _unlocks(value: object) -> object:
    if isinstance(value, list):
        for item in value:
            if not isinstance(item, str):
                return tuple(value)  # the type of the item is reported at its place
        return tuple(value)
    if not isinstance(value, str):
        raise refuse("unlocks", f"{quoted(value)} is not text; expected a text or a list of experiment ids")
    return value


def _seeds(value: object) -> object:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, bool) or not isinstance(item, int) or not 0 <= item < 2**32:
            raise refuse(
                "seed", f"{quoted(item)} is not a seed; expected a whole number from 0 to {2**32 - 1}"
            )
    if isinstance(value, list) and len(set(value)) < len(value):
        raise refuse("seed", "a seed is listed twice; expected each once")
    return listed(value)


def _bounds(value: object) -> object:
    if not isinstance(value, list) or len(value) != len(("lowest", "highest")):
        raise refuse("bounds", f"{quoted(value)} is no pair of bounds; expected [lowest, highest]")
    return tuple(value)


_NO_PROJECT = re.compile(r"[/\\\\#?%:]")


def _project_name(value: object) -> object:
    if isinstance(value, str) and (not value or len(value) > 128 or _NO_PROJECT.search(value)):
        raise refuse(
            "project",
            f"{quoted(value)} is no project of W&B; expected a name without / \\ # ? % : and of at most "
            "128 characters",
        )
    return value


ExperimentId = Annotated[str, BeforeValidator(check_experiment_id)]
SubExperimentId = Annotated[str, BeforeValidator(check_sub_experiment_id)]
Threshold = Annotated[int | float, BeforeValidator(_threshold)]
IsoDate = Annotated[str, BeforeValidator(_iso_date)]


class Baseline(NamedTuple):
    """A metric that another one is compared with; of the same attempt where no sub-experiment is named."""

    sub_experiment: str | None
    variant: str | None
    metric: str


class Criterion(Model):
    """A success criterion: a metric, its tiers, and what may decide it."""

    name: str = KEY
    target: Threshold = Field(description="Meeting this is full success.")
    acceptable: Threshold | None = Field(None, description="Meeting this is enough to proceed.")
    failure: Threshold | None = Field(None, description="At or beyond this the idea has failed.")
    direction: Direction | None = Field(
        None,
        description="Which way is better; without it the order of the tiers tells, else higher.",
    )
    metric: str | None = Field(None, description="The returned metric, where it is not the criterion's name.")
    from_: str | None = Field(
        None,
        alias="from",
        description="The sub-experiment, or variant such as e_p2_1[lr=0.1], that decides.",
    )
    borderline: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="Distance from the deciding tier within which a person should look."
    )
    bounds: Annotated[tuple[Threshold | None, Threshold | None], BeforeValidator(_bounds)] | None = Field(
        None, description="Lowest and highest possible value; a value outside is inadmissible."
    )
    severity: Severity = Field("gate", description="gate decides, warn is pointed out, info is shown.")
    evidence: Annotated[
        tuple[EvidenceName, ...],
        Field(min_length=1),
        BeforeValidator(texts, json_schema_input_type=EvidenceName | list[EvidenceName]),
    ] = Field(("real",), description="Kinds of evidence that may decide it.")
    unit: str | None = Field(None, description="Unit of the value, shown beside it.")
    note: str | None = Field(None, description="What the criterion means, in a sentence.")
    aggregate: Literal["mean"] | None = Field(None, description="How values over seeds become one.")
    minus: str | None = Field(
        None, description="Baseline that is subtracted: a metric of the same attempt, or e_p2_2/metric."
    )
    over: str | None = Field(None, description="Baseline that is divided by, named in the same way.")

    @model_validator(mode="after")
    def _one_baseline(self) -> Criterion:
        if self.minus is not None and self.over is not None:
            raise refuse("baseline", "'minus' and 'over' are both given; expected one of them")
        base = self.baseline
        if base is None:
            return self
        if not base.metric:
            raise refuse("baseline", "a baseline names no metric; expected one, such as e_p2_2/accuracy")
        own = base.sub_experiment is None or self.source == (base.sub_experiment, base.variant)
        if own and base.metric == self.metric_name:
            raise refuse("baseline", f"{base.metric!r} is compared with itself; expected another baseline")
        return self

    @model_validator(mode="after")
    def _tiers_in_order(self) -> Criterion:
        if self.direction and self._implied() not in (None, self.direction):
            raise refuse(
                "direction",
                f"direction {self.direction!r} contradicts the tiers ({self.tiers_text()}); "
                f"expected {self._implied()!r} or tiers in the other order",
            )
        for better, worse, may_equal in (
            ("target", "acceptable", True),
            ("acceptable", "failure", False),
            ("target", "failure", False),
        ):
            if not self._in_order(getattr(self, better), getattr(self, worse), may_equal=may_equal):
                raise refuse(
                    "tiers",
                    f"tiers out of order for '{self.better}': {better} {getattr(self, better)}, {worse} "
                    f"{getattr(self, worse)}; expected target, acceptable, failure from best to worst",
                )
        low, high = self.bounds or (None, None)
        if low is not None and high is not None and low >= high:
            raise refuse("bounds", f"bounds [{low}, {high}] are out of order; expected [lowest, highest]")
        return self

    def _implied(self) -> Direction | None:
        other = self.failure if self.failure is not None else self.acceptable
        if other is None or other == self.target:
            return None
        return "higher" if self.target > other else "lower"

    def _in_order(self, better: float | None, worse: float | None, *, may_equal: bool) -> bool:
        if better is None or worse is None:
            return True
        ahead = better > worse if self.better == "higher" else better < worse
        return ahead or (may_equal and better == worse)

    def tiers_text(self) -> str:
        """The tiers that are given, as text: ``target 0.7, failure 0.5``."""
        tiers = (
            ("target", self.target),
            ("acceptable", self.acceptable),
            ("failure", self.failure),
        )
        return ", ".join(f"{name} {value}" for name, value in tiers if value is not None)

    @cached_property
    def better(self) -> Direction:
        """Which way is better, given or implied by the tiers."""
        return self.direction or self._implied() or "higher"

    @property
    def metric_name(self) -> str:
        """The name under which handlers return the value."""
        return self.metric or self.name

    @property
    def source(self) -> tuple[str | None, str | None]:
        """``from`` as (sub-experiment, variant); None for what is not named."""
        return split_source(self.from_) if self.from_ else (None, None)

    @cached_property
    def baseline(self) -> Baseline | None:
        """What ``minus`` or ``over`` names."""
        text = self.minus if self.minus is not None else self.over
        if text is None:
            return None
        place, slash, metric = text.partition("/")
        return Baseline(*split_source(place), metric) if slash else Baseline(None, None, text)

    @property
    def deciding(self) -> float:
        """The threshold between met and not met: acceptable, else target."""
        return self.target if self.acceptable is None else self.acceptable


class SubExperiment(Model):
    """One planned step of an experiment, carried out by one handler."""

    id: str = KEY
    name: str | None = Field(None, description="Title for people.")
    objective: str | None = Field(None, description="What it is meant to find out.")
    needs: Ids = Field((), description="Sub-experiments, also of other experiments, whose results it reads.")
    seeds: Annotated[tuple[int, ...], BeforeValidator(_seeds, json_schema_input_type=list[int])] = Field(
        (), description="One attempt per seed; their mean and its interval decide."
    )
    timeout: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Seconds that it may take, in a process of its own."
    )
    resources: Resources = Field(
        default_factory=lambda: Resources.model_validate({}), description="What it needs to itself."
    )
    data: Texts = Field(
        (), description="Data files or folders, relative to the study; their change makes a result outdated."
    )
    isolate: bool | None = Field(None, description="Run in a process of its own.")
    modal: Container = Field(
        default_factory=lambda: Container.model_validate({}),
        description="What its containers on Modal have beside what the plan says of all.",
    )


def _sub_experiments(value: object) -> object:
    """Accept a list of ids as well as a mapping with details (or nothing) for each id."""
    if isinstance(value, list):
        seen: set[str] = set()
        for item in value:
            check_sub_experiment_id(item)
            if item in seen:
                raise refuse("duplicate", f"{quoted(item)} is listed twice; expected each id once")
            seen.add(item)
        return {item: {} for item in value}
    if isinstance(value, Mapping):
        return {key: {} if item is None else item for key, item in value.items()}
    raise refuse(
        "sub_experiments",
        f"{quoted(value)} is neither; expected a list of ids or a mapping with details",
    )


class NextSteps(Model):
    """What to do after each recommendation."""

    proceed: Texts = Field((), description="What to do where its criteria are met.")
    pivot: Texts = Field((), description="What to do where one is not met.")
    investigate: Texts = Field(
        (), description="What to do where something failed, is unfinished or was not measured."
    )
    block: Texts = Field((), description="What to do where blockers are named.")


class Experiment(Model):
    """A claim, question or pivot with its sub-experiments and success criteria."""

    id: str = KEY
    name: str | None = Field(None, description="Title for people.")
    type: Literal["claim", "question", "pivot"] | None = Field(
        None, description="What kind of step it is; usable in -m."
    )
    phase: Annotated[int | str, BeforeValidator(_phase)] | None = Field(
        None, description="Shown, and usable in -m as phase_1."
    )
    description: str | None = Field(None, description="What is asked, in a sentence or two.")
    replaces: Ids = Field((), description="Experiments that this one supersedes.")
    dependencies: Ids = Field(
        (), description="Experiments that must say proceed, or gates that must have passed."
    )
    blockers: Texts = Field((), description="Named by a person; any entry blocks the experiment.")
    sub_experiments: Annotated[
        Mapping[SubExperimentId, SubExperiment],
        BeforeValidator(
            _sub_experiments,
            json_schema_input_type=list[SubExperimentId] | dict[str, SubExperiment | None],
        ),
        FREEZE,
    ] = Field(description="A list of ids, or a mapping with details.", min_length=1)
    success_criteria: Annotated[Mapping[str, Criterion], FREEZE] = Field(
        default_factory=lambda: MappingProxyType({}),
        description="What would be success, by metric.",
    )
    next_steps: NextSteps = Field(
        default_factory=lambda: NextSteps.model_validate({}),
        description="What to do after each recommendation.",
    )
    together: bool | None = Field(None, description="All criteria must hold for one and the same attempt.")
    status: Any = Field(None, description="A person's claim: shown, compared, never evidence.")
    outcome: Any = Field(None, description="A person's claim: shown, never evidence.")
    achieved: Any = Field(None, description="A person's claim: shown, compared, never evidence.")

    @model_validator(mode="before")
    @classmethod
    def _names_inside(cls, value: object) -> object:
        return _with_keys(value, "sub_experiments", "success_criteria")

    @property
    def title(self) -> str:
        """``p2-hybrid-encoder — P2: Hybrid Encoder``."""
        return f"{self.id} — {self.name}" if self.name else self.id

    @property
    def gating(self) -> tuple[Criterion, ...]:
        """The criteria that decide the recommendation."""
        return tuple(c for c in self.success_criteria.values() if c.severity == "gate")


class Gate(Model):
    """A go/no-go decision over experiments."""

    id: str = KEY
    name: str | None = Field(None, description="Title for people.")
    description: str | None = Field(None, description="What is decided, in a sentence or two.")
    experiments: Annotated[
        tuple[str, ...],
        Field(min_length=1),
        BeforeValidator(listed, json_schema_input_type=list[str]),
    ] = Field(description="All must say proceed.")
    unlocks: (
        Annotated[str | tuple[str, ...], BeforeValidator(_unlocks, json_schema_input_type=str | list[str])]
        | None
    ) = Field(None, description="Text, or experiment ids that wait for the gate.")
    status: Any = Field(None, description="A person's claim: shown, compared, never evidence.")
    note: str | None = Field(None, description="A person's note; nothing follows from it.")

    @property
    def unlocked(self) -> tuple[str, ...]:
        """The experiments that must wait for this gate."""
        return self.unlocks if isinstance(self.unlocks, tuple) else ()


class Waiver(Model):
    """A person's signed decision to go on in spite of a verdict."""

    experiment: ExperimentId = Field(description="The experiment that goes on.")
    criterion: str = Field(description="Its criterion that is not met; the verdict stays what it is.")
    by: Annotated[str, BeforeValidator(_said)] = Field(description="Who decided.")
    date: IsoDate = Field(description="When: 2026-01-22.")
    reason: Annotated[str, BeforeValidator(_said)] = Field(description="Why.")

    @property
    def text(self) -> str:
        """``waived by A. Person on 2026-01-22 because …``."""
        return f"waived by {self.by.strip()} on {self.date} because {self.reason.strip().rstrip('.')}"


class Project(Model):
    """What the study is about."""

    name: str | None = Field(None, description="Title of the study.")
    hypothesis: str | None = Field(None, description="What the study is about to find out, in a sentence.")


class Wandb(Model):
    """Where Weights & Biases keeps runs."""

    project: Annotated[str, BeforeValidator(_project_name)] | None = Field(
        None, description="The project; the study's name by default."
    )
    entity: str | None = Field(None, description="User or team; whose key it is by default.")
    tags: Texts = Field((), description="Tags of every run.")


class Tracking(Model):
    """Settings of trackers; those of others than W&B under the name that they are asked for by."""

    wandb: Wandb = Field(default_factory=lambda: Wandb.model_validate({}), description="Weights & Biases.")

    def of(self, name: str) -> Mapping[str, Any]:
        """Return the settings of a tracker, empty where there are none."""
        if name == "wandb":
            return {key: value for key, value in self.wandb if value}
        other = (self.model_extra or {}).get(name)
        return other if isinstance(other, Mapping) else {}


class Plan(Model):
    """The whole research plan, frozen."""

    project: Project = Field(
        default_factory=lambda: Project.model_validate({}), description="Name and hypothesis of the study."
    )
    experiments: Annotated[Mapping[ExperimentId, Experiment], Field(min_length=1), FREEZE] = Field(
        description="What is asked, by id."
    )
    gates: Annotated[Mapping[ExperimentId, Gate], FREEZE] = Field(
        default_factory=lambda: MappingProxyType({}), description="Go/no-go decisions, by id."
    )
    waivers: Annotated[tuple[Waiver, ...], BeforeValidator(listed)] = Field(
        (), description="Signed exceptions."
    )
    tracking: Tracking = Field(
        default_factory=lambda: Tracking.model_validate({}),
        description="Settings of trackers, by name, such as wandb: {project: …}.",
    )
    modal: Modal = Field(
        default_factory=lambda: Modal.model_validate({}), description="Settings of runs on Modal."
    )

    @model_validator(mode="before")
    @classmethod
    def _ids_inside(cls, value: object) -> object:
        return _with_keys(value, "experiments", "gates")

    @cached_property
    def _owners(self) -> Mapping[str, Experiment]:
        return {
            sub: experiment for experiment in self.experiments.values() for sub in experiment.sub_experiments
        }

    def owner(self, sub_experiment: str) -> Experiment:
        """Return the experiment that a sub-experiment belongs to; KeyError if none does."""
        return self._owners[sub_experiment]

    def sub_experiments(self) -> Iterator[tuple[Experiment, SubExperiment]]:
        """Every planned sub-experiment with its experiment, in plan order."""
        for experiment in self.experiments.values():
            for sub in experiment.sub_experiments.values():
                yield experiment, sub

    def match(self, name: str) -> str | None:
        """Return the sub-experiment that a function name belongs to, the longest id that fits."""
        while name:
            if name in self._owners:
                return name
            name = name.rpartition("_")[0]
        return None

    @cached_property
    def replaced(self) -> Mapping[str, str]:
        """Which experiment superseded which: replaced id → id of its replacement."""
        return {old: new.id for new in self.experiments.values() for old in new.replaces}

    @cached_property
    def waived(self) -> Mapping[str, Mapping[str, Waiver]]:
        """The waivers of each experiment that has any, by criterion."""
        found: dict[str, dict[str, Waiver]] = {}
        for waiver in self.waivers:
            found.setdefault(waiver.experiment, {})[waiver.criterion] = waiver
        return found

    @cached_property
    def compared(self) -> Mapping[str, frozenset[str]]:
        """Which sub-experiments of others the criteria of each experiment compare with, by experiment."""
        return {
            experiment.id: frozenset(
                criterion.baseline.sub_experiment
                for criterion in experiment.success_criteria.values()
                if criterion.baseline is not None and criterion.baseline.sub_experiment is not None
            )
            - experiment.sub_experiments.keys()
            for experiment in self.experiments.values()
        }

    @cached_property
    def comparing(self) -> Mapping[str, tuple[str, ...]]:
        """Which experiments compare with each one."""
        return _by_member(
            {
                experiment: tuple(dict.fromkeys(self.owner(sub).id for sub in subs))
                for experiment, subs in self.compared.items()
            }
        )

    def gates_of(self, experiment: str) -> tuple[str, ...]:
        """Ids of the gates that an experiment is part of."""
        return self._gates_over.get(experiment, ())

    def requirements(self, experiment: str) -> tuple[str, ...]:
        """Ids of experiments and gates that must be settled before an experiment may run."""
        unlocking = self._gates_before.get(experiment, ())
        return tuple(dict.fromkeys((*self.experiments[experiment].dependencies, *unlocking)))

    @cached_property
    def dependents(self) -> Mapping[str, tuple[str, ...]]:
        """Which experiments depend on each one."""
        return _by_member({name: e.dependencies for name, e in self.experiments.items()})

    @cached_property
    def _gates_over(self) -> Mapping[str, tuple[str, ...]]:
        return _by_member({gate.id: gate.experiments for gate in self.gates.values()})

    @cached_property
    def _gates_before(self) -> Mapping[str, tuple[str, ...]]:
        return _by_member({gate.id: gate.unlocked for gate in self.gates.values()})


def _by_member(groups: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    members: dict[str, tuple[str, ...]] = {}
    for group, names in groups.items():
        for name in names:
            members[name] = (*members.get(name, ()), group)
    return members


def with_at_least(seeds: tuple[int, ...], number: int) -> tuple[int, ...]:
    """Return so many seeds: those that are given, then the smallest that are not among them."""
    more = (seed for seed in itertools.count() if seed not in seeds)
    return (*seeds, *itertools.islice(more, max(number - len(seeds), 0)))


def split_source(source: str) -> tuple[str, str | None]:
    """Split ``e_p2_1[lr=0.1]`` into sub-experiment and variant; without brackets, no variant."""
    found = _VARIANT.fullmatch(source)
    return (found["sub"], found["variant"]) if found else (source, None)


def _with_keys(value: object, *fields: str) -> object:
    """Tell each entry of the named mappings its own key, so that a model knows its id."""
    if not isinstance(value, Mapping):
        return value
    result = dict(value)
    for field in fields:
        entries = result.get(field)
        if field == "sub_experiments":
            try:
                entries = _sub_experiments(entries)
            except PydanticCustomError:
                continue  # the field's own validator reports it, at its own place
        if isinstance(entries, Mapping):
            result[field] = {
                key: {**entry, KEY_ALIAS: key}
                if isinstance(entry, Mapping) and isinstance(key, str)
                else entry
                for key, entry in entries.items()
            }
    return result


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a plan (draft 2020-12), for editors and other tools."""
    schema = Plan.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "research_plan.yaml"
    for model in (schema, *schema["$defs"].values()):
        properties = model.get("properties", {})
        properties.pop(KEY_ALIAS, None)
        for name in properties.keys() - set(model.get("required", ())):
            properties[name] = _or_nothing(properties[name])
    for form in schema["$defs"]["Experiment"]["properties"]["sub_experiments"]["anyOf"]:
        form["minItems" if form["type"] == "array" else "minProperties"] = 1
    schema["$defs"]["Gate"]["properties"]["experiments"]["minItems"] = 1
    return schema


def _or_nothing(schema: dict[str, Any]) -> dict[str, Any]:
    """Admit a key without a value, which counts as absent."""
    about: dict[str, Any] = {k: schema.pop(k) for k in ("title", "description", "default") if k in schema}
    forms = schema.get("anyOf", [schema]) if schema else []
    if not forms or {"type": "null"} in forms:
        return {**about, **schema}
    return {**about, "anyOf": [*forms, {"type": "null"}]}
