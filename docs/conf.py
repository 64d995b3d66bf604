"""How Sphinx makes a site of these pages: ``sphinx-build -W --keep-going -n docs site``.

The pages are plain Markdown, so that they read the same on GitHub and in an editor. What Sphinx needs
beside it is made from them here: the table of contents from the lists of links on the first page, and the
pages of the README and the changelog, which stand one folder up, from those files.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
ABOVE = {"readme": "README.md", "changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}
"""Pages whose text is in a file of the folder above."""

project = "pytest-exprunner"
author = "The pytest-exprunner authors"
extensions = ["myst_parser"]
exclude_patterns = ["conf.py"]
myst_heading_anchors = 4  # as GitHub names them
nitpicky = True

html_theme = "furo"
html_title = "pytest-exprunner"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

_LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)\s]+)")
_LISTED = re.compile(r"^- \[([^\]]*)\]\(([\w./-]+)\.md\)", re.MULTILINE)


def read_source(_app: Sphinx, page: str, source: list[str]) -> None:
    """Give Sphinx a page as it stands in its file, with what only the site needs."""
    text = source[0]
    if page in ABOVE:
        text = _LINK.sub(_from_docs, (ROOT / ABOVE[page]).read_text(encoding="utf-8"))
    for name, file in ABOVE.items():
        text = text.replace(f"](../{file}", f"]({name}.md")
    text = text.replace("](../", "](path:../")  # a file of the project, copied beside the pages as it is
    source[0] = f"{text}\n{_contents(text)}" if page == "index" else text


def _from_docs(link: re.Match[str]) -> str:
    """A link of a file in the folder above, as it leads there from this folder."""
    return link[1].removeprefix("docs/") if link[1].startswith("docs/") else f"../{link[1]}"


def _contents(text: str) -> str:
    """A hidden table of contents for each section of the first page, from the links that it lists."""
    tables = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        caption, _line, body = section.partition("\n")
        pages = "\n".join(f"{title.replace('`', '')} <{page}>" for title, page in _LISTED.findall(body))
        tables.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n")
    return "\n".join(tables)


def setup(app: Sphinx) -> None:
    """Have pages read by the function above."""
    app.connect("source-read", read_source)
