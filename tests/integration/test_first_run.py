"""The six-line plan and a handler, from nothing to findings."""

from __future__ import annotations

from collections.abc import Callable

from study_folder import Run, Study


def test_a_met_criterion_passes(judged: Callable[[str], Run], study: Study) -> None:
    """A handler that meets its target exits 0 and leaves results and findings."""
    run = judged('return {"finding": "Accuracy 0.95.", "metrics": {"accuracy": 0.95}}')
    assert run.code == 0, run.text
    assert run.counts(passed=1)
    results = study.results()
    assert results["recommendation"] == "proceed"
    assert results["assessment"]["success_criteria_met"] is True
    assert "accuracy of 0.950 is above the 0.90 target" in study.findings()
