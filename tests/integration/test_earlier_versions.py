"""What version 0.1.0 stored is read by this version, and means the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
from study_folder import Study

from pytest_exprunner.model.attempt import Evidence, EvidenceKind, Terms, as_plain, parse_record
from pytest_exprunner.plan import loader
from pytest_exprunner.store import results_file
from pytest_exprunner.store.results_fallback import read_fallback

STORED = Path(__file__).parent.parent / "data" / "version-0.1.0" / "research"
RECORDS = sorted(STORED.rglob("record.json"))
RESULTS = sorted(STORED.rglob("results.yaml"))


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: "-".join(file.parts[-3:-1]))
def test_a_record(file: Path) -> None:
    """Every field is kept; what stood among the criteria by an odd name has fields of its own."""
    stored = orjson.loads(file.read_bytes())
    record = parse_record(file.read_bytes())
    now = as_plain(record)
    replaced_by = stored["registered"].pop("(replaced by)")
    together = bool(stored["registered"].pop("(together)"))
    assert now.pop("terms") == Terms(replaced_by, together)
    assert orjson.loads(orjson.dumps(now)) == {k: v for k, v in stored.items() if k != "schema_version"}


def test_a_record_with_everything() -> None:
    """Special numbers, a hint, evidence and samples have the values that were stored."""
    attempts = STORED / "experiments" / "x1-first" / "attempts"
    wide = parse_record((attempts / "e_x1_2" / "0001" / "record.json").read_bytes())
    assert wide.metrics["huge"] == 10**30
    assert wide.metrics["odd"] != wide.metrics["odd"]
    assert wide.extra == {"note": "kept"}
    toy = parse_record((attempts / "e_x1_3" / "0001" / "record.json").read_bytes())
    [evidence] = toy.evidence
    assert evidence == Evidence(EvidenceKind.SIMULATED, "a toy model", evidence.place)
    assert toy.missing == ("never.png",)
    seeded = [parse_record(file.read_bytes()) for file in attempts.glob("e_x1_1/*/record.json")]
    [first] = [record for record in seeded if record.key.seed == 0]
    assert first.samples == {"accuracy": (1.0, 1.0, 1.0, 1.0, 0.0)}
    failed = parse_record((attempts / "e_x1_4" / "0001" / "record.json").read_bytes())
    assert [hint.rule for hint in failed.hints] == ["gpu-out-of-memory"]


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.parent.name)
def test_a_results_file(file: Path) -> None:
    """It is recognised as this tool's own, unchanged, and stands in for the records."""
    stored = results_file.load(file)
    assert (stored.problem, stored.ours, stored.intact, stored.edited) == ("", True, True, False)
    found = read_fallback(stored)
    assert found.registered.terms == Terms(
        "x2-second" if file.parent.name == "x3-old" else "", together=(file.parent.name == "x2-second")
    )
    assert "(together)" not in found.registered.criteria
    assert all(current.record.is_summary for currents in found.currents.values() for current in currents)


def test_a_plan() -> None:
    """It loads without a word."""
    loaded = loader.load(STORED / "research_plan.yaml")
    assert list(loaded.plan.experiments) == ["x1-first", "x2-second", "x3-old"]
    assert not loaded.warnings


@pytest.mark.parametrize("with_records", [True, False], ids=["records", "results-alone"])
def test_a_study(study: Study, with_records: bool) -> None:
    """Its verdicts are what they were, with the records and without them."""
    shutil.copytree(STORED, study.research, dirs_exist_ok=True)
    if not with_records:
        for folder in study.research.glob("experiments/*/attempts"):
            shutil.rmtree(folder)
    before = {name: study.results(name) for name in ("x1-first", "x2-second", "x3-old")}
    assert "registered" not in study.exprunner("verify").out
    run = study.exprunner("report")
    assert run.code == 0, run.out
    for name, old in before.items():
        new = study.results(name)
        new.pop("registered_terms")
        old["registered"] = {
            k: v for k, v in old["registered"].items() if k not in ("(replaced by)", "(together)")
        }
        for text in ("recommendation_notes", "issues"):  # words may change, facts may not
            assert bool(new.pop(text)) == bool(old.pop(text))
        new["assessment"].pop("confidence_notes")
        old["assessment"].pop("confidence_notes")
        for label, criterion in new["criteria"].items():
            assert ("reason" in criterion) == ("reason" in old["criteria"][label])
            criterion.pop("reason", None)
            old["criteria"][label].pop("reason", None)
        assert new == old
