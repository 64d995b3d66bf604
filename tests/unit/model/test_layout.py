"""Names on disk: each attempt, variant and seed has a folder that no other can take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.model.attempt import AttemptKey
from pytest_exprunner.model.layout import Layout, artifact_prefix, variant_folder

KEY = AttemptKey("x1", "e_x1_1", 7)


def test_where_things_are() -> None:
    """The paths of the results folder are fixed: people and tools know them."""
    layout = Layout(Path("research"))
    assert layout.results_of("x1") == Path("research/experiments/x1/results.yaml")
    assert layout.findings_of("x1") == Path("research/experiments/x1/FINDINGS.md")
    assert layout.plan_of("x1") == Path("research/experiments/x1.md")
    assert layout.findings == Path("research/FINDINGS.md")
    assert layout.attempt(KEY) == Path("research/experiments/x1/attempts/e_x1_1/0007")
    assert layout.runs == Path("research/.exprunner/runs")


def test_a_branch_has_a_tree_of_its_own() -> None:
    """Nothing of a stub run is written where results that count are."""
    layout = Layout(Path("research"), "stub")
    for path in (layout.results_of("x1"), layout.attempt(KEY), layout.findings, layout.runs):
        assert path.is_relative_to("research/.exprunner/stub")
    assert layout.plan_of("x1") == Path("research/experiments/x1.md")


@pytest.mark.parametrize(
    ("variant", "seed", "prefix"),
    [
        (None, None, "artifacts/e_1"),
        ("lr=0.1", None, "artifacts/e_1/lr=0.1"),
        (None, 3, "artifacts/e_1/seed-3"),
        ("a-b", 0, "artifacts/e_1/a-b/seed-0"),
    ],
)
def test_prefixes(variant: str | None, seed: int | None, prefix: str) -> None:
    """Artifacts stand in folders by variant and seed where there are any."""
    assert artifact_prefix("e_1", variant, seed) == prefix


@pytest.mark.parametrize(
    "variant",
    [
        "",
        ".",
        "..",
        "../x",
        "/",
        "a/b",
        "a\\b",
        "A",
        "a.",
        "seed-3",
        "x" * 300,
        "\x00",
        "é",
        "a b",
        "con",
        "nul.txt",
    ],
)
def test_odd_variants_get_a_safe_folder(variant: str) -> None:
    """A variant that no folder can be named after gets a name with a hash."""
    folder = variant_folder(variant)
    assert re.fullmatch(r"[a-z0-9._=+,-]*-[0-9a-f]{8}", folder)
    assert len(folder) <= 80


@given(st.lists(st.text(max_size=12) | st.text("aA.-/ _", max_size=4), unique=True, max_size=20))
def test_no_two_variants_share_a_folder(variants: list[str]) -> None:
    """Different variants have different folders, also where case does not count."""
    folders = [variant_folder(variant).casefold() for variant in variants]
    assert len(set(folders)) == len(folders)
    for folder in folders:
        assert folder not in ("", ".", "..")
        assert "/" not in folder
        assert not re.fullmatch(r"seed-\d+", folder)
