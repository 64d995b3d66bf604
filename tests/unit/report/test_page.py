"""Whatever a text holds, the page shows it and is made of its own elements alone."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from builders import SUB, X1, fold_all, make_entry, make_plan, make_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_exprunner.model.attempt import Artifact
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.report.html import model
from pytest_exprunner.report.html import page as html
from pytest_exprunner.report.html.curves import LoggedCurve, curve
from pytest_exprunner.report.html.model import ReportContext
from pytest_exprunner.schedule.advice import Known
from pytest_exprunner.store.study import Study

_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).filter(str.strip)
_NASTY = st.one_of(
    _TEXT, st.sampled_from(["</script><script>alert(1)</script>", "<!--", "]]>", "{{7*7}}{% x %}", "&lt;&#60;", "\x00\x1b[31m\u202e", "javascript:alert(1)", "'\"`onload=x"])
)  # fmt: skip


class _Page(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.first: dict[str, str] = {}
        self.scripts: list[dict[str, str | None]] = []
        self.handlers: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.first.setdefault(tag, "")
        if tag == "script":
            self.scripts.append(dict(attrs))
        self.handlers += [name for name, _value in attrs if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h1":
            self.first[self.open[-1]] += data


def _rendered(folder: Path, name: str) -> str:
    entry = make_entry(name=name, description=name, next_steps={"pivot": [name]})
    plan = make_plan(
        {X1: entry},
        project={"name": name, "hypothesis": name},
        gates={"gate_1": {"name": name, "experiments": [X1], "unlocks": name}},
    )
    artifact = Artifact(f"artifacts/{SUB}/{name}", "0" * 64, 10)
    record = make_record({"accuracy": 0.1, name: 1.0}, finding=name, artifacts=(artifact,))
    results = fold_all(plan, [record])
    study = Study(plan, Layout(folder))
    known = Known({SUB: "handlers.py:1"})
    report = model.build(study, results, ReportContext(known, {X1: [("changed", name)]}))
    return html.render(report, "../")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=_NASTY)
def test_any_text_is_shown_as_it_is(tmp_path: Path, name: str) -> None:
    """In the title and everywhere else: never markup, never a script, never an attribute that acts."""
    source = _rendered(tmp_path, name)
    page = _Page(source)
    shown = "".join(html.visible(char) for char in name)
    assert page.first["h1"].replace("\r", "") == shown.replace("\r", "")
    assert [script.get("type") for script in page.scripts] == ["application/json", None, None]
    assert not page.handlers
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e]", source)
    assert not re.findall(r'(?:href|src)="(?!#|\.\./|data:)', source)


@given(name=_NASTY, values=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=2, max_size=50))
def test_curves_are_data_that_nothing_in_them_can_end(name: str, values: list[float]) -> None:
    """The element that carries them has no tag within, and gives back what was put in."""
    logged = LoggedCurve([float(step) for step in range(len(values))], values)
    text = html.curves_json([curve(name, [(name, True, logged)], buckets=100)])
    assert not set("<>&") & set(text)
    [found] = json.loads(text)
    assert found["metric"] == "".join(html.visible(char) for char in name)
    [line] = found["lines"]
    assert [y is None for y in line["y"]] == [not math.isfinite(value) for value in values]


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("experiments/x1/a b.png", "experiments/x1/a%20b.png"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29"),
        ("//host/x", "./host/x"),
        ("a?b#c%d", "a%3Fb%23c%25d"),
        ("#experiment-x1/2", "#experiment-x1/2"),
    ],
)
def test_addresses_lead_to_files(path: str, address: str) -> None:
    """A path of a file is no scheme and no query."""
    assert html.url(path) == address
