"""``exprunner status`` and ``exprunner gates``: show the state of the study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import click

from pytest_exprunner._util.errors import ExprunnerError, count, did_you_mean
from pytest_exprunner.cli.base import (
    EXIT_FAILED,
    EXIT_PENDING,
    Opened,
    common,
    gate_json,
    print_json,
    say,
)
from pytest_exprunner.cli.watch import is_led
from pytest_exprunner.executors.pending_jobs import PendingJobs
from pytest_exprunner.model.attempt import GateState, Status
from pytest_exprunner.model.results import Results
from pytest_exprunner.report import terminal
from pytest_exprunner.report.experiment import review_items
from pytest_exprunner.report.terminal import Line, Summary
from pytest_exprunner.report.watch import current_run
from pytest_exprunner.store.results_file import document
from pytest_exprunner.store.study import Study

_ALWAYS_COUNTED = (Status.COMPLETED, Status.FAILED, Status.IN_PROGRESS, Status.NOT_STARTED)
_GATE_EXIT = {GateState.FAILED: EXIT_FAILED, GateState.PENDING: EXIT_PENDING}


@click.command()
@common
def status(plan: str | None, results: str | None, *, as_json: bool) -> None:
    """Show the state of every experiment and gate."""
    opened = Opened(plan, results)
    study = opened.study()
    stored = study.results()
    without = opened.scan().without_handler(opened.loaded.plan)
    if as_json:
        print_json("status", _status_json(stored, study, without))
        return
    started = [e for e, s in stored.experiments.items() if s.started or s.status is Status.BLOCKED]
    summary = Summary(
        stored,
        touched=started,
        without_handler=without,
        counts=_status_counts(stored),
        notes=[*study.problems, *study.edits],
        gates=tuple(stored.gates),
    )
    lines = terminal.render(summary, verbosity=0)
    waiting = [e for e in stored.experiments if e not in started]
    if waiting:
        lines.insert(-1, Line(f"not started: {', '.join(waiting)}"))
    lines[-1:-1] = [Line(terminal.safe(text), "warn") for text in _cut_short(study, stored)]
    lines[-1:-1] = [Line(terminal.safe(f"to review: {text}"), "warn") for text in _to_review(stored)]
    say([Line(terminal.heading(stored), "bold"), *lines])


def _status_counts(stored: Results) -> dict[str, int]:
    subs = [sub.status for state in stored.experiments.values() for sub in state.subs.values()]
    order = (*_ALWAYS_COUNTED, Status.SKIPPED, Status.BLOCKED)
    labels = {status: str(status).replace("_", " ").capitalize() for status in order}
    return {labels[s]: subs.count(s) for s in order if s in _ALWAYS_COUNTED or s in subs}


def _status_json(stored: Results, study: Study, without: Mapping[str, str]) -> dict[str, Any]:
    return {
        "project": stored.plan.project.name,
        "experiments": {
            name: {
                **{
                    key: value
                    for key, value in document(state).items()
                    if key
                    in (
                        "status",
                        "recommendation",
                        "recommendation_notes",
                        "assessment",
                        "criteria",
                        "issues",
                    )
                },
                "review": review_items(state),
                "sub_experiments": {sub.id: str(sub.status) for sub in state.subs.values()},
                "without_handler": [sub for sub in state.subs if sub in without],
                "replaced_by": state.replaced_by,
            }
            for name, state in stored.experiments.items()
        },
        "gates": {gate: gate_json(result) for gate, result in stored.gates.items()},
        "problems": [*study.problems, *study.edits],
    }


def _to_review(stored: Results) -> Iterator[str]:
    """Yield what needs review, except the issues shown below each experiment."""
    for name, state in stored.experiments.items():
        for item in review_items(state):
            if item not in state.issues:
                yield f"{name}: {item}"


def _cut_short(study: Study, stored: Results) -> Iterator[str]:
    """Yield lines about a run in progress, pending jobs, and runs that ended unfinished."""
    going_on = current_run(study.layout) if is_led(study.layout) else ""
    if going_on:
        yield f"run {going_on} is in progress; 'exprunner watch' shows it"
    for entry in PendingJobs(study.layout).pending():
        if entry.run != going_on:
            label = entry.job.key.label
            yield f"{label} was submitted to Modal ({entry.run}); 'exprunner collect' fetches it"
    subs = [sub for state in stored.experiments.values() for sub in state.subs.values()]
    for run in study.runs:
        # A sub-experiment that this run or a later one has finished since does not count.
        unfinished = sum(
            any(c.record.run == run and c.status is Status.IN_PROGRESS for c in sub.currents) for sub in subs
        )
        if unfinished and run != going_on:
            yield (
                f"run {run} ended with {count(unfinished, 'sub-experiment')} unfinished; "
                "'pytest … --exp-resume' continues"
            )


@click.command()
@click.argument("gate_ids", metavar="[ID]...", nargs=-1)
@common
def gates(gate_ids: tuple[str, ...], plan: str | None, results: str | None, *, as_json: bool) -> None:
    """Show gates; exit 0 if all have passed, 1 if one failed, 3 if one is pending."""
    opened = Opened(plan, results)
    study = opened.study()
    stored = study.results()
    for gate in gate_ids:
        if gate not in stored.gates:
            hint = did_you_mean(gate, stored.gates)
            raise ExprunnerError(f"unknown gate {gate!r}{hint}; known: {', '.join(stored.gates) or 'none'}")
    chosen = {gate: stored.gates[gate] for gate in gate_ids or stored.gates}
    if as_json:
        problems = [*study.problems, *study.edits]
        print_json("gates", {"gates": {n: gate_json(r) for n, r in chosen.items()}, "problems": problems})
    elif not chosen:
        say([Line("the plan has no gates")])
    for result in () if as_json else chosen.values():
        say(
            [
                terminal.gate_line(replace(result, members=())),
                *(Line(f"  {terminal.safe(t)}") for t in result.lines),
            ]
        )
    if not as_json:
        say([Line(terminal.safe(remark), "warn") for remark in [*study.problems, *study.edits]])
    states = [result.state for result in chosen.values()]
    states += [GateState.PENDING] if study.unreadable else []
    worst = next((s for s in (GateState.FAILED, GateState.PENDING) if s in states), None)
    if worst is not None:
        raise SystemExit(_GATE_EXIT[worst])
