"""``exprunner diff``: shows what differs between two attempts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import click

from pytest_exprunner._util.errors import ExprunnerError
from pytest_exprunner._util.location import study_root
from pytest_exprunner._util.serialization import Plain, decode
from pytest_exprunner._util.text import few
from pytest_exprunner.cli.base import Opened, common, print_json
from pytest_exprunner.model.attempt import AttemptRecord
from pytest_exprunner.model.layout import EVENTS, Layout
from pytest_exprunner.model.results import SubState
from pytest_exprunner.provenance.sources import Sources
from pytest_exprunner.report import console
from pytest_exprunner.report import diff as differences
from pytest_exprunner.report.blocks import Code, Paragraph
from pytest_exprunner.store.journal import read_events

_MOST_LINES = 300


@click.command()
@click.argument("name", metavar="ID")
@click.argument("before", metavar="[A]", required=False, type=click.IntRange(min=1))
@click.argument("after", metavar="[B]", required=False, type=click.IntRange(min=1))
@common
def diff(
    name: str,
    before: int | None,
    after: int | None,
    plan: str | None,
    results: str | None,
    *,
    as_json: bool,
) -> None:
    """Show what differs between two attempts of a sub-experiment.

    A and B are numbers of attempts. Without them: the attempt that counts against the one before it; with
    A alone: the one that counts against A.
    """
    opened = Opened(plan, results)
    kind = opened.kind_of(name)
    if kind != "sub_experiment":
        word = kind.replace("_", " ")
        only = "only attempts of a sub-experiment can be compared"
        raise ExprunnerError(f"{name} is {_article(word)} {word}; {only}")
    study = opened.study()
    experiment = opened.loaded.plan.owner(name)
    sub, attempts = study.state(experiment.id).subs[name], study.attempts(experiment.id).get(name, [])
    first, second = _chosen(sub, attempts, before, after)
    layout, root = study.layout, opened.settings.project_root
    sources = Sources(root, study_root(opened.settings.plan_file), layout.state / "sources")
    params = (_params(layout, first), _params(layout, second))
    found = differences.compare(first, second, params, sources.text)
    if as_json:
        print_json("diff", {"id": name, "experiment": experiment.id, "differs": found.any, **asdict(found)})
        return
    counts = any(current.attempt == second.key.sequence for current in sub.currents)
    console.write(differences.as_findings(found, first, second, experiment, counts=counts), sys.stdout)
    for change in found.code:
        _say_code(change)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _say_code(change: differences.FileChange) -> None:
    note = f" ({change.note})" if change.note else ""
    sys.stdout.write("\n")
    console.write((Paragraph(("Code: ", Code(change.file), f" {change.how}{note}")),), sys.stdout)
    console.write_diff(change.diff[:_MOST_LINES], sys.stdout)
    if len(change.diff) > _MOST_LINES:
        left = len(change.diff) - _MOST_LINES
        console.write((Paragraph((f"  … and {left} more lines; --json has all of them",)),), sys.stdout)


def _chosen(
    sub: SubState, attempts: Sequence[AttemptRecord], before: int | None, after: int | None
) -> tuple[AttemptRecord, AttemptRecord]:
    """Return the two attempts to compare. Raises `ExprunnerError`."""
    by_number = {record.key.sequence: record for record in attempts}
    for number in (before, after):
        if number is not None and number not in by_number:
            raise ExprunnerError(_missing(sub, by_number, number))
    if not by_number:
        raise ExprunnerError(f"{sub.id} has no attempts on disk, so there is nothing to compare")
    counting = [c.attempt for c in sub.currents if c.attempt in by_number and c.attempt is not None]
    second = by_number[after] if after is not None else by_number[max(counting, default=max(by_number))]
    first = by_number[before] if before is not None else _one_before(second, attempts)
    if first is None:
        raise ExprunnerError(f"attempt {second.key.sequence} is the first of {sub.id}; nothing is before it")
    if first.key.sequence == second.key.sequence:
        raise ExprunnerError(f"attempt {first.key.sequence} of {sub.id} is to be compared with itself")
    return first, second


def _missing(sub: SubState, by_number: Mapping[int, AttemptRecord], number: int) -> str:
    if any(past.key.sequence == number for past in sub.history):
        return f"the record of attempt {number} of {sub.id} is not on disk; only results.yaml mentions it"
    numbers = few([str(n) for n in sorted(by_number)], 10) or "none"
    return f"{sub.id} has no attempt {number}; known: {numbers}"


def _one_before(record: AttemptRecord, attempts: Sequence[AttemptRecord]) -> AttemptRecord | None:
    """Return the last attempt before a given one, of the same variant and seed if there is one."""
    earlier = [other for other in attempts if other.key.sequence < record.key.sequence]
    same = [other for other in earlier if other.key.slot == record.key.slot]
    return same[-1] if same else earlier[-1] if earlier else None


def _params(layout: Layout, record: AttemptRecord) -> Mapping[str, Plain]:
    """Return the parameters of an attempt; only their digest if its journal lacks them."""
    for event in read_events(layout.attempt(record.key) / EVENTS):
        if event.get("event") == "started" and isinstance(event.get("params"), dict):
            return {str(name): decode(value) for name, value in event["params"].items()}
    return {"digest": record.inputs.get("params")} if "params" in record.inputs else {}
