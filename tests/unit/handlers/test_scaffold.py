"""Handlers from the plan: whatever the plan says, the text parses, fails loudly and says what to measure."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from builders import make_plan
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.handlers.scaffold import defined_in, function_name, function_text, module_text
from pytest_exprunner.plan.models import Plan

ANYTHING = st.text(max_size=60)


def planned(sub: dict[str, Any] | None = None, criteria: dict[str, Any] | None = None, **more: Any) -> Plan:
    """A plan of one sub-experiment."""
    return make_plan(
        {"x1": {"sub_experiments": {"e_1": sub or {}}, "success_criteria": criteria or {}, **more}}
    )


def text_of(plan: Plan, sub: str = "e_1", *, annotated: bool = True) -> str:
    """The handler of a sub-experiment."""
    experiment = plan.owner(sub)
    return function_text(plan, experiment, experiment.sub_experiments[sub], annotated=annotated)


def called(text: str, name: str) -> dict[str, Any]:
    """Call a handler and return what it returns."""
    scope: dict[str, Any] = {"ExperimentRunner": object}
    exec(compile(text, "handler.py", "exec"), scope)
    value: dict[str, Any] = scope[name](None)
    return value


def test_a_handler() -> None:
    """Name, objective, seeds and tiers are in it, and each metric fails until it is measured."""
    plan = planned(
        {"name": "E-1: Linear baseline", "objective": "How far does a linear model get?", "seeds": [0, 1]},
        {
            "accuracy": {"target": 0.9, "acceptable": 0.8, "failure": 0.5},
            "loss": {"target": 0.1, "unit": "nats"},
        },
    )
    assert (
        text_of(plan)
        == '''\
def e_1_linear_baseline(runner: ExperimentRunner) -> dict[str, object]:
    """E-1: Linear baseline.

    How far does a linear model get?
    """
    # Runs once for each seed of 0, 1: runner.seed is that of this attempt.
    # Replace each None by what was measured.
    accuracy = None  # target ≥ 0.90, acceptable ≥ 0.80, failure ≤ 0.50
    loss = None  # target ≥ 0.10, in nats
    if accuracy is None:
        raise NotImplementedError("e_1: measure accuracy (target ≥ 0.90)")
    if loss is None:
        raise NotImplementedError("e_1: measure loss (target ≥ 0.10)")
    return {
        "finding": f"accuracy is {accuracy}; loss is {loss}",
        "metrics": {
            "accuracy": accuracy,
            "loss": loss,
        },
        "artifacts": [],
    }
'''
    )


def test_it_fails_until_it_is_filled_in() -> None:
    """Each placeholder raises; filled in, the values are returned under their names."""
    text = text_of(planned(criteria={"accuracy": {"target": 0.9}, "mAP@0.5": {"target": 1}}))
    with pytest.raises(NotImplementedError, match=r"e_1: measure accuracy \(target ≥ 0.90\)"):
        called(text, "e_1")
    text = text.replace("accuracy = None", "accuracy = 0.95")
    with pytest.raises(NotImplementedError, match=r"e_1: measure mAP@0.5"):
        called(text, "e_1")
    assert called(text.replace("= None", "= 2"), "e_1") == {
        "finding": "accuracy is 0.95; mAP@0.5 is 2",
        "metrics": {"accuracy": 0.95, "mAP@0.5": 2},
        "artifacts": [],
    }


def test_one_without_metrics_fails_too() -> None:
    """What decides nothing has to say what it found."""
    with pytest.raises(NotImplementedError, match=r"e_1: say what was found \(Look\)"):
        called(text_of(planned({"objective": "Look"})), "e_1")


def test_baselines() -> None:
    """A baseline has to be measured where it comes from: in the same attempt, or in another handler."""
    plan = make_plan(
        {
            "x1": {
                "sub_experiments": ["e_1", "e_2"],
                "success_criteria": {
                    "gain": {"metric": "acc", "minus": "copy", "target": 0.1, "from": "e_1"},
                    "more": {"metric": "acc", "over": "e_2/acc_small", "target": 2, "from": "e_1"},
                },
            }
        }
    )
    assert "copy = None  # gain compares with it" in text_of(plan)
    assert (
        '"e_1: measure acc (acc minus copy: target ≥ 0.10; acc over e_2/acc_small: target ≥ 2)"'
        in text_of(plan)
    )
    other = text_of(plan, "e_2")
    assert "acc_small = None  # more compares with it" in other
    assert "gain" not in other


@pytest.mark.parametrize(
    ("sub", "name", "expected"),
    [
        ("e_1", None, "e_1"),
        ("e_1", "E-1: Spatial features", "e_1_spatial_features"),
        ("e_1", "Café & Bar", "e_1_cafe_bar"),
        ("e_1", "日本語", "e_1"),
        ("e_1", "2 more", "e_1"),  # e_1_2 is another's
        ("class", None, "class_handler"),
        ("e_1", "x" * 100, "e_1_" + "x" * 40),
        (
            "e_1",
            "one two three four five six seven eight nine",
            "e_1_one_two_three_four_five_six_seven_eight",
        ),
    ],
)
def test_names(sub: str, name: str | None, expected: str) -> None:
    """The name starts with the id, says what the plan says, and is no other's."""
    plan = make_plan({"x1": {"sub_experiments": {sub: {"name": name}, "e_1_2": {}}}})
    assert function_name(plan, plan.experiments["x1"].sub_experiments[sub]) == expected


@given(ANYTHING, ANYTHING, st.dictionaries(ANYTHING.filter(bool), ANYTHING, max_size=4), ANYTHING)
def test_whatever_the_plan_says(name: str, objective: str, metrics: dict[str, str], title: str) -> None:
    """Hostile names stay data: the text parses to one function that raises."""
    criteria = {metric: {"target": 1, "unit": unit} for metric, unit in metrics.items() if metric != "(id)"}
    try:
        plan = planned({"name": name, "objective": objective}, criteria, name=title)
    except ValueError:  # no plan admits that
        return
    for annotated in (True, False):
        text = module_text(plan.experiments["x1"]) + "\n\n" + text_of(plan, annotated=annotated)
        tree = ast.parse(text)
        own = function_name(plan, plan.experiments["x1"].sub_experiments["e_1"])
        assert defined_in(text) == {own}
        assert [type(node).__name__ for node in tree.body] == [
            "Expr",
            "ImportFrom",
            "ImportFrom",
            "FunctionDef",
        ]
        with pytest.raises(NotImplementedError):
            called(text.replace("from pytest_exprunner import ExperimentRunner", ""), own)
        filled = called(
            text.replace("from pytest_exprunner import ExperimentRunner", "").replace("= None", "= 1"), own
        )
        assert set(filled["metrics"]) == set(criteria)
