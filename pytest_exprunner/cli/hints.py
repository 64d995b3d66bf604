"""``exprunner hints``: shows common errors and their fixes, even without a network or a plan."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from pytest_exprunner._util.errors import ExprunnerError, did_you_mean
from pytest_exprunner.cli.base import print_json, say
from pytest_exprunner.diagnosis.match import hint_of
from pytest_exprunner.diagnosis.rules import RULES, Rule
from pytest_exprunner.report.hints import page, table, whole


@click.command()
@click.argument("rule", metavar="[RULE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--markdown", is_flag=True, help="Print docs/common-errors.md.")
def hints(rule: str | None, *, as_json: bool, markdown: bool) -> None:
    """Show how to recognise and fix common errors: a list, or RULE in full. Needs no plan."""
    chosen = RULES if rule is None else (_named(rule),)
    if as_json:
        print_json("hints", {"hints": [_plain(each) for each in chosen]})
    elif markdown:
        click.echo(page(chosen), nl=False)
    else:
        say(table(chosen) if rule is None else whole(chosen[0]))


def _named(name: str) -> Rule:
    known = {rule.id: rule for rule in RULES}
    if name not in known:
        near = [rule.id for rule in RULES if name.lower() in f"{rule.id} {rule.title}".lower()]
        if near and not did_you_mean(name, known):
            raise ExprunnerError(f"no hint is called {name!r}; about it are: {', '.join(near)}")
        raise ExprunnerError(
            f"unknown hint {name!r}{did_you_mean(name, known)}; 'exprunner hints' shows all of them"
        )
    return known[name]


def _plain(rule: Rule) -> dict[str, Any]:
    return {**asdict(hint_of(rule)), "title": rule.title, "examples": list(rule.examples)}
