"""What is handed out: a wheel and a source distribution, whole, sound, and enough on their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from study_folder import Study

import pytest_exprunner

pytestmark = pytest.mark.slow

PACKAGE = Path(pytest_exprunner.__file__).parent
ROOT = PACKAGE.parent
VERSION = pytest_exprunner.__version__
NOT_SHIPPED = {"__pycache__"}


@dataclass(frozen=True)
class Built:
    """What was built of the project."""

    source: Path
    wheel: Path
    """From the source distribution."""
    wheel_of_tree: Path

    def metadata(self) -> Message:
        """What the wheel says of itself."""
        with zipfile.ZipFile(self.wheel) as wheel:
            text = wheel.read(f"pytest_exprunner-{VERSION}.dist-info/METADATA").decode()
        return Parser().parsestr(text)


def python(*arguments: str | Path, cwd: Path | None = None, interpreter: Path | None = None) -> str:
    """Run Python, see it succeed, and return what it printed; nothing of this project is on its path."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    command = [str(interpreter or sys.executable), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The source distribution, the wheel that is made from it, and one made from this tree."""
    for tool in ("build", "twine"):
        pytest.importorskip(tool)
    folder = tmp_path_factory.mktemp("built")
    python("-m", "build", "--outdir", folder / "both", ROOT, cwd=folder)
    python("-m", "build", "--wheel", "--outdir", folder / "tree", ROOT, cwd=folder)
    (source,) = folder.glob("both/*.tar.gz")
    (wheel,) = folder.glob("both/*.whl")
    (wheel_of_tree,) = folder.glob("tree/*.whl")
    return Built(source, wheel, wheel_of_tree)


def contents(wheel: Path) -> dict[str, bytes]:
    """What is in a wheel, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_indexes_would_take_it(built: Built) -> None:
    """The metadata is valid and the README renders."""
    said = python("-m", "twine", "check", "--strict", built.source, built.wheel)
    assert said.count("PASSED") == 2


def test_the_same_wheel_from_source_and_tree(built: Built) -> None:
    """Who builds from the source distribution gets what was tested here."""
    assert contents(built.wheel) == contents(built.wheel_of_tree)


def test_the_wheel_is_whole(built: Built) -> None:
    """Every file of the package is in it: code, types, schemas, templates, vendored script and licences."""
    shipped = contents(built.wheel)
    files = (file for file in PACKAGE.rglob("*") if file.is_file() and not NOT_SHIPPED & set(file.parts))
    expected = {f"pytest_exprunner/{file.relative_to(PACKAGE).as_posix()}" for file in files}
    assert expected == {name for name in shipped if ".dist-info/" not in name}
    assert {
        "pytest_exprunner/py.typed",
        "pytest_exprunner/research_plan.schema.json",
        "pytest_exprunner/json_schemas/event.json",
        "pytest_exprunner/report/html/templates/report.html.j2",
        "pytest_exprunner/report/html/vendor/uPlot.iife.min.js",
        "pytest_exprunner/report/html/vendor/uPlot.LICENSE",
        "pytest_exprunner/skill/SKILL.md",
        "pytest_exprunner/starter/research_plan.yaml",
    } <= expected
    licence = f"pytest_exprunner-{VERSION}.dist-info/licenses/LICENSE"
    assert shipped[licence] == (ROOT / "LICENSE").read_bytes()


def test_the_source_distribution_is_whole(built: Built) -> None:
    """It has what its own tests need, and nothing that git ignores."""
    with tarfile.open(built.source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "CHANGELOG.md", "conftest.py", "docs/structure.md"} <= names
    assert {"tests/study_folder.py", "research/research_plan.yaml"} <= names
    assert any(name.startswith("experiments/") for name in names)
    assert not {name for name in names if name.endswith((".pyc", "events.jsonl", "log.txt"))}


def test_metadata(built: Built) -> None:
    """It says what it is, for whom, under which licence, and how it was installed with extras."""
    said = built.metadata()
    assert said["Name"] == "pytest-exprunner"
    assert said["Version"] == VERSION
    assert said["Summary"]
    assert said["License-Expression"] == "MIT"
    assert said["License-File"] == "LICENSE"
    assert said["Requires-Python"] == ">=3.11"
    assert said["Description-Content-Type"] == "text/markdown"
    assert said.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    classifiers = said.get_all("Classifier", [])
    assert {"Framework :: Pytest", "Typing :: Typed", "Intended Audience :: Science/Research"} <= set(
        classifiers
    )
    assert {"study", "wandb", "modal", "report", "dev"} <= set(said.get_all("Provides-Extra", []))


def test_the_wheel_works_alone(built: Built, tmp_path: Path) -> None:
    """Installed into an empty environment, it makes a study, runs it, and reports it."""
    python("-m", "venv", tmp_path / "venv")
    own = tmp_path / "venv" / "bin" / "python"
    python("-m", "pip", "install", "-q", f"{built.wheel}[report]", interpreter=own)
    study = Study(tmp_path / "study")
    study.root.mkdir()

    def run(*arguments: str) -> str:
        return python("-m", *arguments, cwd=study.root, interpreter=own)

    assert VERSION in run("pytest_exprunner", "--version")
    run("pytest_exprunner", "init")
    assert "c1-centroids" in run("pytest", "experiments/", "--exp-report", "report.html")
    report = (study.root / "report.html").read_text(encoding="utf-8")
    assert report.startswith("<!doctype html>")
    assert "uPlot" in report
    assert "c1-centroids" in run("pytest_exprunner", "status")
    assert "no problems" in run("pytest_exprunner", "check")
    assert '"$schema"' in run("pytest_exprunner", "schema")
    run("pytest_exprunner", "skill")
    assert len(list((study.root / ".claude" / "skills" / "exprunner").rglob("*.*"))) == 9
    assert VERSION in (study.research / "experiments" / "c1-centroids" / "results.yaml").read_text("utf-8")
