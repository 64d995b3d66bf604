"""``exprunner check``: checks the plan and its handlers without running anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from pytest_exprunner._util.errors import PlanError, count
from pytest_exprunner.cli.base import EXIT_USAGE, Opened, common, print_json, problem_json, say
from pytest_exprunner.handlers.scan import Scan
from pytest_exprunner.report.terminal import Line


@click.command()
@common
def check(plan: str | None, results: str | None, *, as_json: bool) -> None:
    """Check the plan and find its handlers; nothing is imported or run."""
    try:
        opened = Opened(plan, results)
    except PlanError as error:
        if not as_json:
            raise
        problems = [problem_json(problem) for problem in error.problems]
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
    warnings = [*loaded.warnings, *found.problems()]
    wrong = f"no errors, {count(len(warnings), 'warning')}" if warnings else "no problems"
    lines = [
        Line(
            f"{name}: {count(len(loaded.plan.experiments), 'experiment')}, "
            f"{count(subs, 'sub-experiment')}, {count(len(loaded.plan.gates), 'gate')}: {wrong}",
            "warn" if warnings else "good",
        ),
        *(Line(f"warning: {warning}", "warn") for warning in warnings),
        Line(f"{count(len(found.planned()), 'handler')} for {count(subs, 'sub-experiment')}"),
        *(
            Line(f"  no handler: {sub}{f' ({hint})' if hint else ''}", "warn")
            for sub, hint in without.items()
        ),
        *(Line(f"  exploratory: {h.name} ({h.place})") for h in found.exploratory()),
    ]
    say(lines)


def _check_json(opened: Opened, found: Scan, without: Mapping[str, str]) -> dict[str, Any]:
    return {
        "ok": True,
        "plan": opened.settings.shown(opened.loaded.file),
        "problems": [],
        "warnings": [problem_json(warning) for warning in opened.loaded.warnings],
        "handlers": {sub: {"name": h.name, "place": h.place} for sub, h in found.planned().items()},
        "without_handler": dict(without),
        "exploratory": [{"name": h.name, "place": h.place} for h in found.exploratory()],
        "unreadable": found.problems(),
    }
