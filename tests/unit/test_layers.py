"""The table of rooms in docs/structure.md is true."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_exprunner

PACKAGE = Path(pytest_exprunner.__file__).parent
STRUCTURE = PACKAGE.parent / "docs" / "structure.md"
ENTRIES = ("__init__", "__main__")
TOP_LAYER = 6
ONLY_IN = {
    "pytest": {
        *("options", "importing", "collecting", "selecting", "hinting", "calling"),
        *(
            "far_items",
            "departing",
            "dispatching",
            "modal_app",
            "items",
            "isolating",
            "replaying",
            "explaining",
            "distributed",
            "showing",
            "streaming",
            "annotating",
            "running",
            "plugin",
        ),
    },
    "xdist": {"distributed"},
    "filelock": {"lock", "devices"},
    "psutil": {"processes"},
    "_pytest": {"selecting", "isolating", "far_items"},
    "packaging": {"executors.image"},
    "modal": {
        "executors.modal",
        "executors.modal_results",
        "executors.image",
        "executors.container",
        "modal_app",
    },
    "yaml": {"yaml_nodes"},
    "click": {
        *("cli", "commands.base", "commands.init", "commands.new", "commands.check", "commands.next"),
        *("commands.standing", "commands.writing", "commands.trust", "commands.show", "commands.diff"),
        *("commands.watch", "commands.sync", "commands.schema", "commands.hints", "commands.skill"),
    },
    "pydantic": {"plan", "plan_model", "plan_fields", "plan_criterion", "plan_compute", "plan_file"},
    "pydantic_core": {"plan", "plan_model", "plan_file"},
    "scipy": {"intervals"},
    "jinja2": {"render.html"},
    "markupsafe": {"render.html"},
    "numpy": {"intervals"},
    "rich": {"render.console"},
    "torch": {"runner"},
    "wandb": {"trackers.wandb"},
}


@functools.cache
def rooms() -> dict[str, tuple[int, int]]:
    """Return the layer and the place in the table of every room."""
    rows = re.findall(r"^\| (\d) \| `([\w.]+)` \|", STRUCTURE.read_text(encoding="utf-8"), re.MULTILINE)
    return {room: (int(layer), place) for place, (layer, room) in enumerate(rows)}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package with its name within it."""
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__") or "__init__"
        if name not in ENTRIES:
            yield name, file


@functools.cache
def imports(file: Path) -> frozenset[str]:
    """Full names of what a file imports, at any depth."""
    return frozenset(_imports(file))


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(file: Path) -> set[str]:
    """The rooms that a file imports."""
    known = rooms()
    names = (name.removeprefix("pytest_exprunner.") for name in imports(file))
    return {name for name in names if name in known}


def test_every_module_has_a_row() -> None:
    """The table names every module, and nothing else."""
    assert {name for name, _file in modules()} == set(rooms())


@pytest.mark.parametrize(("name", "file"), list(modules()), ids=lambda value: str(value).rpartition("/")[2])
def test_a_room_imports_only_what_is_below_it(name: str, file: Path) -> None:
    """A module imports lower layers and what stands above it in its own."""
    table = rooms()
    layer, place = table[name]
    for other in own_imports(file) - {name}:
        other_layer, other_place = table[other]
        assert other_layer < layer or (other_layer == layer and other_place < place), (
            f"{name} imports {other}"
        )


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_where_it_belongs(library: str) -> None:
    """Each library has its rooms, and no other imports it."""
    users = {name for name, file in modules() if any(i.partition(".")[0] == library for i in imports(file))}
    assert users <= ONLY_IN[library]


def test_nothing_heavy_is_imported_with_the_plugin() -> None:
    """The plugin's front door loads neither pydantic nor YAML, NumPy or torch."""
    code = (
        "import sys, pytest_exprunner.plugin\n"
        "heavy = {'pydantic', 'yaml', 'numpy', 'torch', 'click', 'orjson', 'subprocess', 'ast'}\n"
        "before = {'ast', 'subprocess'}  # pytest itself\n"
        "print(sorted((heavy - before) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rich_is_not_imported_before_somebody_looks() -> None:
    """The command line, as scripts and pipes use it, goes without rich."""
    code = "import sys, pytest_exprunner.cli; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
