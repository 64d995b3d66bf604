"""What a handler has in its hands: progress a person sees, seeds, parameters, configuration."""

from __future__ import annotations

import pytest
from study_folder import Study

PROGRESS = """\
def e_x1_1_probe(runner):
    runner.stage("Loading model", 1, 2)
    for _ in runner.track(range(3), "training"):
        pass
    runner.progress(1.0)
    print("from the handler")
    return {"metrics": {"accuracy": 0.95}}
"""


@pytest.mark.parametrize(
    ("arguments", "visible"), [((), False), (("-v",), True), (("-s",), True), (("-q",), False)]
)
def test_progress_is_visible_where_one_looks(study: Study, arguments: tuple[str, ...], visible: bool) -> None:
    """With -v or -s the lines appear while it runs; otherwise they are in the attempt's log only."""
    study.plan()
    study.handlers(PROGRESS)
    run = study.pytest("experiments/", *arguments)
    assert run.code == 0, run.text
    assert ("e_x1_1: [1/2] Loading model" in run.out) is visible
    assert ("e_x1_1: training: 3/3 in 0.0 s" in run.out) is visible
    log = (study.attempt() / "log.txt").read_text(encoding="utf-8")
    assert "[1/2] Loading model" in log
    assert "100% done" in log
    assert ("from the handler" in log) is ("-s" not in arguments)


def test_seeds_are_stable_across_processes(study: Study) -> None:
    """Python and NumPy draw the same numbers in every run, also where NumPy is imported late."""
    pytest.importorskip("numpy")
    study.plan()
    study.handlers(
        """\
        import random

        def e_x1_1(runner):
            import numpy
            drawn = [runner.seed, random.random(), float(numpy.random.rand())]
            return {"metrics": {"accuracy": 0.95, "drawn": drawn}}
        """
    )
    for hash_seed in ("1", "2"):
        assert study.pytest(env={"PYTHONHASHSEED": hash_seed}).code == 0
    first, second = (study.record(sequence=n)["metrics"]["drawn"] for n in (1, 2))
    assert first == second


def test_a_handler_knows_what_it_is(study: Study) -> None:
    """Ids, parameters and the plan's own words reach the handler, and cannot be changed by it."""
    study.plan(
        """\
        experiments:
          x1-first:
            sub_experiments:
              e_x1_1: {name: Probe, epochs: 7}
            success_criteria:
              accuracy: {target: 0.9, acceptable: 0.8, failure: 0.5}
        """
    )
    study.handlers(
        """\
        import pytest

        @pytest.mark.parametrize("rate", [0.1], ids=["lr=0.1"])
        def e_x1_1(runner, rate):
            assert (runner.experiment_id, runner.sub_experiment_id) == ("x1-first", "e_x1_1")
            assert runner.params == {"rate": 0.1}
            assert (runner.config["epochs"], runner.config["name"]) == (7, "Probe")
            with pytest.raises(TypeError):
                runner.config["epochs"] = 8
            with pytest.raises(AttributeError, match="did you mean 'log_metrics'"):
                runner.log_metric({})
            return {"metrics": {"accuracy": 0.95}}
        """
    )
    run = study.pytest()
    assert run.code == 0, run.text
    assert study.record()["key"]["variant"] == "lr=0.1"


def test_a_runner_is_of_no_use_after_its_attempt(study: Study) -> None:
    """A runner that was kept for later says that its attempt has ended."""
    study.plan()
    study.handlers(
        """\
        kept = []

        def e_x1_1(runner):
            kept.append(runner)
            return {"metrics": {"accuracy": 0.95}}
        """
    )
    study.write("experiments/test_later.py", "def test_later():\n    from handlers import kept\n")
    study.write(
        "experiments/conftest.py",
        """\
        import pytest

        @pytest.fixture(autouse=True)
        def late(request):
            yield
            for runner in getattr(request.module, "kept", ()):
                with pytest.raises(Exception, match="this attempt of e_x1_1 has ended"):
                    runner.log_metrics({"late": 1})
        """,
    )
    run = study.pytest("experiments/handlers.py")
    assert run.code == 0, run.text
