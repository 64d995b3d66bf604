"""``exprunner schema``: the shape of what is read and printed."""

from __future__ import annotations

import json

import click

from pytest_exprunner.plan import json_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of research_plan.yaml."""
    click.echo(json.dumps(json_schema(), indent=2))
