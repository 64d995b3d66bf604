"""Handlers on Modal: its real client and container runtime, against a stand-in for its servers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from grpclib import Status
from modal_server import ModalServer
from study_folder import Run, Study

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PLAN = """\
modal: {{retries: {retries}}}
experiments:
  x1-first:
    sub_experiments: {{e_x1_1: {{{sub}}}, e_x1_2: {{}}}}
    success_criteria:
      accuracy: {{target: 0.9, from: e_x1_1}}
"""
STEPS = """\
import time

def e_x1_1(runner):
    for step in range({steps}):
        runner.log_metrics({{"loss": 1 / (step + 1)}}, step=step)
        time.sleep(0.05)
    return {{"finding": "Trained.", "metrics": {{"accuracy": 0.95}}}}

def e_x1_2(runner):
    return {{"finding": "Listed.", "metrics": {{"rows": 3}}}}
"""
ATTEMPT = Path("research/experiments/x1-first/attempts/e_x1_1/0001")


@pytest.fixture
def server() -> Iterator[ModalServer]:
    """A server that nobody else disturbs."""
    with ModalServer() as server:
        if not server.isolated:
            pytest.skip("this machine cannot give a container a file system of its own")
        yield server


def fill(study: Study, *, steps: int = 60, retries: int = 0, sub: str = "") -> None:
    """Write a study whose first handler takes a while and logs."""
    study.plan(PLAN.format(retries=retries, sub=sub))
    study.handlers(STEPS.format(steps=steps))


def start(study: Study, server: ModalServer, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a run on Modal; what it prints goes to ``output``."""
    return study.start("--exp-executor=modal", *arguments, env=server.environment(), output="output")


def run(study: Study, server: ModalServer, *arguments: str) -> Run:
    """Run a study on Modal to the end."""
    return study.pytest("experiments/", "--exp-executor=modal", *arguments, env=server.environment())


def output(study: Study) -> str:
    """What a run that was started printed."""
    return (study.root / "output").read_text(encoding="utf-8")


def logged(study: Study, attempt: Path = ATTEMPT) -> list[int]:
    """The steps in the journal of the first handler, as it is here."""
    file = study.root / attempt / "events.jsonl"
    lines = file.read_bytes().splitlines() if file.exists() else []
    events = [orjson.loads(line) for line in lines]
    return [event["step"] for event in events if event["event"] == "metrics"]


def wait_for_steps(study: Study, process: subprocess.Popen[bytes], number: int) -> None:
    """Wait until so many steps have arrived here."""
    deadline = time.monotonic() + 60
    while len(logged(study)) < number:
        assert process.poll() is None, output(study)
        assert time.monotonic() < deadline, output(study)
        time.sleep(0.05)


def busy_with(server: ModalServer) -> list[Any]:
    """The containers that have something to do."""
    return [container for container in server.containers() if container.input_ids]


# --- while it runs ----------------------------------------------------------------------------


def test_metrics_arrive_while_a_handler_runs(study: Study, server: ModalServer) -> None:
    """In the journal of the attempt, as if it ran here; whole in the end."""
    fill(study, steps=60)
    process = start(study, server)
    wait_for_steps(study, process, 5)
    assert not (study.root / ATTEMPT / "record.json").exists()
    assert process.wait(60) == 0, output(study)
    assert logged(study) == list(range(60))


@pytest.mark.slow
def test_where_warnings_are_errors(study: Study, server: ModalServer) -> None:
    """An installed package is imported there before pytest could rewrite it: that is no error of the project."""
    study.write("pytest.ini", "[pytest]\nfilterwarnings = error::pytest.PytestAssertRewriteWarning\n")
    fill(study, steps=1)
    env = {**server.environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": ""}
    done = study.pytest("experiments/", "--exp-executor=modal", env=env)
    assert done.code == 0, done.text


@pytest.mark.slow
def test_what_a_sub_experiment_asks_for(study: Study, server: ModalServer) -> None:
    """GPU, cores, memory and time limit reach Modal; what asks for nothing gets the defaults."""
    sub = "timeout: 30, resources: {gpu: 2, gpu_type: H100, cpu: 4, memory: 2048}"
    fill(study, steps=1, sub=sub)
    done = run(study, server)
    assert done.code == 0, done.text
    asked = {(f.gpu, f.cpu, f.memory, f.timeout) for f in server.functions}
    assert asked == {("", 0.0, 0, 86400), ("H100:2", 4.0, 2048, 630)}


@pytest.mark.slow
def test_containers_of_its_own(study: Study, server: ModalServer) -> None:
    """What a sub-experiment adds to the plan's section holds for its own containers, and for no others."""
    server.secrets.update(all={"FOR_ALL": "1"}, own={"OF_ITS_OWN": "1"})
    study.plan(
        """\
        modal: {secrets: [all], env: {COLOUR: grey, SHAPE: round}}
        experiments:
          x1-first:
            sub_experiments:
              e_x1_1: {modal: {secrets: [own], env: {COLOUR: red}, region: us-east, packages: [six], retries: 3}}
              e_x1_2: {modal: {retries: 2}}
              e_x1_3: {}
        """
    )
    study.handlers(
        "".join(
            f"def e_x1_{i}(runner): return {{'finding': found(), 'metrics': {{'n': 1}}}}\n" for i in (1, 2, 3)
        )
        + "import os\n"
        "def found():\n"
        "    return ' '.join(str(os.environ.get(n)) for n in ('FOR_ALL', 'OF_ITS_OWN', 'COLOUR', 'SHAPE'))\n"
    )
    done = run(study, server)
    entries = study.results()["results"]["experiments"]
    assert entries["e_x1_1"]["finding"] == "1 1 red round", done.text
    assert entries["e_x1_2"]["finding"] == entries["e_x1_3"]["finding"] == "1 None grey round"
    made = {f.name: f.region for f in server.functions}
    assert sorted(made.values()) == [[], ["us-east"]]
    assert sum("six" in " ".join(commands) for commands in server.images.values()) == 1


def test_what_travels(study: Study, server: ModalServer) -> None:
    """What git sees; no results, no secrets, nothing that is ignored."""
    subprocess.run(["git", "init", "-q", "."], cwd=study.root, check=True)
    study.write(".gitignore", "data/\n")
    study.write("data/rows.csv", "1")
    study.write(".env", "TOKEN=secret")
    study.write("notes/new.txt", "untracked")
    study.plan()
    study.handlers(
        "import os\n"
        "def e_x1_1_probe(runner):\n"
        "    names = sorted(os.path.join(f, n) for f, _, ns in os.walk('/repo') for n in ns if '__pycache__' not in f)\n"
        "    return {'finding': ' '.join(names), 'metrics': {'accuracy': 0.95}}\n"
    )
    assert run(study, server).code == 0
    assert run(study, server).code == 0  # results are here now
    finding = study.results()["results"]["experiments"]["e_x1_1"]["finding"].split()
    shipped = [name for name in finding if "/.exprunner/" not in name and "/experiments/x1" not in name]
    assert shipped == [
        "/repo/.gitignore",
        "/repo/experiments/handlers.py",
        "/repo/notes/new.txt",
        "/repo/research/experiments/.gitignore",
        "/repo/research/research_plan.yaml",
    ]


@pytest.mark.slow
def test_the_code_that_was_sent(study: Study, server: ModalServer) -> None:
    """The record says which commit it was, and in what it differed."""
    study.plan()
    handlers = study.handlers("def e_x1_1_probe(runner): return {'metrics': {'accuracy': 0.5}}\n")
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "First"]):
        subprocess.run(["git", *command], cwd=study.root, check=True)
    handlers.write_text("def e_x1_1_probe(runner): return {'metrics': {'accuracy': 0.95}}\n")
    assert run(study, server).code == 0
    made = study.record("e_x1_1")["provenance"]
    assert len(made["commit"]) == 40
    assert made["dirty"] is True
    kept = study.research / ".exprunner" / "diffs" / f"{made['diff']}.diff"
    assert "+def e_x1_1_probe(runner): return {'metrics': {'accuracy': 0.95}}" in kept.read_text()


@pytest.mark.slow
def test_an_import_that_would_be_missing(study: Study, server: ModalServer) -> None:
    """It is found before anything is sent."""
    subprocess.run(["git", "init", "-q", "."], cwd=study.root, check=True)
    study.write(".gitignore", "experiments/helper.py\n")
    study.write("experiments/helper.py", "two = 2\n")
    study.plan()
    study.handlers("import helper\ndef e_x1_1_probe(runner): return {'metrics': {'accuracy': helper.two}}\n")
    refused = run(study, server)
    assert refused.code == 4
    assert "ERROR: handlers import experiments/helper.py, which would be missing elsewhere" in refused.err
    assert "AppCreate" not in server.calls


# --- faults -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_container_that_is_killed(study: Study, server: ModalServer) -> None:
    """Its attempt alone has failed, with its cause; what had arrived is kept."""
    fill(study)
    process = start(study, server)
    wait_for_steps(study, process, 10)
    server.kill(None, signal.SIGKILL)
    assert process.wait(60) == 1, output(study)
    assert "e_x1_1 failed: Modal failed it: " in output(study)
    record = study.record("e_x1_1")
    assert record["status"] == "failed"
    assert record["logged"]["loss"]["count"] >= 10
    assert study.record("e_x1_2")["status"] == "completed"
    again = run(study, server, "--exp-resume")
    assert again.code == 0
    assert "Not run again: 1" in again.text


@pytest.mark.slow
def test_a_container_that_is_killed_once(study: Study, server: ModalServer) -> None:
    """Where Modal failed it is begun again, once; its number, record and journal are one."""
    fill(study, steps=40, retries=1)
    process = start(study, server)
    wait_for_steps(study, process, 10)
    server.kill(None, signal.SIGKILL)
    assert process.wait(60) == 0, output(study)
    assert logged(study) == list(range(40))
    assert len(list((study.root / ATTEMPT.parent).iterdir())) == 1
    kept = study.root / ATTEMPT / "events.preempted-1.jsonl"
    assert kept.read_bytes().count(b'"metrics"') >= 10


@pytest.mark.slow
def test_preemption_twice(study: Study, server: ModalServer) -> None:
    """The same attempt is made again on another machine, and published once."""
    fill(study, steps=40)
    process = start(study, server)
    for _ in range(2):
        wait_for_steps(study, process, 5)
        server.preempt()
        deadline = time.monotonic() + 30
        while len(logged(study)) >= 5 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
    assert process.wait(60) == 0, output(study)
    assert logged(study) == list(range(40))
    assert len(list((study.root / ATTEMPT.parent).iterdir())) == 1
    assert study.record("e_x1_1")["status"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("import os; os._exit(0)", "its process exited with code 0"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed: SIGSEGV"),
        ("import time; time.sleep(60)", "timeout after 3 s"),
    ],
)
def test_a_handler_that_ends_its_process(study: Study, server: ModalServer, body: str, cause: str) -> None:
    """As in a process of its own here: the container and Modal are not to blame, and nothing is retried."""
    limit = 3 if "sleep" in body else 60
    study.plan(PLAN.format(retries=1, sub=f"timeout: {limit}"))
    study.handlers(f"def e_x1_1(runner):\n    {body}\ndef e_x1_2(runner): return {{'metrics': {{}}}}\n")
    failed = run(study, server)
    assert failed.code == 1
    assert f"e_x1_1 failed: {cause}" in failed.text
    assert study.record("e_x1_2")["status"] == "completed"


def test_ctrl_c(study: Study, server: ModalServer) -> None:
    """What runs there notes that it was stopped, and its files come home; the next run goes on."""
    fill(study)
    process = start(study, server)
    wait_for_steps(study, process, 10)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 2, output(study)
    record = study.record("e_x1_1")
    assert (record["status"], record["reason"]) == ("in_progress", "KeyboardInterrupt stopped it")
    assert "x1-first  in progress" in output(study)
    assert busy_with(server) == []
    assert run(study, server, "--exp-resume").code == 0


@pytest.mark.slow
def test_a_client_that_is_killed(study: Study, server: ModalServer) -> None:
    """What had arrived is kept, nothing looks green, and the next run goes on."""
    fill(study, steps=400)  # longer than the next run takes on a busy machine
    process = start(study, server)
    wait_for_steps(study, process, 10)
    process.kill()
    process.wait()
    assert len(logged(study)) >= 10
    assert study.exprunner("gates").code in {0, 4}
    assert "in progress" in study.exprunner("status").text
    early = run(study, server, "--exp-resume")
    assert early.code == 1
    assert "blocked: attempt 1 was submitted to Modal" in early.text
    while busy_with(server):
        time.sleep(0.1)
    assert run(study, server, "--exp-resume").code == 0
    assert len(list((study.root / ATTEMPT.parent).iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["collect", "--exp-resume"])
def test_what_ends_after_its_client_was_killed(study: Study, server: ModalServer, how: str) -> None:
    """It is brought home, whole, by the command or by the next run that resumes; nothing is made twice."""
    fill(study, steps=40)
    process = start(study, server)
    wait_for_steps(study, process, 10)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while busy_with(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    if how == "collect":
        done = study.exprunner("collect", env=server.environment())
        assert done.code == 0, done.text
        assert "collected: e_x1_1" in done.text
        assert "accuracy" in (study.research / "FINDINGS.md").read_text()
    resumed = run(study, server, "--exp-resume")
    assert resumed.code == 0, resumed.text
    assert ("collected from Modal: e_x1_1" in resumed.text) == (how == "--exp-resume")
    assert logged(study) == list(range(40))
    assert study.record("e_x1_1")["status"] == "completed"
    assert len(list((study.root / ATTEMPT.parent).iterdir())) == 1
    assert not list((study.research / ".exprunner" / "away").iterdir())


@pytest.mark.slow
def test_a_network_that_is_gone_for_a_while(study: Study, server: ModalServer) -> None:
    """The run waits for it; nothing is lost."""
    fill(study)
    process = start(study, server)
    wait_for_steps(study, process, 5)
    server.pause()
    time.sleep(3)
    server.resume()
    assert process.wait(90) == 0, output(study)
    assert logged(study) == list(range(60))


def test_no_token(study: Study, server: ModalServer) -> None:
    """It is said what to do, and nothing is begun."""
    fill(study)
    server.refuse_tokens("Token missing. Could not authenticate client.")
    refused = run(study, server)
    assert refused.code == 4
    assert "run 'modal setup' once, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET" in refused.err
    assert not (study.root / ATTEMPT).exists()


@pytest.mark.slow
def test_a_token_that_expires(study: Study, server: ModalServer) -> None:
    """Nobody knows what became of what runs there: it is noted, and collected once Modal answers again."""
    fill(study)
    process = start(study, server)
    wait_for_steps(study, process, 5)
    server.refuse_tokens("Token has expired")
    assert process.wait(60) == 1, output(study)
    assert "Token has expired" in output(study)
    assert not (study.root / ATTEMPT / "record.json").exists()
    assert "e_x1_1 could not be collected" in output(study)
    server.accept()
    while busy_with(server):
        time.sleep(0.1)
    assert "collected: e_x1_1" in study.exprunner("collect", env=server.environment()).text
    assert logged(study) == list(range(60))


@pytest.mark.slow
def test_a_quota(study: Study, server: ModalServer) -> None:
    """Each attempt that Modal refuses has failed, in its words; none looks as if it had run."""
    fill(study)
    server.refuse_functions(Status.RESOURCE_EXHAUSTED, "GPU quota exceeded", rpc="FunctionMap")
    refused = run(study, server)
    assert refused.code == 1
    assert "e_x1_1 failed before or during its attempt: Modal refused: GPU quota exceeded" in refused.text
    assert not list((study.root / ATTEMPT).iterdir())
    server.accept()
    assert run(study, server, "--exp-resume").code == 0


@pytest.mark.slow
def test_a_volume_that_is_full(study: Study, server: ModalServer) -> None:
    """The attempt has failed, and says that its files could not be kept; its journal is here."""
    study.plan()
    study.handlers(
        "def e_x1_1_probe(runner):\n"
        "    runner.log_metrics({'loss': 1.0})\n"
        "    runner.results.save_artifact('model.bin', bytes(5_000_000))\n"
        "    return {'metrics': {'accuracy': 0.95}}\n"
    )
    server.volume_limit = 1_000_000
    full = run(study, server)
    assert full.code == 1
    assert "volume" in full.text
    assert study.results()["recommendation"] == "investigate"


@pytest.mark.slow
def test_a_file_that_cannot_be_imported_there(study: Study, server: ModalServer) -> None:
    """It is said why, for each of its handlers."""
    study.plan()
    study.handlers(
        "import os\n"
        "if os.path.exists('/repo'):\n"
        "    import no_such_library\n"
        "def e_x1_1_probe(runner): return {'metrics': {'accuracy': 0.95}}\n"
    )
    failed = run(study, server)
    assert failed.code == 1
    assert "could not be collected on the remote worker" in failed.text
    assert "No module named 'no_such_library'" in failed.text


@pytest.mark.slow
def test_a_queue_that_is_full(study: Study, server: ModalServer) -> None:
    """A handler does not wait for it, and nothing is dropped: the journal comes home whole."""
    server.queue_limit = 1
    fill(study, steps=60)
    assert run(study, server).code == 0
    assert logged(study) == list(range(60))


@pytest.mark.slow
def test_trackers(study: Study, server: ModalServer) -> None:
    """They follow the journals as they arrive, and are told each point once."""
    fill(study, steps=30)
    path = [str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = study.pytest(
        "experiments/",
        "--exp-executor=modal",
        "--exp-tracker=recording_tracker:Recording",
        env={**server.environment(), "PYTHONPATH": os.pathsep.join(path)},
    )
    assert done.code == 0, done.text
    assert "received 2 attempts" in done.text
    calls = [json.loads(line) for line in (study.root / "told.jsonl").read_text().splitlines()]
    assert [call["step"] for call in calls if call["call"] == "metrics_logged"] == list(range(30))
    assert [call["call"] for call in calls].count("attempt_ended") == 2


@pytest.mark.slow
def test_nobody_answers(study: Study) -> None:
    """A server that is not there."""
    fill(study)
    env = {"MODAL_SERVER_URL": "http://127.0.0.1:9", "MODAL_TOKEN_ID": "ak-1", "MODAL_TOKEN_SECRET": "as-1"}
    refused = study.pytest(
        "experiments/",
        "--exp-executor=modal",
        env={**env, "MODAL_CONFIG_PATH": os.devnull},
        timeout=300,  # the client tries for a while
    )
    assert refused.code == 4
    assert "Modal cannot be reached" in refused.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("-n2", "-p", "xdist"),
            "-n cannot be combined with --exp-executor modal: one process calls many handlers at once there; "
            "use --exp-max-containers N",
        ),
        (
            ("--exp-max-containers=many",),
            "--exp-max-containers: 'many' is not a number; expected one such as 8",
        ),
    ],
)
def test_what_is_refused(study: Study, arguments: tuple[str, ...], said: str) -> None:
    """Before anything is looked at."""
    fill(study)
    refused = study.pytest("experiments/", "--exp-executor=modal", *arguments)
    assert refused.code == 4
    assert f"ERROR: {said}" in refused.err.replace("\n", " ")


@pytest.mark.slow
def test_a_detached_run(study: Study, server: ModalServer) -> None:
    """It begins what may begin and leaves; what has ended is collected, what goes on is not begun again."""
    study.plan(
        "experiments: {x1-first: {sub_experiments: {e_x1_1: {}, e_x1_2: {}, e_x1_3: {needs: [e_x1_2]}}, "
        "success_criteria: {accuracy: {target: 0.9, from: e_x1_1}}}}"
    )
    study.handlers(STEPS.format(steps=600) + "def e_x1_3(runner): return {'metrics': {'rows': 1}}\n")
    left = run(study, server, "--exp-detach", "-rs")
    assert left.code == 1  # nothing has been found yet
    assert "3 skipped" in left.text
    assert "submitted to Modal as fc-" in left.text
    assert "waits for a job pending on Modal" in left.text
    assert "2 sub-experiments submitted to Modal; 'exprunner status' lists them" in left.text
    assert "e_x1_1 was submitted to Modal" in study.exprunner("status").text
    deadline = time.monotonic() + 120
    early = study.exprunner("collect", env=server.environment())
    while "collected: nothing" in early.text and time.monotonic() < deadline:
        early = study.exprunner("collect", env=server.environment())
    assert "collected: e_x1_2" in early.text
    assert "still running: e_x1_1" in early.text
    resumed = run(study, server, "--exp-resume")
    assert resumed.code == 1
    assert "blocked: attempt 1 was submitted to Modal" in resumed.text
    assert study.record("e_x1_3")["status"] == "completed"
    while busy_with(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    late = study.exprunner("collect", env=server.environment())
    assert "collected: e_x1_1" in late.text
    assert logged(study) == list(range(600))
    assert "submitted to Modal" not in study.exprunner("status").text
    assert study.results()["criteria"]["accuracy"]["verdict"] == "target"
    assert [a["attempt"] for a in study.results()["attempts"]["e_x1_1"]] == [1]
    assert [a["attempt"] for a in study.results()["attempts"]["e_x1_2"]] == [1]
    final = run(study, server, "--exp-resume")
    assert final.code == 0, final.text
    assert "Not run again: 3" in final.text


@pytest.mark.slow
def test_what_was_collected_stands(study: Study, server: ModalServer) -> None:
    """Also when a comment of its handler has changed since; and its app has ended."""
    fill(study, steps=1)
    assert run(study, server, "--exp-detach").code == 1
    deadline = time.monotonic() + 60
    while "still running" in study.exprunner("collect", env=server.environment()).text:
        assert time.monotonic() < deadline
    assert "submitted to Modal" not in study.exprunner("status").text
    while server.containers():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    study.handlers("# A comment.\n" + STEPS.format(steps=1))
    again = run(study, server, "--exp-resume")
    assert again.code == 0, again.text
    assert "Not run again: 2" in again.text


@pytest.mark.slow
def test_one_of_two_cannot_be_brought_home(study: Study, server: ModalServer) -> None:
    """The other one is; the first is still known, and comes with the next try."""
    fill(study, steps=1)
    assert run(study, server, "--exp-detach").code == 1
    deadline = time.monotonic() + 60
    away = study.research / ".exprunner" / "away"
    first = next(file for file in away.iterdir() if "e_x1_1" in file.name)
    job = json.loads(first.read_text())
    in_the_way = study.research / "experiments" / "x1-first" / "attempts" / "e_x1_1" / "0001" / "record.json"
    in_the_way.mkdir(parents=True)
    tried = [study.exprunner("collect", env=server.environment())]
    while "still running" in tried[-1].text:
        assert time.monotonic() < deadline
        tried.append(study.exprunner("collect", env=server.environment()))
    assert tried[-1].code == 1
    assert "could not be collected: e_x1_1 (" in tried[-1].text
    assert any("collected: e_x1_2" in each.text for each in tried)
    assert json.loads(first.read_text()) == job
    in_the_way.rmdir()
    again = study.exprunner("collect", env=server.environment())
    assert again.code == 0
    assert "collected: e_x1_1" in again.text


def test_what_cannot_be_begun(study: Study, server: ModalServer) -> None:
    """A fault of this machine's files fails the sub-experiments that meet it, in words."""
    fill(study, steps=1)
    study.write("research/.exprunner/away", "a file where a folder belongs")
    failed = run(study, server)
    assert failed.code == 1
    assert "INTERNALERROR" not in failed.text
    assert "e_x1_1 could not be submitted: File exists (" in failed.text
    assert "3 failed" in failed.text  # both, and the experiment
    (study.research / ".exprunner" / "away").unlink()
    assert run(study, server, "--exp-resume").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--exp-detach",), "--exp-detach needs --exp-executor modal: other executors stop when pytest ends"),
        (
            ("--exp-detach", "--exp-executor=modal", "--exp-gate=all"),
            "--exp-gate cannot be combined with --exp-detach, which does not wait for results; 'exprunner gates' reports "
            "them once results are collected",
        ),
    ],
)
def test_what_cannot_be_detached(study: Study, arguments: tuple[str, ...], said: str) -> None:
    """It is refused with what to do."""
    study.plan(PLAN.format(retries=0, sub="") + "gates: {gate_1: {experiments: [x1-first]}}\n")
    study.handlers("def e_x1_1(runner): ...\n")
    refused = study.pytest("experiments/", *arguments)
    assert refused.code == 4
    assert f"ERROR: {said}" in refused.err.replace("\n", " ")


# --- before anything is spent -----------------------------------------------------------------


def test_what_it_may_cost(study: Study) -> None:
    """``--exp-explain`` says what each handler is going to get, and the most that it may come to."""
    study.plan(
        """\
        modal: {gpu: A10G, cpu: 2}
        experiments:
          x1-first:
            sub_experiments:
              e_x1_1: {resources: {gpu: 2, gpu_type: H100, memory: 2048}, timeout: 3000}
              e_x1_2: {resources: {gpu: 1}}
              e_x1_3: {}
        """
    )
    study.handlers("".join(f"def e_x1_{i}(runner): return {{'metrics': {{}}}}\n" for i in (1, 2, 3)))
    explained = study.pytest("experiments/", "--exp-executor=modal", "--exp-explain")
    assert explained.code == 0
    assert [line for line in explained.out.splitlines() if "Modal" in line or "to run" in line] == [
        "run e_x1_1: it has never run [Modal: H100:2, 2 cores, 2048 MiB, at most 1 h]",
        "run e_x1_2: it has never run [Modal: A10G, 2 cores, at most 24 h]",
        "run e_x1_3: it has never run [Modal: no GPU, 2 cores, at most 24 h]",
        "3 to run, 0 to skip, 0 blocked; nothing was run (--exp-explain)",
        (
            "on Modal: at most 26 GPU-hours (A10G 24, H100 2), without retries by Modal; each without a time "
            "limit counts as 24 h (1 sub-experiment)"
        ),
    ]


# --- modal run --------------------------------------------------------------------------------


def modal_run(study: Study, server: ModalServer, function: str, *arguments: str) -> Run:
    """Start a function of the app with Modal's own command."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("EXPRUNNER_", "PYTEST_", "MODAL_"))}
    command = [
        sys.executable,
        "-m",
        "modal",
        "run",
        "-m",
        f"pytest_exprunner.modal_app::{function}",
        *arguments,
    ]
    done = subprocess.run(
        command,
        cwd=study.root,
        env={**inherited, **server.environment(), "PYTEST_ADDOPTS": "-p no:randomly"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
def test_the_app(study: Study, server: ModalServer) -> None:
    """Whole experiments, one sub-experiment, the stub; exit codes as pytest's; what the volume holds."""
    fill(study, steps=1)
    one = modal_run(study, server, "run_experiment", "--experiment-id=x1-first", "--sub-experiment=e_x1_2")
    assert one.code == 0, one.text
    assert "1 passed, 1 deselected" in one.out
    stub = modal_run(study, server, "run_experiment", "--experiment-id=x1-first", "--stub-mode")
    assert stub.code == 0, stub.text
    assert "STUB RUN: no handler was called" in stub.out
    assert study.results()["results"]["experiments"].keys() == {"e_x1_2"}
    unknown = modal_run(study, server, "run_experiment", "--experiment-id=x9")
    assert unknown.code == 4
    assert "ERROR: the plan has no experiment 'x9'; it has: x1-first" in unknown.err
    study.handlers("def e_x1_1(runner): raise ValueError\ndef e_x1_2(runner): return {'metrics': {}}\n")
    assert modal_run(study, server, "run_experiment", "--experiment-id=x1-first").code == 1
    held = modal_run(study, server, "list_results")
    assert held.code == 0
    assert held.out.count("x1-first/e_x1_1/0001") == 2
    seen = modal_run(study, server, "smoke_test")
    assert seen.code == 0, seen.text
    assert "collected: True" in seen.out


@pytest.mark.slow
def test_the_example_study(study: Study, server: ModalServer) -> None:
    """Real training in a container leaves the results that training here does."""
    pytest.importorskip("torch")
    here = Study(study.root / "here")
    there = Study(study.root / "there")
    for each in (here, there):
        each.root.mkdir()
        for name in ("experiments", "research"):
            ignored = shutil.ignore_patterns(
                "__pycache__", ".exprunner", "archive", "[cpq][12]-*", "FINDINGS.md"
            )
            shutil.copytree(ROOT / name, each.root / name, ignore=ignored)
    limited = {"OMP_NUM_THREADS": "1"}
    local = here.pytest("experiments/", "-m", "eq1_1", env=limited, timeout=300)
    assert local.code == 0, local.text
    plan = there.research / "research_plan.yaml"
    limits = "modal: {env: {OMP_NUM_THREADS: '1'}}\n"  # and no extras: this folder has no pyproject.toml
    plan.write_text(plan.read_text().replace("modal:\n  extras: [study]\n", limits))
    chosen = "--experiment-id=q1-latent-alignment", "--sub-experiment=eq1_1"
    remote = modal_run(there, server, "run_experiment", *chosen)
    assert remote.code == 0, remote.text
    assert told(there) == told(here)


def told(study: Study) -> dict[str, Any]:
    """What a results file says, without times, ids and machines."""
    results = study.results("q1-latent-alignment")
    for name in ("executed_by", "started_at", "completed_at", "provenance", "attempts"):
        del results[name]
    for entry in results["results"]["experiments"].values():
        for name in [name for name in entry if name.endswith(("_at", "_s")) or name == "run"]:
            del entry[name]
    return results


# --- numbers, plans and texts -----------------------------------------------------------------


@pytest.mark.slow
def test_variants_in_one_container(study: Study, server: ModalServer) -> None:
    """Whatever order they come in, each has the number that was taken for it, and all its files are here."""
    study.plan("experiments: {x1-first: {sub_experiments: [e_x1_1]}}")
    study.handlers(
        "import pytest\n"
        "@pytest.mark.parametrize('n', range(12))\n"
        "def e_x1_1(runner, n):\n"
        "    path = runner.results.save_artifact(f'{n}.txt', str(n))\n"
        "    return {'metrics': {'n': n}, 'artifacts': [path]}\n"
    )
    done = run(study, server, "--exp-max-containers=3")
    assert done.code == 0, done.text
    folders = sorted((study.root / ATTEMPT.parent).iterdir())
    records = [orjson.loads((folder / "record.json").read_bytes()) for folder in folders]
    assert [record["key"]["sequence"] for record in records] == list(range(1, 13))
    assert sorted(record["metrics"]["n"] for record in records) == list(range(12))
    for folder, record in zip(folders, records, strict=True):
        [artifact] = record["artifacts"]
        assert (folder / "artifacts" / Path(artifact["path"]).name).read_text() == str(record["metrics"]["n"])


@pytest.mark.slow
def test_a_plan_that_the_environment_names(study: Study, server: ModalServer) -> None:
    """The far end judges by the same plan."""
    study.plan()
    strict = study.write("research/strict.yaml", PLAN.format(retries=0, sub="").replace("0.9", "0.99"))
    study.handlers(
        "def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n"
        "def e_x1_2(runner): return {'metrics': {}}\n"
    )
    env = {**server.environment(), "EXPRUNNER_PLAN": str(strict)}
    failed = study.pytest("experiments/", "--exp-executor=modal", env=env)
    assert failed.code == 1
    assert "1 failed, 1 passed" in failed.text
    assert "has changed since" not in failed.text


@pytest.mark.slow
def test_preemption_of_a_detached_attempt(study: Study, server: ModalServer) -> None:
    """While it is made again, what the first machine left is not taken for its result."""
    fill(study, steps=100)
    assert run(study, server, "--exp-detach").code == 1
    deadline = time.monotonic() + 60
    while not busy_with(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)
    server.preempt()
    while not busy_with(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    while busy_with(server) and time.monotonic() < deadline:
        study.exprunner("collect", env=server.environment())
    study.exprunner("collect", env=server.environment())
    assert study.record("e_x1_1")["status"] == "completed"
    assert logged(study) == list(range(100))


def test_data_that_would_be_missing(study: Study) -> None:
    """It is said before anything is sent, with what to do."""
    subprocess.run(["git", "init", "-q", "."], cwd=study.root, check=True)
    study.write(".gitignore", "data/\n")
    study.write("data/rows.csv", "1")
    study.plan("experiments: {x1-first: {sub_experiments: {e_x1_1: {data: [data/rows.csv]}}}}")
    study.handlers("def e_x1_1(runner): return {'metrics': {}}\n")
    refused = study.pytest("experiments/", "--exp-executor=modal")
    assert refused.code == 4
    assert "e_x1_1 declares the data data/rows.csv, which would be missing elsewhere" in refused.err


def test_a_plan_outside_the_project(study: Study, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It is refused with what is expected, before anything is sent."""
    study.plan()
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n")
    plan = tmp_path_factory.mktemp("outside") / "plan.yaml"
    plan.write_text((study.research / "research_plan.yaml").read_text())
    refused = study.pytest(
        "experiments/",
        "--exp-executor=modal",
        f"--rootdir={study.root}",
        f"--exp-plan={plan}",
        "--exp-paths=experiments",
        "--exp-results=research",
    )
    assert refused.code == 4
    assert f"{plan} is not inside the project {study.root}" in refused.err
    assert "(--exp-plan)" in refused.err


@pytest.mark.slow
def test_seeds(study: Study, server: ModalServer) -> None:
    """An attempt per seed in containers of their own; their mean is judged here."""
    study.plan(
        "experiments: {x1-first: {sub_experiments: {e_x1_1: {seeds: [3, 4, 5]}, e_x1_2: {needs: [e_x1_1], "
        "seeds: [3, 4, 5]}}, success_criteria: {accuracy: {target: 0.9, from: e_x1_1}}}}"
    )
    study.handlers(
        "def e_x1_1(runner):\n"
        "    runner.log_samples('accuracy', [0.9, 0.96])\n"
        "    runner.results.save_artifact('m.txt', str(runner.seed))\n"
        "    return {'metrics': {'accuracy': 0.9 + runner.seed / 100}}\n"
        "def e_x1_2(runner):\n"
        "    assert runner.needs['e_x1_1'].artifact('m.txt').read_text() == str(runner.seed)\n"
        "    return {'metrics': {'rows': 1}}\n"
    )
    done = run(study, server)
    assert done.code == 0, done.text
    assert "6 passed" in done.out
    entry = study.results()["criteria"]["accuracy"]
    assert (entry["n"], entry["method"], entry["value"]) == (3, "t over seeds", pytest.approx(0.94))
    assert run(study, server, "--exp-resume").counts(passed=6)
