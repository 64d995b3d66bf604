"""What the first attempt of an experiment was judged by, and what of that is not so any more. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_exprunner.model.attempt import AttemptRecord, Terms
from pytest_exprunner.model.results import Registration
from pytest_exprunner.plan.models import Experiment, Plan
from pytest_exprunner.verdicts import criteria


def criteria_of(experiment: Experiment) -> dict[str, str]:
    """Return the digest of each criterion, as an attempt that begins now registers it."""
    return {name: criteria.digest(criterion) for name, criterion in experiment.success_criteria.items()}


def terms_of(plan: Plan, experiment: Experiment) -> Terms:
    """Return what else decides about an experiment, as an attempt that begins now registers it."""
    return Terms(plan.replaced.get(experiment.id, ""), together=bool(experiment.together))


def first_of(attempts: Mapping[str, Sequence[AttemptRecord]], experiment: Experiment) -> Registration:
    """Return the digest of each criterion when an attempt was first judged by it, and the first terms."""
    everything = sorted(
        (a for subs in attempts.values() for a in subs if a.is_registered),
        key=lambda a: (a.started_at, a.key),
    )
    first: dict[str, str] = {}
    for attempt in everything:
        for name, value in attempt.registered.items():
            first.setdefault(name, value)
    order = dict.fromkeys((*experiment.success_criteria, *first))
    found = {name: first[name] for name in order if name in first}
    known = everything[0].registered if everything else {}
    replaced_by = (a.terms.replaced_by for a in everything if a.terms.replaced_by is not None)
    together = (a.terms.together for a in everything if a.terms.together is not None)
    return Registration(
        criteria=found,
        terms=Terms(next(replaced_by, None), next(together, None)),
        added_later=tuple(name for name in found if name not in known),
    )


def combined(found: Registration, stored: Registration) -> Registration:
    """Return what records and a results file registered; the file knows of attempts that are missing."""
    replaced_by, together = stored.terms.replaced_by, stored.terms.together
    return Registration(
        criteria={**found.criteria, **stored.criteria},
        terms=Terms(
            found.terms.replaced_by if replaced_by is None else replaced_by,
            found.terms.together if together is None else together,
        ),
        added_later=stored.added_later or found.added_later,
    )


def changed_terms(registered: Registration, experiment: Experiment, replaced_by: str | None) -> Iterator[str]:
    """Say what is not what the first attempt was judged by."""
    for name, old in registered.criteria.items():
        criterion = experiment.success_criteria.get(name)
        if criterion is None:
            yield f"The criterion {name} decided earlier attempts but is no longer in the plan."
        elif criteria.digest(criterion) != old:
            yield f"The criterion {name} has changed since it was first used."
    for name in experiment.success_criteria if registered.known else ():
        if name not in registered.criteria or name in registered.added_later:
            yield f"The criterion {name} was added after the first attempt."
    before = registered.terms.replaced_by
    if before is not None and before != (replaced_by or ""):
        now = f"now replaced by {replaced_by}" if replaced_by else "no longer replaced"
        yield f"It is {now}; the plan changed this after the first attempt."
    together = registered.terms.together
    if together is not None and together != bool(experiment.together):
        asks = "now requires" if experiment.together else "no longer requires"
        yield (
            f"The plan {asks} one attempt to meet every criterion (together); that changed after the first "
            "attempt."
        )
