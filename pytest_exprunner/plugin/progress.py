"""The hooks behind the live display of running handlers."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, cast

from pytest_exprunner.plugin.items import printable
from pytest_exprunner.report.watch import Display, SharedStream, Watch
from pytest_exprunner.session.session import ExperimentSession
from pytest_exprunner.store.tail import Follower

if TYPE_CHECKING:
    import pytest


class ProgressHooks:
    """Shows running handlers below pytest's own output; disabled by ``-q``, ``-s`` and ``--pdb``."""

    def __init__(self, config: pytest.Config, session: ExperimentSession) -> None:
        """Registered in the controller while standard output is still the terminal."""
        self._config = config
        self._session = session
        # pytest redirects standard output while handlers run.
        self._descriptor = -1
        if sys.__stdout__ is not None:
            with contextlib.suppress(OSError, ValueError):  # it has no descriptor, or is closed
                self._descriptor = os.dup(sys.__stdout__.fileno())

    @contextlib.contextmanager
    def around_loop(self, session: pytest.Session) -> Iterator[None]:
        """Show what is running until the last handler has ended."""
        del session
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        writer = getattr(reporter, "_tw", None)
        stream: IO[str] | None = getattr(writer, "_file", None)
        if writer is None or stream is None or self._descriptor < 0:
            yield
            return
        follower = Follower(self._session.layout, self._session.run, skip_ended=True)
        fancy = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        display = Display(
            Watch(follower), self._descriptor, fancy=fancy, encode=lambda text: printable(self._config, text)
        )
        if fancy:
            writer._file = cast("Any", SharedStream(stream, display))  # noqa: SLF001 - pytest prints to this
        display.start()
        try:
            yield
        finally:
            display.stop()
            follower.close()
            writer._file = stream  # noqa: SLF001

    def pytest_unconfigure(self) -> None:
        """Close the duplicate of the terminal's descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)


def wanted(config: pytest.Config) -> bool:
    """Return whether to show progress while handlers run."""
    option = config.option
    quiet = config.get_verbosity() < 0 or option.collectonly or getattr(option, "capture", "no") == "no"
    return not (quiet or getattr(option, "usepdb", False))
