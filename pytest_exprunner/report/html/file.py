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
    """A written report; sizes are in bytes, with and without its images."""

    file: Path
    size: int
    without_images: int
    reduced: bool
    """Whether texts were shortened and curves left out to limit the size."""


def check(file: Path) -> None:
    """Raise `ExprunnerError` if a report cannot be built, or cannot be written to ``file``.

    An existing file that is not a report is refused, so that no other file is overwritten.
    """
    _renderer()
    if file.suffix.lower() not in (".html", ".htm"):
        raise ExprunnerError(f"{file.name!r} is not the name of a page; expected one such as report.html")
    folder = next(parent for parent in file.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK) or (file.exists() and not file.is_file()):
        raise ExprunnerError(f"the report {file} cannot be written; expected a file that this user can write")
    if file.is_file() and _GENERATED not in file.read_bytes()[:_START]:
        raise ExprunnerError(f"{file} exists and is not a report; it was left unchanged: name another file")


def write(study: Study, file: Path, context: ReportContext) -> WrittenReport:
    """Write the report of a study. Raises `ExprunnerError` if it cannot be built or written."""
    check(file)
    render = _renderer()
    results = study.results()
    root = root_from(file, study.layout.base)
    text, light, reduced = "", 0, False
    for detail in DETAILS:
        reduced = detail is not DETAILS[0]
        text = render(model.build(study, results, context, detail), root, reduced=reduced)
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
        from pytest_exprunner.report.html.page import render  # needs jinja2, an optional dependency
    except ImportError as error:
        raise ExprunnerError(f"{error}; install it with: pip install 'pytest-exprunner[report]'") from None
    return render


def root_from(file: Path, base: Path) -> str:
    """Return the relative path from a report to the results folder: empty, or with a trailing slash."""
    way = os.path.relpath(base, file.parent).replace(os.sep, "/")
    return "" if way == "." else f"{way}/"
