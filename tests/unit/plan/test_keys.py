"""Which unknown keys of a plan are refused as near misses of keys that decide."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.plan import keys as plan_keys
from pytest_exprunner.plan.base import Model
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.keys import DECIDING, KNOWN, meant
from pytest_exprunner.plan.models import Experiment, Gate, Plan, SubExperiment

LETTERS = st.sampled_from(string.ascii_lowercase)
KEYS = [(model, key) for model, keys in DECIDING.items() for key in sorted(keys)]
LONG = [(model, key) for model, key in KEYS if len(key) >= 12]


def dropped(key: str, place: int, _letter: str) -> str:
    """A letter is missing."""
    return key[:place] + key[place + 1 :]


def added(key: str, place: int, letter: str) -> str:
    """A letter is too many."""
    return key[: place + 1] + letter + key[place + 1 :]


def wrong(key: str, place: int, letter: str) -> str:
    """A letter is another one."""
    return key[:place] + letter + key[place + 1 :]


def swapped(key: str, place: int, _letter: str) -> str:
    """A letter has changed places with the next."""
    return key[:place] + key[place : place + 2][::-1] + key[place + 2 :]


EDITS = st.sampled_from([dropped, added, wrong, swapped])
Edit = Callable[[str, int, str], str]


def test_what_decides_is_known() -> None:
    """Every key whose near miss is refused is a key of its model."""
    assert all(keys <= KNOWN[model] for model, keys in DECIDING.items())


@given(case=st.sampled_from(KEYS), edit=EDITS, data=st.data(), letter=LETTERS)
def test_one_slip(case: tuple[type[Model], str], edit: Edit, data: st.DataObject, letter: str) -> None:
    """One slip after the first letter is seen through, unless it makes a word or another key."""
    model, key = case
    place = data.draw(st.integers(1, len(key) - 2))
    slip = edit(key, place, letter)
    if slip != key and slip not in KNOWN[model] | {"form", "games", "replaced", "speeds"}:
        assert meant(model, slip) in DECIDING[model]


@given(case=st.sampled_from(LONG), data=st.data())
def test_two_slips_in_a_long_key(case: tuple[type[Model], str], data: st.DataObject) -> None:
    """Long keys are seen through two slips, wherever they are."""
    model, key = case
    slip = key
    for edit in data.draw(st.lists(st.sampled_from([dropped, added, wrong]), min_size=2, max_size=2)):
        slip = edit(slip, data.draw(st.integers(0, len(key) - 3)), data.draw(LETTERS))
    if slip not in KNOWN[model]:
        assert meant(model, slip) == key


@given(case=st.sampled_from(KEYS), upper=st.booleans(), between=st.sampled_from(["", "-", " ", "_"]))
def test_another_style(case: tuple[type[Model], str], between: str, *, upper: bool) -> None:
    """Capitals, dashes and spaces make no other word of it."""
    model, key = case
    styled = (key.title() if upper else key).replace("_", between)
    if styled != key:
        assert meant(model, styled) == key


@given(model=st.sampled_from(sorted(DECIDING, key=str)), key=st.text(LETTERS, min_size=1, max_size=20))
def test_words_of_the_authors_own(model: type[Model], key: str) -> None:
    """What is meant shares most of its letters, in their order, with what was written."""
    found = meant(model, key)
    if found is not None:
        spelt = found.replace("_", "")
        names = {name for others in plan_keys._OTHER_NAMES.values() for name in others}
        assert key in names or abs(len(spelt) - len(key)) <= 2
        assert key in names or len(set(spelt) & set(key)) >= len(set(spelt)) - 2


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Plan, "games dates rates links archived future_research last_updated authors date project_page"),
        (Plan, "dependencies seeds notes environment wavelets grants gaps states"),
        (Experiment, "blocked blocks replaced status notes success failure_modes future_study"),
        (Experiment, "success_stories dependents experimenters subs successes acceptance_criteria budget"),
        (SubExperiment, "speeds date notes owner status needle feeds deeds achieved model news"),
        (Criterion, "form cover lover hover user notes units name source reference achieved"),
        (Criterion, "rounds sounds evidently failed tolerance method rationale ever"),
        (Gate, "unlocked locks unlocks_when owner date notes decided_by"),
    ],
)
def test_words_that_only_resemble_a_key(model: type[Model], words: str) -> None:
    """Words that people use are theirs, although they look a little like a key."""
    assert {word: meant(model, word) for word in words.split()} == dict.fromkeys(words.split())


@pytest.mark.parametrize("key", ["", "_", "-", "a", "\0", "é" * 15, "x" * 100_000])
def test_odd_keys(key: str) -> None:
    """Nothing is too short or too long to be looked at."""
    assert all(meant(model, key) is None for model in DECIDING)


def test_only_what_an_experiment_has_belongs_to_one() -> None:
    """Keys of an experiment are refused in its sub-experiments, and nowhere else."""
    assert plan_keys.belongs_to_experiment(SubExperiment, "success_criteria")
    assert not plan_keys.belongs_to_experiment(Plan, "dependencies")
    assert not plan_keys.belongs_to_experiment(SubExperiment, "name")


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("threshold", "target"),
        ("goal", "target"),
        ("fail", "failure"),
        ("failing", "failure"),
        ("accept", "acceptable"),
        ("higher_is_better", "direction"),
        ("baseline", "minus"),
    ],
)
def test_other_names_for_what_decides(key: str, known: str) -> None:
    """What would decide in another tool's configuration, and would decide nothing here, is refused."""
    assert meant(Criterion, key) == known
