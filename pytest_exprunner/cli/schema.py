"""``exprunner schema``: prints the JSON Schema of the plan or of a command's output."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

import click

from pytest_exprunner._util.errors import ExprunnerError, did_you_mean
from pytest_exprunner.cli.base import json_option, print_json, say
from pytest_exprunner.plan.schema import json_schema
from pytest_exprunner.report.plan_keys import tables
from pytest_exprunner.report.terminal import Line

_PLAN = "plan"


@click.command()
@click.argument("kind", metavar="[KIND]", default=_PLAN)
@click.option("--list", "listed", is_flag=True, help="List the available kinds.")
@click.option(
    "--markdown", is_flag=True, help="Print the keys of the plan as tables, for docs/plan-format.md."
)
@json_option
def schema(kind: str, *, listed: bool, markdown: bool, as_json: bool) -> None:
    """Print the JSON Schema of the plan, or of a command's output.

    KIND is the name of a command, for what it prints with --json; without it, the plan's is printed.
    """
    if listed:
        _say_kinds(_kinds(), as_json=as_json)
    elif markdown and kind != _PLAN:
        raise ExprunnerError(
            f"--markdown prints the keys of the plan; for {kind!r} there is only the JSON Schema"
        )
    elif markdown:
        click.echo(tables(json_schema()), nl=False)
    elif kind == _PLAN:
        click.echo(json.dumps(json_schema(), indent=2))
    elif kind in _kinds():
        click.echo(json.dumps(_shipped()[kind], indent=2))
    else:
        hint = did_you_mean(kind, _kinds())
        raise ExprunnerError(f"unknown kind {kind!r}{hint}; 'exprunner schema --list' shows them")


def _say_kinds(kinds: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json("schema", {"kinds": kinds})
        return
    width = max(map(len, kinds))
    say([Line(f"{name:<{width}}  {about}") for name, about in kinds.items()])


def _kinds() -> dict[str, str]:
    """Return the kinds that have a schema, each with a sentence about it."""
    shipped = {name: str(found["description"]) for name, found in _shipped().items()}
    return {_PLAN: "research_plan.yaml", **shipped}


@cache
def _shipped() -> dict[str, dict[str, object]]:
    """Return the schemas of the commands' output that are shipped with the package."""
    folder = resources.files("pytest_exprunner") / "json_schemas"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".json"): json.loads(file.read_text(encoding="utf-8")) for file in files}
