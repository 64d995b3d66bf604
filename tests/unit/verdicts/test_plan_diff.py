"""What differs between two plans, what stands out in sources, and what people write of numbers."""

from __future__ import annotations

from typing import Any

import pytest
from builders import make_criterion, make_entry, make_plan
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.audit.quoted_numbers import numbers_near, reads_as
from pytest_exprunner.handlers.lint import lint, unmentioned
from pytest_exprunner.verdicts.plan_diff import plan_changes

WAIVER = {"experiment": "x1", "criterion": "iou", "by": "A", "date": "2026-01-22", "reason": "late"}


def plan(criteria: dict[str, Any] | None = None, rest: dict[str, Any] | None = None, **more: Any) -> Any:
    """A plan of two experiments and a gate."""
    entry = make_entry({"iou": {"target": 0.7}} if criteria is None else criteria, subs=["e_1"], **more)
    gates = {"gate_1": {"experiments": ["x1", "x2"]}}
    return make_plan({"x1": entry, "x2": make_entry(subs=["e_2"])}, **{"gates": gates, **(rest or {})})


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (plan({"iou": {"target": 0.6}}), ["x1.success_criteria.iou.target 0.70 → 0.60"]),
        (
            plan({"iou": {"target": 0.7, "failure": 0.5}}),
            ["x1.success_criteria.iou.failure – → 0.50"],
        ),
        (
            plan({"iou": {"target": 0.7, "bounds": [0, None]}}),
            ["x1.success_criteria.iou.bounds – → [0, –]"],
        ),
        (plan({}), ["x1.success_criteria.iou higher is better, target 0.7 → –"]),
        (plan(dependencies=["x2"]), ["x1.dependencies – → x2"]),
        (plan(together=True), ["x1.together false → true"]),
        (plan(status="done"), ["x1.status – → done"]),
        (plan(rest={"gates": {"gate_1": {"experiments": ["x1"]}}}), ["gates.gate_1.experiments x1, x2 → x1"]),
        (plan(rest={"gates": {}}), ["gates.gate_1.experiments x1, x2 → –"]),
        (
            plan(rest={"waivers": [WAIVER]}),
            ["waivers.x1.iou – → waived by A on 2026-01-22 because late"],
        ),
        (plan(), []),
    ],
)
def test_what_differs(new: Any, said: list[str]) -> None:
    """Each thing by its path, as it was and as it is."""
    assert [change.text for change in plan_changes(plan(), new)] == said


def test_what_matters_to_whom() -> None:
    """A gate's members, before and after; what is signed or claimed is no goalpost."""
    [change] = plan_changes(plan(), plan(rest={"gates": {"gate_1": {"experiments": ["x1"]}}}))
    assert change.experiments == ("x1", "x2")
    assert [c.is_open for c in plan_changes(plan(), plan(status="done"))] == [True]
    assert [c.criterion for c in plan_changes(plan(), plan({"iou": {"target": 0.6}}))] == ["iou"]


# --- sources ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return {'metrics': {'iou': 0.81}}", "the gated metric 'iou' is a literal number in the code"),
        ("iou = -1\n    return {'metrics': {'iou': iou}}", "is a literal number in the code"),
        ("return {'metrics': {'iou': random.random()}}", "the gated metric 'iou' comes from a random number"),
        ("iou = 0.8 + rng.normal()\n    return {'metrics': {'iou': float(iou)}}", ""),
        (
            "iou = round(0.8 + 0.1 * np.random.rand(), 2)\n    return {'metrics': {'iou': iou}}",
            "from a random number",
        ),
        ("return {'metrics': {'iou': simulate_iou()}}", "'simulate_iou' sounds made up"),
        ("return {'metrics': {'iou': dummy.iou}}", "'dummy' sounds made up"),
        (
            "try:\n        x = f()\n    except Exception:\n        x = 0.5\n    return x",
            "a broad 'except' replaces a failure",
        ),
        (
            "try:\n        x = f()\n    except:\n        return {'metrics': {'iou': 0.5}}",
            "a broad 'except' replaces",
        ),
        (
            "try:\n        x = f()\n    except (OSError, Exception):\n        x = 0\n",
            "a broad 'except' replaces a failure",
        ),
        (
            "if iou > 0.65:\n        pass",
            "'iou' is compared with 0.65 here, which is not one of its tiers in the plan (0.7, 0.6, 0.5)",
        ),
        ("if 0.65 <= metrics['iou']:\n        pass", "'iou' is compared with 0.65 here"),
        ("IOU_THRESHOLD = 0.65", "'iou' is compared with 0.65 here"),
        ("return {'metrics': dict(iou=0.81)}", "is a literal number in the code"),
        ("m = {}\n    m['iou'] = 0.81\n    return {'metrics': m}", "is a literal number in the code"),
    ],
)
def test_what_stands_out(body: str, said: str) -> None:
    """Each of them once, at its line."""
    source = f"def e_1(runner):\n    {body}\n"
    found = lint(source, ["e_1"], [make_criterion("iou", target=0.7, acceptable=0.6, failure=0.5)])
    if said:
        assert any(said in tell.text for tell in found), found
        assert all(tell.line > 1 for tell in found)


@pytest.mark.parametrize(
    "body",
    [
        "iou = measure(model)\n    return {'metrics': {'iou': iou}}",
        "runner.evidence('simulated', 'no GPU')\n    return {'metrics': {'iou': simulate(1)}}",
        "try:\n        x = f()\n    except Exception:\n        runner.fallback('offline')\n        x = 0.5\n",
        "try:\n        x = f()\n    except Exception:\n        raise\n",
        "try:\n        x = f()\n    except ValueError:\n        x = 0.5\n",
        "try:\n        x = f()\n    except Exception:\n        x = None\n",
        "if iou > 0.6:\n        pass",
        "return {'metrics': {'speed': 1}}",
        "data = random.random()\n    return {'metrics': {'iou': measure(data)}}",
    ],
)
def test_what_does_not(body: str) -> None:
    """What is measured, declared, narrow, or the plan's own."""
    source = f"def e_1(runner):\n    {body}\n"
    assert lint(source, ["e_1"], [make_criterion("iou", target=0.7, acceptable=0.6, failure=0.5)]) == []


@given(st.text(max_size=60))
def test_any_source(text: str) -> None:
    """What is no python has nothing to tell."""
    criteria = [make_criterion("iou", target=0.7)]
    lint(text, ["e_1"], criteria)
    unmentioned([text], criteria)


def test_metrics_that_nobody_mentions() -> None:
    """By their names, with what they may be there; nothing where names are put together."""
    criteria = [make_criterion("lpips", target=0.3, direction="lower"), make_criterion("iou", target=0.7)]
    assert unmentioned(["x = {'LPIPS': 1, 'iou': 2}"], criteria) == {"lpips": "LPIPS"}
    assert unmentioned(["dict(iou=1)", "y = 'e_1/lpips'"], criteria) == {}
    assert unmentioned(["x = {f'{name}_score': 1}"], criteria) == {}


# --- prose ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The spatial IoU is 0.81.", [(1, "0.81")]),
        ("\nspatial_iou: 81.2 %", [(2, "81.2%")]),
        ("spatial-iou of about -1.5e-3", [(1, "-1.5e-3")]),
        ("spatial_iou over 3 seeds", []),
        ("spatial_iou\n0.81", []),
        ("my_spatial_iou 0.81", []),
        ("results/spatial_iou/0.81", []),
        ("spatial_iou is good. Loss 0.3", []),
        ("**Spatial IoU**: `0.81`", [(1, "0.81")]),
        ("spatial_iou, version 1.2", []),
        ("spatial_iou with 95 % confidence", []),
        ("spatial_iou [0.7, 0.9]", []),
        ("spatial_iou is 1.0e999", [(1, "1.0e999")]),
    ],
)
def test_numbers_near_a_name(text: str, found: list[tuple[int, str]]) -> None:
    """Fractions and percentages in the same sentence, however the name is written."""
    assert [(line, said) for line, _name, said in numbers_near(text, ["spatial_iou"])] == found


@pytest.mark.parametrize(
    ("said", "value", "fits"),
    [
        ("0.81", 0.8137, True),
        ("0.82", 0.8137, False),
        ("81%", 0.8137, True),
        ("81.4%", 0.8137, True),
        ("81.5%", 0.8137, False),
        ("1.5e-3", 0.00152, True),
        ("0.8", 0.75, True),
        ("-0.10", -0.1, True),
        ("1.0e999", 0.5, False),
    ],
)
def test_what_a_number_may_be_written_as(said: str, value: float, fits: bool) -> None:
    """Rounded to the digits that were written, or in percent."""
    assert reads_as(said, value) is fits


@given(st.floats(-1e6, 1e6), st.integers(1, 6))
def test_any_rounding_fits(value: float, digits: int) -> None:
    """Nobody is told off for rounding."""
    assert reads_as(f"{value:.{digits}f}", value)
