"""A page that shows a session: files to write, commands to type, and what they print."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from study_folder import Study

LEFT_OUT = "…"
"""A line of its own in what a page shows: lines were left out here."""

_BLOCK = re.compile(r"^```(console|python|yaml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^\$ (.*)\n?", re.MULTILINE)
_FILE = re.compile(r"# (\S+/\S+)\n")


class Typed(NamedTuple):
    """A command, and what the page shows below it."""

    command: str
    shown: str


class Written(NamedTuple):
    """A file that is written, or whose end is written; its path is the comment in the block's first line."""

    path: str
    text: str


def steps(page: str) -> Iterator[Typed | Written]:
    """Everything that a page has one do, in order. A block without a path in its first line is no step."""
    for language, block in _BLOCK.findall(page):
        if language == "console":
            parts = _COMMAND.split(block)[1:]
            for command, output in zip(parts[::2], parts[1::2], strict=True):
                yield Typed(command, output.strip("\n"))
        elif path := _FILE.match(block):
            yield Written(path[1], block)


def session(page: str) -> list[Typed]:
    """The commands of a page, in order, each with the output that the page shows."""
    return [step for step in steps(page) if isinstance(step, Typed)]


def done(study: Study, step: Typed | Written) -> str:
    """Do it; return what was printed."""
    if isinstance(step, Typed):
        return typed(study, step.command)
    file = study.root / step.path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(step.text, encoding="utf-8")
    return ""


def typed(study: Study, command: str) -> str:
    """Do what a command of a session does; return what it printed."""
    program, *arguments = shlex.split(command)
    if program == "sed":
        _in_place, change, name = arguments
        _edit(study, name, change)
        return ""
    if program == "pytest":
        plugins = ("exprunner", "xdist") if "-n" in arguments else ("exprunner",)
        run = study.pytest(*arguments, plugins=plugins)
    else:
        assert program == "exprunner", command
        run = study.exprunner(*arguments)
    assert "Traceback" not in run.text
    return run.text.strip("\n")


def _edit(study: Study, name: str, change: str) -> None:
    """Change a file with the real sed: its patterns are not those of Python."""
    file = study.root / name
    before = file.read_bytes()
    in_place = ["-i", ""] if sys.platform == "darwin" else ["-i"]
    subprocess.run(["sed", *in_place, change, str(file)], check=True)
    assert file.read_bytes() != before, change


def fits(shown: str, printed: str) -> bool:
    """Return whether a page shows what was printed, up to times, run ids, and lines that it leaves out."""
    pieces = re.split(rf"^{LEFT_OUT}(?:\n|\Z)", steady(shown) + "\n", flags=re.MULTILINE)
    pattern = r"(?:.*\n)*?".join(map(re.escape, pieces))
    return re.fullmatch(pattern, steady(printed) + "\n") is not None


def steady(text: str) -> str:
    """What was printed without times, run ids and the width of a terminal."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"\d{8}-\d{6}-[0-9a-f]{6}", "RUN", text)
    text = re.sub(r"\b\d+\.\d+ ?s\b", "SECONDS", text)
    text = re.sub(r"\(\d+ kB\)", "(SIZE)", text)
    text = re.sub(r"([=_-])\1{4,}", r"\1", text)
    return re.sub(r" +", " ", text)


def filled(page: str, study: Study) -> str:
    """Return the page with what its commands print now, wherever that is not what it shows."""

    def block(found: re.Match[str]) -> str:
        lines = []
        for step in steps(found[0]):
            printed = done(study, step)
            if isinstance(step, Written):
                return found[0]
            same = fits(step.shown, printed)
            lines.append(f"$ {step.command}\n{step.shown if same else _plain(printed)}".rstrip("\n"))
        return "```console\n" + "\n".join(lines) + "\n```" if lines else found[0]

    return _BLOCK.sub(block, page)


def _plain(printed: str) -> str:
    return re.sub(r" +\[100%\]", " [100%]", printed)
