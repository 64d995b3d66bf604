"""Every step of this plugin around pytest's loop over items, in order of execution."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

AROUND = (
    "exprunner-show",  # outermost: restores the terminal after everything else has printed
    "exprunner-controller",  # stops xdist workers after an interrupted run has been cleaned up
    "exprunner-run",  # starts the run, and judges it after the last event of an item was written
    "exprunner-json",  # innermost: writes events while items run
)
"""Plugins with a step around the loop, outermost first."""
INSTEAD = (
    "exprunner-explain",  # prints what would run
    "exprunner-remote",  # calls handlers on other machines
    "exprunner-remote-worker",  # runs the items that another machine requests
)
"""Plugins with their own loop; the first that returns True replaces pytest's loop."""


class AroundLoop(Protocol):
    """A plugin with a step around the loop."""

    def around_loop(self, session: pytest.Session) -> contextlib.AbstractContextManager[None]:
        """Return a context manager that is entered before the first item and exited after the last."""


class InsteadOfLoop(Protocol):
    """A plugin with its own loop."""

    def run_loop(self, session: pytest.Session) -> bool | None:
        """Run the items and return True, or return None to leave them to others."""


class LoopHooks:
    """Runs the steps of the other hooks; a plugin that is missing or disabled has none."""

    def __init__(self, manager: pytest.PytestPluginManager) -> None:
        """Registered in every process; the steps are looked up when the loop starts."""
        self._manager = manager
        manager.register(LoopReplacement(manager), "exprunner-loop-replacement")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Enter every step, outermost first, and exit them in reverse order."""
        steps: Iterator[AroundLoop] = _present(self._manager, AROUND)
        with contextlib.ExitStack() as stack:
            for step in steps:
                stack.enter_context(step.around_loop(session))
            return (yield)


class LoopReplacement:
    """Lets one plugin replace pytest's loop, which a hook wrapper cannot do."""

    def __init__(self, manager: pytest.PytestPluginManager) -> None:
        """Registered by `LoopHooks`."""
        self._manager = manager

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Call each plugin with its own loop; None leaves the items to pytest."""
        loops: Iterator[InsteadOfLoop] = _present(self._manager, INSTEAD)
        return True if any(loop.run_loop(session) for loop in loops) else None


def _present(manager: pytest.PytestPluginManager, names: Sequence[str]) -> Iterator[Any]:
    plugins = (manager.get_plugin(name) for name in names)
    return (plugin for plugin in plugins if plugin is not None)
