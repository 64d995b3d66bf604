"""The hooks around what a person watches while a run goes on."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator
from typing import IO, Any, cast

import pytest

from pytest_exprunner.plugin.items import printable
from pytest_exprunner.report.watch import Display, SharedStream, Watch
from pytest_exprunner.session.session import ExperimentSession
from pytest_exprunner.store.tail import Follower


class ShowHooks:
    """Shows running handlers below pytest's own output. ``-q``, ``-s`` and ``--pdb`` do without."""

    def __init__(self, config: pytest.Config, session: ExperimentSession) -> None:
        """Registered in the process that leads a run, while what is printed reaches people."""
        self._config = config
        self._session = session
        # pytest turns standard output away from here while handlers run.
        self._descriptor = -1
        if sys.__stdout__ is not None:
            with contextlib.suppress(OSError, ValueError):  # it leads nowhere, or is closed
                self._descriptor = os.dup(sys.__stdout__.fileno())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Show what is running until the last handler has ended."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        writer = getattr(reporter, "_tw", None)
        stream: IO[str] | None = getattr(writer, "_file", None)
        if writer is None or stream is None or self._descriptor < 0:
            return (yield)
        follower = Follower(self._session.layout, self._session.run, skip_ended=True)
        fancy = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        display = Display(
            Watch(follower), self._descriptor, fancy=fancy, encode=lambda text: printable(self._config, text)
        )
        if fancy:
            writer._file = cast("Any", SharedStream(stream, display))  # noqa: SLF001 - where pytest prints to
        display.start()
        try:
            return (yield)
        finally:
            display.stop()
            follower.close()
            writer._file = stream  # noqa: SLF001

    def pytest_unconfigure(self) -> None:
        """Give back the way to the terminal."""
        if self._descriptor >= 0:
            os.close(self._descriptor)


def wanted(config: pytest.Config) -> bool:
    """Tell whether anything is to be shown while handlers run."""
    option = config.option
    quiet = config.get_verbosity() < 0 or option.collectonly or getattr(option, "capture", "no") == "no"
    return not (quiet or getattr(option, "usepdb", False))
