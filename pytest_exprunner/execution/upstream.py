"""What an attempt reads of others: ``runner.needs["e_p2_1"].metrics`` and their artifacts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_exprunner._util.errors import MissingMetricError, NeedsError, did_you_mean
from pytest_exprunner._util.serialization import Plain, shown
from pytest_exprunner._util.text import few
from pytest_exprunner.model.attempt import AttemptKey, Status, stays_inside
from pytest_exprunner.model.layout import ARTIFACTS, RECORD, Layout, artifact_prefix
from pytest_exprunner.model.results import CurrentAttempt
from pytest_exprunner.plan.criterion import split_source
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.store import atomic


class Metrics(dict[str, Plain]):
    """What an attempt returned, by name. An unknown name is an error that lists the known ones."""

    def __init__(self, label: str, metrics: Mapping[str, Plain]) -> None:
        """Keep the metrics that the attempt called ``label`` returned."""
        super().__init__(metrics)
        self._label = label

    def __missing__(self, name: str) -> Plain:
        """Raise `MissingMetricError`, which is a `KeyError`."""
        __tracebackhide__ = True
        returned = f"it returned {few(list(self), 10)}" if self else "it returned none"
        hint = did_you_mean(name, self)
        raise MissingMetricError(f"{self._label} returned no metric {shown(name, 60)}{hint}; {returned}")


@dataclass(frozen=True, slots=True)
class Upstream:
    """A completed attempt of a needed sub-experiment: what it returned and saved."""

    label: str
    attempt: int | None
    finding: str
    metrics: Mapping[str, Plain]
    artifacts: tuple[str, ...]
    """Names under which it saved artifacts, such as ``encoder.pt``."""
    _locate: Callable[[str], Path]

    def artifact(self, name: str) -> Path:
        """Return the file that it saved under a name, checked against the hash in its record.

        Raises `NeedsError` if it saved none, or if the file is gone or not what was saved.
        """
        return self._locate(name)


_WITH_SEED = re.compile(r"(.+) seed (\d{1,10})", re.DOTALL)


def _without_seed(name: str) -> tuple[str, int | None]:
    found = _WITH_SEED.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, None)


class Needs(Mapping[str, Upstream]):
    """The needed sub-experiments by id, or by ``e_p2_1[lr=0.1]`` where there are variants.

    Of one with seeds, the attempt with the reader's own seed, or the one in ``e_p2_1 seed 2``.
    """

    def __init__(
        self,
        sub_experiment: str,
        needed: Sequence[str],
        plan: Plan,
        layout: Layout,
        currents: Callable[[str], Sequence[CurrentAttempt]],
        seed: int | None = None,
    ) -> None:
        """``currents`` gives the attempts that count now; ``seed`` is the reader's own."""
        self._seed = seed
        self._owner = sub_experiment
        self._needed = needed
        self._plan = plan
        self._layout = layout
        self._currents = currents

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids that the plan lists."""
        return iter(self._needed)

    def __contains__(self, name: object) -> bool:
        """Return whether the plan lists an id."""
        return name in self._needed

    def __len__(self) -> int:
        """Return how many sub-experiments are needed."""
        return len(self._needed)

    def __getitem__(self, name: str) -> Upstream:
        """Return what a needed sub-experiment left. Raises `NeedsError` if there is nothing."""
        __tracebackhide__ = True
        bare, seed = _without_seed(name) if isinstance(name, str) else ("", None)
        sub, variant = split_source(bare)
        if sub not in self._needed:
            hint = did_you_mean(sub, self._needed)
            listed = ", ".join(self._needed) or "nothing"
            raise NeedsError(
                f"the plan does not say that {self._owner} needs {shown(name, 60)}{hint}; it needs {listed}. "
                f"Add it there: {self._owner}: {{needs: [{', '.join([*self._needed, sub or '…'])}]}}"
            )
        return self._upstream(self._choose(name, sub, variant, seed))

    def files(self) -> Iterator[Path]:
        """Yield the files that an attempt elsewhere has to have: records, or results, and artifacts."""
        for sub in self._needed:
            experiment = self._plan.owner(sub).id
            for current in self._currents(sub):
                record = self._record(experiment, current)
                yield record if record.is_file() else self._layout.results_of(experiment)
                prefix = artifact_prefix(current.sub_experiment, current.variant, current.seed) + "/"
                for artifact in current.record.artifacts:
                    places = self._places(
                        experiment, current, artifact.path.removeprefix(prefix), artifact.path
                    )
                    yield from [file for file in places if file.is_file()][:1]

    def _record(self, experiment: str, current: CurrentAttempt) -> Path:
        key = AttemptKey(experiment, current.sub_experiment, current.attempt or 0)
        return self._layout.attempt(key) / RECORD

    def used(self) -> dict[str, int]:
        """Return which attempts stand behind the needed sub-experiments now, by label."""
        return {
            current.label: current.attempt
            for sub in self._needed
            for current in self._currents(sub)
            if current.status is Status.COMPLETED and current.attempt is not None
        }

    def _choose(self, name: str, sub: str, variant: str | None, seed: int | None) -> CurrentAttempt:
        currents = self._currents(sub)
        if variant is None and len({c.variant for c in currents}) > 1:
            raise NeedsError(
                f"{sub} has several variants; expected one of them: "
                f"{few([f'runner.needs[{c.label!r}]' for c in currents])}"
            )
        wanted = self._seed if seed is None else seed
        found = [c for c in currents if variant is None or c.variant == variant]
        own = [c for c in found if c.seed == wanted]
        if len(found) > 1 and not own:
            raise NeedsError(
                f"{name} has several seeds; give {self._owner} the same seeds in the plan, or read one: "
                f"{few([f'runner.needs[{c.label!r}]' for c in found])}"
            )
        found = own if seed is not None else own or found
        if not found:
            known = few([c.label for c in currents]) if currents else f"no attempt of {sub}"
            raise NeedsError(f"{self._owner} needs {name}, but there is {known}; run {sub} first")
        if found[0].status is not Status.COMPLETED:
            status = str(found[0].status).replace("_", " ")
            raise NeedsError(f"{self._owner} needs {name}, which is {status}; run {sub} first")
        return found[0]

    def _upstream(self, current: CurrentAttempt) -> Upstream:
        prefix = artifact_prefix(current.sub_experiment, current.variant, current.seed) + "/"
        return Upstream(
            label=current.label,
            attempt=current.attempt,
            finding=current.record.finding,
            metrics=Metrics(current.label, current.record.metrics),
            artifacts=tuple(a.path.removeprefix(prefix) for a in current.record.artifacts),
            _locate=lambda name: self._locate(current, prefix, name),
        )

    def _locate(self, current: CurrentAttempt, prefix: str, name: str) -> Path:
        bare = name.removeprefix(prefix)
        artifact = next(
            (a for a in current.record.artifacts if a.path == prefix + bare and stays_inside(a.path)), None
        )
        if artifact is None:
            names = [a.path.removeprefix(prefix) for a in current.record.artifacts]
            saved = f"it saved {few(names)}" if names else "it saved none"
            raise NeedsError(
                f"{current.label} saved no artifact {shown(name, 60)}{did_you_mean(bare, names)}; {saved}"
            )
        experiment = self._plan.owner(current.sub_experiment).id
        for file in self._places(experiment, current, bare, artifact.path):
            if file.is_file():
                if artifact.sha256 and atomic.digest(file) != artifact.sha256:
                    raise NeedsError(
                        f"{file} has changed since {current.label} saved it in attempt {current.attempt}; "
                        f"run {current.sub_experiment} again"
                    )
                return file
        raise NeedsError(
            f"the artifact {bare!r} of {current.label} is missing (it was {artifact.path} of attempt "
            f"{current.attempt}); run {current.sub_experiment} again"
        )

    def _places(self, experiment: str, current: CurrentAttempt, name: str, path: str) -> Iterator[Path]:
        """The attempt's own copy; in a clone, what is published is the only one."""
        if current.attempt is not None:
            key = AttemptKey(experiment, current.sub_experiment, current.attempt)
            yield self._layout.attempt(key) / ARTIFACTS / name
        yield self._layout.experiment(experiment) / path
