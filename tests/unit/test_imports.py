"""What is imported before anybody asks for it. The direction of imports is checked by ``lint-imports``."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import pytest_exprunner

ROOT = Path(pytest_exprunner.__file__).parent.parent
FOLDERS = [file.parent for file in sorted((ROOT / "pytest_exprunner").rglob("__init__.py"))]
TABLE: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def imported(code: str, *libraries: str) -> str:
    """Return which of some libraries a fresh interpreter has loaded after running code."""
    code += f"\nimport sys; print(*sorted({set(libraries)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_plugin_is_light() -> None:
    """Every start of pytest imports it, also where there is no plan."""
    heavy = ("pydantic", "yaml", "numpy", "torch", "click", "orjson", "scipy")
    assert imported("import pytest_exprunner.plugin", *heavy) == ""


def test_runs_and_commands_start_without_what_they_may_not_need() -> None:
    """SciPy costs half a second, and is loaded for seeds and samples alone."""
    code = "import pytest_exprunner.plugin.registration, pytest_exprunner.cli.main"
    assert imported(code, "scipy", "numpy", "torch", "jinja2") == ""


def test_rich_is_loaded_for_a_person() -> None:
    """Scripts and pipes go without it."""
    assert imported("import pytest_exprunner.cli.main", "rich") == ""


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_package_says_what_it_is(folder: Path) -> None:
    """One sentence, and no more modules than a person can survey."""
    text = (folder / "__init__.py").read_text(encoding="utf-8")
    assert re.match(r'"""[A-Z`][^\n]+\."""\n', text)
    assert len(list(folder.glob("*.py"))) <= 22


def test_every_package_has_its_layer() -> None:
    """The contract names the folders that there are, so that the picture in the documents is whole."""
    contract = next(c for c in TABLE["tool"]["importlinter"]["contracts"] if c["id"] == "layers")
    named = {name for layer in contract["layers"] for name in layer.split(" | ")}
    assert named >= {folder.name for folder in FOLDERS if folder.parent.name == "pytest_exprunner"}
