"""``exprunner sync``: sends trackers the attempts that they missed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import click

from pytest_exprunner._util.errors import ExprunnerError, count, did_you_mean
from pytest_exprunner.cli.base import EXIT_FAILED, EXIT_PENDING, Opened, common, print_json, say
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.report import terminal
from pytest_exprunner.report.terminal import Line
from pytest_exprunner.store.lock import RunLock
from pytest_exprunner.trackers import sync as syncing
from pytest_exprunner.trackers.registry import load as load_tracker
from pytest_exprunner.trackers.registry import place_of
from pytest_exprunner.trackers.sync import Synced, used_before


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--tracker", metavar="NAMES", help="The tracker: wandb, or the import path of a class.")
@common
def sync(
    ids: tuple[str, ...], tracker: str | None, plan: str | None, results: str | None, *, as_json: bool
) -> None:
    """Send trackers the stored attempts they missed; safe to repeat.

    IDs of experiments or sub-experiments narrow it down. Without --tracker: those of the settings, or
    those that were used before. Exits with 1 if something was missed, with 3 if attempts are kept here
    because a server cannot be reached.
    """
    opened = Opened(plan, results)
    root, layout = opened.settings.root, Layout(opened.settings.results_root)
    named = [n.strip() for n in (opened.setting("tracker", tracker) or "").split(",") if n.strip()]
    names = named or used_before(opened.loaded.plan, layout)
    if not names:
        raise ExprunnerError("no tracker is named; name one, such as --tracker wandb")
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
        counts = {name: asdict(synced) for name, synced in found.items()}
        print_json("sync", {"trackers": counts, "warnings": list(warnings)})
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
    text = f"{name}: received {count(synced.told, 'attempt')}"
    if synced.known:
        text += f", {synced.known} already delivered"
    if synced.waiting:
        text += f"; {synced.waiting} kept locally, waiting for a server"
    return f"{text}, {synced.missed} missed" if synced.missed else text
