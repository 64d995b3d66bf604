"""What an attempt is, as it is recorded: of what it is made, by which run, judged by what."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_exprunner._util.serialization import Plain
from pytest_exprunner.model.attempt import RunSpec
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
        self._stub = settings.stub
        self._terms: dict[str, dict[str, str]] = {}
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
    ) -> RunSpec:
        """Return what an attempt is; ``origin`` is where its code comes from, and the machine."""
        if experiment.id not in self._terms:
            self._terms[experiment.id] = preregistration.terms(self._plan, experiment)
        seed = item.seed
        if seed is None:
            seed = environment.seed_for(experiment.id, item.sub_experiment, item.variant, None)
        return RunSpec(
            experiment=experiment.id,
            sub_experiment=item.sub_experiment,
            variant=item.variant,
            seed=item.seed,
            run=self._run,
            nodeid=item.nodeid,
            rng_seed=seed,
            stub=self._stub,
            variants=item.variants,
            registered=self._terms[experiment.id],
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
