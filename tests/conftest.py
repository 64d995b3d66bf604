"""Fixtures of every test."""

from __future__ import annotations

import signal
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from study_folder import Run, Study

# In a job that a shell started in the background Ctrl-C is ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# No timed assertion: a slow machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


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
