"""``exprunner show`` and ``exprunner history``: results and their attempts, in the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pytest_exprunner._util.errors import ExprunnerError
from pytest_exprunner.cli.base import Opened, common, gate_json, print_json, say
from pytest_exprunner.diagnosis.match import place_of
from pytest_exprunner.model.attempt import Failure
from pytest_exprunner.model.results import CurrentAttempt, Results
from pytest_exprunner.report import console, experiment, project, terminal
from pytest_exprunner.report import history as attempt_history
from pytest_exprunner.report.blocks import Block, Bullets, Code, Findings, Heading, Paragraph, Strong
from pytest_exprunner.report.terminal import Line
from pytest_exprunner.store.results_file import document
from pytest_exprunner.store.study import Study


@click.command()
@click.argument("name", metavar="ID")
@common
def show(name: str, plan: str | None, results: str | None, *, as_json: bool) -> None:
    """Show the results of an experiment or sub-experiment, or the state of a gate.

    ID is that of an experiment, a sub-experiment or a gate.
    """
    opened = Opened(plan, results)
    kind = opened.kind_of(name)
    study = opened.study()
    stored = study.results()
    if as_json:
        print_json(
            "show", {"id": name, "kind": kind, **_as_json(opened, stored, name, kind), "notes": _notes(study)}
        )
        return
    owner = opened.loaded.plan.owner(name).id if kind == "sub_experiment" else name
    base = os.path.relpath(study.layout.experiment(owner))
    console.write(_shown(opened, stored, name, kind), sys.stdout, Path(base).as_posix())
    say([Line(terminal.safe(note), "warn") for note in _notes(study)])


def _notes(study: Study) -> list[str]:
    return [*study.problems, *study.edits]


def _shown(opened: Opened, stored: Results, name: str, kind: str) -> Findings:
    if kind == "gate":
        return tuple(_gate(stored, name))
    if kind == "sub_experiment":
        state = stored.experiments[opened.loaded.plan.owner(name).id]
        return tuple(experiment.sub_experiment(state, state.subs[name]))
    link = f"../{name}.md" if opened.study().layout.plan_of(name).is_file() else None
    return experiment.build_experiment(stored.experiments[name], stored, link)


def _gate(stored: Results, name: str) -> Iterator[Block]:
    gate = stored.gates[name]
    yield Heading(1, (Code(name), f" — {gate.plan.name}" if gate.plan.name else ""))
    if gate.plan.description:
        yield Paragraph((gate.plan.description,))
    claim = gate.plan.status
    claimed = f" The plan claims {claim}." if claim is not None and str(claim) != str(gate.state) else ""
    yield Paragraph(("It is ", Strong(str(gate.state).replace("_", " ")), f".{claimed}"))
    yield Bullets(tuple((line,) for line in gate.lines))
    yield Paragraph((project.unlocks(gate),))


def _as_json(opened: Opened, stored: Results, name: str, kind: str) -> dict[str, Any]:
    if kind == "gate":
        return {"gate": gate_json(stored.gates[name])}
    owner = name if kind == "experiment" else stored.plan.owner(name).id
    where = {"findings": opened.settings.shown(opened.study().layout.findings_of(owner))}
    state = stored.experiments[owner]
    if kind == "experiment":
        return {"experiment": document(state), **where}
    sub, planned = state.subs[name], state.plan.sub_experiments[name]
    fields = {
        "experiment": state.id,
        "name": planned.name,
        "objective": planned.objective,
        "status": str(sub.status),
        "attempts": [_current_json(current) for current in sub.currents],
    }
    return {"sub_experiment": fields, **where}


def _current_json(current: CurrentAttempt) -> dict[str, Any]:
    return {
        "attempt": current.attempt,
        "variant": current.variant,
        "seed": current.seed,
        "run": current.record.run,
        "status": str(current.status),
        "reason": current.record.reason,
        "finding": current.record.finding,
        "metrics": current.record.metrics,
        "artifacts": [asdict(artifact) for artifact in current.record.artifacts],
        "missing_artifacts": list(current.record.missing),
        "evidence": [asdict(evidence) for evidence in current.record.evidence],
        "error": _error_json(current.record.error) if current.record.error else None,
        "hints": [asdict(hint) for hint in current.record.hints],
        "started_at": current.record.started_at,
        "finished_at": current.record.finished_at,
        "duration_s": current.record.duration_s,
    }


def _error_json(error: Failure) -> dict[str, Any]:
    return {**asdict(error), "place": place_of(error)}


@click.command()
@click.argument("name", metavar="ID")
@common
def history(name: str, plan: str | None, results: str | None, *, as_json: bool) -> None:
    """List every attempt, oldest first, and which of them counts."""
    opened = Opened(plan, results)
    if opened.kind_of(name) == "gate":
        raise ExprunnerError(f"{name} is a gate, which has no attempts; try: exprunner show {name}")
    study = opened.study()
    owner = name if opened.kind_of(name) == "experiment" else opened.loaded.plan.owner(name).id
    state = study.state(owner)
    subs = state.subs.values() if owner == name else [state.subs[name]]
    found = {sub.id: attempt_history.history_of(sub, state.plan) for sub in subs}
    if as_json:
        attempts = [asdict(entry) for entries in found.values() for entry in entries]
        print_json("history", {"id": name, "experiment": owner, "attempts": attempts, "notes": _notes(study)})
        return
    console.write(attempt_history.as_findings(state, found), sys.stdout)
    say([Line(terminal.safe(note), "warn") for note in _notes(study)])
