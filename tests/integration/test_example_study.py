"""The study that ships with the project."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from study_folder import Study

import pytest_exprunner

ROOT = Path(pytest_exprunner.__file__).parent.parent
NEEDED = ("torch", "sklearn", "skimage", "matplotlib")


@pytest.fixture
def example(study: Study) -> Study:
    """A copy of the example study, without results."""
    for library in NEEDED:
        pytest.importorskip(library)
    shutil.copytree(
        ROOT / "experiments", study.root / "experiments", ignore=shutil.ignore_patterns("__pycache__")
    )
    study.plan((ROOT / "research" / "research_plan.yaml").read_text(encoding="utf-8"))
    return study


def test_the_study_is_sound(study: Study) -> None:
    """Its plan has no problems and every planned sub-experiment has a handler; nothing is imported."""
    shutil.copytree(
        ROOT / "experiments", study.root / "experiments", ignore=shutil.ignore_patterns("__pycache__")
    )
    study.plan((ROOT / "research" / "research_plan.yaml").read_text(encoding="utf-8"))
    run = study.exprunner("check")
    assert run.code == 0, run.text
    assert "no handler" not in run.out
    assert "warning" not in run.out


@pytest.mark.slow
def test_the_study_finds_what_it_says(example: Study) -> None:
    """The pooled latent fails, the patches hold, the gate passes, and each number beats its baseline."""
    # Beside other tests, threads of torch that wait for each other by spinning take ten times as long.
    alone = {"OMP_NUM_THREADS": "1"}
    run = example.pytest("experiments/", "--exp-gate", "all", timeout=600, env=alone)
    assert run.code == 0, run.text
    assert run.counts(passed=1, xfailed=2), run.out
    pooled, hybrid = example.results("c1-vlm-latent-sufficiency"), example.results("p2-hybrid-encoder")
    assert (pooled["status"], pooled["recommendation"]) == ("pivoted", "pivot")
    assert hybrid["recommendation"] == "proceed"
    probe = pooled["results"]["experiments"]["e1_4"]["metrics"]
    patches = hybrid["results"]["experiments"]["e_p2_1"]["metrics"]
    assert probe["mean_box_iou"] < probe["spatial_iou"] < patches["spatial_iou"]
    assert probe["encoder"] == patches["encoder"]
