"""A success criterion of the plan: its tiers, what decides it, and what it is compared with."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from pytest_exprunner.plan.base import KEY, Model, refuse, texts
from pytest_exprunner.plan.fields import Bounds, Threshold

Direction = Literal["higher", "lower"]
Severity = Literal["gate", "warn", "info"]
EvidenceName = Literal["real", "simulated", "fallback", "imported", "stub"]

_VARIANT = re.compile(r"(?P<sub>[A-Za-z][A-Za-z0-9_]*)(?:\[(?P<variant>.*)\])?", re.DOTALL)


def split_source(source: str) -> tuple[str, str | None]:
    """Split ``e_p2_1[lr=0.1]`` into sub-experiment and variant; without brackets, no variant."""
    found = _VARIANT.fullmatch(source)
    return (found["sub"], found["variant"]) if found else (source, None)


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
        description="Which way is better; by default inferred from the order of the tiers, else higher.",
    )
    metric: str | None = Field(
        None, description="The returned metric, if its name differs from the criterion's."
    )
    from_: str | None = Field(
        None,
        alias="from",
        description="The sub-experiment, or variant such as e_p2_1[lr=0.1], that decides.",
    )
    borderline: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="Distance from the deciding tier within which a result is borderline."
    )
    bounds: Bounds | None = Field(
        None, description="Lowest and highest possible value; a value outside is inadmissible."
    )
    severity: Severity = Field("gate", description="gate decides, warn only warns, info is only shown.")
    evidence: Annotated[
        tuple[EvidenceName, ...],
        Field(min_length=1),
        BeforeValidator(texts, json_schema_input_type=EvidenceName | list[EvidenceName]),
    ] = Field(("real",), description="Kinds of evidence that may decide it.")
    unit: str | None = Field(None, description="Unit of the value, shown beside it.")
    note: str | None = Field(None, description="What the criterion means, in a sentence.")
    aggregate: Literal["mean"] | None = Field(None, description="How values over seeds are combined.")
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
            raise refuse(
                "baseline", "a baseline does not name a metric; expected one, such as e_p2_2/accuracy"
            )
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
