"""``exprunner skill``: writes what an agent needs to know about this tool, as an agent skill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from pytest_exprunner import __version__
from pytest_exprunner._util import ini
from pytest_exprunner._util.errors import ExprunnerError, count, did_you_mean
from pytest_exprunner._util.location import find_plan, study_root
from pytest_exprunner.cli import skill_files
from pytest_exprunner.cli.base import json_option, print_json, say
from pytest_exprunner.cli.skill_files import Installed
from pytest_exprunner.report import terminal
from pytest_exprunner.report.terminal import Line

_SKILLS = Path(".claude", "skills")


@click.command()
@click.argument("folder", required=False, metavar="[FOLDER]", type=click.Path(path_type=Path))
@click.option("--list", "listed", is_flag=True, help="List the files of the skill; write nothing.")
@click.option("--show", metavar="FILE", help="Print a file of the skill; write nothing.")
@json_option
def skill(folder: Path | None, show: str | None, *, listed: bool, as_json: bool) -> None:
    """Write an agent skill: how an agent works with a study.

    It goes into FOLDER/exprunner. FOLDER is where your agent looks for skills: .claude/skills of this
    project if you name none, .agents/skills or any other. An earlier version is brought up to date; what
    you changed is never overwritten.
    """
    if (folder is not None) + (show is not None) + listed > 1:
        raise click.UsageError("name a folder, or --list, or --show FILE.")
    if show is not None:
        _print_file(show, as_json=as_json)
    elif listed:
        _print_list(as_json=as_json)
    else:
        _install(folder, as_json=as_json)


def _head() -> dict[str, object]:
    return {"name": skill_files.NAME, "version": __version__}


def _print_file(name: str, *, as_json: bool) -> None:
    texts = skill_files.shipped()
    if name not in texts:
        hint = did_you_mean(name, texts)
        raise ExprunnerError(f"the skill has no file {name!r}{hint}; it has: {', '.join(texts)}")
    if as_json:
        print_json("skill", {**_head(), "file": name, "text": texts[name]})
    else:
        click.echo(texts[name], nl=False)


def _print_list(*, as_json: bool) -> None:
    names = list(skill_files.shipped())
    if as_json:
        print_json("skill", {**_head(), "files": names})
    else:
        say([Line(name) for name in names])


def _install(folder: Path | None, *, as_json: bool) -> None:
    place = (_project() / _SKILLS if folder is None else folder) / skill_files.NAME
    shown = place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place
    done = skill_files.install(place, shown.as_posix(), __version__, skill_files.shipped())
    if as_json:
        lists = {
            "written": done.written,
            "replaced": done.replaced,
            "removed": done.removed,
            "unchanged": done.unchanged,
        }
        print_json("skill", {**_head(), "folder": shown.as_posix(), **lists})
    else:
        say(list(_lines(shown.as_posix(), done)))


def _project() -> Path:
    """Return the folder of the study around the current folder; the current folder if there is none."""
    root, _settings = ini.read(Path.cwd())
    plan = find_plan([Path.cwd()], root)
    return Path.cwd() if plan is None else study_root(plan)


def _lines(folder: str, done: Installed) -> Iterator[Line]:
    place = terminal.safe(folder)
    if not (done.written or done.replaced or done.removed):
        yield Line(f"{place} is up to date: {count(len(done.unchanged), 'file')}", "good")
        return
    if done.unchanged or done.replaced:
        yield Line(f"updated {place}", "good")
    else:
        yield Line(
            f"wrote the skill {skill_files.NAME} into {place}: {count(len(done.written), 'file')}", "good"
        )
    for word, names in (("written", done.written), ("replaced", done.replaced), ("removed", done.removed)):
        yield from (
            Line(f"  {terminal.safe(name)}{'' if word == 'written' else f' ({word})'}") for name in names
        )
