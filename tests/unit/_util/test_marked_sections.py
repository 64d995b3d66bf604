"""A generated part in a file that belongs to people: theirs is never touched, damage is said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner._util.marked_sections import Merged, merge

PART = "# Findings\n\nIt holds.\n"
END = "<!-- exprunner:end -->"


def first(part: str = PART) -> str:
    """Return a new file."""
    return merge(None, part).text


def begin(text: str) -> str:
    """Return the opening marker of a file."""
    found = re.search(r"^<!-- exprunner:begin .*-->$", text, re.MULTILINE)
    assert found is not None
    return found[0]


def test_a_new_file() -> None:
    """A new file has the part between markers, and a place for notes after it."""
    text = first()
    assert re.fullmatch(
        r"<!-- exprunner:begin [0-9a-f]{16} generated from the plan and the attempts; write outside -->\n"
        r"# Findings\n\nIt holds\.\n"
        r"<!-- exprunner:end -->\n"
        r"\n## Notes\n\n_Write here; text outside the generated part is never changed\._\n",
        text,
    )
    assert merge(None, PART) == Merged(text, edited=False, problem="")


def test_nothing_new_changes_nothing() -> None:
    """Merging the same part again gives the same bytes."""
    assert merge(first(), PART) == Merged(first())


def test_a_fresh_part_takes_the_place_of_the_old_one() -> None:
    """What stands around the part stays where it is."""
    text = f"Before.\n\n{first()}\nMine.\n"
    found = merge(text, "# Other\n")
    assert not found.edited
    assert found.text.startswith("Before.\n\n<!-- exprunner:begin ")
    assert "# Other\n<!-- exprunner:end -->\n" in found.text
    assert "# Findings" not in found.text
    assert found.text.endswith("never changed._\n\nMine.\n")


@pytest.mark.parametrize(
    ("existing", "start"),
    [
        ("Mine.", "Mine.\n\n<!-- exprunner:begin "),
        ("Mine.\n", "Mine.\n\n<!-- exprunner:begin "),
        ("Mine.\n\n", "Mine.\n\n<!-- exprunner:begin "),
        ("", "<!-- exprunner:begin "),
    ],
)
def test_a_file_without_markers(existing: str, start: str) -> None:
    """A file that people wrote keeps all of it; the part comes at its end."""
    found = merge(existing, PART)
    assert found.text.startswith(start)
    assert found.text.endswith(f"It holds.\n{END}\n")
    assert (found.edited, found.problem) == (False, "")


@pytest.mark.parametrize(
    ("old", "new"), [("It holds.", "It fails."), ("\n\nIt", "\n\n\nIt"), (f"\n{END}", f"\nMine.\n{END}")]
)
def test_a_change_inside_is_noticed(old: str, new: str) -> None:
    """A person's change inside the part is told, so that a copy can be kept."""
    found = merge(first().replace(old, new), PART)
    assert found.edited
    assert found.text == first()


def test_a_change_outside_is_no_edit() -> None:
    """Prose outside the markers is nobody's business."""
    assert not merge(f"{first()}\nMine.\n", PART).edited


@pytest.mark.parametrize(
    ("text", "begins", "ends"),
    [
        (first().replace(END, ""), 1, 0),
        (re.sub(r"<!-- exprunner:begin .*-->\n", "", first()), 0, 1),
        (first() + first(), 2, 2),
        (first() + END + "\n", 1, 2),
        (first().replace("<!-- exprunner:begin", "<!-- exprunner:begin "), 0, 1),
        (f"{END}\n{begin(first())}\n", 1, 1),
        (first().replace("exprunner:begin ", "exprunner:begin zz"), 0, 1),
        (first().replace("\n", "\r\n"), 0, 0),
        ("see exprunner:begin\n", 0, 0),
    ],
    ids=["no end", "no begin", "twice", "two ends", "spaces", "order", "digest", "CRLF", "mentioned"],
)
def test_damaged_markers(text: str, begins: int, ends: int) -> None:
    """Where the place of the part is in doubt, the file stays as it is and the problem is said."""
    found = merge(text, PART)
    assert found.text == text
    assert found.problem == (
        f"has {begins} opening and {ends} closing exprunner markers; expected one of each, in order. "
        "It was left unchanged: repair or delete the markers"
    )


def test_a_part_without_a_newline_at_its_end() -> None:
    """The closing marker stands on a line of its own."""
    assert f"\nIt holds.\n{END}\n" in first("# Findings\n\nIt holds.")


prose = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(
    lambda text: "exprunner:" not in text
)
parts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(
    lambda text: "exprunner:" not in text
)


@given(prose, prose, parts, parts)
def test_prose_is_kept_to_the_letter(before: str, after: str, old: str, new: str) -> None:
    """Whatever people write before and after, a new part changes none of it."""
    text = f"{before}\n{first(old)}{after}"
    head, tail = f"{before}\n", first(old).partition(END)[2] + after
    found = merge(text, new)
    assert found.problem == ""
    assert not found.edited
    assert found.text.startswith(f"{head}<!-- exprunner:begin ")
    assert found.text.endswith(f"{END}{tail}")
    assert merge(found.text, new) == found


@given(prose, parts)
def test_appending_is_done_once(existing: str, part: str) -> None:
    """A part that was appended is found again and replaced, never appended twice."""
    once = merge(existing, part)
    assert once.text.startswith(existing)
    assert merge(once.text, part) == Merged(once.text)
