"""Fixtures of every test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from study_folder import Run, Study

# In a job that a shell started in the background Ctrl-C is ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# No timed assertion: a slow machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


_USED = (
    "import pytest_exprunner.cli.main, pytest_exprunner.plugin.registration, pytest_exprunner.trackers.worker\n"
    "for name in ('pytest_exprunner.plugin.xdist', 'xdist.plugin', 'xdist.remote', 'wandb'):\n"
    "    try:\n"
    "        __import__(name)\n"
    "    except ImportError:\n"
    "        pass\n"
)


def pytest_configure(config: pytest.Config) -> None:
    """Have what hundreds of processes are going to import compiled once: they write no bytecode themselves."""
    if not hasattr(config, "workerinput"):
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        subprocess.run([sys.executable, "-c", _USED], env=kept, check=False, capture_output=True)


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder() -> Iterator[None]:
    """Give the runs that tests start a folder of their own for what is temporary.

    The end of a pytest run removes what earlier runs left under the temporary folder. Beside a test
    session that has left thousands of files there, a run that has been interrupted would do that for
    half a minute.
    """
    with tempfile.TemporaryDirectory(prefix="exprunner-", ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = folder
        yield


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study in an empty folder; ``plan`` and ``handlers`` fill it."""
    return Study(tmp_path)


@pytest.fixture
def judged(study: Study) -> Callable[[str], Run]:
    """Run one handler whose body is given, under the default plan."""

    def run(body: str) -> Run:
        study.plan()
        study.handlers("def e_x1_1_probe(runner):\n" + textwrap.indent(textwrap.dedent(body), "    "))
        return study.pytest()

    return run
