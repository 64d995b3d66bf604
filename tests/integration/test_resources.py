"""What attempts have to themselves, and what they keep for the next one."""

from __future__ import annotations

import pytest
from study_folder import Run, Study

pytestmark = pytest.mark.slow

PLAN = """\
experiments:
  x1-first:
    sub_experiments:
      e_x1_1: {resources: {gpu: 1}}
      e_x1_2: {resources: {gpu: 2}}
      e_x1_3: {resources: {gpu: 1}}
      e_x1_4: {}
"""
HANDLERS = """\
import os, time

def look(runner):
    start = time.time()
    time.sleep(0.3)
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
    return {"metrics": {"devices": devices, "start": start, "end": time.time()}}

def e_x1_1(runner): return look(runner)
def e_x1_2(runner): return look(runner)
def e_x1_3(runner): return look(runner)
def e_x1_4(runner): return look(runner)
"""


def run(study: Study, *arguments: str, **env: str) -> Run:
    """Run with xdist at hand."""
    return study.pytest("experiments", *arguments, plugins=("exprunner", "xdist"), env=env)


@pytest.fixture
def sharing(study: Study) -> Study:
    """Handlers that need one or two of the GPUs."""
    study.plan(PLAN)
    study.handlers(HANDLERS)
    return study


@pytest.mark.parametrize("arguments", [(), ("-n3",)], ids=["serial", "-n3"])
def test_gpus_are_shared_out(sharing: Study, arguments: tuple[str, ...]) -> None:
    """Each sees its own alone, no two see the same at once, and what needs none sees what was there."""
    done = run(sharing, "--exp-devices=4,7", *arguments, CUDA_VISIBLE_DEVICES="1,2,4,7")
    assert "4 passed" in done.out, done.text
    seen = {i: sharing.record(f"e_x1_{i}")["metrics"] for i in (1, 2, 3, 4)}
    assert [len(seen[i]["devices"].split(",")) for i in (1, 2, 3)] == [1, 2, 1]
    assert seen[4]["devices"] == "1,2,4,7"
    for one in (1, 2, 3):
        for other in range(one + 1, 4):
            a, b = seen[one], seen[other]
            if set(a["devices"].split(",")) & set(b["devices"].split(",")):
                assert a["end"] <= b["start"] or b["end"] <= a["start"]
    if arguments:
        # The two small ones fit beside one another, and what needs no GPU does not wait.
        assert seen[1]["devices"] != seen[3]["devices"]


def test_visible_devices_are_the_default(sharing: Study) -> None:
    """What CUDA is told to see is what is shared out."""
    done = run(sharing, CUDA_VISIBLE_DEVICES="5,6")
    assert "4 passed" in done.out, done.text
    assert sharing.record("e_x1_2")["metrics"]["devices"] == "5,6"


@pytest.mark.parametrize(
    ("devices", "has"), [("", "there are 0"), ("-1", "there are 0"), ("3", "there is 1 (3)")]
)
def test_too_few(sharing: Study, devices: str, has: str) -> None:
    """It is said before anything runs; what needs fewer runs alone."""
    done = run(sharing, "-k", "e_x1_2", CUDA_VISIBLE_DEVICES=devices)
    assert done.code == 4
    assert done.err.strip() == (
        f"ERROR: e_x1_2 needs 2 GPUs to itself, and {has}; leave it out with -k, run where there are enough, "
        "or name devices: --exp-devices 0,1"
    )
    assert not (sharing.research / "experiments" / "x1-first" / "attempts").exists()
    assert "1 passed" in run(sharing, "-k", "e_x1_4", CUDA_VISIBLE_DEVICES=devices).out
    assert run(sharing, "--exp-stub", CUDA_VISIBLE_DEVICES=devices).code == 0


def test_a_device_of_a_process_that_died(sharing: Study) -> None:
    """It is given back: the next one gets it."""
    sharing.handlers(
        HANDLERS.replace("def e_x1_1(runner): return look(runner)", "def e_x1_1(runner): os.abort()")
    )
    done = run(sharing, "--exp-devices=0,1", "-n2")
    assert "1 failed, 3 passed" in done.out or "2 failed, 3 passed" in done.out, done.text
    assert sharing.record("e_x1_2")["metrics"]["devices"] == "0,1"


def test_what_only_a_machine_that_is_chosen_can_have(study: Study) -> None:
    """A type of GPU, cores and memory are for machines elsewhere; here a handler takes what there is."""
    study.plan(
        "experiments: {x1-first: {sub_experiments: {e_x1_1: {resources: {gpu_type: H100, cpu: 2, memory: 99}}}}}"
    )
    study.handlers("def e_x1_1(runner): return {'metrics': {'rows': 3}}\n")
    assert study.pytest().code == 0


# --- checkpoints ------------------------------------------------------------------------------

TRAINING = """\
import os

def e_x1_1(runner):
    file = runner.checkpoint_dir / "epoch"
    epoch = int(file.read_text()) if file.exists() else 0
    first = epoch
    while epoch < 4:
        epoch += 1
        file.write_text(str(epoch))
        if epoch == int(os.environ.get("DIES_AT", "0")):
            os.kill(os.getpid(), 9)
    return {"metrics": {"accuracy": 0.95, "first": first}}
"""


@pytest.mark.parametrize("arguments", [(), ("--exp-executor=subprocess",)], ids=["inline", "subprocess"])
def test_checkpoints(study: Study, arguments: tuple[str, ...]) -> None:
    """They survive a kill, twice; a completed attempt leaves none, so the next starts anew."""
    study.plan()
    study.handlers(TRAINING)
    assert run(study, *arguments, DIES_AT="2").code != 0
    assert run(study, "--exp-resume", *arguments, DIES_AT="3").code != 0
    assert run(study, "--exp-resume", *arguments).code == 0
    assert study.record(sequence=3)["metrics"]["first"] == 3
    assert not list((study.research / ".exprunner" / "checkpoints").rglob("epoch"))
    assert run(study, *arguments).code == 0
    assert study.record(sequence=4)["metrics"]["first"] == 0


def test_checkpoints_of_other_code(study: Study) -> None:
    """Changed code does not find what the old one left."""
    study.plan()
    study.handlers(TRAINING)
    run(study, DIES_AT="2")
    study.handlers(TRAINING.replace("epoch < 4", "epoch < 5"))
    assert run(study).code == 0
    assert study.record(sequence=2)["metrics"]["first"] == 0
