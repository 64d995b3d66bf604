"""Hooks that other plugins and conftest files can implement; they are declared even without a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_exprunner.model.attempt import Failure, Hint


def pytest_exprunner_diagnose(failure: Failure) -> Sequence[Hint] | None:
    """Return hints for a failed handler, shown before the built-in ones, or None.

    ``failure`` has the name of the exception's class, its message and the traceback as pytest shows it, all
    as text. It is called once for each failed attempt, in the process that ran it. If that process crashed,
    it is called in the process that noticed, and ``failure.type`` is ``ProcessLost``.

    At most three hints of an implementation are kept. A hint with the ``rule`` of a built-in hint replaces
    it. An exception, or any other return value, is reported in a line below the failure; nothing is lost.
    """
