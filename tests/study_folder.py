"""A study in a folder of its own: written, run by a real pytest process, read back."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from forked import Nursery

PLAN = """\
experiments:
  x1-first:
    sub_experiments: [e_x1_1]
    success_criteria:
      accuracy: {target: 0.9, acceptable: 0.8, failure: 0.5}
"""


# What would change a run: of this project, of the pytest around it, of the CI service it runs on.
_NOT_INHERITED = ("EXPRUNNER_", "PYTEST_", "GITHUB_", "BUILD_NUMBER", "CI")

ANEW = {"PYTHONHASHSEED": "1"}
"""The environment of a process that is not forked, so that sets have another order in it than elsewhere."""

_PLUGIN_ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p exprunner"}


@functools.cache
def nursery() -> Nursery:
    """Return what forks the processes of this one's tests."""
    return Nursery()


@dataclass(frozen=True)
class Run:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything it printed."""
        return self.out + self.err

    def counts(self, **expected: int) -> bool:
        """Return whether pytest's last line has these counts and no other."""
        last = self.out.strip().splitlines()[-1].strip("= ")
        found = {word: int(number) for number, word in map(str.split, last.split(" in ")[0].split(", "))}
        return found == expected


class Study:
    """A study in an empty folder."""

    def __init__(self, root: Path, *, forked: bool = sys.platform == "linux") -> None:
        """Use a folder; ``forked`` tells whether its processes may have their imports done already."""
        self.root = root
        self.forked = forked
        self.research = root / "research"

    def write(self, path: str, text: str) -> Path:
        """Write a file, indentation removed."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    def plan(self, text: str = PLAN) -> Path:
        """Write the plan."""
        return self.write("research/research_plan.yaml", text)

    def handlers(self, text: str, name: str = "handlers.py") -> Path:
        """Write a file of handlers."""
        return self.write(f"experiments/{name}", text)

    def pytest(
        self,
        *arguments: str,
        env: dict[str, str] | None = None,
        cwd: str = ".",
        timeout: float = 60,
        plugins: tuple[str, ...] = ("exprunner",),
    ) -> Run:
        """Run pytest in a process of its own; ``experiments/`` is what it runs by default.

        Of the installed plugins only those in ``plugins`` are loaded, by the names of their entry
        points: loading all of them takes three times as long as the run itself.
        """
        chosen = arguments or ("experiments/",)
        for plugin in plugins:
            if not plugin.startswith("no:") and not entry_points(group="pytest11", name=plugin):
                pytest.skip(f"the pytest plugin {plugin} is not installed")
        loaded = [part for plugin in plugins for part in ("-p", plugin)]
        only = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return self._run(
            [sys.executable, "-m", "pytest", *loaded, *chosen], {**only, **(env or {})}, cwd, timeout
        )

    def exprunner(self, *arguments: str, env: dict[str, str] | None = None, cwd: str = ".") -> Run:
        """Run the command line tool in a process of its own."""
        return self._run([sys.executable, "-m", "pytest_exprunner", *arguments], env, cwd, 60)

    def start(
        self, *arguments: str, env: dict[str, str] | None = None, output: str = os.devnull
    ) -> subprocess.Popen[bytes]:
        """Start a run of the experiments that goes on; what it prints goes into a file of the folder."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)}
        only = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        with (self.root / output).open("wb") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "exprunner", "-p", "xdist", "experiments", *arguments],
                cwd=self.root,
                env={**inherited, **only, **(env or {})},
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def python(self, *arguments: str) -> Run:
        """Run a script of the folder, with the plugin alone in the pytest that it starts."""
        return self._run([sys.executable, *arguments], _PLUGIN_ALONE, ".", 60)

    def shell(self, command: str, env: dict[str, str]) -> Run:
        """Run a command line, as a step of a CI service does; ``pytest`` is that of this environment."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return self._run(["bash", "-e", "-c", command], {**_PLUGIN_ALONE, "PATH": path, **env}, ".", 60)

    def run_script(self, name: str, *arguments: str) -> Run:
        """Run an installed script, which unlike ``python -m`` does not look for modules in the folder."""
        script = Path(sys.executable).parent / name
        return self._run([str(script), *arguments], {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, ".", 60)

    def _run(self, command: list[str], env: dict[str, str] | None, cwd: str, timeout: float) -> Run:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)}
        environment = {**inherited, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "100", **(env or {})}
        if self.forked and nursery().fits(command, environment):
            done = nursery().run(command, self.root / cwd, environment, timeout)
            return Run(done.returncode, done.stdout, done.stderr)
        done = subprocess.run(
            command,
            cwd=self.root / cwd,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    def results(self, experiment: str = "x1-first") -> dict[str, Any]:
        """Read an experiment's results.yaml."""
        file = self.research / "experiments" / experiment / "results.yaml"
        value: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        return value

    def findings(self, experiment: str | None = "x1-first") -> str:
        """Read the findings of an experiment, or of the project."""
        folder = self.research / "experiments" / experiment if experiment else self.research
        return (folder / "FINDINGS.md").read_text(encoding="utf-8")

    def attempt(self, sub: str = "e_x1_1", sequence: int = 1, experiment: str = "x1-first") -> Path:
        """Return the folder of an attempt."""
        return self.research / "experiments" / experiment / "attempts" / sub / f"{sequence:04d}"

    def record(self, sub: str = "e_x1_1", sequence: int = 1, experiment: str = "x1-first") -> dict[str, Any]:
        """Read the record of an attempt."""
        value: dict[str, Any] = orjson.loads(
            (self.attempt(sub, sequence, experiment) / "record.json").read_bytes()
        )
        return value

    def files(self) -> set[str]:
        """Every file under the folder, bytecode and pytest's cache left out."""
        return {
            path.relative_to(self.root).as_posix()
            for path in self.root.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and ".pytest_cache" not in path.parts
        }
