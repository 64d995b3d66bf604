"""Faults at every step of writing: a study whose process is killed, or whose disk fails, where we say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import yaml
from study_folder import Study

from pytest_exprunner.store import results_file

PLAN = """\
experiments:
  x1-first:
    sub_experiments: {e_x1_1: {}, e_x1_2: {needs: [e_x1_1]}, e_x1_3: {}}
    success_criteria:
      accuracy: {target: 0.9, from: e_x1_2}
  x2-second:
    sub_experiments: [e_x2_1]
    dependencies: [x1-first]
    success_criteria:
      recall: {target: 0.9}
gates:
  gate_1: {experiments: [x1-first, x2-second]}
"""
HANDLERS = """\
import os, time

PAUSE = float(os.environ.get("PAUSE", "0"))


def acknowledge(text):
    # Not through anything that is counted, and there before anything else happens.
    with open("acknowledged", "a") as file:
        file.write(text + "\\n")


def e_x1_1(runner):
    for step in range(5):
        runner.log_metrics({"loss": 1 / (step + 1)}, step=step)
        acknowledge(f"e_x1_1 {runner._begun.run} metrics {step}")
        time.sleep(PAUSE)
    path = runner.results.save_artifact("deep/model.bin", b"x" * 5000)
    acknowledge(f"e_x1_1 {runner._begun.run} artifact deep/model.bin")
    return {"finding": "Trained.", "metrics": {"loss": 0.2}, "artifacts": [path]}


def e_x1_2(runner):
    size = runner.needs["e_x1_1"].artifact("deep/model.bin").stat().st_size
    time.sleep(PAUSE)
    return {"finding": "Probed.", "metrics": {"accuracy": 0.95, "size": size}}


def e_x1_3(runner):
    time.sleep(PAUSE)
    runner.results.save_json_artifact("table.json", [1, 2, 3])
    return {"finding": "Listed.", "metrics": {"rows": 3}}


def e_x2_1(runner):
    time.sleep(PAUSE)
    return {"finding": "Seen.", "metrics": {"recall": 0.95}}
"""
# Counts what is done to files of the study, and fails at one of them: by SIGKILL in the middle of a
# write, or by an error that the system reports.
CONFTEST = """\
import builtins, errno, os, signal, threading

AT = int(os.environ.get("FAULT_AT", "0"))
KIND = os.environ.get("FAULT", "")
HOW = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}
count = 0
lock = threading.Lock()


def concerns(target):
    if isinstance(target, int):
        try:
            target = os.readlink(f"/proc/self/fd/{target}")
        except OSError:
            return False
    return "/research" in os.path.abspath(os.fspath(target))


def due():
    global count
    with lock:  # syncs are done by several threads
        count += 1
        return count == AT


def fail(act):
    if KIND == "SIGKILL":
        try:
            act()
        except OSError:
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    raise OSError(HOW[KIND], os.strerror(HOW[KIND]))


def counted(name):
    real = getattr(os, name)

    def call(target, *rest, **named):
        if concerns(target) and due():
            half = (lambda: real(target, rest[0][: len(rest[0]) // 2])) if name == "write" else (lambda: None)
            fail(half)
        return real(target, *rest, **named)

    setattr(os, name, call)


real_open = builtins.open


def open_counted(file, mode="r", *rest, **named):
    if set(mode) & set("wxa") and not isinstance(file, int) and concerns(file) and due():
        fail(lambda: real_open(file, mode).close())
    return real_open(file, mode, *rest, **named)


for name in ("open", "write", "rename", "replace", "link", "mkdir", "unlink", "fsync"):
    counted(name)
builtins.open = open_counted


def pytest_unconfigure():
    if "FAULT_COUNT" in os.environ:
        with real_open(os.environ["FAULT_COUNT"], "w") as file:
            file.write(str(count))
"""
COMPLETED = {"e_x1_1": "x1-first", "e_x1_2": "x1-first", "e_x1_3": "x1-first", "e_x2_1": "x2-second"}


def prepare(study: Study) -> Study:
    """Write the study."""
    study.plan(PLAN)
    study.handlers(HANDLERS)
    return study


class Runs:
    """Runs of the study, numbered, so that what each acknowledged can be told apart."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.number = 0

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start a run."""
        self.number += 1
        (self.study.root / f"output-{self.number}").unlink(missing_ok=True)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("EXPRUNNER_", "PYTEST_"))}
        with (self.study.root / f"output-{self.number}").open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "exprunner", "-p", "xdist", "experiments", *arguments],
                cwd=self.study.root,
                env={
                    **inherited,
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                    **env,
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def run(self, *arguments: str, **env: str) -> int:
        """Run to the end, whatever that is; return the exit code."""
        return self.start(*arguments, **env).wait(120)

    @property
    def output(self) -> str:
        """What the last run printed."""
        return (self.study.root / f"output-{self.number}").read_text(encoding="utf-8", errors="replace")


def check_files(study: Study) -> None:
    """Assert that every file a person or a tool reads is whole, and that nothing acknowledged is lost."""
    for file in study.research.rglob("*"):
        if file.name == "results.yaml":
            stored = results_file.load(file)
            assert stored.problem == ""
            assert stored.intact
            assert not stored.edited
        elif file.name == "FINDINGS.md":
            text = file.read_text(encoding="utf-8")
            assert text.count("<!-- exprunner:begin") == text.count("<!-- exprunner:end") == 1
        elif file.name == "record.json" or file.suffix == ".json":
            orjson.loads(file.read_bytes())
    known = _known(study)
    acknowledged = study.root / "acknowledged"
    for line in acknowledged.read_text().splitlines() if acknowledged.exists() else ():
        assert line in known, line


def _known(study: Study) -> set[str]:
    """What the journals of all attempts hold, in the words of the handlers."""
    found = set()
    for attempt in sorted((study.research / "experiments").glob("*/attempts/*/*")):
        sub, run = attempt.parent.name, ""
        for line in _lines(attempt / "events.jsonl"):
            try:
                event = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # torn by the kill, so never acknowledged
            if event["event"] == "started":
                run = event["run"]
            elif event["event"] == "metrics":
                found.add(f"{sub} {run} metrics {event['step']}")
            elif event["event"] == "artifact":
                name = event["path"].removeprefix(f"artifacts/{sub}/")
                assert (attempt / "artifacts" / name).stat().st_size == event["bytes"]
                found.add(f"{sub} {run} artifact {name}")
    return found


def _lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines() if file.exists() else []


def _is_run_again(study: Study, attempt: Path) -> bool:
    """Return whether an attempt that completed is rightly made anew.

    Its process died in the moment after that, so that the item failed; or that of one that it needs did,
    which is then another attempt.
    """
    needed = orjson.loads((attempt / "record.json").read_bytes())["upstream"]
    behind = (study.attempt(sub, number, COMPLETED[sub]) for sub, number in needed.items())
    return any((folder / "item-failed.txt").exists() for folder in (attempt, *behind))


def check_end(study: Study) -> None:
    """Assert that the study stands as an undisturbed run would have left it, and nothing ran twice."""
    for sub, experiment in COMPLETED.items():
        attempts = study.research / "experiments" / experiment / "attempts" / sub
        statuses = [
            orjson.loads((attempt / "record.json").read_bytes())["status"]
            for attempt in sorted(attempts.iterdir())
            if (attempt / "record.json").exists() and not _is_run_again(study, attempt)
        ]
        assert statuses.count("completed") == 1, (sub, statuses)
    assert {e: summary(study, e) for e in ("x1-first", "x2-second")} == EXPECTED
    assert [str(file) for file in study.research.rglob("*") if file.name.endswith(".tmp")] == []
    left = {f.name: f.read_text() for f in (study.research / ".exprunner" / "runs").iterdir()}
    assert left == {}
    published = study.research / "experiments" / "x1-first" / "artifacts" / "e_x1_1" / "deep" / "model.bin"
    assert published.read_bytes() == b"x" * 5000
    assert "gate_1" in (study.research / "FINDINGS.md").read_text(encoding="utf-8")


def summary(study: Study, experiment: str) -> dict[str, Any]:
    """What a results file says, times, ids and the number of attempts apart."""
    file = study.research / "experiments" / experiment / "results.yaml"
    value = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {
        "status": value["status"],
        "recommendation": value["recommendation"],
        "verdicts": {name: c["verdict"] for name, c in value["criteria"].items()},
        "subs": {
            sub: (entry["status"], entry["finding"], entry["metrics"], entry["artifacts"])
            for sub, entry in value["results"]["experiments"].items()
        },
    }


EXPECTED: dict[str, Any] = {
    "x1-first": {
        "status": "completed",
        "recommendation": "proceed",
        "verdicts": {"accuracy": "target"},
        "subs": {
            "e_x1_1": ("completed", "Trained.", {"loss": 0.2}, ["artifacts/e_x1_1/deep/model.bin"]),
            "e_x1_2": ("completed", "Probed.", {"accuracy": 0.95, "size": 5000}, []),
            "e_x1_3": ("completed", "Listed.", {"rows": 3}, ["artifacts/e_x1_3/table.json"]),
        },
    },
    "x2-second": {
        "status": "completed",
        "recommendation": "proceed",
        "verdicts": {"recall": "target"},
        "subs": {"e_x2_1": ("completed", "Seen.", {"recall": 0.95}, [])},
    },
}


def steps(root: Path) -> int:
    """Return how many steps an undisturbed run takes."""
    study = Study(root)
    prepare(study)
    study.write("conftest.py", CONFTEST)
    runs = Runs(study)
    assert runs.run(FAULT_COUNT=str(root / "count")) == 0, runs.output
    check_files(study)
    check_end(study)
    return int((root / "count").read_text())


def killed_by(code: int) -> bool:
    """Return whether a process ended by SIGKILL."""
    return code == -signal.SIGKILL
