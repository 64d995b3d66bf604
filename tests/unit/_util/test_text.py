"""Text that people see: no character of it steers a terminal, and every console can show it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner._util.text import (
    encodable,
    few,
    has_control,
    replace_control,
    sentence_list,
    show_control,
)


@pytest.mark.parametrize(
    "character", ["\x00", "\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\ufeff", "\ud800"]
)
def test_characters_that_steer(character: str) -> None:
    """Escape sequences, text that runs backwards and halves of characters are found and shown as codes."""
    assert has_control(f"a{character}b")
    assert show_control(f"a{character}b").isprintable()
    assert replace_control(f"a{character}b") == "a�b"


def test_invisible_characters_join_letters_in_documents_alone() -> None:
    """A terminal shows a mark in their place; a page keeps them, as scripts and emoji need them."""
    assert replace_control("a\u200db") == "a�b"
    assert show_control("a\u200db") == "a\u200db"


@given(st.text())
def test_what_is_shown_has_no_control_left(text: str) -> None:
    """Lines and tabs are the only ones."""
    for cleaned in (show_control(text), replace_control(text)):
        assert not has_control(cleaned.replace("\n", "").replace("\t", ""))


@given(st.text(), st.sampled_from(["ascii", "latin-1", "utf-8", "no-such-encoding", None]))
def test_any_console_can_show_it(text: str, encoding: str | None) -> None:
    """Also one that knows ASCII alone, or whose encoding nobody knows."""
    known = "ascii" if encoding == "no-such-encoding" else encoding or "utf-8"
    encodable(text, encoding).encode(known)


@pytest.mark.parametrize(
    ("items", "expected"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_a_list_in_a_sentence(items: list[str], expected: str) -> None:
    """Commas, and an *and* before the last."""
    assert sentence_list(items) == expected


def test_a_few_of_many() -> None:
    """The rest is counted."""
    assert few(["a", "b", "c", "d"]) == "a, b, c and 1 more"
