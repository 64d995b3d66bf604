"""The order of the steps around pytest's loop over items."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_exprunner.plugin.loop import AROUND, INSTEAD, LoopHooks, LoopReplacement

NO_SESSION: Any = None  # the steps of these tests do not look at it


class Step:
    """Notes when it is entered and left."""

    def __init__(self, name: str, seen: list[str]) -> None:
        """``seen`` is shared by all steps."""
        self._name = name
        self._seen = seen

    @contextlib.contextmanager
    def around_loop(self, session: pytest.Session) -> Iterator[None]:
        """Note the entry, the end, and an exception that passes."""
        del session
        self._seen.append(f"enter {self._name}")
        try:
            yield
        except KeyboardInterrupt:
            self._seen.append(f"interrupted {self._name}")
            raise
        finally:
            self._seen.append(f"leave {self._name}")


class Loop:
    """Takes the place of pytest's loop, or leaves the items to others."""

    def __init__(self, name: str, seen: list[str], *, runs: bool | None) -> None:
        """``runs`` is what it answers."""
        self._name = name
        self._seen = seen
        self._runs = runs

    def run_loop(self, session: pytest.Session) -> bool | None:
        """Note the call."""
        del session
        self._seen.append(self._name)
        return self._runs


def manager_with(plugins: dict[str, object]) -> Any:
    """Return a plugin manager with plugins by name, registered in that order."""
    manager = pytest.PytestPluginManager()
    for name, plugin in plugins.items():
        manager.register(plugin, name)
    return manager


def around(plugins: dict[str, object]) -> Any:
    """Start the wrapper up to its yield; return the generator."""
    hooks = LoopHooks(manager_with(plugins)).pytest_runtestloop(NO_SESSION)
    next(hooks)
    return hooks


def test_steps_are_entered_outermost_first_whatever_the_order_of_registration() -> None:
    """They are left in the opposite order, and the loop's result passes through."""
    seen: list[str] = []
    hooks = around({name: Step(name, seen) for name in reversed(AROUND)})
    assert seen == [f"enter {name}" for name in AROUND]
    with pytest.raises(StopIteration) as end:
        hooks.send("the result")
    assert end.value.value == "the result"
    assert seen[len(AROUND) :] == [f"leave {name}" for name in reversed(AROUND)]


def test_an_absent_step_is_left_out() -> None:
    """A plugin that is switched off with ``-p no:…`` has no step."""
    seen: list[str] = []
    hooks = around({"exprunner-run": Step("exprunner-run", seen)})
    assert seen == ["enter exprunner-run"]
    hooks.close()


def test_an_interruption_reaches_the_innermost_step_first() -> None:
    """Ctrl-C passes through every step on its way out."""
    seen: list[str] = []
    hooks = around({name: Step(name, seen) for name in AROUND})
    with pytest.raises(KeyboardInterrupt):
        hooks.throw(KeyboardInterrupt())
    interrupted = [line for line in seen if line.startswith("interrupted")]
    assert interrupted == [f"interrupted {name}" for name in reversed(AROUND)]


def test_the_first_loop_that_runs_the_items_ends_the_search() -> None:
    """Those after it are not asked; pytest's own loop is not either."""
    seen: list[str] = []
    first, second, third = INSTEAD
    plugins: dict[str, object] = {
        third: Loop(third, seen, runs=True),
        second: Loop(second, seen, runs=True),
        first: Loop(first, seen, runs=None),
    }
    assert LoopReplacement(manager_with(plugins)).pytest_runtestloop(None) is True  # type: ignore[arg-type]
    assert seen == [first, second]


def test_without_a_loop_of_its_own_the_items_are_left_to_pytest() -> None:
    """No plugin that runs the items means None, which pluggy takes for "ask the next"."""
    assert LoopReplacement(manager_with({})).pytest_runtestloop(None) is None  # type: ignore[arg-type]
