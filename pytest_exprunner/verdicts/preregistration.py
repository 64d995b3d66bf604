"""What the first attempt of an experiment was judged by, and what of that is not so any more. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_exprunner.model.attempt import AttemptRecord
from pytest_exprunner.plan.models import Experiment, Plan
from pytest_exprunner.verdicts import criteria

REPLACED_BY = "(replaced by)"
"""Stands among the digests of criteria, for what superseded an experiment when it first ran."""
ADDED_LATER = "(added later)"
"""Stands there, too: names of criteria that the first attempt was not judged by, with commas between."""
TOGETHER = "(together)"
"""Stands there, too: whether all criteria had to hold for one and the same attempt."""


def terms(plan: Plan, experiment: Experiment) -> dict[str, str]:
    """Return what an attempt that begins now is going to be judged by, as an attempt records it."""
    return {
        **{name: criteria.digest(criterion) for name, criterion in experiment.success_criteria.items()},
        REPLACED_BY: plan.replaced.get(experiment.id, ""),
        TOGETHER: "true" if experiment.together else "",
    }


def first_of(attempts: Mapping[str, Sequence[AttemptRecord]], experiment: Experiment) -> dict[str, str]:
    """Return the digest of each criterion when an attempt was first judged by it, and what stands beside."""
    everything = sorted(
        (a for subs in attempts.values() for a in subs if a.registered),
        key=lambda a: (a.started_at, a.key),
    )
    first: dict[str, str] = {}
    for attempt in everything:
        for name, value in attempt.registered.items():
            first.setdefault(name, value)
    order = [
        *experiment.success_criteria,
        *(name for name in first if name not in experiment.success_criteria),
    ]
    found = {name: first[name] for name in order if name in first}
    known = everything[0].registered if everything else {}
    later = [name for name in found if name not in known and not name.startswith("(")]
    return {**found, **({ADDED_LATER: ", ".join(later)} if later else {})}


def added_later(registered: Mapping[str, str]) -> set[str]:
    """Return the criteria that were not there when the first attempt ran."""
    return set(registered.get(ADDED_LATER, "").split(", ")) - {""}


def moved(registered: Mapping[str, str], experiment: Experiment, replaced_by: str | None) -> Iterator[str]:
    """Say what is not what the first attempt was judged by."""
    for name, old in registered.items():
        if name in (REPLACED_BY, ADDED_LATER, TOGETHER):
            continue
        criterion = experiment.success_criteria.get(name)
        if criterion is None:
            yield f"The criterion {name} was judged by earlier attempts and is no longer in the plan."
        elif criteria.digest(criterion) != old:
            yield f"The criterion {name} has changed since it was first used."
    late = added_later(registered)
    for name in experiment.success_criteria if registered else ():
        if name not in registered or name in late:
            yield f"The criterion {name} was added after the first attempt."
    before = registered.get(REPLACED_BY)
    if before is not None and before != (replaced_by or ""):
        now = f"is replaced by {replaced_by}" if replaced_by else "is not replaced"
        yield f"It {now} in the plan now, and was not so when its first attempt ran."
    if TOGETHER in registered and bool(registered[TOGETHER]) != bool(experiment.together):
        asks = "asks" if experiment.together else "does not ask"
        yield (
            f"The plan {asks} that one attempt meets every criterion (together); that was not so when the "
            "first attempt ran."
        )
