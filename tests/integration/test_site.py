"""The documents as a site: built without a warning, every link leads somewhere, nothing is loaded from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import pytest_exprunner

DOCS = Path(pytest_exprunner.__file__).parent.parent / "docs"

pytestmark = pytest.mark.slow


@dataclass
class Page(HTMLParser):
    """What a built page leads to, what it loads, and what can be led to in it."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    listed: list[str] = field(default_factory=list)
    """Where the table of contents beside the page leads."""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attributes}
        self.anchors.add(named.get("id", ""))
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
            if "reference internal" in named.get("class", ""):
                self.listed.append(named["href"])
        elif tag == "link" and named.get("rel") in {"stylesheet", "preload", "icon", "preconnect"}:
            self.loads.append(named["href"])
        self.loads += [named[name] for name in ("src", "srcset", "data", "poster") if named.get(name)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors."""
    pytest.importorskip("furo")
    pytest.importorskip("myst_parser")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-E"),
            *("-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Every page that was built, read."""
    read = {}
    for file in sorted(site.rglob("*.html")):
        page = Page()
        page.feed(file.read_text(encoding="utf-8"))
        read[file] = page
    return read


def test_every_document_is_in_the_table_of_contents(site: Path, pages: dict[Path, Page]) -> None:
    """The first page lists all of them, so that the site and a reader on GitHub find each one."""
    documents = {file.with_suffix(".html").name for file in DOCS.glob("*.md")}
    assert {"index.html", "readme.html"} < documents
    assert documents - {"index.html"} <= set(pages[site / "index.html"].listed)


def test_every_link_leads_somewhere(pages: dict[Path, Page]) -> None:
    """A link within the site leads to a file, and to an anchor that is there."""
    followed = 0
    for file, page in pages.items():
        for link in page.links:
            to = urlsplit(link)
            if to.scheme or to.netloc:
                assert to.scheme == "https", (file.name, link)
                continue
            target = (file.parent / unquote(to.path)).resolve() if to.path else file
            assert target.is_file(), (file.name, link)
            if to.fragment and target in pages:
                assert unquote(to.fragment) in pages[target].anchors, (file.name, link)
            followed += 1
    assert followed > len(pages)


def test_nothing_is_loaded_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    """Pages, and the styles that they load, need no network."""
    loaded = 0
    for file, page in pages.items():
        for address in page.loads:
            to = urlsplit(address)
            assert to.scheme in {"", "data"}, (file.name, address)
            assert not to.netloc, (file.name, address)
            if not to.scheme:
                assert (file.parent / unquote(to.path)).is_file(), (file.name, address)
                loaded += 1
    assert loaded > len(pages)
    for style in site.rglob("*.css"):
        assert list(_fetched(style.read_text(encoding="utf-8"))) == [], style.name


def _fetched(style: str) -> Iterator[str]:
    """What a style sheet loads from elsewhere."""
    for part in style.split("url(")[1:]:
        address = part.partition(")")[0].strip("'\" ")
        if address.startswith(("http:", "https:", "//")):
            yield address
