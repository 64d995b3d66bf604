"""Hooks that other plugins and conftest files may implement. Light: declared also where there is no plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_exprunner.model.attempt import Failure, Hint


def pytest_exprunner_diagnose(failure: Failure) -> Sequence[Hint] | None:
    """Return what is known of a failed handler: hints, which come before the built-in ones, or None.

    ``failure`` has the name of the exception's class, its message and the traceback as pytest shows it, all
    as text. Called once for each failed attempt, in the process that ran it; where that process is gone, in
    the one that noticed, and ``failure.type`` is ``ProcessLost`` then.

    At most three hints of an implementation are kept. One with the ``rule`` of a built-in hint takes its
    place. What raises, or returns anything else, is reported in a line below the failure; nothing is lost.
    """
