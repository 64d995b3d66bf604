"""What a run selected and has not finished: so that yesterday's success never stands in for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import orjson

from pytest_exprunner.store import atomic
from pytest_exprunner.verdicts.fold import Pending

SCHEMA_VERSION = 1
_NOTES = ("replayed", "attempts")
"""Suffixes of what processes of a run note beside its manifest, a line at a time."""


def write(folder: Path, run: str, pending: Mapping[str, Sequence[Pending]]) -> None:
    """Write what a run still has to do, by experiment; remove its file when that is nothing."""
    file = folder / f"{run}.json"
    entries = [
        {
            "experiment": experiment,
            "sub_experiment": item.sub_experiment,
            "variant": item.variant,
            "seed": item.seed,
            "after": item.after,
            "blocked": item.blocked,
            "resumed": item.resumed,
        }
        for experiment, items in pending.items()
        for item in items
    ]
    if entries:
        value = {"schema_version": SCHEMA_VERSION, "run": run, "selected": entries}
        atomic.replace_durably({file: orjson.dumps(value, option=orjson.OPT_INDENT_2)})
    else:
        for done in (file.with_suffix(".replayed"), file):
            with contextlib.suppress(FileNotFoundError):
                done.unlink()


def note_replayed(folder: Path, run: str, experiment: str, slot: Sequence[object]) -> None:
    """Note that a stored attempt stands for something that a run selected; one write, from any process."""
    line = orjson.dumps([experiment, *slot], option=orjson.OPT_APPEND_NEWLINE)
    descriptor = os.open(folder / f"{run}.replayed", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove notes of runs that are over."""
    for file in folder.iterdir():
        if file.suffix[1:] in _NOTES and not file.with_suffix(".json").exists():
            with contextlib.suppress(FileNotFoundError):
                file.unlink()


def replayed(folder: Path, run: str) -> set[tuple[object, ...]]:
    """Return what a run need not do: (experiment, sub-experiment, variant, seed)."""
    found = set()
    with contextlib.suppress(OSError):
        for line in (folder / f"{run}.replayed").read_bytes().splitlines():
            with contextlib.suppress(ValueError, TypeError):
                found.add(tuple(orjson.loads(line)))
    return found


def read(folder: Path) -> tuple[dict[str, dict[str, list[Pending]]], list[str]]:
    """Return what earlier runs left, by run and experiment, and what could not be read."""
    runs: dict[str, dict[str, list[Pending]]] = {}
    problems: list[str] = []
    for file in sorted(folder.glob("*.json")):
        try:
            value = orjson.loads(file.read_bytes())
            runs[file.stem] = _parse(value, file.stem, replayed(folder, file.stem))
        except (OSError, ValueError, KeyError, TypeError) as error:
            problems.append(f"{file.name} in {folder} cannot be used: {error!r}")
    return runs, problems


def _parse(value: Any, run: str, replayed: AbstractSet[tuple[object, ...]]) -> dict[str, list[Pending]]:
    found: dict[str, list[Pending]] = {}
    for entry in value["selected"]:
        texts = (entry["experiment"], entry["sub_experiment"], entry["variant"] or "")
        if not all(isinstance(text, str) for text in texts) or not isinstance(entry["seed"] or 0, int):
            raise TypeError("an entry has the wrong types")
        if (entry["experiment"], entry["sub_experiment"], entry["variant"], entry["seed"]) in replayed:
            continue
        item = Pending(
            sub_experiment=entry["sub_experiment"],
            variant=entry["variant"],
            seed=entry["seed"],
            after=int(entry["after"]),
            run=run,
            blocked=str(entry.get("blocked", "")),
            resumed=entry.get("resumed") is True,
        )
        found.setdefault(entry["experiment"], []).append(item)
    return found


def newest(runs: Mapping[str, Mapping[str, Sequence[Pending]]], experiment: str) -> Iterable[Pending]:
    """What is pending for an experiment, a later run's word in the place of an earlier one's."""
    latest: dict[tuple[str, str | None, int | None], Pending] = {}
    for run in sorted(runs):
        for item in runs[run].get(experiment, ()):
            latest[item.slot] = item
    return latest.values()
