"""Go or no-go: gates and dependencies, and why something is blocked, in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from builders import TIERS, failed, fold_all, make_entry, make_plan, make_record

from pytest_exprunner.model.attempt import AttemptRecord, GateState, Level, Status
from pytest_exprunner.model.results import ExperimentState
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.verdicts.fold import Pending, fold, fold_experiment
from pytest_exprunner.verdicts.gates import Action, decide

P2, C2 = "p2-hybrid-encoder", "c2-adapter-bridging"


def study(p2: Mapping[str, Any] | None = None, c2: Mapping[str, Any] | None = None, **rest: Any) -> Plan:
    """Return a plan in which the adapter depends on the encoder."""
    encoder = make_entry({"spatial_iou": TIERS}, subs=("e_p2_1",), **(p2 or {}))
    adapter = make_entry(subs=("e_c2_1",), **({"dependencies": [P2]} if c2 is None else c2))
    return make_plan({P2: encoder, C2: adapter}, **rest)


def ran(iou: object = 0.8, **more: Any) -> AttemptRecord:
    """Return a completed attempt of the encoder."""
    return make_record({"spatial_iou": iou}, sub="e_p2_1", experiment=P2, **more)


def states(plan: Plan, *records: AttemptRecord) -> Mapping[str, ExperimentState]:
    """Return the state of every experiment."""
    return fold_all(plan, records).experiments


def blocked(plan: Plan, *records: AttemptRecord, level: Level = Level.ACCEPTABLE) -> tuple[str, ...]:
    """Return why the adapter may not run; nothing where it may."""
    decision = decide(plan, C2, states(plan, *records), level)
    assert (decision.action is Action.BLOCK) == bool(decision.reasons)
    return decision.reasons


# --- dependencies -----------------------------------------------------------------------------


def test_a_dependency_that_proceeds() -> None:
    """What says proceed lets others run."""
    assert blocked(study(), ran(0.8)) == ()


def test_a_dependency_that_missed() -> None:
    """The reason names the metric, its value and the threshold."""
    assert blocked(study(), ran(0.559)) == (
        "c2-adapter-bridging needs p2-hybrid-encoder to proceed; it says pivot (spatial_iou 0.559 < 0.60)",
    )


def test_a_dependency_that_has_not_started() -> None:
    """What was never run gives no permission."""
    assert blocked(study()) == ("c2-adapter-bridging needs p2-hybrid-encoder to proceed; it has not started",)


def test_a_dependency_that_crashed() -> None:
    """A crash is a reason."""
    record = failed(sub="e_p2_1", experiment=P2)
    assert blocked(study(), record) == (
        "c2-adapter-bridging needs p2-hybrid-encoder to proceed; it says investigate (e_p2_1 failed)",
    )


def test_a_dependency_with_blockers() -> None:
    """Blockers of a dependency are passed on."""
    assert blocked(study({"blockers": ["licence"]}), ran()) == (
        "c2-adapter-bridging needs p2-hybrid-encoder to proceed; it says block (Blocked by: licence)",
    )


def test_a_dependency_that_measured_nothing() -> None:
    """Completed without the metric is no permission."""
    record = make_record({"other": 1.0}, sub="e_p2_1", experiment=P2)
    assert blocked(study(), record) == (
        "c2-adapter-bridging needs p2-hybrid-encoder to proceed; "
        "it says investigate (Not measured: spatial_iou (0 of 1 measured))",
    )


def test_a_replaced_dependency() -> None:
    """What was replaced never counts as met, though its numbers do."""
    plan = make_plan(
        {
            P2: make_entry({"spatial_iou": TIERS}, subs=("e_p2_1",)),
            C2: make_entry(subs=("e_c2_1",), dependencies=[P2]),
            "p3": make_entry(subs=("e_p3_1",), replaces=[P2]),
        }
    )
    assert blocked(plan, ran(0.9)) == (
        "c2-adapter-bridging needs p2-hybrid-encoder to proceed; it was replaced by p3",
    )


def test_blockers_of_its_own() -> None:
    """Blockers named for the experiment itself, and every other reason with them."""
    plan = study(c2={"dependencies": [P2], "blockers": ["GPU", "data"]})
    assert blocked(plan) == (
        "c2-adapter-bridging is blocked by: GPU; data",
        "c2-adapter-bridging needs p2-hybrid-encoder to proceed; it has not started",
    )


def test_nothing_is_needed() -> None:
    """Without dependencies and blockers an experiment may run."""
    assert decide(study(), P2, states(study())).action is Action.RUN


@pytest.mark.parametrize(
    ("level", "iou", "reason"),
    [
        (Level.TARGET, 0.8, ""),
        (Level.TARGET, 0.65, "spatial_iou 0.650 < 0.70"),
        (Level.ACCEPTABLE, 0.65, ""),
        (Level.FAILURE, 0.55, ""),
        (Level.FAILURE, 0.5, "spatial_iou 0.500"),
    ],
)
def test_levels(level: Level, iou: float, reason: str) -> None:
    """A level changes what is needed, and the reason names what was missed at that level."""
    reasons = blocked(study(), ran(iou), level=level)
    assert bool(reasons) == bool(reason)
    if reason:
        assert reasons[0].startswith(
            f"c2-adapter-bridging needs p2-hybrid-encoder to proceed; it says pivot ({reason}"
        )


def test_a_level_explains_what_is_open() -> None:
    """Where a lower level forgives the miss, the reason is what is still open, not the miss."""
    plan = make_plan(
        {
            P2: make_entry({"spatial_iou": TIERS, "lpips": {"target": 0.1}}, subs=("e_p2_1",)),
            C2: make_entry(subs=("e_c2_1",), dependencies=[P2]),
        }
    )
    assert blocked(plan, ran(0.55), level=Level.FAILURE) == (
        "c2-adapter-bridging needs p2-hybrid-encoder to proceed; "
        "it says investigate (Not measured: lpips (1 of 2 measured))",
    )


# --- gates ------------------------------------------------------------------------------------


def gate_of(plan: Plan, *records: AttemptRecord) -> tuple[GateState, tuple[str, ...]]:
    """Return where the gate ``g1`` stands, and its lines."""
    gate = fold_all(plan, records).gates["g1"]
    return gate.state, gate.lines


def test_a_gate_of_one_passes() -> None:
    """All members say proceed: the gate has passed."""
    plan = study(gates={"g1": {"experiments": [P2]}})
    assert gate_of(plan, ran()) == (
        GateState.PASSED,
        ("p2-hybrid-encoder says proceed: The success criterion is met",),
    )


def test_a_gate_waits() -> None:
    """A member that has not started keeps a gate pending."""
    plan = study(gates={"g1": {"experiments": [P2, C2]}})
    assert gate_of(plan, ran()) == (
        GateState.PENDING,
        (
            "p2-hybrid-encoder says proceed: The success criterion is met",
            "c2-adapter-bridging has not started",
        ),
    )


def test_a_gate_fails() -> None:
    """One member that says pivot fails the gate, whatever is still open."""
    plan = study(gates={"g1": {"experiments": [C2, P2]}})
    assert gate_of(plan, ran(0.559)) == (
        GateState.FAILED,
        (
            "c2-adapter-bridging has not started",
            "p2-hybrid-encoder says pivot: Not met: spatial_iou 0.559 (needs ≥ 0.60)",
        ),
    )


def test_a_crash_keeps_a_gate_pending() -> None:
    """Code that failed decides nothing."""
    plan = study(gates={"g1": {"experiments": [P2]}})
    assert gate_of(plan, failed(sub="e_p2_1", experiment=P2)) == (
        GateState.PENDING,
        ("p2-hybrid-encoder says investigate: e_p2_1 failed",),
    )


def test_a_gate_without_numbers_is_pending() -> None:
    """An experiment without gating criteria never opens a gate."""
    plan = make_plan({P2: make_entry({}, subs=("e_p2_1",))}, gates={"g1": {"experiments": [P2]}})
    record = make_record(sub="e_p2_1", experiment=P2)
    assert gate_of(plan, record)[0] is GateState.PENDING


def test_a_replaced_member_fails_a_gate() -> None:
    """What was replaced cannot count as met."""
    plan = study({"replaces": []}, {"replaces": [P2]}, gates={"g1": {"experiments": [P2]}})
    assert gate_of(plan, ran()) == (
        GateState.FAILED,
        ("p2-hybrid-encoder was replaced by c2-adapter-bridging and cannot count as met",),
    )


def test_a_member_with_blockers() -> None:
    """Blockers keep a gate pending and are named."""
    plan = study({"blockers": ["licence"]}, gates={"g1": {"experiments": [P2]}})
    assert gate_of(plan, ran()) == (
        GateState.PENDING,
        ("p2-hybrid-encoder says block: Blocked by: licence",),
    )


def test_a_member_that_could_not_run() -> None:
    """A member whose own dependency kept it from running is pending, with the reason."""
    plan = study(gates={"g1": {"experiments": [C2]}})
    reason = "c2-adapter-bridging needs p2-hybrid-encoder to proceed; it has not started"
    waiting = [Pending("e_c2_1", None, None, 0, "run-1", reason)]
    found = {
        name: fold_experiment(plan, plan.experiments[name], {}, waiting if name == C2 else ())
        for name in plan.experiments
    }
    gate = fold(plan, found).gates["g1"]
    assert found[C2].status is Status.BLOCKED
    assert gate.state is GateState.PENDING
    assert gate.lines == (f"c2-adapter-bridging is blocked: {reason}",)


# --- what gates unlock ------------------------------------------------------------------------


def unlocking() -> Plan:
    """Return a plan in which the adapter waits for a gate over the encoder."""
    return study(c2={}, gates={"g1": {"experiments": [P2], "unlocks": [C2]}})


def test_a_gate_that_passed_unlocks() -> None:
    """What a gate unlocks may run once it has passed."""
    assert blocked(unlocking(), ran()) == ()


def test_a_gate_that_waits_blocks() -> None:
    """What a gate unlocks waits for it, with the lines that keep it closed."""
    assert blocked(unlocking()) == (
        "c2-adapter-bridging needs g1 to pass; p2-hybrid-encoder has not started",
    )
    assert blocked(unlocking(), ran(0.1)) == (
        "c2-adapter-bridging needs g1 to pass; "
        "p2-hybrid-encoder says pivot: Not met: spatial_iou 0.100 (needs ≥ 0.60)",
    )


def test_a_gate_as_dependency() -> None:
    """A dependency may be a gate, with the same reasons, named once."""
    plan = study(c2={"dependencies": ["g1"]}, gates={"g1": {"experiments": [P2], "unlocks": [C2]}})
    assert blocked(plan) == ("c2-adapter-bridging needs g1 to pass; p2-hybrid-encoder has not started",)


def test_an_unlock_in_words_blocks_nothing() -> None:
    """``unlocks`` as a text is for people."""
    plan = study(c2={}, gates={"g1": {"experiments": [P2], "unlocks": "Phase 2"}})
    assert blocked(plan) == ()
