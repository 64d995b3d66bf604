"""What of a plan decides about success, and how that differs between two versions of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.models import Experiment, Gate, Plan
from pytest_exprunner.verdicts.formatting import DASH, threshold_text

Bounds = tuple[float | None, float | None]
Term = bool | float | str | frozenset[str] | Bounds | Criterion | None
"""One thing that decides: a threshold, a name, a set of ids, … None where the plan does not have it."""

_CLAIMS = ("status", "outcome", "achieved")
_MORE = frozenset({"experiments", "unlocks", "dependencies", "seeds"})
"""Sets of which more is harder to meet, or only more to run."""


@dataclass(frozen=True, slots=True)
class PlanChange:
    """A term that differs between two versions; ``experiments`` are those that it matters to."""

    experiments: tuple[str, ...]
    path: str
    """Its place in the plan, such as ``q1.success_criteria.cka.target``."""
    old: Term
    new: Term
    is_open: bool = False
    """Signed, only claimed, or asking for more: a note, and no change of what decides."""
    criterion: str = ""
    """The criterion whose term this is, if it is one."""

    @property
    def text(self) -> str:
        """``q1.success_criteria.cka.target 0.50 → 0.40``."""
        old, new = _term_text(self.old), _term_text(self.new)
        if old == new:  # they differ beyond the digits that people are shown
            old, new = str(self.old), str(self.new)
        return f"{self.path} {old} → {new}"


def plan_changes(old: Plan, new: Plan) -> list[PlanChange]:
    """Return what decides about success and differs: criteria, membership, dependencies, claims, waivers."""
    found: list[PlanChange] = []
    for name, experiment in old.experiments.items():
        if name in new.experiments:
            found += _of_experiment(experiment, new.experiments[name])
        else:
            found.append(PlanChange((name,), name, "in the plan", "not in the plan"))
    for gate in dict.fromkeys((*old.gates, *new.gates)):
        found += _of_gate(gate, old.gates.get(gate), new.gates.get(gate))
    found += _of_waivers(old, new)
    return found


def _of_experiment(old: Experiment, new: Experiment) -> Iterator[PlanChange]:
    name = old.id
    for criterion in dict.fromkeys((*old.success_criteria, *new.success_criteria)):
        before, after = old.success_criteria.get(criterion), new.success_criteria.get(criterion)
        yield from _of_criterion(name, criterion, before, after)
    yield from _differing((name,), name, _terms_of_experiment(old), _terms_of_experiment(new))
    for sub in dict.fromkeys((*old.sub_experiments, *new.sub_experiments)):
        yield from _of_sub_experiment(old, new, sub)


def _of_sub_experiment(old: Experiment, new: Experiment, sub: str) -> Iterator[PlanChange]:
    path = f"{old.id}.sub_experiments.{sub}"
    before, after = old.sub_experiments.get(sub), new.sub_experiments.get(sub)
    if before is None or after is None:
        old_term, new_term = ("planned" if planned else None for planned in (before, after))
        yield PlanChange((old.id,), path, old_term, new_term, is_open=before is None)
    seeds = [frozenset(map(str, planned.seeds)) if planned else None for planned in (before, after)]
    yield from _differing((old.id,), path, {"seeds": seeds[0]}, {"seeds": seeds[1]})


def _of_criterion(
    experiment: str, name: str, old: Criterion | None, new: Criterion | None
) -> Iterator[PlanChange]:
    path = f"{experiment}.success_criteria.{name}"
    if old is None or new is None:
        yield PlanChange((experiment,), path, old, new, criterion=name)
        return
    for change in _differing((experiment,), path, _terms_of_criterion(old), _terms_of_criterion(new)):
        yield replace(change, criterion=name)


def _of_gate(name: str, old: Gate | None, new: Gate | None) -> Iterator[PlanChange]:
    members = tuple(dict.fromkeys((*(old.experiments if old else ()), *(new.experiments if new else ()))))
    yield from _differing(members, f"gates.{name}", _terms_of_gate(old), _terms_of_gate(new))


def _of_waivers(old: Plan, new: Plan) -> Iterator[PlanChange]:
    def signed(plan: Plan) -> dict[tuple[str, str], str]:
        return {(waiver.experiment, waiver.criterion): waiver.text for waiver in plan.waivers}

    before, after = signed(old), signed(new)
    for waived in dict.fromkeys((*before, *after)):
        if before.get(waived) != after.get(waived):
            experiment, criterion = waived
            path = f"waivers.{experiment}.{criterion}"
            yield PlanChange((experiment,), path, before.get(waived), after.get(waived), is_open=True)


def _differing(
    experiments: tuple[str, ...], path: str, old: Mapping[str, Term], new: Mapping[str, Term]
) -> Iterator[PlanChange]:
    for key, before in old.items():
        after = new[key]
        if _or_none(before) != _or_none(after):
            is_open = key in _CLAIMS or (key in _MORE and _as_set(before) <= _as_set(after))
            yield PlanChange(experiments, f"{path}.{key}", before, after, is_open=is_open)


def _or_none(term: Term) -> Term:
    """Return a term; None for an empty set or text, which means the same as its absence."""
    return None if isinstance(term, frozenset | str) and not term else term


def _as_set(term: Term) -> frozenset[str]:
    return term if isinstance(term, frozenset) else frozenset()


def _terms_of_criterion(criterion: Criterion) -> dict[str, Term]:
    return {
        "target": criterion.target,
        "acceptable": criterion.acceptable,
        "failure": criterion.failure,
        "direction": criterion.better,
        "metric": criterion.metric_name,
        "from": criterion.from_,
        "minus": criterion.minus,
        "over": criterion.over,
        "borderline": criterion.borderline,
        "bounds": criterion.bounds,
        "severity": criterion.severity,
        "evidence": frozenset(criterion.evidence),
    }


def _terms_of_experiment(experiment: Experiment) -> dict[str, Term]:
    claims = {name: getattr(experiment, name) for name in _CLAIMS}
    return {
        "dependencies": frozenset(experiment.dependencies),
        "replaces": frozenset(experiment.replaces),
        "together": bool(experiment.together),
        **{name: None if claim is None else str(claim).strip() for name, claim in claims.items()},
    }


def _terms_of_gate(gate: Gate | None) -> dict[str, Term]:
    return {
        "experiments": frozenset(gate.experiments) if gate else None,
        "unlocks": frozenset(gate.unlocked) if gate else None,
        "status": None if gate is None or gate.status is None else str(gate.status),
    }


def _term_text(term: Term) -> str:
    match term:
        case None:
            return DASH
        case bool():
            return str(term).lower()
        case Criterion():
            return f"{term.better} is better, {term.tiers_text()}"
        case frozenset():
            return ", ".join(sorted(term)) or DASH
        case tuple():
            return f"[{threshold_text(term[0])}, {threshold_text(term[1])}]"
        case str():
            return term
    return threshold_text(term)
