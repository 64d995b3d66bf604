"""Writes results at intervals during a run, and completely at its end."""

from __future__ import annotations

import time
from collections.abc import Iterable

from pytest_exprunner.report.publish import Publisher
from pytest_exprunner.store.study import Study

# The share of a run's time that writing results may take.
_SHARE = 0.05
_LEAST_SECONDS = 1.0
_FIRST_GUESS_SECONDS = 0.005


class Publication:
    """Writes changed results, at intervals that limit its share of the run's time."""

    def __init__(self, publisher: Publisher) -> None:
        """Start with no results written and no changes."""
        self.publisher = publisher
        self._changed: set[str] = set()
        self._last = time.monotonic()
        self._cost_of_one = _FIRST_GUESS_SECONDS

    def later(self, study: Study, experiment: str) -> None:
        """Record that an experiment has changed; write all changes if it is time."""
        self._changed.add(experiment)
        cost = len(self._changed) * self._cost_of_one
        if time.monotonic() - self._last >= max(_LEAST_SECONDS, cost / _SHARE):
            try:
                self.now(study, sorted(self._changed), durable=False)
            except OSError:
                self._last = time.monotonic()  # the end of the run tries again and reports a failure

    def now(self, study: Study, experiments: Iterable[str], *, durable: bool) -> None:
        """Write the results of experiments and the project. Raises `OSError`."""
        began = time.monotonic()
        results, written = study.results(), list(experiments)
        for experiment in written:
            self.publisher.experiment(results.experiments[experiment], results, study.attempts(experiment))
        self.publisher.project(results)
        self.publisher.flush(durable=durable)
        self._changed.clear()
        self._last = time.monotonic()
        if written:
            self._cost_of_one = (self._last - began) / len(written)
