"""``exprunner watch``: follows a run from another terminal until it is over."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import click

from pytest_exprunner._util.processes import is_alive
from pytest_exprunner.cli.base import EXIT_FAILED, Opened, common, print_json, say
from pytest_exprunner.model.attempt import Level, Status, Verdict
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.report import live, terminal
from pytest_exprunner.report.terminal import Line, Style
from pytest_exprunner.report.watch import Block, Watch, current_run
from pytest_exprunner.schedule.progress import Progress
from pytest_exprunner.store.journal import read_attempt
from pytest_exprunner.store.lock import holder_of
from pytest_exprunner.store.tail import Follower, Seen

_BETWEEN_LOOKS = 0.25
_ANY_WIDTH = 10_000


@click.command()
@click.option("--once", is_flag=True, help="Show what is running now, then exit.")
@common
def watch(plan: str | None, results: str | None, *, once: bool, as_json: bool) -> None:
    """Follow a run in another process by reading its files."""
    opened = Opened(plan, results)
    layout = Layout(opened.settings.results_root)
    run = current_run(layout)
    if not run:
        if as_json:
            print_json("watch", {"run": None, "running": []})
        else:
            say([Line("no run is in progress")])
        return
    with contextlib.closing(Follower(layout, run, skip_ended=True)) as follower:
        _follow(layout, run, Watch(follower), once=once, as_json=as_json)


def _follow(layout: Layout, run: str, watching: Watch, *, once: bool, as_json: bool) -> None:
    if (as_json or once) and not is_led(layout):
        if as_json:
            print_json("watch", {"run": run, "gone": True, "running": []})
        else:
            say([_gone(run)])
        raise SystemExit(EXIT_FAILED)
    if as_json:
        running = [asdict(progress) for progress in watching.now()]
        print_json("watch", {"run": run, "running": running})
    elif once:
        lines = live.block(watching.now(), time.time(), _ANY_WIDTH)
        say([Line(f"run {run}", "bold"), *map(Line, lines)])
    else:
        say([Line(f"run {run}", "bold")])
        last = _watch_until_over(layout, run, watching)
        say([last])
        if last.style == "bad":
            raise SystemExit(EXIT_FAILED)


def _watch_until_over(layout: Layout, run: str, watching: Watch) -> Line:
    """Print starts, ends and, on a terminal, the progress of each attempt; return the last line."""
    fancy = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    block = Block(_write, lambda: 0)
    before: dict[str, Progress] = {}
    while True:
        over, alive = current_run(layout) != run, is_led(layout)  # read first, so that no event is missed
        for seen in watching.look():
            block.erase()
            say(list(_lines(seen, layout)))
        if fancy:
            width = shutil.get_terminal_size().columns
            block.draw(live.block(watching.running(), time.time(), width - 1))
        else:
            before = _say_what_changed(watching.running(), before)
        if over or not alive:
            block.erase()
            break
        time.sleep(_BETWEEN_LOOKS)
    if over:
        return Line(f"run {run} has ended; 'exprunner status' shows the results", "bold")
    return _gone(run)


def _gone(run: str) -> Line:
    """Return a line that reports that the controller of a run is gone."""
    return Line(f"run {run} disappeared before it ended; 'exprunner status' shows what is left", "bad")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def is_led(layout: Layout) -> bool:
    """Return whether the controller of a results folder's run is alive; assume so on another machine."""
    holder = holder_of(layout.lock_folder)
    pid = holder.get("pid")
    return holder.get("host") != socket.gethostname() or (isinstance(pid, int) and is_alive(pid))


def _lines(seen: Seen, layout: Layout) -> Iterator[Line]:
    """Yield lines about an attempt that has started or ended."""
    name = f"{seen.key.label} #{seen.key.sequence}"
    if seen.event is None:
        record = read_attempt(layout.attempt(seen.key), seen.key)
        style: Style = "good" if record.status is Status.COMPLETED else "bad"
        took = f" in {live.clock(record.duration_s)}" if record.duration_s is not None else ""
        why = f": {record.error.line}" if record.error else f": {record.reason}" if record.reason else ""
        unmet = [f"{c} {v}" for c, v in record.verdicts.items() if not Level.ACCEPTABLE.met_by(Verdict(v))]
        if unmet and not why:
            style, why = "warn", f": {', '.join(unmet)}"
        yield Line(terminal.safe(f"{name} {record.status}{took}{why}"), style)
    elif seen.event.get("event") == "started":
        yield Line(terminal.safe(f"{name} started"))


def _say_what_changed(running: Sequence[Progress], before: Mapping[str, Progress]) -> dict[str, Progress]:
    """Print a line for every new stage, if lines cannot be redrawn; return the progress by label."""
    now = {progress.label: progress for progress in running}
    for label, progress in now.items():
        if label in before and before[label].stage != progress.stage:
            say([Line(f"  {live.line(progress, time.time())}")])
    return now
