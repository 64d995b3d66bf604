"""The record of an attempt as it is planned: made from what, by which run, judged by what."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_exprunner._util.serialization import Plain
from pytest_exprunner.model.attempt import AttemptKey, AttemptRecord, Status, Terms
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.model.settings import Settings
from pytest_exprunner.plan.base import KEY_ALIAS
from pytest_exprunner.plan.models import Experiment, Plan, SubExperiment
from pytest_exprunner.provenance import environment
from pytest_exprunner.verdicts import preregistration
from pytest_exprunner.verdicts.fold import ASKED_SEEDS

EXPLORATORY = "exploratory"


class Specs:
    """Describes the attempts of one run."""

    def __init__(self, plan: Plan, settings: Settings, run: str) -> None:
        """The criteria of an experiment are hashed once."""
        self._plan = plan
        self._run = run
        self._registered: dict[str, tuple[dict[str, str], Terms]] = {}
        self._options: dict[str, Plain] = {"level": str(settings.level)}
        if settings.ignore_dependencies:
            self._options["ignore_dependencies"] = True
        if settings.seeds is not None:
            self._options[ASKED_SEEDS] = settings.seeds

    def of(
        self,
        item: Selected,
        experiment: Experiment,
        origin: Mapping[str, Plain],
        upstream: Mapping[str, int] | None = None,
        inputs: Mapping[str, Plain] | None = None,
    ) -> AttemptRecord:
        """Return the record of an attempt before it begins; ``origin`` has the code and the machine."""
        if experiment.id not in self._registered:
            criteria = preregistration.criteria_of(experiment)
            self._registered[experiment.id] = criteria, preregistration.terms_of(self._plan, experiment)
        criteria, terms = self._registered[experiment.id]
        seed = item.seed
        if seed is None:
            seed = environment.seed_for(experiment.id, item.sub_experiment, item.variant, None)
        return AttemptRecord(
            key=AttemptKey(experiment.id, item.sub_experiment, 0, item.variant, item.seed),
            run=self._run,
            nodeid=item.nodeid,
            status=Status.IN_PROGRESS,
            started_at="",
            finished_at=None,
            duration_s=None,
            rng_seed=seed,
            variants=item.variants,
            registered=criteria,
            terms=terms,
            options=self._options,
            provenance=origin,
            upstream=upstream or {},
            inputs=inputs or {},
        )


def unplanned(item: Selected) -> Experiment:
    """Return an experiment for a handler that no plan knows: it asks for nothing, and is never judged."""
    sub = SubExperiment.model_validate({KEY_ALIAS: item.sub_experiment})
    return Experiment.model_construct(
        id=EXPLORATORY, sub_experiments={sub.id: sub}, success_criteria={}, replaces=()
    )
