"""The report in a real browser: what it shows, what it does, that it asks nobody for anything."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import report_studies
from study_folder import Study

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]
# Pages of local files are not to wait for anything, so whatever takes longer is broken.
_PATIENCE = 10_000


@dataclass
class Seen:
    """What a page did beside being shown."""

    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return the system's Chromium."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=found, args=_ARGUMENTS)
        yield launched
        launched.close()


def _open(browser: Any, file: Path, **options: Any) -> tuple[Any, Seen]:
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(_PATIENCE)
    seen = Seen()
    page.on("console", lambda message: seen.messages.append(message.text))
    page.on("pageerror", lambda error: seen.messages.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("dialog", lambda dialog: _dismiss(dialog, seen))
    page.goto(file.as_uri())
    return page, seen


def _dismiss(dialog: Any, seen: Seen) -> None:
    seen.dialogs.append(dialog.message)
    dialog.dismiss()


def _drawn(figure: Any) -> str:
    """Return the picture of a curve as text."""
    found: str = figure.query_selector("canvas").evaluate("canvas => canvas.toDataURL()")
    return found


def _until(page: Any, holds: Callable[[], bool]) -> None:
    """Wait until something holds, as long as a page may take."""
    for _look in range(_PATIENCE // 50):
        if holds():
            return
        page.wait_for_timeout(50)
    pytest.fail("it did not come to hold")


def _report(folder: Path, name: str) -> Path:
    study = Study(folder)
    getattr(report_studies, name)(study)
    run = study.exprunner("report", "--html", "report.html")
    assert run.code == 0, run.text
    return folder / "report.html"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of a study with something for every part of it."""
    return _report(tmp_path_factory.mktemp("everything"), "everything")


def _quiet(seen: Seen, file: Path) -> bool:
    """Return whether the page said nothing, asked nothing, and loaded itself alone."""
    others = [u for u in seen.requests if not u.startswith("data:") and u.partition("#")[0] != file.as_uri()]
    return not (seen.messages or seen.dialogs or others)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_is_shown_whole_and_asks_for_nothing(
    browser: Any, everything: Path, scheme: str, width: int
) -> None:
    """Curves are drawn when one comes to them; nothing is wider than the screen; the console is silent."""
    page, seen = _open(browser, everything, color_scheme=scheme, viewport={"width": width, "height": 800})
    for figure in page.query_selector_all("figure[data-chart]"):
        figure.scroll_into_view_if_needed()
        figure.wait_for_selector("canvas")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.title() == "Everything at once"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(background[4:].split(",")[0]) < 100) == (scheme == "dark")
    assert _quiet(seen, everything)


def test_the_plan_leads_to_each_experiment_and_gate(browser: Any, everything: Path) -> None:
    """Every box says its state in words, and is a link to what it is about."""
    page, _seen = _open(browser, everything)
    boxes = page.query_selector_all("svg a.node")
    titles = [box.query_selector("title").text_content() for box in boxes]
    assert titles == [
        "q1-curves: proceed",
        "q2-seeds: proceed",
        "p3-broken: failed",
        "gate_1: passed",
        "c4-later: pivot",
    ]
    for box in boxes:
        box.click()
        anchor = page.evaluate("decodeURIComponent(location.hash.slice(1))")
        assert page.evaluate(
            "id => { const r = document.getElementById(id).getBoundingClientRect();"
            " return r.top < innerHeight && r.bottom > 0 }",
            anchor,
        )


def test_a_curve_can_be_zoomed_with_the_keyboard(browser: Any, everything: Path) -> None:
    """Plus, minus, arrows and 0; buttons do the same; a spike is there to be seen."""
    page, seen = _open(browser, everything)
    figure = page.query_selector("figure[data-chart='0']")
    figure.scroll_into_view_if_needed()
    figure.wait_for_selector("canvas")
    values = page.evaluate("JSON.parse(document.getElementById('curves').textContent)[0].lines[0].y")
    assert max(value for value in values if value is not None) == 7.5
    whole = _drawn(figure)
    figure.focus()
    page.keyboard.press("+")
    _until(page, lambda: _drawn(figure) != whole)
    zoomed = _drawn(figure)
    page.keyboard.press("ArrowRight")
    _until(page, lambda: _drawn(figure) not in (whole, zoomed))
    figure.query_selector("button[data-key='0']").click()
    page.mouse.move(0, 0)
    _until(page, lambda: _drawn(figure) == whole)
    figure.query_selector("button[data-key='l']").click()
    assert not seen.messages


def test_experiments_can_be_filtered(browser: Any, everything: Path) -> None:
    """By text, ``/`` leads there; by state; how many are left is said."""
    page, seen = _open(browser, everything)
    page.keyboard.press("/")
    page.keyboard.type("e_q2_1")
    shown = "[...document.querySelectorAll('section[data-find]')].filter(s => !s.hidden).map(s => s.id)"
    assert page.evaluate(shown) == ["experiment-q2-seeds"]
    assert page.text_content("#count") == "1 shown"
    page.fill("#filter", "")
    page.select_option("#state", "failed")
    assert page.evaluate(shown) == ["experiment-p3-broken"]
    page.select_option("#state", "")
    assert len(page.evaluate(shown)) == 4
    assert not seen.messages


def test_light_and_dark_can_be_switched(browser: Any, everything: Path) -> None:
    """Whatever the system prefers."""
    page, seen = _open(browser, everything, color_scheme="light")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert not seen.messages


def test_it_says_everything_without_scripts(browser: Any, everything: Path) -> None:
    """Curves in words, everything else as it is; nothing that needs a script is offered."""
    page, _seen = _open(browser, everything, java_script_enabled=False)
    text = page.inner_text("main")
    assert "(0.002 to 7.500; 5000 values, 1 not finite)" in text
    assert "score of 0.720 (mean of 3 seeds" in text
    assert not page.is_visible("#filter")


def test_it_has_one_outline_and_names_for_what_is_drawn(browser: Any, everything: Path) -> None:
    """A screen reader finds headings in order, images with texts, tables with headers."""
    page, _seen = _open(browser, everything)
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert page.evaluate("[...document.images].every(i => i.alt)")
    assert page.evaluate(
        "[...document.querySelectorAll('svg')].every(s => s.closest('[aria-hidden]') || s.getAttribute('aria-label'))"
    )
    assert page.evaluate(
        "[...document.querySelectorAll('input,select,button')].every(e => e.labels?.length || e.getAttribute('aria-label') || e.textContent)"
    )
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def test_colours_of_words_are_far_enough_from_their_ground(browser: Any, everything: Path) -> None:
    """At least 4.5 to 1, as WCAG 2.2 asks for text, in light and in dark."""
    script = """() => {
      const channel = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
      const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number); return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
      const ground = e => { while (e) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; e = e.parentElement; } return "rgb(255,255,255)"; };
      return [...document.querySelectorAll('.chip, p, li, td, th, a, figcaption, summary')].filter(e => e.textContent.trim()).map(e => {
        const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
        return [(a + 0.05) / (b + 0.05), e.className, e.textContent.slice(0, 30)];
      }).filter(([ratio]) => ratio < 4.5);
    }"""
    for scheme in ("light", "dark"):
        page, _seen = _open(browser, everything, color_scheme=scheme)
        assert page.evaluate(script) == []


def test_printing_opens_everything(browser: Any, everything: Path, tmp_path: Path) -> None:
    """On paper nothing can be unfolded, and every curve is there."""
    page, seen = _open(browser, everything)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")
    assert page.evaluate("document.querySelectorAll('figure canvas').length") == page.evaluate(
        "document.querySelectorAll('figure[data-chart]').length"
    )
    page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").stat().st_size > 20_000
    assert not seen.messages


def test_an_image_that_is_a_program_stays_an_image(browser: Any, everything: Path) -> None:
    """A script inside a picture is not run."""
    page, _seen = _open(browser, everything)
    image = page.query_selector("img[alt='picture.svg']")
    image.scroll_into_view_if_needed()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 120
    assert page.title() == "Everything at once"


def test_hostile_text_does_nothing(browser: Any, tmp_path: Path) -> None:
    """It is shown, in every field; nothing of it is run, and nothing is asked for."""
    file = _report(tmp_path, "hostile")
    page, seen = _open(browser, file)
    for figure in page.query_selector_all("figure[data-chart]"):
        figure.scroll_into_view_if_needed()
        figure.wait_for_selector("canvas")
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    assert page.inner_text("h1").startswith("</script><img src=x onerror=alert(1)>")
    assert page.evaluate("document.querySelectorAll('img:not([src^=\"data:\"])').length") == 0
    assert _quiet(seen, file)


def test_a_large_study_opens_and_scrolls_without_lag(browser: Any, tmp_path: Path) -> None:
    """A thousand sub-experiments: no script or layout keeps the page busy for long while it scrolls."""
    file = _report(tmp_path, "large")
    page, seen = _open(browser, file)
    assert page.evaluate("document.querySelectorAll('section.card').length") == 100
    assert page.evaluate("document.querySelectorAll('tbody tr').length") >= 1000
    # How many boxes a step of scrolling lays out, rather than how long it takes on a busy machine.
    skipped = page.evaluate(
        "[...document.querySelectorAll('section.card')].filter(s => !s.checkVisibility({contentVisibilityAuto: true})"
        " || !s.querySelector('p').checkVisibility({contentVisibilityAuto: true})).length"
    )
    assert skipped > 80
    scrolled = "scrollTo(0, document.documentElement.scrollHeight); new Promise(requestAnimationFrame)"
    page.evaluate(scrolled)
    assert page.evaluate("scrollY") > 5000
    page.fill("#filter", "e_999")
    assert page.text_content("#count") == "1 shown"
    assert _quiet(seen, file)
