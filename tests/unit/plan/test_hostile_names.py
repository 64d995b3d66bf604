"""Names and ids that look like something else: each means itself everywhere, or is refused at its place."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from builders import X1, digests, fold_one, make_entry, make_plan, make_record

from pytest_exprunner._util.errors import PlanError
from pytest_exprunner.model.attempt import dump_record, parse_record
from pytest_exprunner.plan import loader
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.store import results_file
from pytest_exprunner.store.results_fallback import read_fallback
from pytest_exprunner.verdicts.preregistration import changed_terms

NAMES = (
    *("f1, macro", "(f1)", "(added later)", "(together)", "(replaced by)", "a: b", "- a", "# a", "seed 0"),
    *("x[lr=1]", "e_x1_1 seed 0", "says proceed", "success_criteria_met", "accuracy_achieved", "…", "{name}"),
    *("__proto__", "null", "true", "1", "1e-3", "~", "<<", "<b>", "a\u202eb", "a\nb", "../x", "x" * 5000),
)
IDS = pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[1:20])
PLACE = re.compile(r"plan\.yaml:\d+:\d+: ")


def loaded(document: dict[str, Any]) -> Plan | None:
    """Return a plan; None where it is refused with a place and a text that steers no terminal."""
    refused = ""
    try:
        return loader.parse(json.dumps(document).encode(), "plan.yaml")[0]
    except PlanError as error:
        refused = str(error)
    problems = [line for line in refused.splitlines() if "run 'exprunner check'" not in line]
    assert problems
    assert all(PLACE.match(line) and line.isprintable() and len(line) < 1000 for line in problems), refused
    return None


def plan_of(**entry: Any) -> dict[str, Any]:
    """Return a plan of one experiment."""
    whole = {"sub_experiments": ["e_1", "e_2"], "success_criteria": {"accuracy": {"target": 1}}}
    return {"experiments": {"x1": {**whole, **entry}}}


@IDS
def test_ids_of_experiments(name: str) -> None:
    """They name folders."""
    document = plan_of()
    document["experiments"] = {name: document["experiments"]["x1"]}
    document["gates"] = {"gate_1": {"experiments": [name]}}
    plan = loaded(document)
    assert plan is None or list(plan.experiments) == [name] == list(plan.gates["gate_1"].experiments)


@IDS
def test_ids_of_sub_experiments(name: str) -> None:
    """They start the names of functions."""
    subs = {name: {}, "e_2": {"needs": [name]}}
    plan = loaded(plan_of(sub_experiments=subs))
    assert plan is None or plan.experiments["x1"].sub_experiments["e_2"].needs == (name,)


@IDS
def test_ids_of_gates(name: str) -> None:
    """They are typed on the command line."""
    plan = loaded({**plan_of(), "gates": {name: {"experiments": ["x1"]}}})
    assert plan is None or list(plan.gates) == [name]


@IDS
def test_waived_criteria(name: str) -> None:
    """A waiver names the very criterion."""
    waiver = {"experiment": "x1", "criterion": name, "by": "A", "date": "2026-01-22", "reason": "b"}
    document = {**plan_of(success_criteria={name: {"target": 1}}), "waivers": [waiver]}
    plan = loaded(document)
    assert plan is None or list(plan.waived["x1"]) == [name]


@IDS
@pytest.mark.parametrize("key", ["minus", "over"])
def test_baselines(name: str, key: str) -> None:
    """A baseline is a metric, or a metric of a sub-experiment after the first slash."""
    plan = loaded(plan_of(success_criteria={"gain": {"metric": "a", key: f"e_2/{name}", "target": 1}}))
    baseline = plan.experiments["x1"].success_criteria["gain"].baseline if plan else None
    assert plan is None or (baseline is not None and baseline.metric == name)


@IDS
def test_criteria_and_metrics(name: str) -> None:
    """A criterion of any name is registered, judged, written and read back as itself."""
    criteria = {name: {"metric": name, "target": 0.7}}
    if loaded(plan_of(success_criteria=criteria)) is None:
        return
    plan = make_plan({X1: make_entry(criteria)})
    record = make_record({name: 0.9}, registered=digests(plan.experiments[X1]))
    assert parse_record(dump_record(record)) == record
    state = fold_one([record], plan=plan)
    assert state.criteria[name].met
    assert list(changed_terms(state.registered, state.plan, None)) == []
    stored = results_file.parse(results_file.dump(results_file.document(state)))
    assert stored.intact
    found = read_fallback(stored)
    assert found.registered == state.registered
    again = fold_one(plan=plan, previous=found)
    assert again.criteria[name].value == 0.9


@IDS
def test_a_criterion_that_is_added_later(name: str) -> None:
    """It is a note, whatever it is called, and stays one when only the results file is left."""
    before = make_plan({X1: make_entry({"accuracy": {"target": 0.7}})})
    criteria = {"accuracy": {"target": 0.7}, name: {"metric": "accuracy", "target": 0.7}}
    if loaded(plan_of(success_criteria=criteria)) is None:
        return
    after = make_plan({X1: make_entry(criteria)})
    records = [
        make_record({"accuracy": 0.9}, registered=digests(before.experiments[X1])),
        make_record({"accuracy": 0.9}, registered=digests(after.experiments[X1]), sequence=2),
    ]
    state = fold_one(records, plan=after)
    note = f"The criterion {name} was added after the first attempt."
    assert list(changed_terms(state.registered, state.plan, None)) == [note]
    stored = results_file.parse(results_file.dump(results_file.document(state)))
    again = fold_one(plan=after, previous=read_fallback(stored))
    assert list(changed_terms(again.registered, again.plan, None)) == [note]
