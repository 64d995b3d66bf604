"""The lives of a plan: from the commit that brought it to the one that retired it, with its results.

A plan that was taken away together with its results, and written anew later, is another study.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_exprunner._util.errors import PlanError
from pytest_exprunner._util.git_history import Commit, FileVersion, History
from pytest_exprunner.plan import loader
from pytest_exprunner.plan.models import Plan

_RECORD = re.compile(r"([^/]+)/attempts/([^/]+)/(\d+)/record\.json")
_RESULTS = re.compile(r"([^/]+)/results\.yaml")


@dataclass(frozen=True, slots=True)
class StudyFile:
    """A file below the folder of all experiments: an attempt's record, or an experiment's results."""

    experiment: str
    sub_experiment: str = ""
    attempt: int = 0
    """0 for results."""

    @property
    def text(self) -> str:
        """``the record of attempt 1 of e_p2_1``."""
        if not self.attempt:
            return f"the results file of {self.experiment}"
        return f"the record of attempt {self.attempt} of {self.sub_experiment}"


def study_file(path: str, below: str) -> StudyFile | None:
    """Tell what a file is to a study whose experiments stand ``below`` a folder; None for any other."""
    inner = path.removeprefix(f"{below}/")
    record, results = _RECORD.fullmatch(inner), _RESULTS.fullmatch(inner)
    if inner == path or not (record or results):
        return None
    if record:
        return StudyFile(record[1], record[2], int(record[3]))
    return StudyFile(inner.partition("/")[0])


@dataclass(frozen=True, slots=True)
class PlanLifetime:
    """A plan while it was there."""

    versions: tuple[FileVersion, ...]
    """Oldest first, along the main line, also under earlier names."""
    since: str = ""
    """The last commit before it that has no plan; empty where there was none before."""
    until: str = "HEAD"
    """The last commit before the plan was written anew."""
    retired: Commit | None = None
    """The commit that took it away; None for a plan that is there."""

    def plans(self, history: History, name: str) -> tuple[list[tuple[Commit, Plan]], list[str]]:
        """Return every version that can be read, and notes of those that cannot."""
        found, notes = [], []
        sources = history.contents([version.after for version in self.versions])
        for version, source in zip(self.versions, sources, strict=True):
            try:
                found.append((version.commit, loader.parse(source, name)[0]))
            except PlanError:
                notes.append(f"the plan of {version.commit.text} cannot be read; it was skipped")
        return found, notes


def plan_lifetimes(history: History, plan_path: Path, below: str) -> tuple[list[PlanLifetime], list[str]]:
    """Return the lives of a plan, oldest first; the last is that of the plan of now. Also notes for people.

    Where results stayed when a plan was taken away, or came back, they count with those of the next:
    that is no new life.
    """
    name = history.inside(plan_path)
    if name is None:
        return [PlanLifetime(())], []
    newest, *older = _by_name(history, name)
    found, notes = [newest], []
    for life in older:
        if _is_over(history, life, below):
            found.append(life)
            continue
        found[-1] = replace(found[-1], versions=(*life.versions, *found[-1].versions), since=life.since)
        if life.retired:
            notes.append(
                f"{life.retired.text} removed the plan, but results of it stayed in {below} or returned: "
                "so the two plans count as one study"
            )
    return found[::-1], notes


def _by_name(history: History, name: str) -> Iterator[PlanLifetime]:
    """Yield, newest first, the stretches of the main line on which there was a plan."""
    until, tip, retired = "HEAD", "HEAD", None
    while True:
        versions, gone, since = _stretch(history, name, tip)
        yield PlanLifetime(tuple(versions[::-1]), since, until, retired)
        if gone is None:
            return
        until, retired, name = since, gone.commit, gone.path
        tip = f"{retired.id}^"


def _stretch(history: History, name: str, tip: str) -> tuple[list[FileVersion], FileVersion | None, str]:
    """Return versions since a file was written anew, what took it away before, the last commit without it."""
    versions: list[FileVersion] = []
    for file in history.followed(name, tip):
        if file.how == "D":
            return versions, file, tip
        versions.append(file)
        if file.how in {"A", "R", "C"}:
            # What is written anew after a deletion resembles what was archived: it is no other name of it.
            before = f"{file.commit.id}^"
            gone = history.deleted(file.path, before)
            if gone is not None:
                return versions, gone, before
    return versions, None, ""


def _is_over(history: History, life: PlanLifetime, below: str) -> bool:
    """Return whether no result of a plan stands where the next one would count it."""
    if any(study_file(path, below) for path in history.tree(life.until, below)):
        return False
    records = results_of(history.touched(below, until=life.until), below)
    old = {file.after for file, what in records if what.attempt}
    now = history.tree("HEAD", below).items()
    return not any(content in old and study_file(path, below) for path, content in now)


def results_of(touched: Sequence[FileVersion], below: str) -> list[tuple[FileVersion, StudyFile]]:
    """Return the records and results that commits brought or changed, each with what it is."""
    known = ((file, study_file(file.path, below)) for file in touched if file.how != "D")
    return [(file, what) for file, what in known if what is not None]
