"""Reading a plan: what loads, what it then says, and every message about one that does not."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nasty_plans
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pytest_exprunner._util.errors import PlanError, Problem
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.loader import LoadedPlan, load, parse
from pytest_exprunner.plan.models import Plan

FILE = "research/research_plan.yaml"

SMALLEST = """\
experiments:
  x1-first:
    sub_experiments: [e_x1_1]
    success_criteria:
      accuracy: {target: 0.9}
"""

# Two experiments and a gate that later tests spoil, one line at a time.
SOUND = """\
experiments:
  x1-first:
    sub_experiments: [e_x1_1, e_x1_2]
    success_criteria:
      accuracy: {target: 0.9}
  x2-second:
    sub_experiments: [e_x2_1]
gates:
  gate_1:
    experiments: [x1-first, x2-second]
"""

REALISTIC = """\
# Does a tokenizer trained on code help a small model with arithmetic?
project:
  name: Digits
  hypothesis: "Splitting numbers digit by digit helps a 100 M model add."
  funding: none                # a key of the authors' own

defaults: &accuracy
  target: 0.95
  acceptable: 0.85
  failure: 0.5
  bounds: [0, 1]

experiments:
  c1-digit-tokens:
    name: "C1: Digit tokens"
    type: claim
    phase: 1
    description: >-
      Digits as single tokens
      are enough.
    status: running
    sub_experiments: [e1_1, e1_1a, e1_10]
    success_criteria:
      exact_match: {<<: *accuracy, from: e1_1}
      exact_match_long: {<<: *accuracy, metric: exact_match, from: "e1_1a[length=20]"}
      perplexity:
        target: 8
        acceptable: 1.2e1
        failure: 0x14
        unit: nats
        severity: warn
    next_steps:
      proceed: Write it up.
      pivot: [Try reversed digits, Try a scratchpad]

  q2-reversed-digits:
    name: "Q2: Reversed digits"
    type: question
    phase: 1b
    replaces: [c1-digit-tokens]
    dependencies: [gate_data]
    blockers: []
    sub_experiments:
      e2_1: {name: Train, objective: Train with digits reversed., owner: A. Person}
      e2_2:
    success_criteria:
      exact_match: {<<: *accuracy, evidence: [real, imported], borderline: 0.02}
      carry_errors: {target: 0, acceptable: 3, note: Per 1,000 sums.}
      speed: {target: 1, direction: lower, severity: info, evidence: simulated}

  q3-corpus:
    sub_experiments: [e3_1]

gates:
  gate_data:
    name: The corpus is clean
    experiments: [q3-corpus]
    unlocks: Training
  gate_final:
    experiments: [q2-reversed-digits]
    unlocks: []
notes_of_the_lab: {2026-01-22: first run, 7: seven}
"""


def parsed(source: str) -> Plan:
    """The plan in a source that has neither problems nor warnings."""
    plan, warnings = parse(source.encode(), FILE)
    assert warnings == ()
    return plan


def warned(source: str) -> list[str]:
    """The warnings about a plan that loads."""
    return [str(warning) for warning in parse(source.encode(), FILE)[1]]


def refused(source: str | bytes) -> tuple[Problem, ...]:
    """The problems of a plan that does not load."""
    with pytest.raises(PlanError) as caught:
        parse(source if isinstance(source, bytes) else source.encode(), FILE)
    return caught.value.problems


def said(source: str) -> str:
    """What a person reads about a plan that does not load, without the name of the file."""
    with pytest.raises(PlanError) as caught:
        parse(source.encode(), FILE)
    return str(caught.value).replace(f"{FILE}:", "")


def problems_of(source: str) -> tuple[Problem, ...]:
    """The problems of a plan; none if it loads."""
    try:
        parse(source.encode(), FILE)
    except PlanError as error:
        assert error.problems  # noqa: PT017 - both ways out are right
        return error.problems
    return ()


def one(message: str) -> str:
    """The whole text about a plan with one problem."""
    return f"{message}\n1 problem; run 'exprunner check' after editing."


def with_experiment(lines: str) -> str:
    """A plan whose experiment has these lines, the first of them line 4 of the file."""
    start = "experiments:\n  x1:\n    sub_experiments: [e_1, e_2]\n"
    return start + "".join(f"    {line}\n" for line in lines.splitlines())


def with_criterion(keys: str) -> str:
    """A plan with a criterion of these keys, which start at column 11 of line 5."""
    return with_experiment(f"success_criteria:\n  iou: {{{keys}}}")


def with_sub_experiment(keys: str) -> str:
    """A plan with a sub-experiment of these keys, which start at column 44 of line 1."""
    return f"experiments: {{x1: {{sub_experiments: {{e_1: {{{keys}}}}}}}}}"


# --- plans that load -------------------------------------------------------------------------


def test_smallest_plan() -> None:
    """Six lines are a plan; everything else has its default."""
    plan = parsed(SMALLEST)
    experiment = plan.experiments["x1-first"]
    criterion = experiment.success_criteria["accuracy"]
    assert experiment.id == "x1-first"
    assert experiment.title == "x1-first"
    assert list(experiment.sub_experiments) == ["e_x1_1"]
    assert (criterion.name, criterion.metric_name) == ("accuracy", "accuracy")
    assert (criterion.target, criterion.better) == (0.9, "higher")
    assert (criterion.severity, criterion.evidence) == ("gate", ("real",))
    assert (dict(plan.gates), plan.waivers, plan.project.name) == ({}, (), None)


def test_realistic_plan() -> None:
    """A plan that uses everything loads, with its values where they belong."""
    plan = parsed(REALISTIC)
    first, second, third = plan.experiments.values()
    assert (first.title, first.type, first.phase) == (
        "c1-digit-tokens — C1: Digit tokens",
        "claim",
        1,
    )
    assert first.description == "Digits as single tokens are enough."
    assert first.status == "running"
    assert first.next_steps.proceed == ("Write it up.",)
    assert first.next_steps.pivot == ("Try reversed digits", "Try a scratchpad")
    assert first.success_criteria["exact_match"].source == ("e1_1", None)
    assert first.success_criteria["exact_match_long"].source == ("e1_1a", "length=20")
    assert first.success_criteria["exact_match_long"].metric_name == "exact_match"
    perplexity = first.success_criteria["perplexity"]
    assert (perplexity.target, perplexity.acceptable, perplexity.failure) == (8, 12.0, 20)
    assert (perplexity.better, perplexity.unit) == ("lower", "nats")
    assert [criterion.name for criterion in first.gating] == ["exact_match", "exact_match_long"]
    assert (second.phase, second.replaces, second.blockers) == ("1b", ("c1-digit-tokens",), ())
    assert second.sub_experiments["e2_1"].objective == "Train with digits reversed."
    assert second.sub_experiments["e2_2"].name is None
    assert second.success_criteria["exact_match"].evidence == ("real", "imported")
    assert second.success_criteria["exact_match"].bounds == (0, 1)
    assert second.success_criteria["carry_errors"].better == "lower"
    assert second.success_criteria["carry_errors"].deciding == 3
    assert second.success_criteria["speed"].evidence == ("simulated",)
    assert plan.requirements("q2-reversed-digits") == ("gate_data",)
    assert plan.gates_of("q3-corpus") == ("gate_data",)
    assert plan.gates["gate_data"].unlocks == "Training"
    assert plan.replaced == {"c1-digit-tokens": "q2-reversed-digits"}
    assert plan.owner("e1_10") is first
    assert [sub.id for _, sub in plan.sub_experiments()] == [
        *("e1_1", "e1_1a", "e1_10", "e2_1", "e2_2", "e3_1")
    ]
    assert third.success_criteria == {}


def test_unknown_keys_are_kept() -> None:
    """Keys that only their authors understand stay in the plan, at every level."""
    plan = parsed(REALISTIC)
    sub = plan.experiments["q2-reversed-digits"].sub_experiments["e2_1"]
    assert sub.model_extra == {"owner": "A. Person"}
    assert plan.project.model_extra == {"funding": "none"}
    assert plan.model_extra is not None
    assert plan.model_extra["notes_of_the_lab"] == {"2026-01-22": "first run", 7: "seven"}


def test_keys_of_its_own_do_not_hide_the_id() -> None:
    """A person's own ``id`` stays theirs and does not replace the key under which it stands."""
    plan = parsed(with_experiment("id: 17\nsuccess_criteria: {iou: {target: 1, name: IoU}}"))
    experiment = plan.experiments["x1"]
    assert experiment.id == "x1"
    assert experiment.model_extra == {"id": 17}
    assert experiment.success_criteria["iou"].name == "iou"


@pytest.mark.parametrize(
    "subs",
    [
        "[e_1, e_2]",
        "{e_1: , e_2: ~}",
        "{e_1: {}, e_2: null}",
        "\n      - e_1\n      - e_2",
        "\n      e_1:\n      e_2: {name: Second}",
    ],
)
def test_sub_experiments_as_list_and_as_mapping(subs: str) -> None:
    """A list of ids and a mapping, with nothing or details behind each id, mean the same."""
    plan = parsed(f"experiments:\n  x1:\n    sub_experiments: {subs}\n")
    assert [sub.id for sub in plan.experiments["x1"].sub_experiments.values()] == ["e_1", "e_2"]


def test_keys_without_a_value_are_absent() -> None:
    """A known key with nothing behind it counts as left out."""
    keys = "name:\ntype:\nreplaces:\nsuccess_criteria:\nnext_steps:\nblockers: ~"
    plan = parsed(with_experiment(keys) + "gates:\nproject:\nwaivers:\ntracking: ~\n")
    assert plan.experiments["x1"].name is None
    assert plan.experiments["x1"].blockers == ()


@pytest.mark.parametrize(
    ("keys", "direction", "deciding"),
    [
        ("target: 0.7", "higher", 0.7),
        ("target: 0.7, failure: 0.5", "higher", 0.7),
        ("target: 0.2, failure: 0.5", "lower", 0.2),
        ("target: 0.2, acceptable: 0.4", "lower", 0.4),
        ("target: 0.7, acceptable: 0.6, failure: 0.5", "higher", 0.6),
        ("target: 0.5, acceptable: 0.5", "higher", 0.5),
        ("target: 0.5, acceptable: 0.5, failure: 0.9", "lower", 0.5),
        ("target: 0.5, acceptable: 0.5, direction: lower", "lower", 0.5),
        ("target: 0, direction: lower", "lower", 0),
        ("target: -1, acceptable: -2", "higher", -2),
    ],
)
def test_direction_and_deciding_tier(keys: str, direction: str, deciding: float) -> None:
    """Without a direction the tiers tell which way is better, else higher is."""
    criterion = parsed(with_criterion(keys)).experiments["x1"].success_criteria["iou"]
    assert (criterion.better, criterion.deciding) == (direction, deciding)


@pytest.mark.parametrize(
    ("subs", "name", "match"),
    [
        ("[e3_7, e3_7a]", "e3_7a_probe", "e3_7a"),
        ("[e3_7a, e3_7]", "e3_7_probe", "e3_7"),
        ("[e3_7, e3_7a]", "e3_7ab", None),
        ("[e_p2_1, e_p2_10]", "e_p2_10_train", "e_p2_10"),
        ("[e_p2_1, e_p2_10]", "e_p2_1_train", "e_p2_1"),
        ("[e_p2_1, e_p2_10]", "e_p2_1", "e_p2_1"),
        ("[e_p2_1, e_p2_10]", "e_p2_100", None),
        ("[e_p2_1, e_p2_1_b]", "e_p2_1_b_c", "e_p2_1_b"),
        ("[e_p2_1, e_p2_1_b]", "e_p2_1_bc", "e_p2_1"),
        ("[e_1]", "E_1_probe", None),
        ("[e_1]", "helper", None),
        ("[e_1]", "", None),
        ("[e_1]", "___", None),
        ("[e_]", "e__x", "e_"),
        ("[e_1]", "e_1__x", "e_1"),
    ],
)
def test_match_of_function_names(subs: str, name: str, match: str | None) -> None:
    """A function belongs to the longest id that it is called, or starts with before a '_'."""
    assert parsed(f"experiments: {{x1: {{sub_experiments: {subs}}}}}").match(name) == match


def test_plan_is_frozen() -> None:
    """No part of a plan can be assigned, added or taken away."""
    plan = parsed(SMALLEST)
    experiment = plan.experiments["x1-first"]
    mappings: list[Any] = [
        *(plan.experiments, plan.gates, plan.tracking, plan.modal),
        *(experiment.sub_experiments, experiment.success_criteria),
    ]
    for mapping in mappings:
        with pytest.raises(TypeError):
            mapping["new"] = None
        with pytest.raises((TypeError, AttributeError)):
            mapping.clear()
    for model in (plan, experiment, experiment.success_criteria["accuracy"], plan.project):
        with pytest.raises(ValidationError, match="frozen"):
            model.name = "other"  # type: ignore[union-attr]


def test_criterion_is_built_by_its_yaml_names() -> None:
    """The model itself takes the keys as they are written in a plan."""
    criterion = Criterion.model_validate({"target": 1, "from": "e_1[a[0]]"})
    assert criterion.source == ("e_1", "a[0]")


# --- files -----------------------------------------------------------------------------------


def test_load(tmp_path: Path) -> None:
    """A loaded plan knows its file and the hash of what was read."""
    file = tmp_path / "plan.yaml"
    file.write_bytes(SMALLEST.encode())
    loaded = load(file)
    assert isinstance(loaded, LoadedPlan)
    assert loaded.plan.experiments.keys() == {"x1-first"}
    assert (loaded.file, loaded.warnings) == (file, ())
    assert loaded.digest == hashlib.sha256(SMALLEST.encode()).hexdigest()


def test_load_names_the_file_as_it_is_shown(tmp_path: Path) -> None:
    """Problems name the file as the caller shows it, or else by its path."""
    file = tmp_path / "plan.yaml"
    file.write_bytes(b"")
    for shown, name in (("", str(file)), (FILE, FILE)):
        with pytest.raises(PlanError) as caught:
            load(file, shown)
        assert str(caught.value) == one(
            f"{name}:1:1: the file is empty; expected 'experiments:' with at least one experiment"
        )


def test_load_of_a_missing_file(tmp_path: Path) -> None:
    """A file that is not there is a problem without a line."""
    with pytest.raises(PlanError) as caught:
        load(tmp_path / "plan.yaml", FILE)
    assert str(caught.value) == one(f"{FILE}: cannot be read: No such file or directory")


@pytest.mark.skipif(sys.platform == "win32", reason="other words on Windows")
def test_load_of_a_folder(tmp_path: Path) -> None:
    """A folder in place of the file is a problem without a line."""
    with pytest.raises(PlanError) as caught:
        load(tmp_path, FILE)
    assert str(caught.value) == one(f"{FILE}: cannot be read: Is a directory")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_load_of_an_unreadable_file(tmp_path: Path) -> None:
    """A file without permission is a problem without a line."""
    file = tmp_path / "plan.yaml"
    file.write_bytes(SMALLEST.encode())
    file.chmod(0)
    with pytest.raises(PlanError) as caught:
        load(file, FILE)
    assert str(caught.value) == one(f"{FILE}: cannot be read: Permission denied")


def test_load_of_an_impossible_name() -> None:
    """A path that no file can have is a problem too, not another exception."""
    with pytest.raises(PlanError, match="cannot be read"):
        load(Path("a\0b"), FILE)


# --- one problem, in full --------------------------------------------------------------------

ID_RULE = (
    "cannot be an id; expected letters, digits, '.', '_', '+' or '-', starting with a letter or "
    "digit, at most 100 characters (it names a folder)"
)
SUB_ID_RULE = (
    "cannot be a sub-experiment id; expected letters, digits and '_', starting with a letter, "
    "at most 100 characters (a handler's name starts with it)"
)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "1:1: the file is empty; expected 'experiments:' with at least one experiment"),
        ("[a]", "1:1: this is not a mapping; expected 'experiments:' with at least one experiment"),
        ("a", "1:1: this is not a mapping; expected 'experiments:' with at least one experiment"),
        (
            "project: {name: x}",
            "1:1: experiments: 'experiments' is missing; expected at least one experiment",
        ),
        (
            "experiments:",
            "1:1: experiments: 'experiments' is missing; expected at least one experiment",
        ),
        ("experiments: {}", "1:14: experiments: this is empty; expected at least one entry"),
        (
            "experiments: [x1]",
            "1:14: experiments: a list is not a mapping; expected keys and values",
        ),
        (
            "experiments: x1",
            "1:14: experiments: 'x1' is not a mapping; expected keys and values",
        ),
        (
            "experiments: {x1: 3}",
            "1:19: experiments.x1: 3 is not a mapping; expected keys and values",
        ),
        (
            "experiments: {x1: }",
            "1:19: experiments.x1: nothing is not a mapping; expected keys and values",
        ),
        (
            "experiments:\n  x1: {}",
            (
                "2:3: experiments.x1.sub_experiments: 'sub_experiments' is missing; "
                "expected a list of ids, such as [e1_1]"
            ),
        ),
        (
            "experiments:\n  x1:\n    sub_experiments:",
            (
                "3:5: experiments.x1.sub_experiments: 'sub_experiments' is missing; "
                "expected a list of ids, such as [e1_1]"
            ),
        ),
        (
            "experiments:\n  x1:\n    sub_experiments: []",
            "3:22: experiments.x1.sub_experiments: this is empty; expected at least one entry",
        ),
        (
            "experiments:\n  x1:\n    sub_experiments: {}",
            "3:22: experiments.x1.sub_experiments: this is empty; expected at least one entry",
        ),
        (
            "experiments:\n  x1:\n    sub_experiments: e_1",
            (
                "3:22: experiments.x1.sub_experiments: 'e_1' is neither; "
                "expected a list of ids or a mapping with details"
            ),
        ),
        (
            "experiments:\n  x1:\n    sub_experiments: {e_1: probe}",
            ("3:28: experiments.x1.sub_experiments.e_1: 'probe' is not a mapping; expected keys and values"),
        ),
        (
            "experiments:\n  x1:\n    sub_experiments: [e_1, e_2, e_1]",
            ("3:33: experiments.x1.sub_experiments[2]: 'e_1' is listed twice; expected each id once"),
        ),
        (
            SMALLEST + "gates: [gate_1]",
            "6:8: gates: a list is not a mapping; expected keys and values",
        ),
        (
            SMALLEST + "project: Foresight",
            "6:10: project: 'Foresight' is not a mapping; expected keys and values",
        ),
        (
            SMALLEST + "project: {name: 3}",
            "6:17: project.name: 3 is not text; expected text, in quotes if it looks like a number",
        ),
        (
            SMALLEST + "experiments: {}",
            ("6:1: experiments: duplicate key 'experiments', first on line 1; expected each key once"),
        ),
        (
            SMALLEST + "---\n",
            "6:1: a second document starts here; expected one",
        ),
        (
            with_experiment("name: [x]"),
            (
                "4:11: experiments.x1.name: a list is not text; "
                "expected text, in quotes if it looks like a number"
            ),
        ),
        (
            with_experiment("type: clam"),
            (
                "4:11: experiments.x1.type: 'clam' is not a type; "
                "expected claim, question or pivot (did you mean 'claim'?)"
            ),
        ),
        (
            with_experiment("replaces: x2"),
            "4:15: experiments.x1.replaces: 'x2' is not a list; expected a list, such as [a, b]",
        ),
        (
            with_experiment("dependencies: [3]"),
            (
                "4:20: experiments.x1.dependencies[0]: 3 is not text; "
                "expected text, in quotes if it looks like a number"
            ),
        ),
        (
            with_experiment("blockers: [no GPU, 3]"),
            (
                "4:24: experiments.x1.blockers[1]: 3 is not text; "
                "expected text, in quotes if it looks like a number"
            ),
        ),
        (
            with_experiment("next_steps: [write]"),
            "4:17: experiments.x1.next_steps: a list is not a mapping; expected keys and values",
        ),
        (
            with_experiment("success_criteria: [iou]"),
            ("4:23: experiments.x1.success_criteria: a list is not a mapping; expected keys and values"),
        ),
        (
            with_experiment("success_criteria: {iou: 0.9}"),
            (
                "4:29: experiments.x1.success_criteria.iou: 0.9 is not a mapping; expected tiers, such as {target: 0.9}"
            ),
        ),
        (
            with_experiment("7: seven"),
            "4:5: experiments.x1.7: the key 7 is not text; expected quotes around it",
        ),
        (
            with_experiment("success_criteria: {7: {target: 1}}"),
            ("4:24: experiments.x1.success_criteria.7: the key 7 is not text; expected quotes around it"),
        ),
        (
            "experiments: {7: {sub_experiments: [e_1]}}",
            "1:15: experiments.7: an id is text, not 7; expected quotes around it",
        ),
        (
            "experiments: {x1: {sub_experiments: {7: {}}}}",
            f"1:38: experiments.x1.sub_experiments.7: 7 {SUB_ID_RULE}",
        ),
        (
            "experiments: {x1: {sub_experiments: [e_1, 7]}}",
            f"1:43: experiments.x1.sub_experiments[1]: 7 {SUB_ID_RULE}",
        ),
        (
            SMALLEST + "gates: {7: {experiments: [x1-first]}}",
            "6:9: gates.7: an id is text, not 7; expected quotes around it",
        ),
    ],
)
def test_wrong_shape(source: str, message: str) -> None:
    """A part of the wrong kind, missing, empty or twice is one problem at its place."""
    assert said(source) == one(message)


_CRITERION = "experiments.x1.success_criteria.iou"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            "",
            (f"5:7: {_CRITERION}.target: 'target' is missing; expected a number, such as target: 0.7"),
        ),
        (
            "acceptable: 1",
            (f"5:7: {_CRITERION}.target: 'target' is missing; expected a number, such as target: 0.7"),
        ),
        (
            "target: ",
            (f"5:13: {_CRITERION}.target: 'target' is missing; expected a number, such as target: 0.7"),
        ),
        (
            "target: '0.7'",
            f"5:21: {_CRITERION}.target: '0.7' is not a number; expected one, such as 0.7",
        ),
        (
            "target: 70 %",
            f"5:21: {_CRITERION}.target: '70 %' is not a number; expected one, such as 0.7",
        ),
        (
            "target: [1]",
            f"5:21: {_CRITERION}.target: a list is not a number; expected one, such as 0.7",
        ),
        (
            "target: .nan",
            f"5:21: {_CRITERION}.target: nan is not a finite number; expected one, such as 0.7",
        ),
        (
            "target: 1, failure: -.inf",
            f"5:33: {_CRITERION}.failure: -inf is not a finite number; expected one, such as 0.7",
        ),
        (
            "target: 1e999",
            f"5:21: {_CRITERION}.target: inf is not a finite number; expected one, such as 0.7",
        ),
        (
            "target: 1" + "0" * 400,
            (f"5:21: {_CRITERION}.target: 1{'0' * 58}… is not a finite number; expected one, such as 0.7"),
        ),
        (
            "target: 1, direction: down",
            f"5:35: {_CRITERION}.direction: 'down' is not a direction; expected higher or lower",
        ),
        (
            "target: 1, direction: Higher",
            (
                f"5:35: {_CRITERION}.direction: 'Higher' is not a direction; "
                "expected higher or lower (did you mean 'higher'?)"
            ),
        ),
        (
            "target: 0.7, failure: 0.5, direction: lower",
            (
                f"5:12: {_CRITERION}: direction 'lower' contradicts the tiers "
                "(target 0.7, failure 0.5); expected 'higher' or tiers in the other order"
            ),
        ),
        (
            "target: 0.2, acceptable: 0.3, direction: higher",
            (
                f"5:12: {_CRITERION}: direction 'higher' contradicts the tiers "
                "(target 0.2, acceptable 0.3); expected 'lower' or tiers in the other order"
            ),
        ),
        (
            "target: 0.7, acceptable: 0.8, failure: 0.5",
            (
                f"5:12: {_CRITERION}: tiers out of order for 'higher': target 0.7, acceptable 0.8; "
                "expected target, acceptable, failure from best to worst"
            ),
        ),
        (
            "target: 0.2, acceptable: 0.6, failure: 0.5",
            (
                f"5:12: {_CRITERION}: tiers out of order for 'lower': acceptable 0.6, failure 0.5; "
                "expected target, acceptable, failure from best to worst"
            ),
        ),
        (
            "target: 0.7, failure: 0.7",
            (
                f"5:12: {_CRITERION}: tiers out of order for 'higher': target 0.7, failure 0.7; "
                "expected target, acceptable, failure from best to worst"
            ),
        ),
        (
            "target: 1, bounds: [1, 0]",
            f"5:32: {_CRITERION}.bounds: bounds [1, 0] are out of order; expected [lowest, highest]",
        ),
        (
            "target: 1, bounds: [0, x]",
            f"5:36: {_CRITERION}.bounds[1]: 'x' is not a number; expected one, such as 0.7",
        ),
        (
            "target: 1, borderline: -1",
            (f"5:36: {_CRITERION}.borderline: -1 is not zero or above; expected zero or a positive number"),
        ),
        (
            "target: 1, borderline: .inf",
            f"5:36: {_CRITERION}.borderline: inf is not a finite number; expected one, such as 0.5",
        ),
        (
            "target: 1, borderline: little",
            f"5:36: {_CRITERION}.borderline: 'little' is not a number; expected one, such as 0.5",
        ),
        (
            "target: 1, severity: fatal",
            f"5:34: {_CRITERION}.severity: 'fatal' is not a severity; expected gate, warn or info",
        ),
        (
            "target: 1, evidence: []",
            f"5:34: {_CRITERION}.evidence: this is empty; expected at least one entry",
        ),
        (
            "target: 1, metric: 3",
            (f"5:32: {_CRITERION}.metric: 3 is not text; expected text, in quotes if it looks like a number"),
        ),
        (
            "target: 1, from: e_11",
            f"5:30: {_CRITERION}.from: unknown sub-experiment 'e_11' of x1 (did you mean 'e_1'?)",
        ),
        (
            "target: 1, from: 'probe[lr=0.1]'",
            f"5:30: {_CRITERION}.from: unknown sub-experiment 'probe' of x1",
        ),
        (
            "target: 1, from: ''",
            f"5:30: {_CRITERION}.from: unknown sub-experiment '' of x1",
        ),
        (
            "target: 1, target: 2",
            (f"5:24: {_CRITERION}.target: duplicate key 'target', first on line 5; expected each key once"),
        ),
    ],
)
def test_unsound_criterion(keys: str, message: str) -> None:
    """A criterion that cannot be judged is one problem, where it is."""
    assert said(with_criterion(keys)) == one(message)


@pytest.mark.parametrize(
    ("keys", "path", "start"),
    [
        ("target: true", "target", "true is not a number"),
        ("target: {a: 1}", "target", "a mapping is not a number"),
        ("target: 1, evidence: guess", "evidence", "'guess' is not"),
        ("target: 1, evidence: [guess]", "evidence[0]", "'guess' is not"),
        ("target: 1, bounds: [0]", "bounds", ""),
        ("target: 1, bounds: [0, 1, 2]", "bounds", ""),
    ],
)
def test_unsound_criterion_is_one_problem(keys: str, path: str, start: str) -> None:
    """A wrong value is reported once, as the file writes it, with what is expected."""
    [problem] = refused(with_criterion(keys))
    assert problem.path in {f"{_CRITERION}.{path}", f"{_CRITERION}.{path.partition('[')[0]}"}
    assert problem.text.startswith(start)
    assert "expected" in str(problem)
    assert "is missing" not in problem.text
    if "bounds" in keys:
        assert "[lowest, highest]" in str(problem)


@pytest.mark.parametrize(
    ("source", "path", "start"),
    [
        (with_experiment("phase: 1.5"), "experiments.x1.phase", "1.5 is not"),
        (with_experiment("phase: true"), "experiments.x1.phase", "true is not"),
        (with_experiment("phase: [1]"), "experiments.x1.phase", "a list is not"),
        (SOUND + "    unlocks: 3\n", "gates.gate_1.unlocks", "3 is not"),
        (SOUND + "    unlocks: [3]\n", "gates.gate_1.unlocks[0]", "3 is not text"),
        (with_experiment("next_steps: {1: x}"), "experiments.x1.next_steps.1", "the key 1 is not"),
    ],
)
def test_value_of_two_kinds_is_one_problem(source: str, path: str, start: str) -> None:
    """Where two kinds of value are possible, a third is one problem at the path of the key."""
    [problem] = refused(source)
    assert problem.path == path
    assert problem.text.startswith(start)


@pytest.mark.parametrize("word", ["../x", "a/b", "a\\b", ".x", "x.", "con", "NUL.txt", "é", "a b"])
def test_id_unfit_as_a_folder(word: str) -> None:
    """An id that could not name a folder everywhere is refused, for experiments and gates."""
    quoted = f"'{word}'"
    assert said(f"experiments:\n  {quoted}:\n    sub_experiments: [e_1]\n") == one(
        f"2:3: experiments.{word}: {word!r} {ID_RULE}"
    )
    assert said(f"{SMALLEST}gates:\n  {quoted}:\n    experiments: [x1-first]\n") == one(
        f"7:3: gates.{word}: {word!r} {ID_RULE}"
    )


@pytest.mark.parametrize("word", ["../x", "a/b", "a-b", "a.b", "con", "1x", "_x", "é", "a b", ""])
def test_id_unfit_as_a_function_name(word: str) -> None:
    """An id with which no function's name can start is refused, in a list and in a mapping."""
    start = "experiments:\n  x1:\n    sub_experiments: "
    assert said(f"{start}{{'{word}': }}\n") == one(
        f"3:23: experiments.x1.sub_experiments.{word}: {word!r} {SUB_ID_RULE}"
    )
    assert said(f"{start}['{word}']\n") == one(
        f"3:23: experiments.x1.sub_experiments[0]: {word!r} {SUB_ID_RULE}"
    )


@pytest.mark.parametrize("length", [100, 101, 200])
def test_id_of_many_characters(length: int) -> None:
    """An id may have 100 characters and no more."""
    sources = (
        f"experiments:\n  {'x' * length}: {{sub_experiments: [e_1]}}\n",
        f"experiments:\n  x1: {{sub_experiments: [{'x' * length}]}}\n",
    )
    for source in sources:
        if length <= 100:
            parsed(source)
        else:
            [problem] = refused(source)
            assert "at most 100 characters" in problem.text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "experiments:\n  x1: {sub_experiments: [e_1]}\n  X1: {sub_experiments: [e_2]}\n",
            (
                "3:3: experiments.X1: 'X1' differs from 'x1' only in case; "
                "expected ids that are distinct as file names"
            ),
        ),
        (
            "experiments:\n  x1: {sub_experiments: [e_1, E_1]}\n",
            (
                "2:31: experiments.x1.sub_experiments[1]: 'E_1' differs from 'e_1' only in case; "
                "expected ids that are distinct as file names"
            ),
        ),
        (
            "experiments:\n  x1:\n    sub_experiments: {e_1: , E_1: }\n",
            (
                "3:30: experiments.x1.sub_experiments.E_1: 'E_1' differs from 'e_1' only in case; "
                "expected ids that are distinct as file names"
            ),
        ),
        (
            f"{SMALLEST}gates:\n  g: {{experiments: [x1-first]}}\n  G: {{experiments: [x1-first]}}",
            ("8:3: gates.G: 'G' differs from 'g' only in case; expected ids that are distinct as file names"),
        ),
        (
            "experiments:\n  x1: {sub_experiments: [e_1]}\n  x2: {sub_experiments: [e_2, e_1]}\n",
            (
                "3:31: experiments.x2.sub_experiments[1]: sub-experiment 'e_1' is also in x1; "
                "expected each in one experiment"
            ),
        ),
        (
            (
                "experiments:\n  x1: {sub_experiments: [e_1]}\n  x2:\n    sub_experiments:\n"
                "      e_1: {name: Again}\n"
            ),
            (
                "5:7: experiments.x2.sub_experiments.e_1: sub-experiment 'e_1' is also in x1; "
                "expected each in one experiment"
            ),
        ),
        (
            f"{SMALLEST}gates:\n  x1-first: {{experiments: [x1-first]}}\n",
            "7:3: gates.x1-first: 'x1-first' is also an experiment; expected another id",
        ),
    ],
)
def test_ids_that_are_not_distinct(source: str, message: str) -> None:
    """Ids that a file system, a function name or a reader could confuse are one problem."""
    assert said(source) == one(message)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "    dependencies: [x1-frist]",
            (
                "8:20: experiments.x2-second.dependencies[0]: "
                "unknown experiment or gate 'x1-frist' (did you mean 'x1-first'?)"
            ),
        ),
        (
            "    dependencies: [x1-first, gate_2]",
            (
                "8:30: experiments.x2-second.dependencies[1]: unknown experiment or gate 'gate_2' "
                "(did you mean 'gate_1'?)"
            ),
        ),
        (
            "    replaces: [zebra]",
            "8:16: experiments.x2-second.replaces[0]: unknown experiment 'zebra'",
        ),
        (
            "    replaces: [x2-second]",
            (
                "8:15: experiments.x2-second.replaces: cycle: x2-second → x2-second; "
                "expected no experiment that replaces itself"
            ),
        ),
        (
            "    dependencies: [x2-second]",
            (
                "8:19: experiments.x2-second.dependencies: cycle: x2-second → x2-second; "
                "expected no experiment that depends on itself"
            ),
        ),
    ],
)
def test_unsound_relation(lines: str, message: str) -> None:
    """An experiment that refers to nothing, or in the end to itself, is one problem."""
    start, gates = SOUND.split("gates:")
    assert said(f"{start}{lines}\ngates:{gates}") == one(message)


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (
            "{}",
            "6:9: gates.g.experiments: 'experiments' is missing; expected at least one experiment",
        ),
        (
            "{experiments: []}",
            "6:26: gates.g.experiments: this is empty; expected at least one entry",
        ),
        (
            "{experiments: x1-first}",
            ("6:26: gates.g.experiments: 'x1-first' is not a list; expected a list, such as [a, b]"),
        ),
        ("", "6:12: gates.g: nothing is not a mapping; expected keys and values"),
        (
            "{experiments: [x1-first, x1-frist]}",
            ("6:37: gates.g.experiments[1]: unknown experiment 'x1-frist' (did you mean 'x1-first'?)"),
        ),
        ("{experiments: [g]}", "6:27: gates.g.experiments[0]: unknown experiment 'g'"),
        (
            "{experiments: [x1-first], unlocks: [x1-frist]}",
            "6:48: gates.g.unlocks[0]: unknown experiment 'x1-frist' (did you mean 'x1-first'?)",
        ),
    ],
)
def test_unsound_gate(gate: str, message: str) -> None:
    """A gate over nothing or over something unknown is one problem."""
    assert said(f"{SMALLEST}gates: {{g: {gate}}}\n") == one(message)


def test_replaced_twice() -> None:
    """An experiment with two replacements is a problem at the second."""
    source = "experiments:\n" + "".join(
        f"  x{i}: {{sub_experiments: [e_{i}], replaces: [{old}]}}\n"
        for i, old in ((1, ""), (2, "x1"), (3, "x1"))
    )
    assert said(source) == one(
        "4:43: experiments.x3.replaces[0]: 'x1' is already replaced by x2; expected one replacement"
    )


def chained(*edges: tuple[str, str]) -> str:
    """A plan in which experiments depend on one another, the first on line 2."""
    return "experiments:\n" + "".join(
        f"  {one_}: {{sub_experiments: [e_{one_}], dependencies: [{other}]}}\n" for one_, other in edges
    )


def test_cycle_is_shown_as_a_path() -> None:
    """Each experiment in the path depends on the one after it, the first repeated at the end."""
    assert said(chained(("a", "b"), ("b", "c"), ("c", "a"))) == one(
        "2:45: experiments.a.dependencies: cycle: a → b → c → a; expected no experiment that depends on itself"
    )


@pytest.mark.parametrize(
    ("source", "path", "line", "column"),
    [
        (
            (
                "experiments:\n  x1: {sub_experiments: [e_1], dependencies: [g]}\n"
                "gates:\n  g: {experiments: [x1]}\n"
            ),
            "experiments.x1.dependencies",
            2,
            46,
        ),
        (
            (
                "experiments:\n  x1: {sub_experiments: [e_1]}\n"
                "gates:\n  g: {experiments: [x1], unlocks: [x1]}\n"
            ),
            "gates.g.unlocks",
            4,
            35,
        ),
    ],
)
def test_cycle_through_a_gate(source: str, path: str, line: int, column: int) -> None:
    """An experiment that waits for a gate that waits for it is a cycle, where it is written."""
    [problem] = refused(source)
    assert (problem.path, problem.line, problem.column) == (path, line, column)
    assert problem.text in {"cycle: x1 → g → x1", "cycle: g → x1 → g"}


def test_cycle_through_a_baseline() -> None:
    """An experiment cannot be judged by what waits for its verdict."""
    [problem] = refused(
        "experiments:\n  x1:\n    sub_experiments: [e_1]\n"
        "    success_criteria: {gain: {metric: m, minus: e_2/m, target: 0}}\n"
        "  x2: {sub_experiments: [e_2], dependencies: [x1]}\n"
    )
    assert problem.path == "experiments.x1.success_criteria.gain.minus"
    assert problem.text == "cycle: x1 → e_2 → x1"


def test_every_cycle_is_reported() -> None:
    """Two cycles are two problems."""
    assert said(chained(("a", "b"), ("b", "a"), ("c", "d"), ("d", "c"))) == (
        "2:45: experiments.a.dependencies: cycle: a → b → a; "
        "expected no experiment that depends on itself\n"
        "4:45: experiments.c.dependencies: cycle: c → d → c; "
        "expected no experiment that depends on itself\n"
        "2 problems; run 'exprunner check' after editing."
    )


# --- seeds, baselines, waivers ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("seeds: [0, 0]", "4:20: {sub}.seeds: a seed is listed twice; expected each once"),
        (
            "seeds: [0, -1]",
            "4:20: {sub}.seeds: -1 is not a seed; expected an integer from 0 to 4294967295",
        ),
        (
            "seeds: [true]",
            "4:20: {sub}.seeds: true is not a seed; expected an integer from 0 to 4294967295",
        ),
    ],
)
def test_seeds(source: str, message: str) -> None:
    """Each once, and each what every library takes."""
    plan = f"experiments:\n  x1:\n    sub_experiments:\n      e_1: {{{source}}}\n      e_2:\n"
    assert said(plan) == one(message.format(sub="experiments.x1.sub_experiments.e_1"))


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (
            "minus: a, over: b",
            "5:12: {it}: 'minus' and 'over' are both given; expected one of them",
        ),
        (
            "minus: e_9/copy",
            "5:31: {it}.minus: unknown sub-experiment 'e_9' of the baseline 'e_9/copy' (did you mean 'e_2'?)",
        ),
        ("aggregate: median", "5:35: {it}.aggregate: 'median' is not an aggregate; expected mean"),
    ],
)
def test_baselines(terms: str, message: str) -> None:
    """One of them, and one that there is."""
    assert said(with_criterion(f"target: 1, {terms}")).startswith(message.format(it=_CRITERION))


def test_baselines_that_there_are() -> None:
    """Of the same attempt, of another sub-experiment, of a variant of it."""
    for text, expected in (
        ("copy", (None, None, "copy")),
        ("e_2/copy", ("e_2", None, "copy")),
        ("'e_2[lr=0.1]/val/copy'", ("e_2", "lr=0.1", "val/copy")),
    ):
        plan = parsed(with_criterion(f"target: 1, over: {text}"))
        assert plan.experiments["x1"].success_criteria["iou"].baseline == expected


@pytest.mark.parametrize(
    ("waiver", "message"),
    [
        (
            "criterion: accuracy, by: A, date: 2026-01-22",
            "waivers[0].reason: 'reason' is missing; expected a value",
        ),
        (
            "criterion: accuracy, by: ' ', date: 2026-01-22, reason: late",
            "waivers[0].by: ' ' is empty; a waiver must be signed: expected text",
        ),
        (
            "criterion: accuracy, by: A, date: 22.1.2026, reason: late",
            "waivers[0].date: '22.1.2026' is not a date; expected one such as 2026-01-22",
        ),
        (
            "criterion: acuracy, by: A, date: 2026-01-22, reason: late",
            "waivers[0].criterion: unknown criterion 'acuracy' of x1-first (did you mean 'accuracy'?)",
        ),
    ],
)
def test_waivers(waiver: str, message: str) -> None:
    """Signed, dated, and of something that there is."""
    assert message in said(f"{SMALLEST}waivers: [{{experiment: x1-first, {waiver}}}]\n")


# --- modal ------------------------------------------------------------------------------------


def test_settings_of_modal() -> None:
    """The whole section, and what a sub-experiment asks for."""
    plan = parsed(
        f"{SMALLEST}modal: {{gpu: A10G, timeout: 3600, extras: [study], secrets: [wandb-api-key], cpu: 2, "
        "memory: 4096, volumes: {models: /models}, env: {HF_HOME: /models/hf}, max_containers: 4}\n"
    )
    assert (plan.modal.gpu, plan.modal.timeout, plan.modal.extras) == ("A10G", 3600, ("study",))
    assert dict(plan.modal.volumes) == {"models": "/models"}
    assert plan.modal.max_containers == 4
    asked = parsed(
        "experiments: {x1: {sub_experiments: {e_1: {resources: {gpu: 2, gpu_type: H100, cpu: 4}}}}}"
    )
    [(_experiment, sub)] = asked.sub_experiments()
    assert (sub.resources.gpu, sub.resources.gpu_type, sub.resources.cpu) == (2, "H100", 4)


def test_a_gpu_that_modal_does_not_have() -> None:
    """It is refused before anything is sent anywhere, with the list."""
    [problem] = refused(f"{SMALLEST}modal: {{gpu: A1000}}\n")
    assert problem.text + problem.hint == (
        "'A1000' is not a GPU type that Modal offers; expected T4, L4, A10, A10G, L40S, A100, A100-40GB, "
        "A100-80GB, RTX-PRO-6000, H100, H100!, H200, B200"
    )


# --- unknown keys ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            with_criterion("target: 1, borderlin: 0.5"),
            (f"5:24: {_CRITERION}.borderlin: unknown key 'borderlin', kept (did you mean 'borderline'?)"),
        ),
        (
            "experiments: {x1: {sub_experiments: {e_1: {objectve: x}}}}",
            (
                "1:44: experiments.x1.sub_experiments.e_1.objectve: unknown key 'objectve', kept "
                "(did you mean 'objective'?)"
            ),
        ),
        (
            SMALLEST + "project: {hypotesis: x}",
            "6:11: project.hypotesis: unknown key 'hypotesis', kept (did you mean 'hypothesis'?)",
        ),
        (
            with_experiment("next_steps: {proced: x}"),
            ("4:18: experiments.x1.next_steps.proced: unknown key 'proced', kept (did you mean 'proceed'?)"),
        ),
        (
            with_experiment("seeds: [1]"),
            "4:5: experiments.x1.seeds: 'seeds' has no meaning here, kept; it belongs to a sub-experiment",
        ),
    ],
)
def test_misspelt_key(source: str, message: str) -> None:
    """A key close to a known one that decides nothing is pointed out, and the plan loads."""
    assert warned(source) == [f"{FILE}:{message}"]


_OTHERS = "choose a more distinct name for a key of your own"


@pytest.mark.parametrize(
    ("source", "place", "key"),
    [
        (with_experiment("sucess_criteria: {iou: {target: 1}}"), "4:5: experiments.x1.", "success_criteria"),
        (with_experiment("criteria: {iou: {target: 1}}"), "4:5: experiments.x1.", "success_criteria"),
        (with_experiment("success_criterion: 1"), "4:5: experiments.x1.", "success_criteria"),
        (with_experiment("success-criteria: 1"), "4:5: experiments.x1.", "success_criteria"),
        (with_experiment("successCriteria: 1"), "4:5: experiments.x1.", "success_criteria"),
        (with_experiment("dependancies: [y]"), "4:5: experiments.x1.", "dependencies"),
        (with_experiment("depends_on: [y]"), "4:5: experiments.x1.", "dependencies"),
        (with_experiment("requires: [y]"), "4:5: experiments.x1.", "dependencies"),
        (with_experiment("blocked_by: [y]"), "4:5: experiments.x1.", "dependencies"),
        (with_experiment("blocker: a person"), "4:5: experiments.x1.", "blockers"),
        (with_experiment("replace: [y]"), "4:5: experiments.x1.", "replaces"),
        (with_experiment("togehter: true"), "4:5: experiments.x1.", "together"),
        (with_experiment("sub_experiment: [e_9]"), "4:5: experiments.x1.", "sub_experiments"),
        (with_criterion("target: 1, acceptible: 0.5"), f"5:24: {_CRITERION}.", "acceptable"),
        (with_criterion("target: 1, from_: e_1"), f"5:24: {_CRITERION}.", "from"),
        (with_criterion("target: 1, frm: e_1"), f"5:24: {_CRITERION}.", "from"),
        (with_criterion("target: 1, Minus: copy"), f"5:24: {_CRITERION}.", "minus"),
        (with_criterion("target: 1, baseline: copy"), f"5:24: {_CRITERION}.", "minus"),
        (with_criterion("target: 1, evidance: real"), f"5:24: {_CRITERION}.", "evidence"),
        (with_sub_experiment("seed: [1]"), "1:44: experiments.x1.sub_experiments.e_1.", "seeds"),
        (with_sub_experiment("need: [e_2]"), "1:44: experiments.x1.sub_experiments.e_1.", "needs"),
        (with_sub_experiment("depends_on: [e_2]"), "1:44: experiments.x1.sub_experiments.e_1.", "needs"),
        (with_sub_experiment("require: [e_2]"), "1:44: experiments.x1.sub_experiments.e_1.", "needs"),
        (with_sub_experiment("requires: [e_2]"), "1:44: experiments.x1.sub_experiments.e_1.", "needs"),
        (SMALLEST + "gate: {}", "6:1: ", "gates"),
        (SMALLEST + "experiment: {}", "6:1: ", "experiments"),
        (SMALLEST + "wavers: []", "6:1: ", "waivers"),
        (SOUND + "    unlock: x\n", "11:5: gates.gate_1.", "unlocks"),
        (SOUND + "    experiment: [x1-first]\n", "11:5: gates.gate_1.", "experiments"),
    ],
)
def test_misspelt_key_that_decides(source: str, place: str, key: str) -> None:
    """A near miss of a key whose loss could let a run pass is an error, where it stands."""
    first, last = said(source).splitlines()
    assert first.startswith(place)
    assert first.endswith(f" (did you mean {key!r}?); choose a more distinct name for a key of your own")
    assert last == "1 problem; run 'exprunner check' after editing."


def test_message_about_a_misspelt_key_that_decides() -> None:
    """It says what is unknown and what was probably meant, and what to do if it was not."""
    source = with_experiment("sucess_criteria: {iou: {target: 1}}")
    assert said(source).splitlines()[0] == (
        "4:5: experiments.x1.sucess_criteria: unknown key 'sucess_criteria' (did you mean 'success_criteria'?); "
        "choose a more distinct name for a key of your own"
    )


def test_many_misspelt_keys_that_decide() -> None:
    """None of them is let through because there are many."""
    source = "experiments:\n" + "".join(
        f"  x{i}: {{sub_experiments: [e_{i}], sucess_criteria: {{a: {{target: 1}}}}}}\n" for i in range(60)
    )
    assert len(refused(source)) == 60


@pytest.mark.parametrize("key", ["success_criteria", "together", "dependencies", "blockers"])
def test_key_of_an_experiment_in_a_sub_experiment(key: str) -> None:
    """What decides about an experiment is refused where it would decide nothing."""
    assert said(with_sub_experiment(f"{key}: x")).splitlines()[0] == (
        f"1:44: experiments.x1.sub_experiments.e_1.{key}: {key!r} has no meaning here; "
        "it belongs to an experiment"
    )


@pytest.mark.parametrize("key", ["owner", "tags", "paper", "budget", "author", "created", "links", "todo"])
def test_key_of_its_authors(key: str) -> None:
    """A key that is no misspelling raises no warning, wherever it stands."""
    for source in (
        f"{SMALLEST}{key}: x\n",
        with_experiment(f"{key}: x"),
        with_criterion(f"target: 1, {key}: x"),
        with_sub_experiment(f"{key}: x"),
    ):
        assert warned(source) == []


def test_warnings_stand_in_line_order() -> None:
    """Warnings come in the order of the file."""
    keys = "descripton: x\nsuccess_criteria: {iou: {target: 1, unt: x}}"
    warnings = warned(with_experiment(keys) + "projekt: x\n")
    assert [warning.partition(": ")[0] for warning in warnings] == [
        f"{FILE}:{place}" for place in ("4:5", "5:41", "6:1")
    ]


@pytest.mark.parametrize(
    ("source", "misspelt"),
    [
        ("experiments: {x1: {sub_experiment: [e_1]}}", "'sub_experiment'"),
        ("experiment: {x1: {sub_experiments: [e_1]}}", "'experiment'"),
        (with_criterion("taget: 1"), "'taget'"),
    ],
)
def test_required_key_that_is_misspelt(source: str, misspelt: str) -> None:
    """Where a required key is missing, a misspelt one beside it is named."""
    assert misspelt in said(source)


# --- several problems ------------------------------------------------------------------------


def test_every_problem_at_once_in_line_order() -> None:
    """Everything that is wrong is said at once, line by line, each part by itself."""
    source = (
        "experiments:\n"
        "  x1:\n"
        "    type: clam\n"
        "    sub_experiments: [e_1]\n"
        "    sub_experiments: [e_2]\n"
        "    dependencies: [x9]\n"
        "    success_criteria:\n"
        "      iou: {target: x, from: e_11}\n"
        "      lpips: {target: 0.2, direction: down}\n"
        "  x2:\n"
        "    sub_experiments: {e_1: {seeds: [-1]}, e_3: }\n"
        "    7: seven\n"
        "gates:\n"
        "  g: {experiments: [x2, x3]}\n"
    )
    start = "experiments.x1"
    assert said(source) == (
        f"3:11: {start}.type: 'clam' is not a type; "
        "expected claim, question or pivot (did you mean 'claim'?)\n"
        f"5:5: {start}.sub_experiments: duplicate key 'sub_experiments', first on line 4; "
        "expected each key once\n"
        f"6:20: {start}.dependencies[0]: unknown experiment or gate 'x9'\n"
        f"8:21: {start}.success_criteria.iou.target: 'x' is not a number; "
        "expected one, such as 0.7\n"
        f"8:30: {start}.success_criteria.iou.from: unknown sub-experiment 'e_11' of x1 "
        "(did you mean 'e_1'?)\n"
        f"9:39: {start}.success_criteria.lpips.direction: 'down' is not a direction; "
        "expected higher or lower\n"
        "11:23: experiments.x2.sub_experiments.e_1: sub-experiment 'e_1' is also in x1; "
        "expected each in one experiment\n"
        "11:36: experiments.x2.sub_experiments.e_1.seeds: -1 is not a seed; "
        "expected an integer from 0 to 4294967295\n"
        "12:5: experiments.x2.7: the key 7 is not text; expected quotes around it\n"
        "14:25: gates.g.experiments[1]: unknown experiment 'x3'\n"
        "10 problems; run 'exprunner check' after editing."
    )


@pytest.mark.parametrize(
    "broken",
    [
        "sub_experiments: 3",
        "sub_experiments: [1x]",
        "sub_experiments: []",
        "sub_experiments: [e_1, e_1]",
        "name: x",
        "sub_experiments: [e_1]\n    type: clam",
        "sub_experiments: [e_1]\n    next_steps: 3",
    ],
)
def test_references_are_checked_beside_other_problems(broken: str) -> None:
    """A reference to nothing is reported whatever else is wrong with its experiment."""
    source = (
        f"experiments:\n  x1:\n    {broken}\n    dependencies: [nowhere]\n"
        "gates:\n  g: {experiments: [x1, elsewhere]}\n"
    )
    texts = [problem.text for problem in refused(source)]
    assert "unknown experiment or gate 'nowhere'" in texts
    assert "unknown experiment 'elsewhere'" in texts
    assert "unknown experiment 'x1'" not in texts
    assert len(texts) == 3


def test_every_unfit_id_of_a_list_is_reported() -> None:
    """Each bad item of a list of ids is a problem at its own place."""
    problems = refused("experiments:\n  x1:\n    sub_experiments: [1x, e_1, a-b, e_1]\n")
    assert [(p.path[-3:], p.line, p.column) for p in problems] == [
        ("[0]", 3, 23),
        ("[2]", 3, 32),
        ("[3]", 3, 37),
    ]


@pytest.mark.parametrize(
    "word", ["constrained-decoding", "function-calling", "str", "int", "constrained-", "[key]"]
)
def test_names_that_look_like_internals(word: str) -> None:
    """Whatever an experiment or a criterion is called, a problem is reported under its name."""
    [problem] = refused(with_experiment(f"success_criteria:\n  '{word}': {{target: x}}"))
    assert problem.path == f"experiments.x1.success_criteria.{word}.target"
    assert problem.line == 5
    if "[" not in word:
        source = f"experiments:\n  {word}:\n    sub_experiments: [e_1]\n    type: clam\n"
        [problem] = refused(source)
        assert (problem.path, problem.line) == (f"experiments.{word}.type", 4)


@pytest.mark.parametrize("escape", ["\\n", "\\r", "\\e[31m", "\\x07", "\\u2028", "\\u202e"])
def test_problem_is_one_printable_line(escape: str) -> None:
    """A control character in a key neither breaks the line nor reaches the terminal."""
    for source in (
        f'experiments: {{"a{escape}b": {{sub_experiments: [e_1]}}}}',
        with_experiment(f'success_criteria: {{"a{escape}b": {{target: x}}}}'),
        with_experiment(f'"a{escape}b": 1\n"a{escape}b": 2'),
        with_experiment(f'dependencies: ["a{escape}b"]'),
    ):
        [problem] = refused(source)
        assert str(problem).isprintable()


def test_shared_parts_are_reported_where_they_are_used() -> None:
    """A problem in a part that two experiments share through an alias is said of both."""
    source = (
        "experiments:\n"
        "  x1:\n    sub_experiments: [e_1]\n    success_criteria: &c {iou: {target: x}}\n"
        "  x2:\n    sub_experiments: [e_2]\n    success_criteria: *c\n"
    )
    assert said(source) == (
        "4:41: experiments.x1.success_criteria.iou.target: 'x' is not a number; "
        "expected one, such as 0.7\n"
        "7:23: experiments.x2.success_criteria.iou.target: 'x' is not a number; "
        "expected one, such as 0.7\n"
        "2 problems; run 'exprunner check' after editing."
    )


# --- bounds ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    """What came of reading each nasty plan in a process with little time and memory."""
    done = subprocess.run([sys.executable, nasty_plans.__file__], capture_output=True, check=True, text=True)
    read: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return read


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits are set as Linux has them")
@pytest.mark.parametrize("name", list(nasty_plans.CASES))
def test_nasty_plan(name: str, outcomes: dict[str, dict[str, Any]]) -> None:
    """Within seconds a plan is loaded or refused in a text that a person can read."""
    outcome = outcomes[name]
    if name in nasty_plans.MUST_LOAD:
        assert outcome == {"ended": "loaded"}
    else:
        assert outcome["ended"] in {"loaded", "refused"}
        assert outcome.get("characters", 0) < 50_000


# --- laws ------------------------------------------------------------------------------------

_KEYS = st.sampled_from(
    [
        *("x1", "e_1", "iou", "target", "failure", "from", "sub_experiments", "7", "../x", ""),
        *("dependencies", "gates", "seeds", "needs", "experiments", "waivers", "a\nb"),
        *("\0key", "constrained-"),
    ]
)
_SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, -1, math.nan, "e_1", "e_1[a]", "x1", "gate_1", "higher", "", "[0]"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_KEYS | st.integers(0, 9) | st.booleans() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)
VALID: dict[str, Any] = {
    "project": {"name": "p", "hypothesis": "h"},
    "experiments": {
        "x1": {
            "name": "n",
            "type": "claim",
            "phase": 1,
            "replaces": ["x2"],
            "dependencies": ["gate_1"],
            "blockers": [],
            "sub_experiments": {"e_1": {"name": "n"}, "e_2": None},
            "success_criteria": {
                "iou": {
                    "target": 0.7,
                    "acceptable": 0.6,
                    "failure": 0.5,
                    "direction": "higher",
                    "from": "e_1",
                    "bounds": [0, 1],
                    "borderline": 0.1,
                    "evidence": ["real"],
                }
            },
            "next_steps": {"proceed": ["x"], "pivot": "y"},
        },
        "x2": {"sub_experiments": ["e_3", "e_4"]},
    },
    "gates": {"gate_1": {"experiments": ["x2"], "unlocks": ["x1"]}},
    "tracking": {},
}


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything inside a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, item in inside:
        found += [(*path, key), *places(item, (*path, key))]
    return found


def change(value: Any, path: tuple[Any, ...], edit: Callable[[Any, Any], None]) -> None:
    """Apply an edit to the collection that holds the end of a path, if it is still there."""
    for part in path[:-1]:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return
    present = path[-1] in value if isinstance(value, dict) else isinstance(value, list)
    if present and (isinstance(value, dict) or (isinstance(path[-1], int) and path[-1] < len(value))):
        edit(value, path[-1])


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A sound plan in which a few parts were deleted, replaced or joined by others."""
    plan = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(VALID)))
        kind = draw(st.sampled_from(["delete", "replace", "add"]))
        if kind == "delete":
            change(plan, path, lambda held, key: held.__delitem__(key))
        elif kind == "replace":
            new = draw(ANYTHING)
            change(plan, path, lambda held, key, new=new: held.__setitem__(key, new))  # type: ignore[misc]
        else:
            key, new = draw(_KEYS | st.integers(0, 9) | st.booleans()), draw(ANYTHING)
            change(
                plan,
                path,
                lambda held, _, key=key, new=new: (  # type: ignore[misc]
                    held.__setitem__(key, new) if isinstance(held, dict) else held.append(new)
                ),
            )
    return plan


def written(value: object) -> str:
    """A value in the flow style of YAML 1.2, every text quoted."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'? {written(k)} : {written(v)}' for k, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    return json.dumps(value)


def test_mutations_start_from_a_sound_plan() -> None:
    """The plan that is mutated is sound as it is."""
    parsed(written(VALID))


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_mutated_plan_is_loaded_or_refused(value: object) -> None:
    """Whatever is done to a plan, it loads or is refused with problems that have a place."""
    problems = problems_of(written(value))
    assert all(problem.line >= 1 and problem.text for problem in problems)
    assert [p.line for p in problems] == sorted(p.line for p in problems)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(ANYTHING)
def test_anything_else_is_loaded_or_refused(value: object) -> None:
    """A file that holds any other value is refused with problems that have a place."""
    assert all(problem.line >= 1 and problem.text for problem in problems_of(written(value)))


# --- tracking --------------------------------------------------------------------------------


def test_settings_of_trackers() -> None:
    """Those of W&B are known; those of others are kept as they are."""
    plan = parsed(
        f"{SMALLEST}tracking: {{wandb: {{project: a, entity: null, tags: b}}, mine.py:T: {{colour: blue}}}}\n"
    )
    assert plan.tracking.of("wandb") == {"project": "a", "tags": ("b",)}
    assert plan.tracking.of("mine.py:T") == {"colour": "blue"}
    assert plan.tracking.of("other") == {}
    assert parsed(SMALLEST).tracking.of("wandb") == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("wandb", "6:11: tracking: 'wandb' is not a mapping; expected keys and values"),
        ("{wandb: x}", "6:19: tracking.wandb: 'x' is not a mapping; expected keys and values"),
        ("{wandb: {project: 2024}}", "6:29: tracking.wandb.project: 2024 is not text"),
        (
            "{wandb: {project: a/b}}",
            "6:29: tracking.wandb.project: 'a/b' is not a W&B project; expected a name without / \\ # ? % : "
            "and of at most 128 characters",
        ),
        ("{wandb: {entity: 3}}", "6:28: tracking.wandb.entity: 3 is not text"),
    ],
)
def test_wrong_settings_of_trackers(settings: str, message: str) -> None:
    """They are problems of the plan, at their places, before anything is run."""
    assert message in said(f"{SMALLEST}tracking: {settings}\n")


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ("{wnadb: {project: a}}", "tracking.wnadb: unknown key 'wnadb', kept (did you mean 'wandb'?)"),
        (
            "{wandb: {projct: a}}",
            "tracking.wandb.projct: unknown key 'projct', kept (did you mean 'project'?)",
        ),
        ("{wandb: {tag: a}}", "tracking.wandb.tag: unknown key 'tag', kept (did you mean 'tags'?)"),
    ],
)
def test_misspelt_settings_of_trackers(settings: str, hint: str) -> None:
    """They are warnings, as elsewhere in the plan."""
    [warning] = warned(f"{SMALLEST}tracking: {settings}\n")
    assert warning.endswith(f" {hint}")
