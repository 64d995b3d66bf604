"""What an installation of the project brings along."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import pytest_exprunner

ROOT = Path(pytest_exprunner.__file__).parent.parent
TABLE: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = TABLE["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def requirements() -> Iterator[Requirement]:
    """Everything that any installation asks for."""
    for texts in (PROJECT["dependencies"], *EXTRAS.values()):
        yield from map(Requirement, texts)


def bounds(texts: list[str]) -> dict[str, str]:
    """The bound of each of some requirements."""
    return {canonicalize_name(one.name): str(one.specifier) for one in map(Requirement, texts)}


@pytest.mark.parametrize("required", list(requirements()), ids=str)
def test_bounded_from_below_only(required: Requirement) -> None:
    """A least version is named, and none is shut out: it is not ours to hold other libraries back.

    What checks style and types runs here alone, and a new version of it finds new things.
    """
    operators = sorted(bound.operator for bound in required.specifier)
    assert operators == (["<", ">="] if required.name in {"mypy", "ruff"} else [">="])


def test_core_dependencies_are_few() -> None:
    """Whoever installs the plugin alone gets these and no other."""
    assert set(bounds(PROJECT["dependencies"])) == {
        *("click", "filelock", "orjson", "psutil", "pydantic", "pytest", "pyyaml", "rich", "scipy")
    }


def test_extras() -> None:
    """Trackers, engines, reports and the example study are asked for by name."""
    assert {"study", "wandb", "modal", "report", "dev"} <= set(EXTRAS)


def test_development_has_what_users_get() -> None:
    """A library has one least version everywhere, and every extra is tested but the example's."""
    development = bounds(EXTRAS["dev"])
    for extra in EXTRAS.keys() - {"study", "dev"}:
        assert bounds(EXTRAS[extra]).items() <= development.items()


def test_one_place_for_the_version() -> None:
    """The package's own number is the only one."""
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    assert TABLE["tool"]["hatch"]["version"]["path"] == "pytest_exprunner/__init__.py"


def test_every_tested_python_is_a_classifier() -> None:
    """The oldest Python that is admitted is the first that is named."""
    named = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert named[0] == PROJECT["requires-python"].removeprefix(">=")
