"""Writes what is generated in these pages anew: ``python docs/refresh.py``.

The sessions (commands and what they print) are typed again in an empty folder, tables and whole pages come
from the commands that print them. Where a page shows already what is printed, it stays as it is.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent / "tests"), str(DOCS.parent / "tests" / "integration")]

import sessions  # noqa: E402  # found by the line above
from study_folder import Study  # noqa: E402

SESSIONS = ("first-study.md", "commands.md")


def write(page: Path, text: str) -> None:
    """Write a page if it says something else, and tell so."""
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {page.name}\n")


def main(names: list[str]) -> None:
    """Refresh the named sessions, or everything."""
    for name in names or SESSIONS:
        page = DOCS / name
        with tempfile.TemporaryDirectory() as folder:
            write(page, sessions.filled(page.read_text(encoding="utf-8"), Study(Path(folder))))


if __name__ == "__main__":
    main(sys.argv[1:])
