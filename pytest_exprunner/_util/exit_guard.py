"""Reports exits of the controller that would look like success, and makes them failures."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NoReturn

_REPLACING = ("execv", "execve")
"""What every ``os.exec…`` comes to."""


class QuietExits:
    """Keeps this process from ending as if all were well, whoever asks: a handler, a fixture, an import.

    What a C library does by itself, and ends with ``exit(0)``, only another process can notice.
    """

    def __init__(self, who: Callable[[], str], say: Callable[[str], None]) -> None:
        """``who`` names what is running; ``say`` gets a line for people, just before the exit."""
        self._who = who
        self._say = say
        self._real: dict[str, Callable[..., Any]] = {}

    def refuse(self) -> None:
        """From now on ``os._exit`` is reported as a failure, and ``os.exec…`` raises RuntimeError."""
        self._real = {name: getattr(os, name) for name in ("_exit", *_REPLACING)}
        here = os.getpid()
        changed = {"_exit": self._told(here), **{name: self._refused(name, here) for name in _REPLACING}}
        for name, function in changed.items():
            setattr(os, name, function)

    def allow(self) -> None:
        """Give back what was there before."""
        for name, function in self._real.items():
            setattr(os, name, function)

    def _told(self, here: int) -> Callable[[int], NoReturn]:
        real = self._real["_exit"]

        def told(status: int) -> NoReturn:
            if os.getpid() == here:  # a child that was forked ends as it likes
                words = f"{self._who()} called os._exit({status}): the run ends here and is incomplete. "
                self._say(f"{words}'--exp-executor subprocess' protects the others.")
                status = status or 1
            real(status)
            raise AssertionError

        return told

    def _refused(self, name: str, here: int) -> Callable[..., Any]:
        real = self._real[name]

        def refused(*arguments: Any) -> Any:
            if os.getpid() == here:
                raise RuntimeError(
                    f"os.{name} would replace the process that controls the run; start another with "
                    "subprocess.run, or call the handler with --exp-executor subprocess"
                )
            return real(*arguments)

        return refused
