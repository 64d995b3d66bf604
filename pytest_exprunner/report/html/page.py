"""Render the report as one offline HTML file: no requests, only its own scripts, all text escaped."""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from pytest_exprunner import __version__
from pytest_exprunner._util.text import show_control
from pytest_exprunner.report.blocks import Bullets, Code, Heading, Link, Paragraph, Strong, Table
from pytest_exprunner.report.html.curves import Curve, CurveLine
from pytest_exprunner.report.html.model import Report
from pytest_exprunner.verdicts.formatting import number_text

_SIGNS = {
    **dict.fromkeys(("proceed", "waived", "passed", "passed_with_waiver"), "✓"),
    **dict.fromkeys(("pending", "in_progress"), "…"),
    **dict.fromkeys(("block", "blocked"), "■"),
    "pivot": "↺",
    "investigate": "?",
    "failed": "✕",
    "replaced": "→",
    "not_started": "○",
}
_BLOCKS = {
    "code": Code,
    "strong": Strong,
    "link": Link,
    "paragraph": Paragraph,
    "heading": Heading,
    "bullets": Bullets,
    "table": Table,
}
_OPEN_UP_TO = 30
"""A study with at most this many sub-experiments is shown with all of them expanded."""
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def render(report: Report, root: str, *, reduced: bool = False) -> str:
    """Return the page. ``root`` is the path from it to the results folder: empty, or ``../research/``."""
    charts: list[Curve] = []
    cards = report.experiments
    style, scripts = _style(), _scripts()
    text: str = _template().render(
        report=report,
        picture=report.picture,
        root=root,
        reduced=reduced,
        version=__version__,
        signs=_SIGNS,
        shown={*(card.id for card in cards), *(gate.id for gate in report.gates)},
        anchor=_anchor,
        chart_number=_numbering(charts),
        curves=_Late(lambda: curves_json(charts)),
        open_all=sum(len(card.subs) for card in cards) <= _OPEN_UP_TO,
        style=Markup(style),  # noqa: S704 - the package's own file
        style_hash=_hash(style),
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - the package's own files
        script_hashes=[_hash(script) for script in scripts],
    )
    return text


class _Late:
    """Text that is built when the template reaches it, after everything that it refers to."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make

    def __html__(self) -> str:
        return self._make()


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests |= {name: _is_a(kind) for name, kind in _BLOCKS.items()}
    environment.filters |= {"url": url, "size": _size, "shorten": _shorten, "ends": _ends}
    return environment.from_string(_file("templates", "report.html.j2"))


def _is_a(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kind)


def visible(value: Any) -> Any:
    """Return text with visible control characters, including those that change the text direction."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return show_control(value)
    return value


def url(path: str) -> str:
    """Return a relative URL; escaping keeps a file's path from becoming a scheme or another host."""
    head, hash_, tail = path.partition("#") if path.startswith("#") else (path, "", "")
    head = f"./{head.lstrip('/')}" if head.startswith("/") else head
    quoted = quote(head.encode("utf-8", "surrogatepass"), safe="/._-~=+,@")
    return f"{quoted}{hash_}{quote(tail.encode('utf-8', 'surrogatepass'))}"


def _anchor(kind: str, name: str) -> str:
    return f"{kind}-{name}"


def _size(number: int) -> str:
    value, place = float(number), 0
    while value >= 1000 and place < len(_UNITS) - 1:
        value, place = value / 1000, place + 1
    return f"{value:.0f} {_UNITS[place]}" if place == 0 or value >= 10 else f"{value:.1f} {_UNITS[place]}"


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _ends(line: CurveLine) -> str:
    """Return a curve as text: ``attempt 2: 0.9 → 0.1 (0.08 to 0.9; 5000 values)``."""
    first, last, low, high = line.ends
    odd = f", {line.not_finite} not finite" if line.not_finite else ""
    odd += ", the rest was not read" if line.cut else ""
    if first is None:
        return f"{line.label}: no finite value ({line.logged} logged)"
    return (
        f"{line.label}: {number_text(first)} → {number_text(last)} "
        f"({number_text(low)} to {number_text(high)}; {line.logged} values{odd})"
    )


def _numbering(charts: list[Curve]) -> Callable[[Curve], int]:
    numbers = itertools.count()

    def number(curve: Curve) -> int:
        charts.append(curve)
        return next(numbers)

    return number


def curves_json(charts: Sequence[Curve]) -> str:
    """Return curves as JSON that cannot close a script element or a comment."""
    return _json([_curve(curve) for curve in charts])


def _curve(curve: Curve) -> Mapping[str, Any]:
    return {
        "metric": visible(curve.metric),
        "axis": curve.axis,
        "lines": [
            {
                "label": visible(line.label),
                "counts": line.counts,
                "x": [_short(x) for x in line.x],
                "y": [None if y is None else _short(y) for y in line.y],
            }
            for line in curve.lines
        ],
    }


def _short(value: float) -> float | int:
    """Return a number with the digits that a picture needs; a step keeps all of its digits."""
    if value == int(value) and abs(value) < 1e15:
        return int(value)
    rounded = float(f"{value:.5g}")
    return rounded if math.isfinite(rounded) else value  # rounding the largest floats would give infinity


def _json(value: Sequence[Any]) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


@functools.cache
def _style() -> str:
    return f"{_file('vendor', 'uPlot.min.css').strip()}\n{_file('templates', 'report.css')}"


@functools.cache
def _scripts() -> tuple[str, ...]:
    return _file("vendor", "uPlot.iife.min.js"), _file("templates", "report.js")


def _file(folder: str, name: str) -> str:
    return (resources.files("pytest_exprunner.report.html") / folder / name).read_text(encoding="utf-8")
