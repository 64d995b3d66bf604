"""Shared by all commands: their options, the study they open, and their output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import click

from pytest_exprunner._util import ini
from pytest_exprunner._util.errors import ExprunnerError, Problem, did_you_mean
from pytest_exprunner._util.location import absolute, find_plan, setting, study_root
from pytest_exprunner._util.serialization import named_floats, plain
from pytest_exprunner._util.text import encodable, few
from pytest_exprunner.handlers.scan import Scan, scan
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.model.results import GateResult
from pytest_exprunner.model.settings import Settings
from pytest_exprunner.plan import loader
from pytest_exprunner.plan.loader import LoadedPlan
from pytest_exprunner.report.terminal import Line, Style
from pytest_exprunner.store.study import Study

SCHEMA_VERSION = 1
_NEWER_VERSIONS = {"audit": 2, "verify": 2}
"""Kinds of output whose fields changed after the first version."""
_SHOWN_IDS = 12
EXIT_FAILED = 1
EXIT_PENDING = 3
EXIT_USAGE = 4
_COLOURS: dict[Style, dict[str, Any]] = {
    "good": {"fg": "green"},
    "bad": {"fg": "red"},
    "warn": {"fg": "yellow"},
    "bold": {"bold": True},
    "": {},
}


Kind = Literal["experiment", "sub_experiment", "gate"]


class Opened:
    """A study as the command line sees it."""

    def __init__(self, plan: str | None, results: str | None) -> None:
        """Find and read the plan. Raises `ExprunnerError`."""
        self.root, found = ini.read(Path.cwd())
        file = self._plan_file(plan, found)
        self._ini = found
        name = setting("results", results, os.environ, found.get("exp_results"))
        start = Path.cwd() if results else self.root
        self.settings = Settings(
            plan_file=file,
            results_root=file.parent if name is None else absolute(start, name),
            folders=self._folders(file, found),
            root=self.root,
            project=self.root if ini.has_settings(self.root) else study_root(file),
        )
        self.loaded: LoadedPlan = loader.load(file, self.settings.shown(file))

    def setting(self, name: str, option: str | None) -> str | None:
        """Return a setting: the option, the environment or the ini file."""
        return setting(name, option, os.environ, self._ini.get(f"exp_{name}"))

    def _plan_file(self, option: str | None, found: Mapping[str, str]) -> Path:
        name = setting("plan", option, os.environ, found.get("exp_plan"))
        if name is not None:
            file = absolute(Path.cwd() if option else self.root, name)
            if not file.is_file():
                raise ExprunnerError(f"there is no plan at {file}")
            return file
        nearest = find_plan([Path.cwd()], self.root)
        if nearest is None:
            raise ExprunnerError(
                f"no plan found: looked for research/research_plan.yaml from {Path.cwd()} upwards; "
                "name one with --plan FILE, or begin with 'exprunner init'"
            )
        return nearest

    def _folders(self, file: Path, found: Mapping[str, str]) -> tuple[Path, ...]:
        names = setting("paths", None, os.environ, found.get("exp_paths"))
        if names is None:
            return (study_root(file) / "experiments",)
        return tuple(absolute(self.root, name) for name in names.split())

    def scan(self) -> Scan:
        """The handlers in the source files."""
        return scan(self.loaded.plan, self.settings.folders, self.root)

    def kind_of(self, name: str) -> Kind:
        """Return the kind of an id of the plan. Raises `ExprunnerError` if the plan has no such id."""
        plan = self.loaded.plan
        subs = [sub.id for _experiment, sub in plan.sub_experiments()]
        known: dict[Kind, Collection[str]] = {
            "experiment": plan.experiments,
            "sub_experiment": subs,
            "gate": plan.gates,
        }
        for kind, names in known.items():
            if name in names:
                return kind
        every = [*plan.experiments, *subs, *plan.gates]
        raise ExprunnerError(
            f"unknown id {name!r}{did_you_mean(name, every)}; expected an experiment, a sub-experiment or a "
            f"gate: {few(every, _SHOWN_IDS)}"
        )

    def study(self) -> Study:
        """The stored results."""
        return Study(self.loaded.plan, Layout(self.settings.results_root))


def say(lines: list[Line]) -> None:
    """Print lines, in ASCII if the console supports nothing else."""
    encoding = getattr(sys.stdout, "encoding", None)
    for line in lines:
        click.echo(click.style(encodable(line.text, encoding), **_COLOURS[line.style]))


def print_json(kind: str, value: Mapping[str, Any]) -> None:
    """Print one JSON object that states its schema and version."""
    version = _NEWER_VERSIONS.get(kind, SCHEMA_VERSION)
    document = {"schema": f"exprunner/{kind}", "schema_version": version, **value}
    click.echo(json.dumps(named_floats(plain(document)), indent=2, ensure_ascii=True))


def gate_json(gate: GateResult) -> dict[str, Any]:
    """Return the state of a gate as JSON."""
    return {
        "state": str(gate.state),
        "experiments": list(gate.plan.experiments),
        "evidence": list(gate.lines),
        "claimed": gate.plan.status,
    }


def problem_json(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON; line 0 means the entire file."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "text": f"{problem.text}{problem.hint}",
    }


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


def common(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that are common to all commands that read a study."""
    for decorate in (
        click.option(
            "--plan", metavar="FILE", help="The research plan (default: searched for from here upwards)."
        ),
        click.option("--results", metavar="DIR", help="Folder for results (default: the plan's folder)."),
        json_option,
    ):
        command = decorate(command)
    return command
