"""Weights & Biases for real: its library offline, its log read back; and its library against a server here."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import socket
import time
from pathlib import Path

import orjson
import pytest
import wandb_log
from study_folder import Run, Study
from wandb_log import Logged
from wandb_server import Server, serving

import pytest_exprunner

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="wandb is not installed (pytest-exprunner[wandb])"
)

SLOW = pytest.mark.slow
PLAN = """\
project: {name: Little Shapes}
tracking: {wandb: {project: shapes, entity: null, tags: [pilot]}}
experiments:
  x1-first:
    type: claim
    phase: 2
    sub_experiments: {e_x1_1: {objective: See shapes.}, e_x1_2: {}, e_x1_3: {}}
    success_criteria:
      accuracy: {target: 0.9, acceptable: 0.8, from: e_x1_1}
gates:
  gate_1: {experiments: [x1-first]}
"""
HANDLERS = """\
import math, os, struct, time, zlib
import pytest


def chunk(kind, data):
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


PNG = (
    b"\\x89PNG\\r\\n\\x1a\\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\\0\\0\\0\\0"))
    + chunk(b"IEND", b"")
)


def e_x1_1(runner):
    for step in (0, 10, 5, 20):
        runner.log_metrics({"loss": 1 / (step + 1), "e_x1_1/lr": 0.1}, step=step)
    runner.log_metrics({"odd": math.nan, "big": 2**70})
    runner.results.save_artifact("plots/iou.png", PNG)
    runner.results.save_artifact("model.pt", b"x" * 10)
    runner.results.save_artifact("broken.png", b"no picture")
    return {"finding": "Seen.", "metrics": {"accuracy": 0.85, "note": "x", "sizes": [1, 2]}}


@pytest.mark.parametrize("rate", [0.1, 0.2])
def e_x1_2(runner, rate):
    runner.evidence("simulated", "no data yet")
    runner.log_metrics({"rate": rate}, step=1)
    return {"metrics": {"rate": rate}}


def e_x1_3(runner):
    for step in range(50):
        runner.log_metrics({"row": step}, step=step)
    exec(os.environ.get("ENDS", "pass"))
    return {"metrics": {"rows": 3}}
"""


@pytest.fixture
def tracked(study: Study) -> Study:
    """A study with a plot, variants, and a handler that does what ``ENDS`` says."""
    study.plan(PLAN)
    study.handlers(HANDLERS)
    return study


def environment(**more: str) -> dict[str, str]:
    """Nothing that this machine may know of W&B, and no other home."""
    unset = {name: "" for name in os.environ if name.startswith("WANDB_")}
    return {**unset, "NETRC": os.devnull, **more}


def run(study: Study, *arguments: str, **env: str) -> Run:
    """Run the study with W&B, offline if nothing else is said."""
    given = {"WANDB_MODE": "offline", "HOME": str(study.root), **env}
    return study.pytest(
        "experiments", "--exp-tracker=wandb", *arguments,
        env=environment(**given), plugins=("exprunner", "xdist"),
    )  # fmt: skip


def sync(study: Study, *arguments: str, **env: str) -> Run:
    """Send what is missing."""
    given = {"WANDB_MODE": "offline", "HOME": str(study.root), **env}
    return study.exprunner("sync", "--tracker", "wandb", *arguments, env=environment(**given))


def logs(study: Study) -> dict[str, Logged]:
    """Every offline run by its name."""
    files = (study.research / ".exprunner" / "tracking" / "wandb").glob("offline-run-*/*.wandb")
    found = [wandb_log.read(file) for file in files]
    assert len({log.run["name"] for log in found}) == len(found)
    return {str(log.run["name"]): log for log in found}


# --- offline ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [(), pytest.param(("-n2",), marks=SLOW), pytest.param(("--exp-executor=subprocess",), marks=SLOW)],
    ids=["serial", "-n2", "subprocess"],
)
def test_every_point_is_there(tracked: Study, arguments: tuple[str, ...]) -> None:
    """Names, steps, configuration, summary, artifacts and media, as the guide promises them."""
    done = run(tracked, *arguments)
    assert done.code == 0, done.text
    found = logs(tracked)
    results = next(name for name in found if name.startswith("results "))
    assert set(found) == {"e_x1_1 #1", "e_x1_2[0.1] #1", "e_x1_2[0.2] #2", "e_x1_3 #1", results} or set(
        found
    ) == {"e_x1_1 #1", "e_x1_2[0.1] #2", "e_x1_2[0.2] #1", "e_x1_3 #1", results}
    first = found["e_x1_1 #1"]
    assert first.run | {"id": ""} == {
        "id": "", "project": "shapes", "entity": "", "name": "e_x1_1 #1", "group": "x1-first",
        "job_type": "e_x1_1", "notes": "See shapes.", "tags": ["claim", "gate_1", "phase 2", "pilot"],
    }  # fmt: skip
    assert first.step_metrics == {"e_x1_1/step": "", "e_x1_1/*": "e_x1_1/step"}
    rows = first.rows()
    assert [(row["e_x1_1/step"], row["e_x1_1/loss"], row["e_x1_1/lr"]) for row in rows[:4]] == [
        (step, 1 / (step + 1), 0.1) for step in (0, 10, 5, 20)
    ]
    assert rows[4]["e_x1_1/big"] == float(2**70)
    assert rows[4]["e_x1_1/odd"] != rows[4]["e_x1_1/odd"]
    record = tracked.record()
    assert first.config["params"] == {}
    assert first.config["rng_seed"] == record["rng_seed"]
    assert first.config["criteria"]["accuracy"]["target"] == 0.9
    assert first.config["provenance"]["python"] == record["provenance"]["python"]
    summary = first.summary
    assert (summary["verdict/accuracy"], summary["status"], summary["evidence"]) == (
        "acceptable",
        "completed",
        "real",
    )
    assert (summary["e_x1_1/accuracy"], summary["e_x1_1/sizes"], summary["finding"]) == (
        0.85,
        [1, 2],
        "Seen.",
    )
    assert first.artifacts == {
        "e_x1_1-plots-iou.png": ("image", ["attempt-1", "latest"], ["plots/iou.png"]),
        "e_x1_1-broken.png": ("image", ["attempt-1", "latest"], ["broken.png"]),
        "e_x1_1-model.pt": ("model", ["attempt-1", "latest"], ["model.pt"]),
    }
    assert rows[5]["e_x1_1/plots/iou.png/_type"] == "image-file"
    assert first.exit_code == 0
    variant = next(log for name, log in found.items() if name.startswith("e_x1_2[0.2]"))
    assert (variant.config["params"], variant.config["variant"]) == ({"rate": 0.2}, "0.2")
    assert {"0.2", "simulated"} <= set(variant.run["tags"])
    assert variant.summary["evidence"] == "simulated"
    whole = found[results]
    assert whole.summary["x1-first/recommendation"] == "proceed"
    assert whole.summary["x1-first/verdict/accuracy"] == "acceptable"
    assert whole.summary["gate/gate_1"] == "passed"
    assert whole.artifacts["results-and-findings"][2] == [
        "research/FINDINGS.md", "x1-first/FINDINGS.md", "x1-first/results.yaml",
    ]  # fmt: skip
    assert said(done) == ["trackers: wandb", "wandb: received 4 attempts (research/.exprunner/tracking)"]


def said(done: Run) -> list[str]:
    """Every line that says anything of W&B."""
    lines = (line for line in done.out.splitlines() if not line.startswith("waiting up to"))
    return [line for line in lines if "wandb" in line and "platform" not in line]


def test_stub_runs_are_marked(tracked: Study) -> None:
    """A stub run goes to a place of its own and says so."""
    assert run(tracked, "--exp-stub").code == 0
    files = list((tracked.research / ".exprunner" / "stub" / "tracking").rglob("offline-run-*/*.wandb"))
    found = [wandb_log.read(file) for file in files]
    assert found
    assert all("stub" in log.run["tags"] for log in found)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("-n2",), ("--exp-executor=subprocess",)], ids=["-n2", "subprocess"])
def test_a_handler_that_is_killed(tracked: Study, arguments: tuple[str, ...]) -> None:
    """The run of a killed worker's attempt has every point, and failed."""
    assert run(tracked, *arguments, ENDS="os.kill(os.getpid(), 9)").code == 1
    lost = logs(tracked)["e_x1_3 #1"]
    assert [row["e_x1_3/row"] for row in lost.rows()] == list(range(50))
    assert (lost.summary["status"], lost.exit_code) == ("failed", 1)
    known = "wandb: received 0 attempts, 4 already delivered; 4 kept locally, waiting for a server\n"
    assert sync(tracked).out == known


@pytest.mark.slow
def test_everything_is_killed(tracked: Study) -> None:
    """The run, its tracker and wandb itself: the log that is torn is put away, and one is written whole."""
    env = environment(WANDB_MODE="offline", ENDS="open('there', 'w').close(); time.sleep(60)")
    process = tracked.start("--exp-tracker=wandb", "-k", "e_x1_3", env=env)
    folder = tracked.research / ".exprunner" / "tracking" / "wandb"
    while not (tracked.root / "there").exists() or not list(folder.glob("offline-run-*")):
        time.sleep(0.02)
    kill_tree(process.pid)
    process.wait(10)
    assert sync(tracked).out == "wandb: received 1 attempt; 1 kept locally, waiting for a server\n"
    assert [row["e_x1_3/row"] for row in logs(tracked)["e_x1_3 #1"].rows()] == list(range(50))
    assert logs(tracked)["e_x1_3 #1"].summary["status"] == "in_progress"
    assert len(list(folder.glob("superseded-offline-run-*"))) == 1


def kill_tree(pid: int) -> None:
    """Kill a process and all below it at once."""
    import psutil

    process = psutil.Process(pid)
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # one ends when its parent does
            each.kill()


def test_the_guide(study: Study) -> None:
    """Names, steps, aliases and tags are those that the guide tells of."""
    guide = (Path(pytest_exprunner.__file__).parent.parent / "docs" / "wandb.md").read_text(encoding="utf-8")
    [plan] = re.findall(r"^```yaml\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    handler, _tracker = re.findall(r"^```python\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    study.plan(plan)
    study.handlers(handler)
    done = run(study)
    assert done.code == 0, done.text
    found = logs(study)
    log = found["e_p2_1 #1"]
    assert (log.run["group"], log.run["job_type"]) == ("p2-hybrid-encoder", "e_p2_1")
    assert log.run["tags"] == ["phase 1", "pilot", "pivot"]
    assert set(log.rows()[0]) == {"e_p2_1/loss", "e_p2_1/step"}
    assert log.artifacts == {"e_p2_1-curve.txt": ("text", ["attempt-1", "latest"], ["curve.txt"])}
    [results] = [name for name in found if name.startswith("results ")]
    assert list(found[results].artifacts) == ["results-and-findings"]


# --- where it cannot work ---------------------------------------------------------------------


def test_disabled(tracked: Study) -> None:
    """Where W&B is switched off, nothing is imported, written or said."""
    done = run(tracked, WANDB_MODE="disabled")
    assert done.code == 0
    assert said(done) == ["trackers: wandb"]
    assert logs(tracked) == {}
    later = sync(tracked)  # it was not told of them then
    assert (later.code, later.out) == (
        3,
        "wandb: received 4 attempts; 4 kept locally, waiting for a server\n",
    )


def test_not_installed(tracked: Study) -> None:
    """It is said what to install; the run is as it is without."""
    tracked.write("elsewhere/wandb.py", "raise ImportError('no wandb here')")
    done = run(tracked, PYTHONPATH=str(tracked.root / "elsewhere"))
    assert done.code == 0
    assert (
        "wandb failed: ImportError: wandb is not installed here (no wandb here): "
        "python -m pip install 'pytest-exprunner[wandb]' (more in wandb.log in research/.exprunner/tracking)\n"
        "wandb received nothing; 'exprunner sync --tracker wandb' sends what it missed\n"
    ) in done.out


def kept_here(study: Study, done: Run, reason: str) -> None:
    """Assert that one warning says why runs are kept here, and that they are."""
    assert done.code == 0, done.text
    folder = "research/.exprunner/tracking"
    later = "and 'exprunner sync --tracker wandb' sends them later"
    assert said(done)[1:] == [
        f"wandb: {reason}; runs are kept in {folder} {later}",
        f"wandb: received 4 attempts ({folder})",
    ]
    assert len(logs(study)["e_x1_3 #1"].rows()) == 50


def test_no_key(tracked: Study) -> None:
    """Without a key nobody is asked for one."""
    with serving() as server:
        done = run(tracked, WANDB_MODE="online", WANDB_BASE_URL=server.url)
        url = server.url
    kept_here(tracked, done, f"there is no API key for {url} (set WANDB_API_KEY or run 'wandb login')")


def test_a_dead_endpoint(tracked: Study) -> None:
    """Where nobody listens runs are kept here."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = run(tracked, WANDB_MODE="online", WANDB_BASE_URL=url, WANDB_API_KEY="k" * 40)
    kept_here(tracked, done, f"{url} cannot be reached ([Errno 111] Connection refused)")


@pytest.mark.slow
def test_an_endpoint_that_hangs(tracked: Study) -> None:
    """Where somebody listens and never answers, that is known within half a minute."""
    with serving(hang=60) as server:
        began = time.monotonic()
        done = run(tracked, WANDB_MODE="online", WANDB_BASE_URL=server.url, WANDB_API_KEY="k" * 40)
        assert time.monotonic() - began < 30
        url = server.url
    kept_here(tracked, done, f"{url} cannot be reached (timed out)")


def test_a_folder_that_cannot_be_written(tracked: Study) -> None:
    """Where W&B cannot write, results are what they are, and it is said once."""
    (tracked.root / "taken").touch()
    done = run(tracked, WANDB_DIR=str(tracked.root / "taken"))
    assert done.code == 0
    assert done.out.count("wandb failed:") == 1
    assert "'exprunner sync --tracker wandb' sends what it missed" in done.out
    assert tracked.results()["recommendation"] == "proceed"


# --- online -----------------------------------------------------------------------------------


def online(server: Server) -> dict[str, str]:
    """What makes wandb talk to a server here."""
    return {"WANDB_MODE": "online", "WANDB_BASE_URL": server.url, "WANDB_API_KEY": "k" * 40}


def rows_of(server: Server, job: str) -> list[dict[str, object]]:
    """The rows of the one run of a sub-experiment."""
    [run_id] = [name for name, given in server.runs.items() if given.get("jobType") == job]
    return server.history(run_id)


def test_online(tracked: Study) -> None:
    """Every row arrives once; what was delivered is not sent again."""
    with serving() as server:
        done = run(tracked, **online(server))
        assert done.code == 0, done.text
        assert said(done) == ["trackers: wandb", f"wandb: received 4 attempts ({server.url}/e/p)"]
        assert [row["e_x1_3/row"] for row in rows_of(server, "e_x1_3")] == list(range(50))
        assert sync(tracked, **online(server)).out == "wandb: received 0 attempts, 4 already delivered\n"
        assert server.sent_twice == []
        (tracked.research / ".exprunner" / "tracking" / "wandb.jsonl").unlink()
        assert sync(tracked, **online(server)).out == "wandb: received 4 attempts\n"
        assert [row["e_x1_3/row"] for row in rows_of(server, "e_x1_3")] == list(range(50))
        assert len(rows_of(server, "e_x1_1")) == 6


def test_offline_first(tracked: Study) -> None:
    """What was kept while there was no server is sent once there is one."""
    assert run(tracked).code == 0
    with serving() as server:
        assert sync(tracked, **online(server)).out == "wandb: received 4 attempts\n"
        assert [row["e_x1_3/row"] for row in rows_of(server, "e_x1_3")] == list(range(50))
        assert sync(tracked, **online(server)).out == "wandb: received 0 attempts, 4 already delivered\n"


@pytest.mark.slow
def test_a_server_that_goes_away(tracked: Study) -> None:
    """A run that was sent in part is completed under the same id, no row twice."""
    with serving() as server:
        env = environment(**online(server), ENDS="time.sleep(60)")
        process = tracked.start("--exp-tracker=wandb", "-k", "e_x1_3", env=env)
        deadline = time.monotonic() + 60
        while not server.rows:
            assert time.monotonic() < deadline, "no row arrived"
            time.sleep(0.05)
        kill_tree(process.pid)
        process.wait(10)
        arrived = len(rows_of(server, "e_x1_3"))
        assert sync(tracked, **online(server)).out == "wandb: received 1 attempt\n"
        assert 0 < arrived <= 50
        assert [row["e_x1_3/row"] for row in rows_of(server, "e_x1_3")] == list(range(50))
        assert server.sent_twice == []


def test_nothing_of_the_environment_is_sent(tracked: Study) -> None:
    """No command line, no file names of this machine, no variables."""
    run(tracked, SECRET_TOKEN="swordfish", ENDS="'hunter2'")
    folder: Path = tracked.research / ".exprunner" / "tracking" / "wandb"
    for log in folder.glob("offline-run-*/*.wandb"):
        data = log.read_bytes()
        assert b"swordfish" not in data
        assert b"hunter2" not in data
        assert str(orjson.dumps("--exp-tracker")).encode() not in data


def test_seeds(study: Study) -> None:
    """A run per seed, with a tag that all of them share; the results run has the mean, and who waived what."""
    study.plan(
        "experiments: {x1-first: {sub_experiments: {e_x1_1: {seeds: [0, 1]}}, "
        "success_criteria: {accuracy: {target: 0.9}}}}\n"
        "waivers: [{experiment: x1-first, criterion: accuracy, by: A, date: 2026-01-22, reason: It is late}]\n"
    )
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.7 + runner.seed / 10}}\n")
    done = run(study)
    assert done.code == 0, done.text
    found = logs(study)
    assert {name for name in found if name.startswith("e_x1_1")} == {"e_x1_1 seed 0 #1", "e_x1_1 seed 1 #2"}
    for number, name in ((0, "e_x1_1 seed 0 #1"), (1, "e_x1_1 seed 1 #2")):
        assert "seeds 0, 1" in found[name].run["tags"]
        assert (found[name].config["plan_seed"], found[name].config["rng_seed"]) == (number, number)
    [results] = [log for name, log in found.items() if name.startswith("results ")]
    assert (
        results.summary["x1-first/recommendation"] == "proceed (waived by A on 2026-01-22 because It is late)"
    )
