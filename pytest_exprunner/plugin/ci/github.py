"""Output for GitHub Actions: workflow commands in the log, and the summary of a step."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_exprunner._util.redaction import redacted
from pytest_exprunner.report.terminal import safe

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
_MAX_BYTES = 1024 * 1024
"""GitHub's limit per step; a larger summary is not shown at all."""
_MOST_ANNOTATIONS = 10
_LONGEST = 1_000
_CUT = "\n\n**Cut here:** GitHub takes 1 MiB for a step. The findings have everything.\n"
# The runner reads a line as a command if :: follows optional white space, or ##[ is anywhere in it.
_BEGINS = re.compile(r"(?:\A|(?<=[\r\n]))([^\S\r\n]*)::")
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def is_github(environment: Mapping[str, str]) -> bool:
    """Return whether GitHub Actions reads the output."""
    return environment.get("GITHUB_ACTIONS") == "true"


def harmless(text: str) -> str:
    """Return text without workflow commands that looks the same to a reader."""
    return _BEGINS.sub(r"\1: :", text).replace("##[", "## [")


@dataclass(frozen=True, slots=True)
class Annotation:
    """A message for a line of a file, shown next to the code."""

    level: Literal["error", "warning"]
    title: str
    text: str
    file: str = ""
    line: int = 0

    @property
    def command(self) -> str:
        """The workflow command that creates it."""
        place = {"file": self.file, "line": str(self.line)} if self.file and self.line else {}
        properties = {**place, "title": safe(redacted(self.title))}
        shown = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
        return f"::{self.level} {shown}::{_data(safe(redacted(self.text), _LONGEST))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def few(annotations: Sequence[Annotation]) -> list[Annotation]:
    """Return at most as many annotations as GitHub shows per step; the last counts the omitted ones."""
    if len(annotations) <= _MOST_ANNOTATIONS:
        return list(annotations)
    shown = list(annotations[: _MOST_ANNOTATIONS - 1])
    hidden = len(annotations) - len(shown)
    return [
        *shown,
        Annotation("warning", f"{hidden} more", f"{hidden} more are in the summary of the run."),
    ]


def append_summary(file: Path, text: str) -> None:
    """Add Markdown to a step's summary, within GitHub's limit. Raises `OSError`."""
    descriptor = os.open(file, _APPEND, 0o666)
    try:
        before = os.fstat(descriptor).st_size
        data = fitting(f"\n{text}" if before else text, _MAX_BYTES - 1 - before)
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def fitting(text: str, room: int) -> bytes:
    """Return the complete lines of a text that fit into ``room`` bytes, with a note if some do not."""
    data, cut = text.encode("utf-8", "replace"), _CUT.encode()
    if len(data) <= room:
        return data
    kept = data[: max(room - len(cut), 0)].rpartition(b"\n")[0]
    return kept + cut if kept else b""
