"""Files that a public project has beside its code agree with each other and with the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import pytest_exprunner

ROOT = Path(pytest_exprunner.__file__).parent.parent
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
TEXTS = [*sorted(GITHUB.rglob("*.*")), *(ROOT / name for name in ("CITATION.cff", ".pre-commit-config.yaml"))]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def loaded(file: Path) -> Any:
    """Return the content of a YAML file, in which every key is text."""
    return yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def steps(file: Path) -> list[dict[str, Any]]:
    """Every step of every job of a workflow."""
    return [step for job in loaded(file)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_has_few_rights_and_an_end(file: Path) -> None:
    """It may write nothing unless a job says so; no token stays in a checkout; actions are pinned; all jobs end."""
    workflow = loaded(file)
    assert workflow["permissions"] in ("", {}, {"contents": "read"})
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    for step in steps(file):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step.get("uses", f"a/b@{'0' * 40}"))
        assert "${{" not in step.get("run", "")


def test_the_workflow_runs_what_contributors_run() -> None:
    """Style, types, imports, tests and documents are checked by the commands that CONTRIBUTING.md names."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = {line.removeprefix(".venv/bin/") for line in re.findall(r"^\$ (.*)$", page, re.MULTILINE)}
    run = {step.get("run") for step in steps(GITHUB / "workflows" / "tests.yml")}
    for command in ("ruff check .", "mypy", "lint-imports", "pytest -n 4"):
        assert command in named & run
    assert "ruff format --check ." in run
    assert "sphinx-build -W --keep-going -n docs site" in named & run
    assert any("pytest -m 'slow or browser' -n 4" in str(command) for command in run)


def test_every_python_of_the_classifiers_is_tested() -> None:
    """And no other."""
    job = loaded(GITHUB / "workflows" / "tests.yml")["jobs"]["tests"]
    tested = set(job["strategy"]["matrix"]["python"])
    classifiers = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert tested == set(classifiers)
    assert PROJECT["requires-python"] == f">={min(tested)}"


def test_the_citation_names_this_version() -> None:
    """Whoever cites the project cites what is installed."""
    citation = loaded(ROOT / "CITATION.cff")
    assert citation["version"] == pytest_exprunner.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == PROJECT["urls"]["Homepage"]


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.name)
def test_no_registry_is_named(file: Path) -> None:
    """Where packages come from is the business of whoever installs them."""
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"pypi\.org|pythonhosted|registry\.npmjs|anaconda\.org|index-url", text)


def test_hooks_before_a_commit_run_the_checks() -> None:
    """They use the environment of the project, so that nothing is downloaded."""
    [repository] = loaded(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert {hook["id"] for hook in repository["hooks"]} == {
        "ruff-format",
        "ruff-check",
        "mypy",
        "lint-imports",
    }
    assert all(hook["language"] == "system" for hook in repository["hooks"])
