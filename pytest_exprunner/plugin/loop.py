"""Everything that this plugin does around pytest's loop over items, in the order in which it happens."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

AROUND = (
    "exprunner-show",  # outermost: gives the terminal back after everything else has printed
    "exprunner-controller",  # ends the workers of xdist once an interrupted run has been cleaned up
    "exprunner-run",  # starts the run, and judges it after the last event of an item was written
    "exprunner-json",  # innermost: writes events as long as items run
)
"""Plugins with a step around the loop, outermost first."""
INSTEAD = (
    "exprunner-explain",  # prints what would run
    "exprunner-remote",  # calls handlers on other machines
    "exprunner-remote-worker",  # runs the items that another machine asks for
)
"""Plugins with a loop of their own; the first that returns True has taken the place of pytest's."""


class AroundLoop(Protocol):
    """A plugin with a step around the loop."""

    def around_loop(self, session: pytest.Session) -> contextlib.AbstractContextManager[None]:
        """Return what is entered before the first item and left after the last."""


class InsteadOfLoop(Protocol):
    """A plugin with a loop of its own."""

    def run_loop(self, session: pytest.Session) -> bool | None:
        """Run the items and return True, or return None to leave them to others."""


class LoopHooks:
    """Composes the steps of the other hooks; a plugin that is absent or switched off has none."""

    def __init__(self, manager: pytest.PytestPluginManager) -> None:
        """Registered in every process; the steps are looked up when the loop begins."""
        self._manager = manager
        manager.register(LoopReplacement(manager), "exprunner-loop-replacement")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Enter every step, outermost first, and leave them in the opposite order."""
        steps: Iterator[AroundLoop] = _present(self._manager, AROUND)
        with contextlib.ExitStack() as stack:
            for step in steps:
                stack.enter_context(step.around_loop(session))
            return (yield)


class LoopReplacement:
    """Lets one plugin run the items in the place of pytest; a wrapper cannot do that."""

    def __init__(self, manager: pytest.PytestPluginManager) -> None:
        """Registered by `LoopHooks`."""
        self._manager = manager

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Ask each plugin with a loop of its own; None leaves the items to pytest."""
        loops: Iterator[InsteadOfLoop] = _present(self._manager, INSTEAD)
        return True if any(loop.run_loop(session) for loop in loops) else None


def _present(manager: pytest.PytestPluginManager, names: Sequence[str]) -> Iterator[Any]:
    plugins = (manager.get_plugin(name) for name in names)
    return (plugin for plugin in plugins if plugin is not None)
