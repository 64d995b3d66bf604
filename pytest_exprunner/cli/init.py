"""``exprunner init``: writes a small study that runs immediately, as a starting point."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import click

from pytest_exprunner._util.errors import ExprunnerError, count
from pytest_exprunner.cli.base import json_option, print_json, say
from pytest_exprunner.report import terminal
from pytest_exprunner.report.terminal import Line

_FILES = {
    "research/research_plan.yaml": ("research_plan.yaml", "what is asked, and what would count as success"),
    "research/experiments/c1-centroids.md": ("c1-centroids.md", "a page of yours about the first experiment"),
    "research/experiments/q1-few-points.md": ("q1-few-points.md", "a page of yours about the second"),
    "experiments/centroids.py": ("centroids.py.template", "the handlers: functions that measure"),
}
_IGNORE = ".gitignore"
_NEXT = (
    ("pytest experiments/", "runs it"),
    ("exprunner show c1-centroids", "what was found"),
    ("exprunner next", "what to do next"),
)


@click.command()
@click.argument("folder", default=".", metavar="[FOLDER]", type=click.Path(path_type=Path))
@json_option
def init(folder: Path, *, as_json: bool) -> None:
    """Write a small study that runs at once.

    Existing files are never overwritten: where one is in the way, nothing is written.
    """
    _refuse_to_overwrite(folder)
    written = _write(folder)
    before = [] if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
    if as_json:
        commands = [*before, *(command for command, _what in _NEXT)]
        print_json("init", {"folder": str(folder), "written": written, "next": commands})
        return
    place = "here" if not before else f"into {terminal.safe(str(folder))}"
    say([Line(f"wrote a study {place}: {count(len(written), 'file')}", "good"), *_lines(written)])
    width = max(len(command) for command, _what in _NEXT)
    say(
        [
            Line("next:", "bold"),
            *(Line(f"  {terminal.safe(command)}") for command in before),
            *(Line(f"  {command:<{width}}  {what}") for command, what in _NEXT),
        ]
    )


def _lines(written: list[str]) -> Iterator[Line]:
    width = max(map(len, written))
    for name in written:
        what = _FILES[name][1] if name in _FILES else "what git ignores"
        yield Line(f"  {name:<{width}}  {what}")


def _refuse_to_overwrite(folder: Path) -> None:
    """Raise `ExprunnerError` with everything that is in the way, before anything is written."""
    existing = [name for name in _FILES if os.path.lexists(folder / name)]
    parents = dict.fromkeys(parent for name in _FILES for parent in reversed((folder / name).parents))
    blocked = [str(p) for p in parents if os.path.lexists(p) and not p.is_dir()]
    if blocked:
        raise ExprunnerError(f"{blocked[0]} is not a folder; nothing was written. Name another folder.")
    if existing:
        verb, them = ("exists", "it") if len(existing) == 1 else ("exist", "them")
        raise ExprunnerError(
            f"{', '.join(existing)} already {verb}; nothing was written. Move {them} away, or name "
            "another folder: exprunner init FOLDER"
        )


def _write(folder: Path) -> list[str]:
    """Write every missing file; remove all of them again if one cannot be written."""
    starter = resources.files("pytest_exprunner") / "starter"
    contents = {name: (starter / source).read_bytes() for name, (source, _what) in _FILES.items()}
    if not os.path.lexists(folder / _IGNORE):
        contents[_IGNORE] = (starter / "gitignore").read_bytes()
    written: list[str] = []
    try:
        for name, content in contents.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("xb") as stream:
                written.append(name)
                stream.write(content)
    except BaseException:
        for name in written:
            (folder / name).unlink(missing_ok=True)
        raise
    return written
