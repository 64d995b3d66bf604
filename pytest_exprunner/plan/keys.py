"""The keys of a plan: which have a meaning, and which must not be misspelt.

An unknown key is its authors' own and is kept. Some keys decide whether a run is judged at all, by what,
and when it may start; a plan that lost one of them to a misspelling would let a run pass that should
not, so a near miss of such a key is an error.
"""

from __future__ import annotations

from pytest_exprunner.plan.base import KEY_ALIAS, Model
from pytest_exprunner.plan.compute import Container, Modal, Resources
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.models import (
    Experiment,
    Gate,
    NextSteps,
    Plan,
    Project,
    SubExperiment,
    Tracking,
    Wandb,
)


def known_keys(model: type[Model]) -> frozenset[str]:
    """Return the keys that a model gives a meaning to, as they are written in a plan."""
    names = (field.alias or name for name, field in model.model_fields.items())
    return frozenset(name for name in names if name != KEY_ALIAS)


KNOWN: dict[type[Model], frozenset[str]] = {
    model: known_keys(model)
    for model in (
        *(Plan, Project, Experiment, SubExperiment, Resources, Criterion, NextSteps, Gate),
        *(Tracking, Wandb, Container, Modal),
    )
}
_REQUIRED = {
    model: frozenset(field.alias or name for name, field in model.model_fields.items() if field.is_required())
    for model in KNOWN
}
ALL = frozenset(key for keys in KNOWN.values() for key in keys)

DECIDING: dict[type[Model], frozenset[str]] = {
    Plan: frozenset({"experiments", "gates", "waivers"}),
    Experiment: frozenset(
        {"sub_experiments", "success_criteria", "together", "dependencies", "blockers", "replaces"}
    ),
    SubExperiment: frozenset({"needs", "seeds"}),
    Criterion: frozenset(
        {
            *("acceptable", "failure", "direction", "metric", "from", "minus", "over"),
            *("aggregate", "bounds", "severity", "evidence"),
        }
    ),
    Gate: frozenset({"experiments", "unlocks"}),
}
"""What decides about success, and what has to wait."""

_OTHER_NAMES: dict[type[Model], dict[str, str]] = {
    Experiment: {
        **dict.fromkeys(("criteria", "criterion"), "success_criteria"),
        **dict.fromkeys(("dependency", "depends", "dependson", "requires", "blockedby"), "dependencies"),
    },
    SubExperiment: dict.fromkeys(("depends", "dependson", "require", "requires"), "needs"),
    Criterion: {
        "baseline": "minus",
        **dict.fromkeys(("fail", "fails", "failing"), "failure"),
        **dict.fromkeys(("accept", "accepted", "accepting", "acceptance"), "acceptable"),
        **dict.fromkeys(("threshold", "targets", "goal"), "target"),
        **dict.fromkeys(("higherisbetter", "lowerisbetter", "greaterisbetter"), "direction"),
    },
}
_OWN_WORDS = frozenset({"form", "games", "replaced", "speeds"})
"""Words that a person may well use, although a letter makes them one of those keys."""

_MISPLACED = frozenset({"success_criteria", "together", "dependencies", "blockers"})
_LONG, _SHORT = 10, 8


def meant(model: type[Model], key: str) -> str | None:
    """Return the deciding key that an unknown key of a model was probably meant to be, or None.

    A letter may be missing, too many, wrong or changed places with its neighbour; two of them in a long
    key. In a short one the first letter has to be right: ``cover`` is not ``over``.
    """
    spelt = _letters(key)
    other = _OTHER_NAMES.get(model, {}).get(spelt)
    if other is not None or spelt in _OWN_WORDS:
        return other
    return next((known for known in sorted(DECIDING.get(model, ())) if _misspells(spelt, known)), None)


def is_required(model: type[Model], key: str) -> bool:
    """Return whether a model cannot be without a key."""
    return key in _REQUIRED[model]


def belongs_to_experiment(model: type[Model], key: str) -> bool:
    """Return whether a key that decides stands in a sub-experiment, where it would decide nothing."""
    return model is SubExperiment and key in _MISPLACED


def _letters(key: str) -> str:
    return key.casefold().replace("_", "").replace("-", "").replace(" ", "")


def _misspells(spelt: str, known: str) -> bool:
    letters = _letters(known)
    if len(letters) < _SHORT and spelt[:1] != letters[:1]:
        return False
    return _within(spelt, letters, 2 if len(letters) >= _LONG else 1)


def _within(word: str, other: str, most: int) -> bool:
    """Return whether so many edits at most, of a letter each, lead from a word to another."""
    if abs(len(word) - len(other)) > most:
        return False
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(word, 1):
        earlier, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            edits = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and word[i - 2] == wanted:
                edits = min(edits, earlier[j - 2] + 1)
            row.append(edits)
        if min(row) > most:
            return False
    return row[-1] <= most
