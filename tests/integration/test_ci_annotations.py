"""What CI services show of a run, and what a handler prints that they must not obey."""

from __future__ import annotations

import re
import signal
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import orjson
import pytest
from study_folder import PLAN, Run, Study

from pytest_exprunner.plugin.ci import github
from pytest_exprunner.plugin.ci.annotations import xml_text
from pytest_exprunner.plugin.ci.github import Annotation

PLUGINS = ("exprunner", "xdist")
TWO = """\
project: {name: "Two | ways"}
experiments:
  x1-first:
    sub_experiments: [e_x1_1, e_x1_2]
    success_criteria:
      accuracy: {target: 0.9, acceptable: 0.8, failure: 0.5, from: e_x1_1}
  x2-next:
    dependencies: [x1-first]
    sub_experiments: [e_x2_1]
    success_criteria:
      f1: {target: 0.9}
  x3-near:
    sub_experiments: [e_x3_1]
    success_criteria:
      f2: {target: 0.9, acceptable: 0.8, failure: 0.5}
gates:
  g1: {experiments: [x1-first, x2-next]}
"""
HANDLERS = """\
def e_x1_1(runner):
    return {"metrics": {"accuracy": 0.6}}


def e_x1_2(runner):
    raise ValueError("no data, none: 50%\\nat all")


def e_x2_1(runner): ...


def e_x3_1(runner):
    return {"metrics": {"f2": 0.805}}
"""
GOOD = "def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n"
COMMANDS = (
    "::error::boom",
    "  ::add-mask::e",
    "\t::stop-commands::t",
    "::set-output name=a::b",
    "##[error]boom",
    "text ##[group]x",
    "a\r::error::after a return",
    "\u00a0::warning::after a space of another kind",
)


def is_command(line: str) -> bool:
    """Return whether GitHub's runner would take a line for a command."""
    return line.strip().startswith("::") or "##[" in line


def commands(text: str) -> list[str]:
    """The lines that GitHub's runner, which ends lines at returns too, would obey."""
    return [line for line in re.split(r"\r\n|\r|\n", text) if is_command(line)]


def on_github(study: Study, *arguments: str, **environment: str) -> Run:
    """Run experiments as a step of a job does."""
    summary = str(study.root / "summary.md")
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": summary, **environment}
    plugins = PLUGINS if "-n2" in arguments else ("exprunner",)
    return study.pytest("experiments", *arguments, env=env, plugins=plugins)


def summary_of(study: Study) -> str:
    """The summary of the step."""
    return (study.root / "summary.md").read_text(encoding="utf-8")


# --- the summary of a step ------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("-n2",), ("--exp-executor=subprocess",)])
def test_the_summary_of_a_step(study: Study, arguments: tuple[str, ...]) -> None:
    """Verdicts, what failed and why, gates and what needs a person, once."""
    study.plan(TWO)
    study.handlers(HANDLERS)
    run = on_github(study, *arguments)
    assert run.code == 1, run.text
    text = summary_of(study)
    assert text.startswith(
        "## Research plan: Two \\| ways\n\n"
        "**Failed** — completed 2, failed 1, skipped 0, blocked 1, no handler 0.\n\n"
        "| Experiment | Status | Recommendation | Confidence | Why |\n"
    )
    assert text.count("## Research plan") == 1
    assert "- `e_x1_2` failed: ValueError: no data, none: 50%\n" in text
    assert "- `x1-first`: accuracy of 0.600 is below the 0.80 acceptable threshold by 0.200.\n" in text
    assert "- `e_x2_1` blocked: x2-next needs x1-first to proceed" in text
    assert "- `g1`: **pending** — x1-first says investigate" in text
    assert "### To review\n\n- `x3-near`: f2 of 0.805 is above the 0.80 threshold" in text
    assert "| `accuracy` | 0.600 | ≥ 0.90 | ≥ 0.80 | ≤ 0.50 | **missed** | `e_x1_1` attempt 1 |" in text
    assert text.endswith("Findings: `research/FINDINGS.md`\n")


def test_what_the_step_has_said_before_stays(study: Study) -> None:
    """The summary is added to what is there."""
    study.plan()
    study.handlers(GOOD)
    study.write("summary.md", "# Mine\n")
    assert on_github(study).code == 0
    assert summary_of(study).startswith("# Mine\n\n## Research plan\n\n**Passed** — completed 1")


@pytest.mark.slow
@pytest.mark.parametrize("before", [0, 1024 * 1024 - 3000, 1024 * 1024 - 20, 2 * 1024 * 1024])
def test_the_summary_stays_within_what_github_takes(study: Study, before: int) -> None:
    """It is cut at a line, and says so; where nothing fits nothing is added."""
    plan = "experiments:\n" + "".join(
        f"  x{i}:\n    sub_experiments: [e_x{i}_1]\n    description: d\n    success_criteria:\n"
        + "".join(f"      m{i}_{c}: {{target: 0.9}}\n" for c in range(40))
        for i in range(200)
    )
    study.plan(plan)
    study.handlers("".join(f"def e_x{i}_1(runner): return {{'metrics': {{}}}}\n" for i in range(200)))
    (study.root / "summary.md").write_bytes(b"x" * before)
    run = on_github(study, "-q", *([] if before else ["-k", "x1_1"]))
    assert run.code == 1, run.text[-2000:]
    size = (study.root / "summary.md").stat().st_size
    assert size < max(1024 * 1024, before + 1)
    if before == 1024 * 1024 - 3000:
        text = summary_of(study)
        assert text.endswith(
            "\n\n**Cut here:** GitHub takes 1 MiB for a step. The findings have everything.\n"
        )
        assert size > 1024 * 1024 - 1500
    elif before:
        assert size == before


def test_a_summary_that_cannot_be_written(study: Study) -> None:
    """That is one line on the terminal; the run counts."""
    study.plan()
    study.handlers(GOOD)
    run = on_github(study, GITHUB_STEP_SUMMARY="/proc/nowhere/summary.md")
    assert run.code == 0
    assert "the summary of this step could not be written: FileNotFoundError" in run.out


@pytest.mark.parametrize("parallel", [False, True])
def test_a_run_that_is_stopped(study: Study, parallel: bool) -> None:
    """An interrupted run has its summary as well."""
    study.plan()
    study.handlers(
        "import pathlib, time\ndef e_x1_1(runner):\n    pathlib.Path('begun').touch()\n    time.sleep(60)\n"
    )
    env = {"GITHUB_STEP_SUMMARY": str(study.root / "summary.md")}
    process = study.start(*(("-n2",) if parallel else ()), env=env)
    deadline = time.monotonic() + 30
    while not (study.root / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 2
    assert "**Interrupted**" in summary_of(study)
    assert "- `e_x1_1` unfinished: " in summary_of(study)


def test_what_cannot_be_imported(study: Study) -> None:
    """A broken file is in the summary."""
    study.plan()
    study.handlers("raise OSError('no | such data')\n" + GOOD)
    assert on_github(study).code == 2
    assert "OSError: no \\| such data" in summary_of(study)


def test_without_a_plan_nothing_is_said(study: Study) -> None:
    """Ordinary tests have no summary, no annotations, and print what they like."""
    study.write("experiments/test_plain.py", "def test_plain():\n    print('::error::mine')\n    assert 0\n")
    run = on_github(study)
    assert run.code == 1
    assert not (study.root / "summary.md").exists()
    assert commands(run.out) == ["::error::mine"]


# --- annotations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("-n2",)])
def test_annotations(study: Study, arguments: tuple[str, ...]) -> None:
    """Failures are errors where they were raised, unmet criteria at the handler; borderline ones warn."""
    study.plan(TWO)
    study.handlers(HANDLERS)
    run = on_github(study, *arguments, GITHUB_WORKSPACE=str(study.root.parent))
    place = f"file={study.root.name}/experiments/handlers.py"
    assert [line for line in run.out.splitlines() if is_command(line)] == [
        f"::error {place},line=6,title=e_x1_2 failed::ValueError: no data, none: 50%25",
        f"::error {place},line=1,title=x1-first%3A accuracy is not met::"
        "accuracy of 0.600 is below the 0.80 acceptable threshold by 0.200.",
        f"::warning {place},line=12,title=x3-near%3A f2 is borderline::f2 of 0.805 is above the 0.80 "
        "threshold, short of the 0.90 target; it narrowly meets 0.80 and needs review.",
    ]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (
            "runner.fallback('no key'); return {'metrics': {'accuracy': 0.95}}",
            "accuracy = 0.950 does not count",
        ),
        ("return {'metrics': {'accuracy': float('nan')}}", "accuracy = NaN does not count"),
        ("return {'metrics': {'loss': 0.1}}", "accuracy was not measured"),
    ],
)
def test_what_does_not_count_or_was_not_measured(study: Study, body: str, why: str) -> None:
    """A run that fails because a number does not count says so where a reviewer looks."""
    study.plan()
    study.handlers(f"def e_x1_1(runner): {body}\n")
    run = on_github(study)
    assert run.code == 1
    title = "accuracy has no value that counts"
    [told] = [line for line in run.out.splitlines() if title in line]
    place = "" if "not measured" in why else "file=experiments/handlers.py,line=1,"
    assert told.startswith(f"::error {place}title=")
    assert why in told
    failed = summary_of(study).partition("### What failed\n")[2].partition("\n### ")[0]
    assert f"- `x1-first`: {why}" in failed


def test_no_more_annotations_than_github_shows(study: Study) -> None:
    """Of many the last says how many more there are."""
    study.plan("experiments:\n  x1:\n    sub_experiments: [" + ", ".join(f"e_{i}" for i in range(20)) + "]\n")
    study.handlers("".join(f"def e_{i}(runner): 1 / 0\n" for i in range(20)))
    found = commands(on_github(study).out)
    assert len(found) == 10
    assert found[-1] == "::warning title=11 more::11 more are in the summary of the run."


def test_annotations_beside_events(study: Study) -> None:
    """With ``--exp-json -`` they are on standard error, which GitHub reads as well."""
    study.plan()
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.1}}\n")
    run = on_github(study, "--exp-json", "-")
    assert [orjson.loads(line)["schema"] for line in run.out.splitlines()]
    assert len(commands(run.err)) == 1


def test_no_annotations_elsewhere(study: Study) -> None:
    """Without GitHub nothing is printed or written."""
    study.plan(TWO)
    study.handlers(HANDLERS)
    run = study.pytest()
    assert not commands(run.text)
    assert not (study.root / "summary.md").exists()


@pytest.mark.parametrize(
    ("annotation", "command"),
    [
        (Annotation("error", "a:b,c%", "50%"), "::error title=a%3Ab%2Cc%25::50%25"),
        (
            Annotation("warning", "t", "x\ny", "a,b:c.py", 3),
            "::warning file=a%2Cb%3Ac.py,line=3,title=t::x y",
        ),
        (Annotation("error", "t", "\x1b[31m::error::x\r\n::y"), "::error title=t::�[31m::error::x� ::y"),
    ],
)
def test_escaping(annotation: Annotation, command: str) -> None:
    """No text ends a property or begins another command."""
    assert annotation.command == command


# --- what handlers print --------------------------------------------------------------------------

PRINTS = f"""\
import sys, warnings
import pytest

COMMANDS = {COMMANDS!r}

def e_x1_1(runner, value):
    for text in COMMANDS:
        print(text)
        print(text, file=sys.stderr)
        runner.stage(text)
    warnings.warn("first\\n" + "\\n".join(COMMANDS))
    raise ValueError("\\n".join(COMMANDS) + '''
::error::in the source
''')

@pytest.fixture
def value():
    print("::error::before")
    yield 1
    print("::error::afterwards")
    assert 0, "::error::at the end"
"""


@pytest.mark.parametrize(
    "arguments",
    [(), ("-n2",), ("--exp-executor=subprocess",), ("-v", "-rA", "--showlocals"), ("--tb=native",)],
)
def test_no_command_of_a_handler_is_obeyed(study: Study, arguments: tuple[str, ...]) -> None:
    """Whatever a failing handler prints, raises or warns of, no line of the log is a command but ours."""
    study.plan()
    study.handlers(PRINTS)
    run = on_github(study, *arguments)
    assert run.code == 1, run.text
    assert "boom" in run.out
    assert [text[:30] for text in commands(run.out)] == ["::error file=experiments/handl"]
    assert not commands(summary_of(study))


def test_what_passes_is_disarmed_too(study: Study) -> None:
    """``-rP`` shows what passing handlers print."""
    study.plan()
    study.handlers(
        "def e_x1_1(runner):\n    print('::error::x')\n    return {'metrics': {'accuracy': 0.95}}\n"
    )
    run = on_github(study, "-rP")
    assert ": :error::x" in run.out
    assert not commands(run.out)


def test_what_is_printed_by_an_import(study: Study) -> None:
    """So does a file that cannot be imported."""
    study.plan()
    study.handlers("print('::error::x')\nraise OSError('''\n::error::y''')\n" + GOOD)
    run = on_github(study)
    assert run.code == 2
    assert not commands(run.out)


def test_elsewhere_it_is_shown_as_it_is(study: Study) -> None:
    """Without GitHub captured output is left alone."""
    study.plan()
    study.handlers("def e_x1_1(runner):\n    print('::error::x')\n    1 / 0\n")
    assert commands(study.pytest().out) == ["::error::x"]


def test_harmless_takes_little_time() -> None:
    """Many empty lines are no reason to wait."""
    began = time.monotonic()
    assert github.harmless("\n" * 1_000_000) == "\n" * 1_000_000
    assert github.harmless(" " * 1_000_000) == " " * 1_000_000
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("arguments", [(), ("-n2",), ("--exp-executor=subprocess",)])
def test_secrets_in_what_handlers_print(study: Study, arguments: tuple[str, ...]) -> None:
    """They are in no report, no record and no file for CI services."""
    study.plan()
    study.handlers(
        "import os\ndef e_x1_1(runner):\n    print('key', os.environ['MY_API_KEY'])\n"
        "    raise ValueError('with ' + os.environ['MY_API_KEY'])\n"
    )
    run = on_github(study, *arguments, "--junitxml=junit.xml", "--showlocals", MY_API_KEY="abcdefgh12345")
    assert run.code == 1
    assert "ValueError: with [redacted]" in run.out
    written = [study.root / "junit.xml", study.root / "summary.md", study.attempt() / "record.json"]
    for text in (run.text, *(file.read_text(encoding="utf-8") for file in written)):
        assert "abcdefgh12345" not in text


# --- junit ----------------------------------------------------------------------------------------


def properties_of(file: Path, name: str) -> dict[str, str]:
    """The properties of a case."""
    [case] = [c for c in ET.parse(file).getroot().iter("testcase") if c.get("name") == name]
    return {str(p.get("name")): str(p.get("value")) for p in case.iter("property")}


@pytest.mark.parametrize("arguments", [(), ("-n2",), ("--exp-executor=subprocess",)])
def test_junit_properties(study: Study, arguments: tuple[str, ...]) -> None:
    """Metrics and verdicts are properties of the case, the judgement of the whole a case of its own."""
    study.plan(PLAN.replace("[e_x1_1]", "[e_x1_1, e_x1_2]"))
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.85, 'n': 3, 'deep': {'a': 1}}}\n")
    plugins = PLUGINS if "-n2" in arguments else ("exprunner",)
    run = study.pytest("experiments", "--junitxml=junit.xml", *arguments, plugins=plugins)
    assert run.code == 1, run.text
    assert properties_of(study.root / "junit.xml", "e_x1_1") == {
        "attempt": "1",
        "status": "completed",
        "metric.accuracy": "0.85",
        "metric.n": "3",
        "criterion.accuracy": "acceptable",
    }
    cases = ET.parse(study.root / "junit.xml").getroot().findall(".//testcase")
    assert [case.get("name") for case in cases if case.find("failure") is not None] == ["x1-first"]


def test_junit_of_a_replayed_item(study: Study) -> None:
    """What stands has the properties of its attempt."""
    study.plan()
    study.handlers(GOOD)
    study.pytest()
    study.pytest("experiments", "--exp-resume", "--junitxml=junit.xml")
    assert properties_of(study.root / "junit.xml", "e_x1_1")["metric.accuracy"] == "0.95"


HOSTILE = """\
NAMES = ["a\\x00b", "\\x1b[31m", "\\ud800", "\\ufffe", "<b>&\\"'", "\\u2028", "x" * 5000, "", "\\n"]

def e_x1_1(runner, record_property):
    for name in NAMES:
        record_property(name, name)
    metrics = {name: number for number, name in enumerate(NAMES)}
    metrics |= {"text " + name[:9]: name for name in NAMES}
    return {"metrics": {"accuracy": 0.95, "big": 10**5000, "nan": float("nan"), **metrics}}
"""


@pytest.mark.parametrize("arguments", [(), ("--exp-executor=subprocess",)])
def test_junit_with_hostile_names(study: Study, arguments: tuple[str, ...]) -> None:
    """Whatever names metrics and properties have, an XML parser reads the file."""
    study.plan()
    study.handlers(HOSTILE)
    run = study.pytest(
        "experiments", "--junitxml=junit.xml", "-o", "junit_family=xunit1", *arguments
    )  # fmt: skip
    assert run.code == 0, run.text
    found = properties_of(study.root / "junit.xml", "e_x1_1")
    assert found["metric.accuracy"] == "0.95"
    assert found["metric.nan"] == "nan"
    assert found["metric.a�b"] == "0"


def test_names_in_xml() -> None:
    """Only what XML knows is left of a name."""
    assert xml_text("a\x00\ud800\ufffe😀\t") == "a���😀\t"
