"""``exprunner new``: writes missing handlers from the plan."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from pytest_exprunner._util.errors import ExprunnerError, count, did_you_mean
from pytest_exprunner.cli.base import Opened, common, print_json, say
from pytest_exprunner.handlers import scaffold
from pytest_exprunner.plan.models import Experiment, SubExperiment
from pytest_exprunner.report import terminal
from pytest_exprunner.report.terminal import Line
from pytest_exprunner.store import atomic


@dataclass(frozen=True, slots=True)
class Written:
    """A handler that was written, and its location."""

    sub_experiment: str
    function: str
    file: str
    line: int


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--experiment", metavar="ID", help="Write every missing handler of this experiment.")
@click.option("--all", "every", is_flag=True, help="Write every missing handler of the plan.")
@common
def new(
    ids: tuple[str, ...],
    experiment: str | None,
    plan: str | None,
    results: str | None,
    *,
    every: bool,
    as_json: bool,
) -> None:
    """Write the handler of a sub-experiment from the plan.

    It goes to the end of experiments/EXPERIMENT.py and fails until it measures what the plan asks for.
    """
    if bool(ids) + bool(experiment) + every != 1:
        raise click.UsageError("name sub-experiments, or --experiment ID, or --all.")
    opened = Opened(plan, results)
    opened.scan().check()
    chosen = _named(opened, ids) if ids else _without_handler(opened, experiment)
    by_file: dict[Path, list[tuple[Experiment, SubExperiment]]] = {}
    for owner, sub in chosen:
        by_file.setdefault(_file_of(opened, owner), []).append((owner, sub))
    texts = {file: _appended(opened, file, subs) for file, subs in by_file.items()}
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.replace(file.resolve(), text.encode())
    found = opened.scan().planned()
    written = [Written(s.id, found[s.id].name, str(found[s.id].file), found[s.id].line) for _e, s in chosen]
    if as_json:
        print_json("new", {"written": [asdict(handler) for handler in written]})
    else:
        say(_lines(written))


def _lines(written: Sequence[Written]) -> list[Line]:
    if not written:
        return [Line("nothing to write: each has a handler", "good")]
    return [
        Line(f"wrote {count(len(written), 'handler')}", "good"),
        *(Line(f"  {terminal.safe(h.function)} ({terminal.safe(h.file)}:{h.line})") for h in written),
        Line(
            "Each fails until it measures what the plan asks for; fill it in, then: pytest experiments/ -m ID"
        ),
    ]


def _named(opened: Opened, ids: Sequence[str]) -> list[tuple[Experiment, SubExperiment]]:
    """Return sub-experiments by their ids. Raises `ExprunnerError` with every problem."""
    plan = opened.loaded.plan
    by_id = {sub.id: (experiment, sub) for experiment, sub in plan.sub_experiments()}
    found = opened.scan()
    handlers = found.planned()
    wrong = []
    for name in dict.fromkeys(ids):
        if name in plan.experiments:
            wrong.append(f"{name} is an experiment; for its handlers: exprunner new --experiment {name}")
        elif name not in by_id:
            wrong.append(f"unknown sub-experiment {name!r}{did_you_mean(name, by_id)}")
        elif name in handlers:
            wrong.append(f"{name} has a handler: {handlers[name].name} at {handlers[name].place}")
        else:
            wrong += [f"{suspect}; fix that instead" for suspect in found.suspects(name)]
    if wrong:
        raise ExprunnerError("\n".join([*wrong, "nothing was written"]))
    return [by_id[name] for name in dict.fromkeys(ids)]


def _without_handler(opened: Opened, experiment: str | None) -> list[tuple[Experiment, SubExperiment]]:
    plan = opened.loaded.plan
    if experiment is not None and experiment not in plan.experiments:
        hint = did_you_mean(experiment, plan.experiments)
        raise ExprunnerError(f"unknown experiment {experiment!r}{hint}")
    missing = opened.scan().without_handler(plan)
    chosen = [
        (owner, sub)
        for owner, sub in plan.sub_experiments()
        if sub.id in missing and experiment in (None, owner.id)
    ]
    wrong = [f"{missing[sub.id]}; fix that first" for _owner, sub in chosen if missing[sub.id]]
    if wrong:
        raise ExprunnerError("\n".join([*wrong, "nothing was written"]))
    return chosen


def _file_of(opened: Opened, experiment: Experiment) -> Path:
    """Return the file for an experiment's handlers; the name of a new one hides no module."""
    folder = opened.settings.folders[0]
    stem = re.sub(r"\W+", "_", experiment.id, flags=re.ASCII)
    file = folder / f"{stem}.py"
    if file.exists() and stem != "conftest":
        return file
    taken = (
        stem == "conftest" or stem in sys.stdlib_module_names or importlib.util.find_spec(stem) is not None
    )
    return folder / f"{stem}_experiment.py" if taken else file


def _appended(opened: Opened, file: Path, subs: Sequence[tuple[Experiment, SubExperiment]]) -> str:
    """Return the text of a file with handlers appended. Raises `ExprunnerError`; writes nothing."""
    shown = opened.settings.shown(file)
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            before = stream.read()
        ast.parse(before)
    except FileNotFoundError:
        before = scaffold.module_text(subs[0][0])
    except (SyntaxError, ValueError) as error:
        raise ExprunnerError(f"{shown} cannot be added to: {error}; nothing was written") from None
    annotated, defined = scaffold.knows_the_runner(before), scaffold.defined_in(before)
    text = before.rstrip() + "\n" if before.strip() else ""
    for experiment, sub in subs:
        name = scaffold.function_name(opened.loaded.plan, sub)
        if name in defined:
            raise ExprunnerError(
                f"{shown} already defines {name}, which is not a handler; nothing was written"
            )
        text += "\n\n" if text else ""
        text += scaffold.function_text(opened.loaded.plan, experiment, sub, annotated=annotated)
    return text.replace("\r\n", "\n").replace("\n", "\r\n") if "\r\n" in before else text
