"""Declares and reads options, ini keys and environment variables; no other module does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_exprunner._util.location import ENVIRONMENT_PREFIX, absolute, find_plan, setting, study_root

_GROUP = "exprunner", "research experiments (pytest-exprunner)"
EXECUTORS = ("inline", "subprocess", "modal")
EXITED = pytest.StashKey[bool]()
"""Whether the run was ended by ``pytest.exit``."""
_MOST_SEEDS = 1000
_LEVELS = ("target", "acceptable", "failure")


def declare(parser: pytest.Parser) -> None:
    """Declare every option and ini key, in one group of pytest's help."""
    group = parser.getgroup(*_GROUP)
    for name, metavar, text in (
        ("plan", "FILE", "the research plan (default: research/research_plan.yaml)"),
        ("results", "DIR", "folder for results and findings (default: the plan's folder)"),
        ("paths", "DIRS", "folders with handlers, separated by spaces (default: experiments)"),
        (
            "executor",
            "NAME",
            "where handlers run: inline, subprocess (one process each) or modal (default: inline)",
        ),
        (
            "max-containers",
            "NUMBER",
            "call at most this many handlers at once on Modal (default: the plan's, or 10)",
        ),
        (
            "timeout",
            "SECONDS",
            "stop a handler that takes longer (default: no limit; a limit in the plan wins)",
        ),
        ("devices", "IDS", "GPUs that may be used, separated by commas (default: all that are visible)"),
        (
            "tracker",
            "NAMES",
            "trackers that record runs, such as wandb; separated by commas (default: none)",
        ),
        (
            "tracker-timeout",
            "SECONDS",
            "wait this long after a run for trackers to finish (default: 60)",
        ),
        ("lock-timeout", "SECONDS", "wait this long for another run on the same results folder (default: 0)"),
    ):
        group.addoption(f"--exp-{name}", metavar=metavar, default=None, help=text)
        key = name.replace("-", "_")
        parser.addini(f"exp_{key}", f"{text}; also {ENVIRONMENT_PREFIX}{key.upper()}", default=None)
    group.addoption(
        "--exp-level",
        choices=_LEVELS,
        default="acceptable",
        help="the lowest tier that passes, for this run's exit code and schedule (default: acceptable)",
    )
    group.addoption(
        "--exp-stub",
        action="store_true",
        help="exercise every planned sub-experiment without calling its handler",
    )
    group.addoption(
        "--exp-gate",
        metavar="ID",
        action="append",
        default=[],
        help="fail unless this gate has passed ('all': every gate); may be repeated",
    )
    group.addoption(
        "--exp-exploratory",
        action="store_true",
        help="also run handlers that no planned id matches; they are never judged",
    )
    group.addoption(
        "--exp-resume",
        action="store_true",
        help="run only what is unfinished, failed or changed; report the stored verdict of the rest",
    )
    group.addoption(
        "--exp-explain",
        action="store_true",
        help="print for each handler whether it would run and why, and run nothing",
    )
    group.addoption(
        "--exp-strict",
        action="store_true",
        help="fail if a threshold, or anything else that decides, changed after there was a result",
    )
    group.addoption(
        "--exp-report",
        metavar="FILE.html",
        default=None,
        help="also write the study as a single HTML page that works offline",
    )
    group.addoption(
        "--exp-seeds",
        metavar="NUMBER",
        default=None,
        help="run each handler with this many seeds, those of the plan first",
    )
    group.addoption(
        "--exp-detach",
        action="store_true",
        help="submit what may run now to Modal and exit; 'exprunner collect' fetches the results",
    )
    group.addoption(
        "--exp-json",
        metavar="FILE",
        default=None,
        help="write events as one JSON object per line; '-': to standard output, and nothing else there",
    )
    group.addoption(
        "--exp-ignore-dependencies",
        action="store_true",
        help="run experiments whose dependencies have not proceeded; recorded with the attempts",
    )


def _setting(config: pytest.Config, name: str) -> tuple[str, Path] | None:
    """Return a setting and the base folder of its relative paths."""
    option = config.getoption(f"exp_{name}")
    value = setting(name, option, os.environ, config.getini(f"exp_{name}"))
    if value is None:
        return None
    return value, config.invocation_params.dir if option else config.rootpath


def _path(found: tuple[str, Path]) -> Path:
    return absolute(found[1], found[0])


def executor(config: pytest.Config) -> str:
    """Return the name of the executor."""
    found = _setting(config, "executor")
    name = found[0] if found else EXECUTORS[0]
    if name not in EXECUTORS:
        from pytest_exprunner._util.errors import did_you_mean

        raise pytest.UsageError(
            f"--exp-executor: unknown executor {name!r}{did_you_mean(name, EXECUTORS)}; "
            f"known: {', '.join(EXECUTORS)}"
        )
    return name


def timeout(config: pytest.Config) -> float | None:
    """Return the time limit of a handler in seconds, or None."""
    seconds = _seconds(config, "timeout")
    return seconds or None


def most_containers(config: pytest.Config) -> int | None:
    """Return how many handlers may run at the same time on Modal, or None if it is not set."""
    found = _setting(config, "max_containers")
    if found is None:
        return None
    if not found[0].isdecimal() or not int(found[0]):
        raise pytest.UsageError(f"--exp-max-containers: {found[0]!r} is not a number; expected one such as 8")
    return int(found[0])


def seeds(config: pytest.Config) -> int | None:
    """Return the requested number of seeds, or None."""
    text = config.getoption("exp_seeds")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= _MOST_SEEDS:
        raise pytest.UsageError(
            f"--exp-seeds: {text!r} is not a number of seeds; expected one from 1 to {_MOST_SEEDS}, such as 5"
        )
    return int(text)


def report(config: pytest.Config) -> Path | None:
    """Return the file of the requested report, or None."""
    name = config.getoption("exp_report")
    if name is None:
        return None
    return absolute(config.invocation_params.dir, name)


def devices(config: pytest.Config) -> str | None:
    """Return the GPUs as the option names them."""
    found = _setting(config, "devices")
    return found[0] if found else None


def trackers(config: pytest.Config) -> dict[str, str]:
    """Return the import paths of the trackers' classes, by tracker name."""
    found = _setting(config, "tracker")
    names = [name.strip() for name in found[0].split(",")] if found else []
    if not any(names):
        return {}
    from pytest_exprunner._util.errors import ExprunnerError
    from pytest_exprunner.trackers.registry import place_of

    try:
        return {name: place_of(name, config.rootpath) for name in names if name}
    except ExprunnerError as error:
        raise pytest.UsageError(f"--exp-tracker: {error}") from None


def tracker_timeout(config: pytest.Config) -> float:
    """Return the time limit for trackers at the end of a run, in seconds."""
    return _seconds(config, "tracker_timeout", "60")


def lock_timeout(config: pytest.Config) -> float:
    """Return how many seconds to wait for another run."""
    return _seconds(config, "lock_timeout")


def _seconds(config: pytest.Config, name: str, default: str = "0") -> float:
    found = _setting(config, name)
    text = found[0] if found else default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise pytest.UsageError(
            f"--exp-{name.replace('_', '-')}: {text!r} is not a number of seconds; expected one such as 60"
        )
    return seconds


def asked_paths(config: pytest.Config) -> list[Path]:
    """Return the paths among pytest's arguments (or ``testpaths``), without node ids."""
    start = config.invocation_params.dir
    return [Path(os.path.abspath(start / str(arg).split("::")[0])) for arg in config.args]


def plan_path(config: pytest.Config) -> Path | None:
    """Return the plan's file, or None if there is no plan and none was requested.

    Raises `pytest.UsageError` if the requested plan does not exist.
    """
    named = _setting(config, "plan")
    if named is not None:
        file = _path(named)
        if not file.is_file():
            raise pytest.UsageError(f"--exp-plan: there is no plan at {file}")
        return file
    asked = [p if p.is_dir() else p.parent for p in asked_paths(config)]
    _refuse_two_studies(config, asked)
    found = find_plan([*asked, config.invocation_params.dir], config.rootpath)
    if found is None and intent(config):
        raise pytest.UsageError(
            f"{intent(config)} needs a research plan, and there is none: looked for "
            f"research/research_plan.yaml from {config.invocation_params.dir} upwards; "
            "name one with --exp-plan FILE"
        )
    return found


def asks_for_handlers(early: pytest.Config) -> bool:
    """Return whether the requested paths include a handlers' folder, before conftest files are loaded.

    The settings for the plan's and handlers' places have not been read at that time.
    """
    start = early.invocation_params.dir
    names = early.known_args_namespace.file_or_dir or early.getini("testpaths") or ["."]
    asked = [Path(os.path.abspath(start / str(name).split("::")[0])) for name in names]
    plan = find_plan([*asked, start], early.rootpath)
    return plan is not None and bool(names_folder(asked, (study_root(plan) / "experiments",)))


def _refuse_two_studies(config: pytest.Config, asked: Sequence[Path]) -> None:
    """Refuse handlers of several plans in one run, because only one plan would be judged."""
    plans: dict[Path, Path] = {}
    for path in asked:
        plan = find_plan([path], config.rootpath)
        if plan is not None and names_folder([path], handler_folders(config, plan)):
            plans.setdefault(plan, path)
    if len(plans) > 1:
        pairs = " and ".join(f"{path} belongs to {plan}" for plan, path in plans.items())
        raise pytest.UsageError(f"these handlers belong to several plans ({pairs}); run one study at a time")


def intent(config: pytest.Config) -> str:
    """Return the first command-line option that requires a plan, or an empty string."""
    for name in (
        "stub",
        "gate",
        "exploratory",
        "ignore_dependencies",
        "resume",
        "explain",
        "detach",
        "seeds",
        "strict",
        "report",
        "json",
        "results",
    ):
        if config.getoption(f"exp_{name}"):
            return f"--exp-{name.replace('_', '-')}"
    return ""


def handler_folders(config: pytest.Config, plan_file: Path) -> tuple[Path, ...]:
    """Return the folders that are searched for handlers."""
    named = _setting(config, "paths")
    if named is None:
        return (study_root(plan_file) / "experiments",)
    return tuple(_path((part, named[1])) for part in named[0].split())


def results_root(config: pytest.Config, plan_file: Path) -> Path:
    """Return the folder for results."""
    named = _setting(config, "results")
    return plan_file.parent if named is None else _path(named)


def names_folder(paths: Sequence[Path], folders: Sequence[Path]) -> list[Path]:
    """Return the requested paths that are in a handlers' folder, or are one."""
    return [path for path in paths if any(path.is_relative_to(folder) for folder in folders)]
