"""``exprunner init`` and ``new``: from an empty folder to results, and handlers from the plan."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from study_folder import PLAN, Study

import pytest_exprunner

WRITTEN = {
    ".gitignore",
    "experiments/centroids.py",
    "research/experiments/c1-centroids.md",
    "research/experiments/q1-few-points.md",
    "research/research_plan.yaml",
}


# --- init ---------------------------------------------------------------------------------------


def test_a_study_that_runs(study: Study) -> None:
    """In an empty folder: written, run, the gate passed, nothing to verify, audit or do."""
    run = study.exprunner("init")
    assert run.code == 0, run.text
    assert run.out == (
        "wrote a study here: 5 files\n"
        "  research/research_plan.yaml            what is asked, and what would count as success\n"
        "  research/experiments/c1-centroids.md   a page of yours about the first experiment\n"
        "  research/experiments/q1-few-points.md  a page of yours about the second\n"
        "  experiments/centroids.py               the handlers: functions that measure\n"
        "  .gitignore                             what git ignores\n"
        "next:\n"
        "  pytest experiments/          runs it\n"
        "  exprunner show c1-centroids  what was found\n"
        "  exprunner next               what to do next\n"
    )
    assert study.files() == WRITTEN
    assert study.exprunner("check").out == (
        "research/research_plan.yaml: 2 experiments, 2 sub-experiments, 1 gate: no problems\n"
        "2 handlers for 2 sub-experiments\n"
    )
    run = study.pytest()
    assert run.code == 0, run.text
    assert run.counts(passed=6)
    assert study.exprunner("gates").code == 0
    verify = study.exprunner("verify", "--strict")
    assert (verify.code, verify.out) == (0, "0 errors, 0 to review\n")
    assert study.exprunner("audit").code == 0
    assert "Status **completed**, recommendation **proceed** (confidence: high)" in study.findings(
        "c1-centroids"
    )
    assert "[c1-centroids.md](../c1-centroids.md)" in study.findings("c1-centroids")
    assert study.exprunner("next").out == (
        "1. go on: q1-few-points\n"
        "   q1-few-points says proceed (The success criterion is met); the plan: Ask both questions of real "
        "measurements.\n"
    )
    assert study.pytest("experiments", "--exp-resume").counts(passed=6)


def test_into_a_folder_of_its_own(study: Study) -> None:
    """A folder is made where there is none, and the first command leads there."""
    run = study.exprunner("init", "a study/first")
    assert run.code == 0, run.text
    assert "next:\n  cd 'a study/first'\n  pytest experiments/ " in run.out
    assert study.files() == {f"a study/first/{name}" for name in WRITTEN}


def test_beside_other_files(study: Study) -> None:
    """Other files, also other handlers and an own .gitignore, stay as they are."""
    study.write(".gitignore", "mine\n")
    study.write("experiments/other.py", "x = 1\n")
    study.write("README.md", "hello\n")
    run = study.exprunner("init")
    assert run.code == 0, run.text
    assert "wrote a study here: 4 files\n" in run.out
    assert (study.root / ".gitignore").read_text() == "mine\n"


def test_nothing_is_overwritten(study: Study) -> None:
    """Files in the way are named all at once, and then nothing at all is written."""
    study.plan("mine")
    study.handlers("mine", "centroids.py")
    before = study.files()
    run = study.exprunner("init")
    assert (run.code, run.out) == (4, "")
    assert run.err == (
        "research/research_plan.yaml, experiments/centroids.py already exist; nothing was written. "
        "Move them away, or name another folder: exprunner init FOLDER\n"
    )
    assert study.files() == before
    assert (study.root / "experiments" / "centroids.py").read_text() == "mine"


def test_a_link_that_leads_nowhere_is_in_the_way(study: Study) -> None:
    """A dangling link is not written through."""
    (study.root / "research").mkdir()
    (study.root / "research" / "research_plan.yaml").symlink_to("elsewhere.yaml")
    run = study.exprunner("init")
    assert run.code == 4
    assert "research/research_plan.yaml already exists" in run.err
    assert not (study.root / "research" / "elsewhere.yaml").exists()


def test_a_file_where_a_folder_would_be(study: Study) -> None:
    """A file named like one of the folders is named, and nothing is written."""
    study.write("experiments", "a file\n")
    run = study.exprunner("init")
    assert (run.code, run.err) == (
        4,
        "experiments is not a folder; nothing was written. Name another folder.\n",
    )
    assert study.files() == {"experiments"}
    run = study.exprunner("init", "experiments")
    assert (run.code, run.err) == (
        4,
        "experiments is not a folder; nothing was written. Name another folder.\n",
    )


def test_the_handlers_are_well_written(study: Study) -> None:
    """What a newcomer gets passes ruff's usual checks and its format, and mypy knows every type of it."""
    pytest.importorskip("ruff")
    study.exprunner("init")
    for command in (["check", "--select", "E,F,I,B,UP,SIM"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "experiments"],
            cwd=study.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_the_package_has_what_init_writes() -> None:
    """Nothing that ``init`` and ``schema`` read is left out where the package is built."""
    package = Path(pytest_exprunner.__file__).parent
    ignored = (package.parent / ".gitignore").read_text(encoding="utf-8").split()
    kept = [*(package / "starter").iterdir(), *(package / "json_schemas").iterdir()]
    kept += (package / "skill").rglob("*")
    assert len(kept) > 20
    assert not any(file.match(pattern) for file in kept for pattern in ignored)


@pytest.mark.slow
def test_the_wheel_has_what_init_writes(tmp_path: Path) -> None:
    """The built wheel has the starter, the schemas and the agent skill."""
    pytest.importorskip("hatchling")
    root = Path(pytest_exprunner.__file__).parent.parent
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "pytest_exprunner/starter/centroids.py.template" in names
    assert "pytest_exprunner/json_schemas/status.json" in names
    skill = Path(pytest_exprunner.__file__).parent / "skill"
    shipped = {file.relative_to(root).as_posix() for file in skill.rglob("*") if file.is_file()}
    assert len(shipped) == 8
    assert shipped <= {*names}


# --- new ----------------------------------------------------------------------------------------


def test_a_handler_from_the_plan(study: Study) -> None:
    """It is found by ``check``, fails with what to measure, and passes once it is filled in."""
    study.plan()
    run = study.exprunner("new", "e_x1_1")
    assert run.code == 0, run.text
    assert run.out == (
        "wrote 1 handler\n"
        "  e_x1_1 (experiments/x1_first.py:8)\n"
        "Each fails until it measures what the plan asks for; fill it in, then: pytest experiments/ -m ID\n"
    )
    assert "1 handler for 1 sub-experiment\n" in study.exprunner("check").out
    failed = study.pytest()
    assert failed.code == 1
    assert "NotImplementedError: e_x1_1: measure accuracy (target ≥ 0.90)" in failed.out
    file = study.root / "experiments" / "x1_first.py"
    file.write_text(file.read_text(encoding="utf-8").replace("= None", "= 0.95"), encoding="utf-8")
    assert study.pytest().code == 0


def test_it_is_added_to_a_file_that_exists(study: Study) -> None:
    """What is in the file stays to the byte, Windows line ends included, and annotations need no import."""
    study.plan(PLAN.replace("[e_x1_1]", "[e_x1_1, e_x1_2]"))
    file = study.root / "experiments" / "x1_first.py"
    file.parent.mkdir()
    mine = b"# mine\r\ndef e_x1_1(runner):\r\n    return {'metrics': {'accuracy': 1}}\r\n"
    file.write_bytes(mine)
    assert study.exprunner("new", "e_x1_2").code == 0
    text = file.read_bytes()
    assert text.startswith(mine + b"\r\n\r\ndef e_x1_2(runner):\r\n")
    assert text.count(b"\n") == text.count(b"\r\n")
    assert study.exprunner("check").out.endswith("2 handlers for 2 sub-experiments\n")


@pytest.mark.parametrize(
    ("handlers", "arguments", "message"),
    [
        (
            "def e_x1_1_it(runner): ...\n",
            ["e_x1_1"],
            "e_x1_1 has a handler: e_x1_1_it at experiments/x1_first.py:1\n",
        ),
        ("", ["e_x1_3"], "unknown sub-experiment 'e_x1_3' (did you mean 'e_x1_1'?)\n"),
        (
            "",
            ["x1-first"],
            "x1-first is an experiment; for its handlers: exprunner new --experiment x1-first\n",
        ),
        ("", ["--experiment", "x1-frist"], "unknown experiment 'x1-frist' (did you mean 'x1-first'?)\n"),
        (
            "def e_x1_1(run): ...\n",
            ["e_x1_1"],
            "experiments/x1_first.py:1: e_x1_1 has no parameter named 'runner'; fix that instead\n",
        ),
        (
            "def e_x1_1(\n",
            ["--all"],
            "experiments/x1_first.py:1: cannot be parsed: '(' was never closed; fix that first\n",
        ),
        ("def broken(\n", ["e_x1_1"], "experiments/x1_first.py cannot be added to: '(' was never closed"),
        (
            "class e_x1_1: ...\n",
            ["e_x1_1"],
            "experiments/x1_first.py already defines e_x1_1, which is not a handler",
        ),
    ],
)
def test_refusals(study: Study, handlers: str, arguments: list[str], message: str) -> None:
    """Each refusal says what is there and what to do, and leaves every file as it is."""
    study.plan()
    file = study.handlers(handlers, "x1_first.py")
    run = study.exprunner("new", *arguments)
    assert (run.code, run.out) == (4, "")
    assert run.err.startswith(message)
    assert file.read_text() == handlers


def test_one_of_three(study: Study) -> None:
    """Ids, an experiment or all: exactly one of them."""
    study.plan()
    for arguments in ((), ("e_x1_1", "--all"), ("--experiment", "x1-first", "--all")):
        run = study.exprunner("new", *arguments)
        assert run.code == 4
        assert run.err.startswith("name sub-experiments, or --experiment ID, or --all.")


def test_all_that_have_none(study: Study) -> None:
    """``--all`` writes a file per experiment; a second time there is nothing to write."""
    study.plan(
        PLAN.replace("[e_x1_1]", "[e_x1_1, e_x1_2]")
        + "  json: {sub_experiments: [e_2]}\n  conftest: {sub_experiments: [e_3]}\n"
    )
    study.handlers("def e_x1_1(runner): ...\n")
    run = study.exprunner("new", "--all")
    assert run.out.startswith(
        "wrote 3 handlers\n"
        "  e_x1_2 (experiments/x1_first.py:8)\n"
        "  e_2 (experiments/json_experiment.py:8)\n"
        "  e_3 (experiments/conftest_experiment.py:8)\n"
    )
    assert study.exprunner("new", "--all").out == "nothing to write: each has a handler\n"
    assert study.exprunner("new", "--experiment", "x1-first").out == "nothing to write: each has a handler\n"


def test_hostile_plans_give_harmless_handlers(study: Study) -> None:
    """Names that look like code or steer terminals end up as data."""
    study.plan(
        'experiments:\n  x1:\n    name: "\\"\\"\\"\\nimport os; os.mkdir(\'pwned\')"\n    sub_experiments:\n'
        '      e_1: {name: "a\\"\\"\\"\\nopen(\'pwned\',\'w\')", objective: "\\e[31m\\\\", data: ["\\nopen(\'pwned\',\'w\')"]}\n'
        "    success_criteria: {\"a\\\"\\nopen('pwned','w')#{1/0}\": {target: 1, unit: \"\\nopen('pwned')\"}}\n"
    )
    run = study.exprunner("new", "e_1")
    assert run.code == 0, run.text
    assert study.exprunner("check").code == 0
    done = subprocess.run(
        [sys.executable, "experiments/x1.py"], cwd=study.root, check=True, capture_output=True
    )
    assert done.stderr == b""
    assert not (study.root / "pwned").exists()
    assert "\x1b" not in (study.root / "experiments" / "x1.py").read_text(encoding="utf-8")
