"""Runs over several workers: in order, each once, and as true as a serial run."""

from __future__ import annotations

import re
from typing import Any

import pytest
from study_folder import Run, Study

PARALLEL = ("exprunner", "xdist")
DIAMOND = """\
experiments:
  a: {sub_experiments: [e_a], success_criteria: {accuracy: {target: 0.9}}}
  b: {sub_experiments: [e_b], success_criteria: {accuracy: {target: 0.9}}, dependencies: [a]}
  c: {sub_experiments: [e_c], success_criteria: {accuracy: {target: 0.9}}, dependencies: [a]}
  d: {sub_experiments: [e_d], success_criteria: {accuracy: {target: 0.9}}, dependencies: [g]}
gates:
  g: {experiments: [b, c], unlocks: [d]}
"""
MET = "    return {'metrics': {'accuracy': 0.95}}\n"
CRASHING = """\
experiments:
  x1-first:
    sub_experiments: {e_x1_1: {}, e_x1_2: {}, e_x1_3: {needs: [e_x1_1]}, e_x1_4: {needs: [e_x1_2]}}
    success_criteria:
      accuracy: {target: 0.9, from: e_x1_2}
"""


def parallel(study: Study, *arguments: str, **more: Any) -> Run:
    """Run with two workers."""
    plugins = (*PARALLEL, *more.pop("plugins", ()))
    return study.pytest("-n2", "experiments", *arguments, plugins=plugins, **more)


def times(study: Study, sub: str, experiment: str) -> tuple[str, str]:
    """Return when an attempt started and when it ended."""
    record = study.record(sub, 1, experiment)
    return record["started_at"], record["finished_at"]


def timeless(study: Study) -> dict[str, str]:
    """Return everything written for people and tools, times, durations, ids and digests apart."""
    texts = {}
    for path in sorted(study.files()):
        if path.endswith((".md", "results.yaml")):
            text = (study.root / path).read_text(encoding="utf-8")
            text = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.]+Z?|\d{8}-\d{6}-[0-9a-f]{6}|\b[0-9a-f]{16}\b", "…", text)
            text = text.partition("\nprovenance:")[0]  # says who ran it, and how long that took
            texts[path] = re.sub(r"\b\d+\.\d+ s\b|duration_s: .*|\d{4}-\d\d-\d\d", "…", text)
    return texts


# --- order ------------------------------------------------------------------------------------


def test_a_diamond(study: Study) -> None:
    """What is independent runs at once, what depends on it after it; files are those of a serial run."""
    study.plan(DIAMOND)
    meeting = """\
import os, pathlib, time

def meet(mine, other):
    pathlib.Path(f"at-{mine}").touch()
    until = time.monotonic() + (30 if "PYTEST_XDIST_WORKER" in os.environ else 0)
    while not pathlib.Path(f"at-{other}").exists() and time.monotonic() < until:
        time.sleep(0.01)

"""
    meets = {"b": "    meet('b', 'c')\n", "c": "    meet('c', 'b')\n"}
    study.handlers(
        meeting
        + "".join(f"def e_{x}(runner):\n{meets.get(x, '')}{MET}" for x in "dcba")  # the wrong way round
    )
    run = parallel(study)
    assert run.code == 0, run.text
    assert run.counts(passed=4)
    assert "2 workers [4 items]" in run.out
    (a, b, c, d) = (times(study, f"e_{x}", x) for x in "abcd")
    assert max(a[0], a[1]) <= min(b[0], c[0])
    assert max(b[0], c[0]) < min(b[1], c[1])
    assert max(b[1], c[1]) <= d[0]
    assert not list((study.research / ".exprunner" / "runs").iterdir())

    serial = Study(study.root / "serial")
    serial.plan(DIAMOND)
    serial.write("experiments/handlers.py", (study.root / "experiments" / "handlers.py").read_text())
    assert serial.pytest().code == 0
    found = {path: text for path, text in timeless(study).items() if not path.startswith("serial/")}
    assert found == timeless(serial)


def test_what_upstream_left_in_another_worker(study: Study) -> None:
    """A dependent reads what was returned and saved elsewhere a moment ago."""
    study.plan(CRASHING)
    study.handlers(
        """\
        import os

        def e_x1_1(runner):
            return {"artifacts": [runner.results.save_artifact("pid", str(os.getpid()))]}

        def e_x1_2(runner):
            return {"metrics": {"accuracy": 0.95}}

        def e_x1_3(runner):
            assert runner.needs["e_x1_1"].artifact("pid").read_text().isdecimal()
            return {"metrics": {"accuracy": 0}}

        def e_x1_4(runner):
            return {"metrics": {"accuracy": runner.needs["e_x1_2"].metrics["accuracy"]}}
        """
    )
    run = parallel(study)
    assert run.code == 0, run.text
    assert study.record("e_x1_4")["metrics"] == {"accuracy": 0.95}
    assert study.record("e_x1_4")["upstream"] == {"e_x1_2": 1}


def test_a_chain_longer_than_the_workers(study: Study) -> None:
    """A real-shaped graph of 25 with long and short branches runs in order and to its end."""
    needs = {i: sorted({i // 2, (i * 7) % i if i > 3 else 0}) for i in range(1, 25)}
    subs = ", ".join(
        f"e_{i}: {{needs: [{', '.join(f'e_{n}' for n in needs.get(i, []))}]}}" for i in range(25)
    )
    study.plan(f"experiments:\n  x1-first: {{sub_experiments: {{{subs}}}}}\n")
    handlers = (
        f"def e_{i}(runner):\n    assert len(list(runner.needs.values())) == {len(needs.get(i, []))}\n"
        f"    return {{'metrics': {{}}}}\n"
        for i in reversed(range(25))
    )
    study.handlers("".join(handlers))
    run = parallel(study)
    assert "25 passed" in run.out, run.text
    records = {i: study.record(f"e_{i}") for i in range(25)}
    assert all(records[n]["finished_at"] <= records[i]["started_at"] for i in needs for n in needs[i])
    assert all(records[i]["upstream"] == {f"e_{n}": 1 for n in needs[i]} for i in needs)


def test_a_dependent_of_what_did_not_proceed(study: Study) -> None:
    """It is blocked with the reason, not run; so is what depends on it."""
    study.plan(DIAMOND)
    study.handlers(
        "".join(f"def e_{x}(runner):\n{MET}" for x in "abd")
        + "def e_c(runner): return {'metrics': {'accuracy': 0.1}}\n"
    )
    run = parallel(study)
    assert run.code == 1
    assert run.counts(passed=2, failed=2)
    assert "blocked: d needs g to pass; c says pivot: Not met: accuracy 0.100 (needs ≥ 0.90)" in run.out
    assert "Completed: 3  Failed: 0  Skipped: 0  Blocked: 1  No handler: 0" in run.out
    assert not study.attempt("e_d", experiment="d").exists()


def test_only_a_dependent(study: Study) -> None:
    """Alone, a dependent is blocked by what never ran, and runs on what an earlier run left."""
    study.plan(DIAMOND)
    study.handlers("".join(f"def e_{x}(runner):\n{MET}" for x in "abcd"))
    run = parallel(study, "-k", "e_b")
    assert run.code == 1
    assert "blocked: b needs a to proceed; it has not started" in run.out
    assert parallel(study, "-k", "e_a").code == 0
    assert parallel(study, "-k", "e_b").code == 0


# --- judgement --------------------------------------------------------------------------------


def test_what_no_item_asserts(study: Study) -> None:
    """A criterion that nobody measured fails the experiment as a whole, once."""
    study.plan()
    study.handlers("def e_x1_1(runner): return {'metrics': {'loss': 1}}\n")
    run = parallel(study, "--junitxml=report.xml")
    assert run.code == 1
    assert "FAILED research/research_plan.yaml::x1-first" in run.out
    assert run.counts(failed=1, passed=1)


def test_variants_and_deselection(study: Study) -> None:
    """Of several variants all must have run: the one that was left out is told."""
    study.plan()
    study.handlers(
        """\
        import pytest

        @pytest.mark.parametrize("rate", [1, 2, 3])
        def e_x1_1(runner, rate):
            return {"metrics": {"accuracy": 0.95}}
        """
    )
    run = parallel(study, "-k", "not 2")
    assert run.code == 0, run.text
    assert study.results()["recommendation"] == "investigate"
    assert parallel(study).code == 0
    assert study.results()["recommendation"] == "proceed"


def test_ordinary_tests_in_the_same_run(study: Study) -> None:
    """Tests beside handlers run as ever; the experiment is judged, and tests are not."""
    study.plan()
    study.handlers(f"def e_x1_1(runner):\n{MET}")
    study.write("tests/test_it.py", "def test_a(): pass\ndef test_b(): assert 0\n")
    run = parallel(study, "tests")
    assert run.code == 1
    assert run.counts(passed=2, failed=1)
    assert study.results()["recommendation"] == "proceed"


def test_stub_and_exploratory(study: Study) -> None:
    """The harness as a whole in parallel: sub-experiments without a handler, handlers without a plan."""
    study.plan(DIAMOND)
    study.handlers(f"def e_a(runner):\n{MET}def e_z_9(runner):\n{MET}")
    run = parallel(study, "--exp-stub")
    assert run.code == 0, run.text
    assert run.counts(passed=4)
    run = parallel(study, "--exp-exploratory", "-k", "e_z_9")
    assert run.code == 0, run.text
    assert run.counts(passed=1)


@pytest.mark.parametrize("distribution", ["loadscope", "loadfile", "loadgroup", "each"])
def test_distributions_that_cannot_keep_order(study: Study, distribution: str) -> None:
    """Another way to distribute is refused before anything runs."""
    study.plan()
    study.handlers(f"def e_x1_1(runner):\n{MET}")
    run = parallel(study, "--dist", distribution)
    assert run.code == 4
    assert run.err.strip() == (
        f"ERROR: --dist {distribution} cannot keep the order that dependencies require; "
        "run experiments with -n N alone, which starts each of them as soon as it can"
    )
    assert not (study.research / "experiments").exists()


def test_random_order(study: Study) -> None:
    """A plugin that shuffles changes nothing about what waits for what."""
    study.plan(DIAMOND)
    study.handlers("".join(f"def e_{x}(runner):\n{MET}" for x in "dcba"))
    for seed in ("1", "2", "3"):
        run = parallel(study, f"--randomly-seed={seed}", plugins=("randomly",))
        assert run.code == 0, run.text


def test_a_results_folder_that_cannot_be_written(study: Study) -> None:
    """It is said once, before anything runs."""
    study.plan()
    study.handlers(f"def e_x1_1(runner):\n{MET}")
    study.write("research/experiments", "a file")
    run = parallel(study)
    assert run.code == 4
    assert "the results folder" in run.err
    assert "INTERNALERROR" not in run.text


# --- fixtures ---------------------------------------------------------------------------------


def test_fixtures_of_a_module_live_on(study: Study) -> None:
    """A module's fixture is set up once per worker, torn down between modules, and its fault is told."""
    study.plan(DIAMOND)
    fixture = (
        "import os, pytest\n"
        "@pytest.fixture(scope='module')\n"
        "def data(request):\n"
        "    log = open(os.environ['LOG'], 'a')\n"
        "    print('up', request.module.__name__[-5:], os.getpid(), file=log, flush=True)\n"
        "    yield\n"
        "    print('down', request.module.__name__[-5:], os.getpid(), file=log, flush=True)\n"
    )
    study.handlers(fixture + "".join(f"def e_{x}(runner, data):\n{MET}" for x in "ab"), "first.py")
    study.handlers(
        f"{fixture}    raise OSError('disk is gone')\n"
        + "".join(f"def e_{x}(runner, data):\n{MET}" for x in "cd"),
        "second.py",
    )
    run = study.pytest("-n1", "experiments", plugins=PARALLEL, env={"LOG": str(study.root / "log")})
    told = [line.split()[0] for line in (study.root / "log").read_text().splitlines()]
    assert told == ["up", "down"] * (len(told) // 2)
    assert len(told) <= 2 * 3  # a and b share one, or are taken apart by c alone
    assert run.code == 1
    assert "disk is gone" in run.out
    assert "4 passed" in run.out


# --- crashes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dies", "words"),
    [
        ("os.kill(os.getpid(), 9)", "killed, likely out of memory"),
        ("os.kill(os.getpid(), 11)", "crashed: SIGSEGV"),
        ("os.abort()", "crashed: SIGABRT"),
        ("os._exit(0)", "its process exited with code 0"),
        ("os._exit(5)", "its process exited with code 5"),
    ],
)
def test_a_worker_that_dies(study: Study, dies: str, words: str) -> None:
    """Its sub-experiment failed, with the cause and the last it said; all others are as they were."""
    study.plan(CRASHING)
    study.handlers(
        f"""\
        import os

        def e_x1_1(runner):
            runner.log_metrics({{"loss": 0.5}}, step=7)
            runner.results.save_artifact("before.txt", "kept")
            runner.stage("about to go")
            {dies}

        def e_x1_2(runner):
            return {{"metrics": {{"accuracy": 0.95}}}}

        def e_x1_3(runner):
            return {{"metrics": {{}}}}

        def e_x1_4(runner):
            return {{"metrics": {{}}}}
        """
    )
    run = parallel(study)
    assert run.code == 1
    assert run.counts(passed=2, failed=2)
    assert f"e_x1_1 failed: {words}." in run.out
    assert re.search(r"The last it logged:\n  \S+Z about to go\n  metrics of step 7: loss 0\.5\n", run.out)
    assert f"blocked: it needs e_x1_1, which is failed (ProcessLost: {words})" in run.out
    record = study.record("e_x1_1")
    assert (record["status"], record["error"]["message"]) == ("failed", words)
    assert record["logged"] == {"loss": {"count": 1, "last": 0.5}}
    assert [a["path"] for a in record["artifacts"]] == ["artifacts/e_x1_1/before.txt"]
    assert "Completed: 2  Failed: 1  Skipped: 0  Blocked: 1  No handler: 0" in run.out
    assert study.exprunner("status").code == 0


def test_every_worker_dies(study: Study) -> None:
    """With no replacements left, what did not run is unfinished and the run is no success."""
    study.plan(CRASHING)
    study.handlers("".join(f"def e_x1_{i}(runner): __import__('os').abort()\n" for i in range(1, 5)))
    run = parallel(study, "--max-worker-restart=0")
    assert run.code == 1
    assert "INTERNALERROR" not in run.text
    assert "restarting disabled" in run.out
    assert study.results()["recommendation"] == "investigate"


@pytest.mark.parametrize("option", ["-x", "--maxfail=1"])
def test_stop_at_the_first_failure(study: Study, option: str) -> None:
    """What was not started is unfinished, and said to be."""
    study.plan(CRASHING)
    study.handlers(
        "def e_x1_1(runner): raise ValueError\n"
        + "".join(f"def e_x1_{i}(runner):\n    import time; time.sleep(2)\n{MET}" for i in (2, 3, 4))
    )
    run = parallel(study, option)
    assert run.code == 2
    assert "stopping after 1 failures" in run.out
    assert not study.attempt("e_x1_4").exists()
    assert study.results()["recommendation"] == "investigate"
    assert parallel(study, "-k", "e_x1_2 or e_x1_4").code == 0


def test_a_gate_over_a_baseline_of_another_experiment(study: Study) -> None:
    """What a verdict is compared with is waited for, and read, also by a worker that measured a part of it."""
    study.plan(
        """\
        experiments:
          a: {sub_experiments: {e_a_1: {seeds: [0, 1]}, e_a_2: {needs: [e_a_1], seeds: [0, 1]}}}
          b:
            sub_experiments: {e_b: {seeds: [0, 1]}}
            success_criteria: {gain: {metric: accuracy, minus: e_a_2/accuracy, target: 0.3}}
          c: {sub_experiments: [e_c], success_criteria: {accuracy: {target: 0.9}}, dependencies: [g]}
        gates:
          g: {experiments: [b]}
        """
    )
    study.handlers(
        "import time\n"
        "def e_a_1(runner):\n    time.sleep(0.2)\n    return {'metrics': {'accuracy': 0.5}}\n"
        "def e_a_2(runner):\n    time.sleep(0.4)\n    return {'metrics': {'accuracy': 0.5}}\n"
        f"def e_b(runner):\n{MET}def e_c(runner):\n{MET}"
    )
    run = parallel(study)
    assert study.results("c")["recommendation"] == "proceed", run.out


def test_ignoring_dependencies(study: Study) -> None:
    """What others have just left is read all the same."""
    study.plan(
        "experiments:\n  x1-first: {sub_experiments: {e_x1_1: {}, e_x1_2: {needs: [e_x1_1]}, e_x1_3: {needs: [e_x1_2]}}}\n"
    )
    passing = "{'metrics': {'x': runner.needs['%s'].metrics['x']}}"
    study.handlers(
        "import os\ndef e_x1_1(runner): return {'metrics': {'x': os.environ['X']}}\n"
        f"def e_x1_2(runner): return {passing % 'e_x1_1'}\ndef e_x1_3(runner): return {passing % 'e_x1_2'}\n"
    )
    parallel(study, env={"X": "1"})
    parallel(study, "--exp-ignore-dependencies", env={"X": "2"})
    assert study.record("e_x1_3", 2)["metrics"] == {"x": "2"}


@pytest.mark.parametrize(
    "body",
    [
        r"raise ValueError('\ud800')",
        r"raise FileNotFoundError('file caf\udce9.txt not found')",
        r"import warnings; warnings.warn('\ud800'); return {'metrics': {'accuracy': 0.95}}",
        r"import pytest; pytest.skip('\ud800')",
        r"import logging; logging.error('\ud800'); raise ValueError",
        r"assert '\ud800' == 'b'",
        r"record_property('path', __import__('pathlib').Path('/\udce9')); return {'metrics': {'accuracy': 0.95}}",
        r"record_property('\ud800', 1 + 2j); return {'metrics': {'accuracy': 0.95}}",
    ],
)
def test_texts_that_no_connection_carries(study: Study, body: str) -> None:
    """Text that is no UTF-8, as of a file with an odd name, ends no worker and loses nobody's result."""
    study.plan(
        "experiments: {x1-first: {sub_experiments: [e_x1_1, e_x1_2, e_x1_3, e_x1_4], "
        "success_criteria: {accuracy: {target: 0.9, from: e_x1_2}}}}\n"
    )
    good = "def {}(runner): return {{'metrics': {{'accuracy': 0.95}}}}\n"
    study.handlers(
        f"def e_x1_1(runner, record_property): {body}\n"
        + "".join(good.format(f"e_x1_{i}") for i in (2, 3, 4))
    )
    run = study.pytest("experiments", "-n2", plugins=("exprunner", "xdist"))
    assert "INTERNALERROR" not in run.text
    fine = "return" in body
    assert run.code == (0 if fine else 1), run.text
    assert f"{4 if fine else 3} passed" in run.out


def test_a_handler_file_whose_error_no_connection_carries(study: Study) -> None:
    """The same while handlers are collected."""
    study.plan()
    study.handlers(r"raise ValueError('\ud800')" + "\ndef e_x1_1(runner): pass\n")
    run = study.pytest("experiments", "-n2", plugins=("exprunner", "xdist"))
    assert "INTERNALERROR" not in run.text
    assert r"ValueError: \ud800" in run.out
    assert run.code not in {0, 3}
