"""The terminal summary: aligned, complete, and safe whatever the names contain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from builders import LOWER, TIERS, failed, fold_all, make_entry, make_plan, make_record
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner._util.text import ascii_only
from pytest_exprunner.model.attempt import AttemptRecord
from pytest_exprunner.model.results import Results
from pytest_exprunner.report.terminal import Summary, heading, render, safe
from pytest_exprunner.verdicts.fold import fold

P2 = "p2-hybrid-encoder"
COUNTS = {"Completed": 1, "Failed": 0, "Skipped": 0, "Blocked": 0, "No handler": 1}
CRITERIA: dict[str, Any] = {
    "spatial_iou": TIERS,
    "lpips": LOWER,
    "mAP": {"target": 0.50, "acceptable": 0.40, "failure": 0.20},
    "latency": {"target": 0.15, "acceptable": 0.25, "from": "e_p2_6"},
}


def example(*more: AttemptRecord, subs: tuple[str, ...] = ("e_p2_1", "e_p2_6"), **rest: Any) -> Results:
    """Return the study that the documentation shows."""
    plan = make_plan(
        {
            "q1-latent-alignment": make_entry(subs=("e_q1_1",)),
            P2: make_entry(CRITERIA, subs=subs, name="P2: Hybrid Encoder", **rest),
        },
        project={"name": "Foresight"},
        gates={"gate_1_reconstruction": {"experiments": ["q1-latent-alignment"]}},
    )
    metrics = {"spatial_iou": 0.837, "lpips": 0.341, "mAP": 0.182}
    return fold_all(plan, [make_record(metrics, sub="e_p2_1", experiment=P2), *more])


def summary(results: Results, **more: Any) -> Summary:
    """Return the end of a run in which the encoder was selected."""
    values: dict[str, Any] = {
        "touched": [P2],
        "without_handler": {"e_p2_6": ""},
        "counts": COUNTS,
        **more,
    }
    return Summary(results, **values)


def lines(shown: Summary, verbosity: int = 0) -> list[str]:
    """Return the text of a summary."""
    return [line.text.rstrip() for line in render(shown, verbosity)]


def styles(shown: Summary) -> Mapping[str, str]:
    """Return the style of each line by its first word."""
    return {line.text.split()[0]: line.style for line in render(shown)}


# --- the whole --------------------------------------------------------------------------------


def test_the_example() -> None:
    """Title, table, reason, gate and counts, as a person reads them."""
    shown = summary(example(), touched=[P2, "q1-latent-alignment"])
    assert heading(shown.results) == "research plan: Foresight"
    assert lines(shown) == [
        "p2-hybrid-encoder — P2: Hybrid Encoder  in progress → investigate (confidence: low)",
        "  criterion    value  target  acceptable  verdict",
        "  spatial_iou  0.837  ≥ 0.70  ≥ 0.60      target",
        "  lpips        0.341  ≤ 0.25  ≤ 0.35      acceptable, borderline — needs review",
        "  mAP          0.182  ≥ 0.50  ≥ 0.40      failure (≤ 0.20)",
        "  latency      –      ≤ 0.15  ≤ 0.25      not measured (planned in e_p2_6, no handler)",
        "  e_p2_6 is not started. 3 of 4 gating criteria measured.",
        "not started: q1-latent-alignment",
        "gate_1_reconstruction: pending — q1-latent-alignment has not started",
        "Completed: 1  Failed: 0  Skipped: 0  Blocked: 0  No handler: 1",
    ]


def test_a_study_that_is_complete() -> None:
    """With every sub-experiment run, the misses decide."""
    record = make_record({"latency": 0.1}, sub="e_p2_6", experiment=P2)
    assert lines(summary(example(record)))[0] == (
        "p2-hybrid-encoder — P2: Hybrid Encoder  completed → pivot (confidence: low)"
    )
    assert "  Not met: mAP 0.182 (needs ≥ 0.40)." in lines(summary(example(record)))


def test_quiet() -> None:
    """One line with ``-q``."""
    assert lines(summary(example()), -1) == [
        "research plan: Foresight: p2-hybrid-encoder investigate. 1 item to review. "
        "Completed: 1  Failed: 0  Skipped: 0  Blocked: 0  No handler: 1"
    ]


def test_verbose() -> None:
    """With ``-v`` each criterion has its sentence."""
    found = lines(summary(example()), 1)
    assert (
        "  lpips of 0.341 is below the 0.35 threshold, short of the 0.25 target; "
        "it narrowly meets 0.35 and needs review." in found
    )


def test_colours() -> None:
    """Good is good, bad is bad, and what a person should look at is marked."""
    found = styles(summary(example()))
    assert (found["spatial_iou"], found["lpips"], found["mAP"]) == ("good", "warn", "bad")
    assert found[P2] == "bad"


def test_a_crash() -> None:
    """A crash is named once, with the first line of its message."""
    record = failed(sub="e_p2_6", experiment=P2, message="no GPU\nsecond line")
    found = lines(summary(example(record), without_handler={}))
    assert "  e_p2_6 failed: ValueError: no GPU" in found
    assert sum("e_p2_6 failed" in line for line in found) == 1


def test_a_crash_hides_no_blocker() -> None:
    """What holds an experiment up is said beside what failed in it."""
    record = failed(sub="e_p2_6", experiment=P2, message="no GPU")
    found = lines(summary(example(record, blockers=["licence"]), without_handler={}))
    assert "  Blocked by: licence." in found
    assert "  e_p2_6 failed: ValueError: no GPU" in found


def test_a_stub_run_shows_no_numbers() -> None:
    """Of a stub run no value, no recommendation and no gate is shown."""
    measured = example()
    stub = fold(measured.plan, measured.experiments, stub=True)
    text = "\n".join(lines(summary(stub)))
    assert heading(stub) == "research plan: Foresight (stub run)"
    assert text.startswith(
        "STUB RUN: no handler was called and nothing was measured. A stub run never counts.\n"
    )
    for word in ("0.837", "target\n  spatial", "investigate", "pivot", "gate_1", "good"):
        assert word not in text
    assert "nothing measured" in lines(summary(stub), -1)[0]


def test_a_claim_about_a_gate() -> None:
    """What a person wrote about a gate is compared with where it stands."""
    plan = make_plan(
        {P2: make_entry(subs=("e_p2_1",))}, gates={"g1": {"experiments": [P2], "status": "passed"}}
    )
    assert f"g1: pending — {P2} has not started (the plan claims passed)" in lines(summary(fold_all(plan)))


def test_a_long_study_is_cut() -> None:
    """Beyond a screen or two, one line for each experiment, and how to see everything."""
    plan = make_plan(
        {f"x{n}": make_entry(subs=(f"e_{n}",)) for n in range(100)},
    )
    records = [make_record({"accuracy": 0.8}, sub=f"e_{n}", experiment=f"x{n}") for n in range(100)]
    shown = Summary(fold_all(plan, records), [f"x{n}" for n in range(100)])
    assert len(lines(shown)) <= 63
    assert "… and 40 more experiments; -v shows everything" in lines(shown)
    assert len(lines(shown, 1)) > 300


def test_the_table_is_aligned() -> None:
    """Every column begins in the same place in each row."""
    table = lines(summary(example()))[1:6]
    for word in ("value", "target", "acceptable", "verdict"):
        column = table[0].index(word)
        assert all(row[column - 2 : column] == "  " for row in table)
        assert all(row[column] != " " for row in table)


# --- hostile strings --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – ≥ 🧪", "plain – ≥ 🧪"),
        ("a\nb\r\nc\td", "a b� c d"),
        ("\x1b[31mred\x1b[0m", "�[31mred�[0m"),
        ("\x9b31m", "�31m"),
        ("\x00\x07\x08\x7f", "����"),
        ("\u202eabc", "�abc"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_safe(text: str, shown: str) -> None:
    """Control characters and direction marks cannot steer a terminal; one line, of bounded length."""
    assert safe(text) == shown


@pytest.mark.parametrize(
    "text", ["::error::boom", "  ::set-output name=a::b", "##[error]boom", "a ##[group]b"]
)
def test_no_workflow_command(text: str) -> None:
    """A line on a CI service never becomes one of its commands, with blanks before it or not."""
    shown = safe(text).lstrip()
    assert not shown.startswith("::")
    assert "##[" not in shown


HOSTILE = "\x1b[2J\x1b]0;title\x07::error::x\n\u202e| \r"


def test_no_name_steers_the_terminal() -> None:
    """Every text that a plan or a handler can choose is made harmless before it is shown."""
    plan = make_plan(
        {
            P2: make_entry(
                {f"a{HOSTILE}": {**TIERS, "unit": HOSTILE}, "b": {**TIERS, "severity": "warn"}},
                subs=("e_p2_1", "e_p2_2"),
                name=HOSTILE,
                blockers=[HOSTILE],
            )
        },
        project={"name": HOSTILE},
        gates={"g1": {"experiments": [P2], "status": HOSTILE, "name": HOSTILE}},
    )
    metrics = {f"a{HOSTILE}": 0.8, "b": HOSTILE}
    results = fold_all(
        plan,
        [
            make_record(metrics, sub="e_p2_1", experiment=P2, listed=(HOSTILE,)),
            failed(sub="e_p2_2", experiment=P2, message=HOSTILE),
        ],
    )
    for verbosity in (-1, 0, 1):
        for line in render(summary(results, notes=[HOSTILE], gates=["g1"]), verbosity):
            assert not set(line.text) & set("\x1b\x07\n\r\u202e")
            assert not line.text.lstrip().startswith("::")


@pytest.mark.parametrize("name", ["::error::boom", "##[error]boom"])
def test_a_criterion_is_no_workflow_command(name: str) -> None:
    """The name of a criterion stands first on its line, and is no command there."""
    plan = make_plan({P2: make_entry({name: TIERS}, subs=("e_p2_1",))})
    results = fold_all(plan, [make_record({name: 0.8}, sub="e_p2_1", experiment=P2)])
    for line in render(summary(results), 1):
        assert not line.text.lstrip().startswith("::")
        assert "##[" not in line.text


@given(st.text(max_size=40))
def test_safe_is_one_printable_line(text: str) -> None:
    """Whatever comes in, one line comes out, and making it safe again changes nothing."""
    shown = safe(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    assert safe(shown) == shown


def test_ascii_only() -> None:
    """A console that knows ASCII alone gets signs that it can show."""
    assert ascii_only("≥ 0.70 – a → b … ± 🧪 é") == ">= 0.70 - a -> b ... +- ? ?"
    assert all(ascii_only(line).isascii() for line in lines(summary(example())))
