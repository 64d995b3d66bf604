"""Refreshes what is generated in these pages: ``python docs/refresh.py``.

The sessions (commands and their output) are typed again in an empty folder. Tables and whole pages come from
the code that prints them. A page that is up to date stays as it is.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import tomllib
from importlib import import_module
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent / "tests"), str(DOCS.parent / "tests" / "integration")]

import sessions  # noqa: E402  # found by the line above
from study_folder import Study  # noqa: E402

from pytest_exprunner.diagnosis.rules import RULES  # noqa: E402
from pytest_exprunner.plan.schema import json_schema  # noqa: E402
from pytest_exprunner.report import hints, plan_keys  # noqa: E402

SESSIONS = ("first-study.md", "commands.md")
SCHEMA = DOCS.parent / "pytest_exprunner" / "research_plan.schema.json"
SKILL = DOCS.parent / "pytest_exprunner" / "skill"
_KEYS = re.compile(r"(?<=<!-- keys: written by docs/refresh.py -->\n).*?(?=<!-- end of keys -->)", re.DOTALL)


_PACKAGES = re.compile(
    r"(?<=<!-- packages: written by docs/refresh.py -->\n).*?(?=<!-- end of packages -->)", re.DOTALL
)


def with_keys(page: str) -> str:
    """Return the page about the plan with the tables of its keys as they are now."""
    tables = plan_keys.tables(json_schema())
    return _KEYS.sub(lambda _old: f"\n{tables}\n", page)


def layers() -> str:
    """Return the packages from the top down, drawn from the contract that keeps their order."""
    settings = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    floors: list[str] = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    shown = [[name for name in floor.split(" | ") if name != "__main__"] for floor in floors]
    rows = ["   ".join(f"{name:<11}" for name in names).rstrip() for names in shown if names]
    width = max(map(len, rows)) + 2
    boxes = [f"│ {row:<{width - 1}}│" for row in rows]
    lines = f"\n├{'─' * width}┤\n".join(boxes)
    return f"┌{'─' * width}┐\n{lines}\n└{'─' * width}┘"


def packages() -> str:
    """Return a row for each package: its name, and the sentence in its ``__init__``."""
    names = sorted(file.parent.name for file in (DOCS.parent / "pytest_exprunner").glob("*/__init__.py"))
    texts = {name: import_module(f"pytest_exprunner.{name}").__doc__ or "" for name in names}
    rows = [f"| `{name}` | {' '.join(text.replace('``', '`').split())} |" for name, text in texts.items()]
    return "\n".join(["| package | what is in it |", "| --- | --- |", *rows])


def with_packages(page: str) -> str:
    """Return the page about the structure with the picture and the table as they are now."""
    return _PACKAGES.sub(lambda _old: f"\n```text\n{layers()}\n```\n\n{packages()}\n\n", page)


def write(page: Path, text: str) -> None:
    """Write a page if its content has changed, and report it."""
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {page.name}\n")


def main(names: list[str]) -> None:
    """Refresh the named sessions, or everything."""
    if not names:
        write(SCHEMA, json.dumps(json_schema(), indent=2) + "\n")
        write(DOCS / "common-errors.md", hints.page(RULES))
        write(SKILL / "references" / "common-errors.md", hints.short_page(RULES))
        plan = DOCS / "plan-format.md"
        write(plan, with_keys(plan.read_text(encoding="utf-8")))
        structure = DOCS / "structure.md"
        write(structure, with_packages(structure.read_text(encoding="utf-8")))
    for name in names or SESSIONS:
        page = DOCS / name
        with tempfile.TemporaryDirectory() as folder:
            write(page, sessions.filled(page.read_text(encoding="utf-8"), Study(Path(folder))))


if __name__ == "__main__":
    main(sys.argv[1:])
