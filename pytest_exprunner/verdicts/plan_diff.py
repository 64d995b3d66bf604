"""What of a plan decides about success, and how that differs between two versions of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.models import Experiment, Gate, Plan
from pytest_exprunner.verdicts.formatting import DASH, threshold_text

_CLAIMS = ("status", "outcome", "achieved")


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was one thing and is another; ``experiments`` are those that it matters to."""

    experiments: tuple[str, ...]
    what: str
    """The path in the plan, such as ``q1.success_criteria.cka.target``."""
    old: str
    new: str
    is_open: bool = False
    """Signed or only claimed: told, and no goalpost."""
    criterion: str = ""
    """The criterion whose terms these are, if they are any."""

    @property
    def text(self) -> str:
        """``q1.success_criteria.cka.target 0.50 → 0.40``."""
        return f"{self.what} {self.old} → {self.new}"


def changes(old: Plan, new: Plan) -> list[Change]:
    """Return what decides about success and differs: criteria, membership, dependencies, claims, waivers."""
    found: list[Change] = []
    for name, experiment in old.experiments.items():
        if name in new.experiments:
            found += _of_experiment(experiment, new.experiments[name])
        else:
            found.append(Change((name,), name, "in the plan", "not in the plan"))
    for gate in dict.fromkeys((*old.gates, *new.gates)):
        found += _of_gate(gate, old.gates.get(gate), new.gates.get(gate))
    found += _of_waivers(old, new)
    return found


def _of_experiment(old: Experiment, new: Experiment) -> Iterator[Change]:
    name = old.id
    for criterion in dict.fromkeys((*old.success_criteria, *new.success_criteria)):
        before, after = old.success_criteria.get(criterion), new.success_criteria.get(criterion)
        yield from _of_criterion(name, criterion, before, after)
    yield from _differing((name,), name, _terms_of_experiment(old), _terms_of_experiment(new))
    for sub in dict.fromkeys((*old.sub_experiments, *new.sub_experiments)):
        path = f"{name}.sub_experiments"
        yield from _differing((name,), path, _terms_of_sub(old, sub), _terms_of_sub(new, sub))


def _terms_of_sub(experiment: Experiment, sub: str) -> dict[str, str]:
    planned = experiment.sub_experiments.get(sub)
    if planned is None:
        return {sub: DASH, f"{sub}.seeds": DASH}
    return {sub: "planned", f"{sub}.seeds": ", ".join(map(str, sorted(planned.seeds))) or DASH}


def _of_criterion(
    experiment: str, name: str, old: Criterion | None, new: Criterion | None
) -> Iterator[Change]:
    path = f"{experiment}.success_criteria.{name}"
    if old is None or new is None:
        yield Change((experiment,), path, _in_short(old), _in_short(new), criterion=name)
        return
    for change in _differing((experiment,), path, _terms_of_criterion(old), _terms_of_criterion(new)):
        yield replace(change, criterion=name)


def _of_gate(name: str, old: Gate | None, new: Gate | None) -> Iterator[Change]:
    members = tuple(dict.fromkeys((*(old.experiments if old else ()), *(new.experiments if new else ()))))
    yield from _differing(members, f"gates.{name}", _terms_of_gate(old), _terms_of_gate(new))


def _of_waivers(old: Plan, new: Plan) -> Iterator[Change]:
    def signed(plan: Plan) -> dict[tuple[str, str], str]:
        return {(waiver.experiment, waiver.criterion): waiver.text for waiver in plan.waivers}

    before, after = signed(old), signed(new)
    for experiment, criterion in dict.fromkeys((*before, *after)):
        texts = (before.get((experiment, criterion), DASH), after.get((experiment, criterion), DASH))
        if texts[0] != texts[1]:
            yield Change((experiment,), f"waivers.{experiment}.{criterion}", *texts, is_open=True)


def _differing(
    experiments: tuple[str, ...], path: str, old: Mapping[str, str], new: Mapping[str, str]
) -> Iterator[Change]:
    for key, before in old.items():
        after = new[key]
        if before != after:
            added = path.endswith(".sub_experiments") and before == DASH
            is_open = key in _CLAIMS or added or (_asks_more(key) and _items(before) <= _items(after))
            yield Change(experiments, f"{path}.{key}", before, after, is_open=is_open)


_MORE = frozenset({"experiments", "unlocks", "dependencies", "seeds"})
"""Lists of which more is harder to meet, or only more to run."""


def _asks_more(key: str) -> bool:
    return key in _MORE or key.rpartition(".")[2] in _MORE


def _items(text: str) -> set[str]:
    return set(text.split(", ")) - {DASH}


def _terms_of_criterion(criterion: Criterion) -> dict[str, str]:
    bounds = criterion.bounds
    return {
        "target": threshold_text(criterion.target),
        "acceptable": threshold_text(criterion.acceptable),
        "failure": threshold_text(criterion.failure),
        "direction": criterion.better,
        "metric": criterion.metric_name,
        "from": criterion.from_ or DASH,
        "minus": criterion.minus or DASH,
        "over": criterion.over or DASH,
        "borderline": threshold_text(criterion.borderline),
        "bounds": DASH if bounds is None else f"[{threshold_text(bounds[0])}, {threshold_text(bounds[1])}]",
        "severity": criterion.severity,
        "evidence": _listed(criterion.evidence),
    }


def _terms_of_experiment(experiment: Experiment) -> dict[str, str]:
    return {
        "dependencies": _listed(experiment.dependencies),
        "replaces": _listed(experiment.replaces),
        "together": "true" if experiment.together else "false",
        **{
            name: DASH if getattr(experiment, name) is None else str(getattr(experiment, name)).strip()
            for name in _CLAIMS
        },
    }


def _terms_of_gate(gate: Gate | None) -> dict[str, str]:
    return {
        "experiments": _listed(gate.experiments) if gate else DASH,
        "unlocks": _listed(gate.unlocked) if gate else DASH,
        "status": DASH if gate is None or gate.status is None else str(gate.status),
    }


def _in_short(criterion: Criterion | None) -> str:
    return DASH if criterion is None else f"{criterion.better} is better, {criterion.tiers_text()}"


def _listed(items: Iterable[object]) -> str:
    """Return a list whose order means nothing."""
    return ", ".join(sorted(map(str, items))) or DASH
