"""Research experiments as pytest functions, judged by criteria that were written down first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_exprunner.execution.runner import ExperimentRunner
    from pytest_exprunner.model.attempt import Failure, Hint
    from pytest_exprunner.trackers.base import Tracker

__version__ = "0.1.0"
__all__ = ["ExperimentRunner", "Failure", "Hint", "Tracker", "__version__"]


def __getattr__(name: str) -> object:
    # pytest imports this package at every start, even without a plan, so imports must be lazy.
    if name == "ExperimentRunner":
        from pytest_exprunner.execution.runner import ExperimentRunner

        return ExperimentRunner
    if name == "Tracker":
        from pytest_exprunner.trackers.base import Tracker

        return Tracker
    if name in {"Failure", "Hint"}:
        from pytest_exprunner.model import attempt

        return getattr(attempt, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
