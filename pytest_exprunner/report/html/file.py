"""Writes the report of a study as one HTML file, with as much detail as fits."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_exprunner._util.errors import ExprunnerError
from pytest_exprunner.report.html import model
from pytest_exprunner.report.html.detail import DETAILS
from pytest_exprunner.report.html.model import ReportContext
from pytest_exprunner.store import atomic
from pytest_exprunner.store.study import Study

_GENERATED = b'<meta name="generator" content="pytest-exprunner '
_START = 4000
_IMAGE = re.compile(r'"data:image/[^"]*"')


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """What was written: its size in bytes, whole and without its images."""

    file: Path
    size: int
    without_images: int
    reduced: bool
    """Texts were shortened and curves left out, so that it stays small."""


def check(file: Path) -> None:
    """Raise `ExprunnerError` where a report cannot be made, or not written there.

    A file that is no report is refused: it is somebody's.
    """
    _renderer()
    if file.suffix.lower() not in (".html", ".htm"):
        raise ExprunnerError(f"{file.name!r} is not the name of a page; expected one such as report.html")
    folder = next(parent for parent in file.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK) or (file.exists() and not file.is_file()):
        raise ExprunnerError(f"the report {file} cannot be written; expected a file that this user can write")
    if file.is_file() and _GENERATED not in file.read_bytes()[:_START]:
        raise ExprunnerError(f"{file} exists and is not a report; it was left unchanged: name another file")


def write(study: Study, file: Path, beside: ReportContext) -> WrittenReport:
    """Write the report of a study. Raises `ExprunnerError` where it cannot be made or written."""
    check(file)
    render = _renderer()
    results = study.results()
    root = root_from(file, study.layout.base)
    text, light, reduced = "", 0, False
    for detail in DETAILS:
        reduced = detail is not DETAILS[0]
        text = render(model.build(study, results, beside, detail), root, reduced=reduced)
        light = len(_IMAGE.sub("", text).encode("utf-8", "backslashreplace"))
        if light < model.LARGEST:
            break
    data = text.encode("utf-8", "backslashreplace")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.replace(file, data)
    except OSError as error:
        raise ExprunnerError(f"the report {file} cannot be written: {error.strerror or error}") from None
    return WrittenReport(file, len(data), light, reduced)


def _renderer() -> Callable[..., str]:
    try:
        from pytest_exprunner.report.html.page import render  # optional
    except ImportError as error:
        raise ExprunnerError(f"{error}; install it with: pip install 'pytest-exprunner[report]'") from None
    return render


def root_from(file: Path, base: Path) -> str:
    """Return the way from a report to the results folder: empty, or with a slash at its end."""
    way = os.path.relpath(base, file.parent).replace(os.sep, "/")
    return "" if way == "." else f"{way}/"
