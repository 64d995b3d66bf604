"""The command ``exprunner``: load, ask a pure function, print. Works on stored files alone."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import click

from pytest_exprunner import __version__
from pytest_exprunner.command_line import (
    EXIT_FAILED,
    EXIT_PENDING,
    EXIT_USAGE,
    Opened,
    common,
    print_json,
    say,
)
from pytest_exprunner.errors import ExprunnerError, PlanError, count, did_you_mean
from pytest_exprunner.executors.away import Away, Collected, Source
from pytest_exprunner.findings import review_items
from pytest_exprunner.following import Follower
from pytest_exprunner.layout import Layout
from pytest_exprunner.lock import RunLock
from pytest_exprunner.plan import Plan, json_schema
from pytest_exprunner.publishing import Publisher
from pytest_exprunner.records import GateState, Status
from pytest_exprunner.render import live, terminal
from pytest_exprunner.render.terminal import Line, Summary
from pytest_exprunner.results import document
from pytest_exprunner.scan import Scan
from pytest_exprunner.state import GateResult, Results
from pytest_exprunner.study import Study
from pytest_exprunner.trackers import syncing
from pytest_exprunner.trackers.registry import load as load_tracker
from pytest_exprunner.trackers.registry import place_of
from pytest_exprunner.trackers.syncing import Synced, used_before
from pytest_exprunner.trust_commands import audit, verify
from pytest_exprunner.values import named_floats, plain
from pytest_exprunner.watch_command import gone, is_led, watch_until_over
from pytest_exprunner.watching import Watch, current_run

_ANY_WIDTH = 10_000
_ALWAYS_COUNTED = (Status.COMPLETED, Status.FAILED, Status.IN_PROGRESS, Status.NOT_STARTED)
_GATE_EXIT = {GateState.FAILED: EXIT_FAILED, GateState.PENDING: EXIT_PENDING}


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, prog_name="exprunner")
@click.pass_context
def cli(context: click.Context) -> None:
    """Research experiments as pytest functions: look at the plan and at what was found.

    Exit codes: 0 all is well, 1 something failed, 3 a gate is pending or attempts wait for a
    tracker's server, 4 the plan or the command is wrong.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command()
@common
def check(plan: str | None, results: str | None, *, as_json: bool) -> None:
    """Check the plan and find its handlers; nothing is imported or run."""
    try:
        opened = Opened(plan, results)
    except PlanError as error:
        if not as_json:
            raise
        problems = [_problem(problem) for problem in error.problems]
        print_json("check", {"ok": False, "problems": problems})
        raise SystemExit(EXIT_USAGE) from None
    found = opened.scan()
    found.check()
    without = found.without_handler(opened.loaded.plan)
    if as_json:
        print_json("check", _check_json(opened, found, without))
        return
    loaded = opened.loaded
    subs = sum(1 for _ in loaded.plan.sub_experiments())
    name = opened.settings.shown(loaded.file)
    lines = [
        Line(
            f"{name}: {count(len(loaded.plan.experiments), 'experiment')}, "
            f"{count(subs, 'sub-experiment')}, {count(len(loaded.plan.gates), 'gate')}: no problems",
            "good",
        ),
        *(Line(f"warning: {warning}", "warn") for warning in loaded.warnings),
        *(Line(f"warning: {problem}", "warn") for problem in found.problems()),
        Line(f"{count(len(found.planned()), 'handler')} for {count(subs, 'sub-experiment')}"),
        *(
            Line(f"  no handler: {sub}{f' ({hint})' if hint else ''}", "warn")
            for sub, hint in without.items()
        ),
        *(Line(f"  exploratory: {h.name} ({h.place})") for h in found.exploratory()),
    ]
    say(lines)


def _problem(problem: Any) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "text": f"{problem.text}{problem.hint}",
    }


def _check_json(opened: Opened, found: Scan, without: Mapping[str, str]) -> dict[str, Any]:
    return {
        "ok": True,
        "plan": opened.settings.shown(opened.loaded.file),
        "problems": [],
        "warnings": [_problem(warning) for warning in opened.loaded.warnings],
        "handlers": {sub: {"name": h.name, "place": h.place} for sub, h in found.planned().items()},
        "without_handler": dict(without),
        "exploratory": [{"name": h.name, "place": h.place} for h in found.exploratory()],
        "unreadable": found.problems(),
    }


@cli.command()
@common
def status(plan: str | None, results: str | None, *, as_json: bool) -> None:
    """Show where every experiment and gate stands."""
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
    lines[-1:-1] = [Line(terminal.safe(text), "warn") for text in _cut_short(study)]
    lines[-1:-1] = [Line(terminal.safe(f"to review: {text}"), "warn") for text in _to_review(stored)]
    say([Line(terminal.heading(stored), "bold"), *lines])


def _status_counts(stored: Results) -> dict[str, int]:
    subs = [sub.status for state in stored.experiments.values() for sub in state.subs.values()]
    order = (*_ALWAYS_COUNTED, Status.SKIPPED, Status.BLOCKED)
    words = {status: str(status).replace("_", " ").capitalize() for status in order}
    return {words[s]: subs.count(s) for s in order if s in _ALWAYS_COUNTED or s in subs}


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
        "gates": {gate: _gate_json(result) for gate, result in stored.gates.items()},
        "problems": [*study.problems, *study.edits],
    }


def _to_review(stored: Results) -> Iterator[str]:
    """What a person should look at, beside the notes that stand below each experiment."""
    for name, state in stored.experiments.items():
        for item in review_items(state):
            if item not in state.issues:
                yield f"{name}: {item}"


def _cut_short(study: Study) -> Iterator[str]:
    """Tell of runs that ended without having done what they selected."""
    going_on = current_run(study.layout) if is_led(study.layout) else ""
    for begun in Away(study.layout).pending():
        if begun.run != going_on:
            label = begun.job.key.label
            yield f"{label} was begun on Modal ({begun.run}); 'exprunner collect' brings it home"
    for run, pending in study.runs.items():
        left = sum(len(items) for items in pending.values())
        if left and run != going_on:
            yield (
                f"run {run} ended before it was done with {count(left, 'sub-experiment')}; "
                "'pytest … --exp-resume' goes on"
            )


@cli.command()
@common
def report(plan: str | None, results: str | None, *, as_json: bool) -> None:
    """Write results.yaml and FINDINGS.md anew from the stored attempts."""
    opened = Opened(plan, results)
    with _at_work(opened, "report"):
        written = _write_anew(opened)
    _tell_written(opened, written, "report", {}, as_json=as_json)


@cli.command()
@common
def collect(plan: str | None, results: str | None, *, as_json: bool) -> None:
    """Bring home what attempts elsewhere have left whose run is gone, and write results anew."""
    opened = Opened(plan, results)
    layout = Layout(opened.settings.results_root)
    with _at_work(opened, "collect"):
        collected = Collected()
        if Away(layout).pending():
            collected = Away(layout).collect(_elsewhere())
        written = _write_anew(opened)
    if not as_json:
        brought, gone = ", ".join(collected.brought) or "nothing", ", ".join(collected.gone)
        say([Line(f"brought home: {brought}", "good" if collected.brought else "")])
        if collected.going_on:
            say([Line(f"still going on: {', '.join(collected.going_on)}")])
        if gone:
            say([Line(f"left nothing behind: {gone}; 'pytest --exp-resume' runs them again", "warn")])
        for label in collected.failed:
            say([Line(f"could not be brought home: {label}", "bad")])
    told = {
        "brought": list(collected.brought),
        "going_on": list(collected.going_on),
        "left_nothing": list(collected.gone),
        "failed": list(collected.failed),
    }
    _tell_written(opened, written, "collect", told, as_json=as_json)
    if collected.failed:
        raise SystemExit(EXIT_FAILED)


def _elsewhere() -> Source:
    """Return where answers are kept. Raises `ExprunnerError` where that needs what is not installed."""
    try:
        from pytest_exprunner.executors.modal_results import Results as OnModal  # noqa: PLC0415 - optional, and heavy
    except ImportError as error:
        raise ExprunnerError(f"{error}; install it with: pip install 'pytest-exprunner[modal]'") from None
    return OnModal()


@contextlib.contextmanager
def _at_work(opened: Opened, command: str) -> Iterator[None]:
    """Have the results folder to oneself."""
    layout = Layout(opened.settings.results_root)
    Publisher(layout).prepare()
    lock = RunLock(layout.lock_folder)
    lock.acquire(f"'exprunner {command}'", 0, opened.settings.shown(layout.root))
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class _Written:
    """What was written anew, and what has to be said of it."""

    experiments: list[str]
    notes: list[str]
    problems: list[str]


def _write_anew(opened: Opened) -> _Written:
    publisher, study = Publisher(Layout(opened.settings.results_root)), opened.study()
    stored = study.results()
    written = [e for e, state in stored.experiments.items() if state.started]
    for experiment in written:
        publisher.experiment(stored.experiments[experiment], stored, study.attempts(experiment))
    publisher.project(stored)
    publisher.flush(durable=True)
    return _Written(written, publisher.notes, study.problems)


def _tell_written(
    opened: Opened, written: _Written, kind: str, told: Mapping[str, Any], *, as_json: bool
) -> None:
    findings = opened.settings.shown(Layout(opened.settings.results_root).findings)
    if as_json:
        print_json(kind, {**told, **asdict(written), "findings": findings})
    else:
        what = (
            f"wrote results and findings of {count(len(written.experiments), 'experiment')}, and {findings}"
        )
        notes = (Line(terminal.safe(note), "warn") for note in [*written.notes, *written.problems])
        say([Line(what, "good"), *notes])
    if written.problems:
        raise SystemExit(EXIT_FAILED)


@cli.command()
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
        print_json("gates", {"gates": {n: _gate_json(r) for n, r in chosen.items()}, "problems": problems})
    elif not chosen:
        say([Line("the plan has no gates")])
    for result in () if as_json else chosen.values():
        say(
            [
                terminal.gate_line(replace(result, lines=())),
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


def _gate_json(result: GateResult) -> dict[str, Any]:
    return {
        "state": str(result.state),
        "experiments": list(result.plan.experiments),
        "evidence": list(result.lines),
        "claimed": result.plan.status,
    }


@cli.command()
@click.option("--once", is_flag=True, help="Show what is running now, and end.")
@common
def watch(plan: str | None, results: str | None, *, once: bool, as_json: bool) -> None:
    """Follow a run that goes on elsewhere, from its files alone."""
    opened = Opened(plan, results)
    layout = Layout(opened.settings.results_root)
    run = current_run(layout)
    if not run:
        if as_json:
            print_json("watch", {"run": None, "running": []})
        else:
            say([Line("no run is going on")])
        return
    with contextlib.closing(Follower(layout, run, skip_ended=True)) as follower:
        _watch(layout, run, Watch(follower), once=once, as_json=as_json)


def _watch(layout: Layout, run: str, watching: Watch, *, once: bool, as_json: bool) -> None:
    if (as_json or once) and not is_led(layout):
        if as_json:
            print_json("watch", {"run": run, "gone": True, "running": []})
        else:
            say([gone(run)])
        raise SystemExit(EXIT_FAILED)
    if as_json:
        running = [named_floats(plain(asdict(progress))) for progress in watching.now()]
        print_json("watch", {"run": run, "running": running})
    elif once:
        lines = live.block(watching.now(), time.time(), _ANY_WIDTH)
        say([Line(f"run {run}", "bold"), *map(Line, lines)])
    else:
        say([Line(f"run {run}", "bold")])
        last = watch_until_over(layout, run, watching, say)
        say([last])
        if last.style == "bad":
            raise SystemExit(EXIT_FAILED)


@cli.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--tracker", metavar="NAMES", help="Who is told: wandb, or the place of a class.")
@common
def sync(
    ids: tuple[str, ...], tracker: str | None, plan: str | None, results: str | None, *, as_json: bool
) -> None:
    """Tell trackers what they missed, from the stored attempts; safe to repeat.

    IDs of experiments or sub-experiments narrow it down. Without --tracker: those of the settings, or
    those that were used before. Exits with 1 if something was missed, with 3 if attempts are kept here
    because a server cannot be reached.
    """
    opened = Opened(plan, results)
    root, layout = opened.settings.root, Layout(opened.settings.results_root)
    named = [n.strip() for n in (opened.setting("tracker", tracker) or "").split(",") if n.strip()]
    names = named or used_before(opened.loaded.plan, layout)
    if not names:
        raise ExprunnerError("no tracker: name one, such as --tracker wandb")
    _check_ids(ids, opened.loaded.plan)
    places = {name: place_of(name, root) for name in names}
    layout.state.mkdir(parents=True, exist_ok=True)
    lock = RunLock(layout.lock_folder)
    lock.acquire("'exprunner sync'", 0, opened.settings.shown(layout.root))
    warnings: dict[str, None] = {}
    found: dict[str, Synced] = {}
    try:
        for name, place in places.items():
            found[name] = syncing.sync(
                load_tracker(place, root),
                name,
                opened.loaded.plan,
                layout,
                root,
                ids,
                lambda text: warnings.update({text: None}),
            )
    except ImportError as error:
        raise ExprunnerError(str(error)) from None
    finally:
        lock.release()
    if as_json:
        told = {name: asdict(synced) for name, synced in found.items()}
        print_json("sync", {"trackers": told, "warnings": list(warnings)})
    else:
        lines = [
            Line(_synced_text(name, synced), "bad" if synced.missed else "good")
            for name, synced in found.items()
        ]
        say([*lines, *(Line(terminal.safe(text), "warn") for text in warnings)])
    if any(synced.missed for synced in found.values()):
        raise SystemExit(EXIT_FAILED)
    if any(synced.waiting for synced in found.values()):
        raise SystemExit(EXIT_PENDING)


def _check_ids(ids: Iterable[str], plan: Plan) -> None:
    known = [*plan.experiments, *(sub.id for _experiment, sub in plan.sub_experiments())]
    for name in ids:
        if name not in known:
            raise ExprunnerError(
                f"unknown id {name!r}{did_you_mean(name, known)}; expected an experiment or a sub-experiment"
            )


def _synced_text(name: str, synced: Synced) -> str:
    text = f"{name}: told of {count(synced.told, 'attempt')}"
    if synced.known:
        text += f", {synced.known} known before"
    if synced.waiting:
        text += f"; {synced.waiting} kept here, waiting for a server"
    return f"{text}, {synced.missed} missed" if synced.missed else text


@cli.command()
def schema() -> None:
    """Print the JSON Schema of research_plan.yaml."""
    click.echo(json.dumps(json_schema(), indent=2))


for _command in (audit, verify):
    cli.add_command(_command)


def main() -> None:
    """Run the command; errors meant for people are printed without a traceback."""
    try:
        cli(standalone_mode=False)
    except ExprunnerError as error:
        _fail(str(error))
    except click.UsageError as error:
        _fail(f"{error.format_message()} (exprunner --help shows the commands)")
    except (click.ClickException, click.Abort) as error:
        _fail(str(error) or "aborted")
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}")


def _fail(message: str) -> None:
    for line in message.splitlines():
        click.echo(terminal.safe(line, 1000), err=True)
    raise SystemExit(EXIT_USAGE)
