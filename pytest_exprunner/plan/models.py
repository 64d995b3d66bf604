"""The research plan as values: experiments, sub-experiments, criteria and gates.

Frozen pydantic models; reading a file is the business of `plan_file`. Unknown keys are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pytest_exprunner._util.errors import quoted
from pytest_exprunner.plan.base import FREEZE, KEY, KEY_ALIAS, Ids, Model, Texts, listed, refuse
from pytest_exprunner.plan.compute import Container, Modal, Resources
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.fields import (
    ExperimentId,
    IsoDate,
    Phase,
    Seeds,
    Signed,
    SubExperimentId,
    Unlocks,
    WandbProject,
    check_sub_experiment_id,
)


class SubExperiment(Model):
    """One planned step of an experiment, carried out by one handler."""

    id: str = KEY
    name: str | None = Field(None, description="Title for people.")
    objective: str | None = Field(None, description="What it is meant to find out.")
    needs: Ids = Field((), description="Sub-experiments, also of other experiments, whose results it reads.")
    seeds: Seeds = Field((), description="One attempt per seed; their mean and its interval decide.")
    timeout: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Time limit in seconds; runs it in its own process."
    )
    resources: Resources = Field(
        default_factory=lambda: Resources.model_validate({}), description="Resources reserved for it."
    )
    data: Texts = Field(
        (), description="Data files or folders, relative to the study; a change makes the result outdated."
    )
    isolate: bool | None = Field(None, description="Run in its own process.")
    modal: Container = Field(
        default_factory=lambda: Container.model_validate({}),
        description="Modal settings for its containers, added to the plan's.",
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
        (), description="What to do if something failed, is unfinished or was not measured."
    )
    block: Texts = Field((), description="What to do where blockers are named.")


class Experiment(Model):
    """A claim, question or pivot with its sub-experiments and success criteria."""

    id: str = KEY
    name: str | None = Field(None, description="Title for people.")
    type: Literal["claim", "question", "pivot"] | None = Field(
        None, description="What kind of step it is; usable in -m."
    )
    phase: Phase | None = Field(None, description="Shown, and usable in -m as phase_1.")
    description: str | None = Field(None, description="What is asked, in a sentence or two.")
    replaces: Ids = Field((), description="Experiments that this one supersedes.")
    dependencies: Ids = Field(
        (), description="Experiments that must proceed, or gates that must pass, first."
    )
    blockers: Texts = Field((), description="Written by hand; any entry blocks the experiment.")
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
        description="Success criteria by metric.",
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
    ] = Field(description="Experiments that must all proceed.")
    unlocks: Unlocks | None = Field(None, description="Text, or experiment ids that wait for the gate.")
    status: Any = Field(None, description="A person's claim: shown, compared, never evidence.")
    note: str | None = Field(None, description="A person's note; nothing follows from it.")

    @property
    def unlocked(self) -> tuple[str, ...]:
        """The experiments that must wait for this gate."""
        return self.unlocks if isinstance(self.unlocks, tuple) else ()


class Waiver(Model):
    """A person's signed decision to go on in spite of a verdict."""

    experiment: ExperimentId = Field(description="The experiment that proceeds.")
    criterion: str = Field(description="Its unmet criterion; the verdict does not change.")
    by: Signed = Field(description="Who decided.")
    date: IsoDate = Field(description="When: 2026-01-22.")
    reason: Signed = Field(description="Why.")

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

    project: WandbProject | None = Field(None, description="The project; the study's name by default.")
    entity: str | None = Field(None, description="User or team; by default the owner of the API key.")
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
        (), description="Signed waivers of criteria."
    )
    tracking: Tracking = Field(
        default_factory=lambda: Tracking.model_validate({}),
        description="Tracker settings by name, such as wandb: {project: …}.",
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
