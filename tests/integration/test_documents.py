"""What the documents show is what happens: snippets run, commands exist, messages are real."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
import sessions
import yaml
from study_folder import PLAN, Study

import pytest_exprunner
from pytest_exprunner.cli.main import cli
from pytest_exprunner.plan import loader
from pytest_exprunner.plan.schema import json_schema
from pytest_exprunner.report import events, plan_keys

ROOT = Path(pytest_exprunner.__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(document: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language in a document."""
    text = document.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def without_numbers(text: str) -> str:
    """Return text with every measured number, and the length of rulers, taken out."""
    return re.sub(r"=+", "=", re.sub(r"\d+\.\d+", "N", text))


def test_the_readmes_first_study(study: Study) -> None:
    """The plan and the handler of the README give the output that it shows."""
    pytest.importorskip("sklearn")
    readme = ROOT / "README.md"
    study.plan(blocks(readme, "yaml")[0])
    study.handlers(blocks(readme, "python")[0], "first.py")
    shown, missed = (without_numbers(text).strip() for text in blocks(readme, "text"))
    run = study.pytest(env={"COLUMNS": "80"})
    assert run.code == 0, run.text
    assert without_numbers(run.out).strip().endswith(shown)
    study.plan(
        blocks(readme, "yaml")[0].replace("target: 0.95, acceptable: 0.90", "target: 0.99, acceptable: 0.98")
    )
    run = study.pytest(env={"COLUMNS": "80"})
    assert run.code == 1
    again = without_numbers(run.out).replace("Attempt 2", "Attempt 1").replace("/0002", "/0001")
    assert missed in again


def test_what_the_readme_shows_of_the_example_study(study: Study) -> None:
    """Line by line the results say what the README quotes, but for numbers, which differ between machines."""
    shown = blocks(ROOT / "README.md", "console")[1]
    assert "gate_2_bridging: passed" in shown
    copytree(ROOT / "research", study.research, ignore=ignore_patterns(".exprunner"))
    printed = {_quoted(line) for line in study.exprunner("status").out.splitlines()}
    for line in shown.splitlines():
        assert line == "…" or _quoted(line) in printed, line


def _quoted(line: str) -> str:
    """A line without numbers, the width of tables, and how well something is met."""
    return re.sub(r" (target|acceptable)$", " met", without_numbers(" ".join(line.split())))


def test_the_plans_in_the_documents_load() -> None:
    """Every plan that is shown loads without problems and without warnings."""
    plans = [b for document in DOCUMENTS for b in blocks(document, "yaml") if "experiments:" in b]
    assert plans
    for source in plans:
        _plan, warnings = loader.parse(source.encode(), "plan.yaml")
        assert warnings == ()


def test_the_whole_plan_uses_every_key() -> None:
    """The page on the plan format has an example with every key that a plan may have in this version."""
    page = "".join(blocks(ROOT / "docs" / "plan-format.md", "yaml"))
    definitions = json_schema()["$defs"]
    for definition in definitions.values():
        for key in definition["properties"].keys() - {"status", "outcome", "achieved"}:  # claims of a person
            assert re.search(rf"\b{key}\b", page), key


def test_the_page_about_the_structure_shows_the_packages() -> None:
    """The picture is drawn from the contracts, and each row is the sentence of a package."""
    sys.path.insert(0, str(ROOT / "docs"))
    import refresh

    page = (ROOT / "docs" / "structure.md").read_text(encoding="utf-8")
    assert refresh.with_packages(page) == page


def test_the_page_about_the_plan_has_the_tables_of_its_keys() -> None:
    """They are up to date, with a meaning for each key."""
    page = (ROOT / "docs" / "plan-format.md").read_text(encoding="utf-8")
    tables = plan_keys.tables(json_schema())
    assert f"docs/refresh.py -->\n\n{tables}\n<!-- end of keys -->" in page
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|(.*)\|(.*)\|$", tables, re.MULTILINE)
    known = [name for d in (json_schema(), *json_schema()["$defs"].values()) for name in d["properties"]]
    assert sorted(name for name, *_cells in rows) == sorted(known)
    assert all(kind.strip() and meaning.strip() for _name, kind, _default, meaning in rows)


@pytest.mark.slow
def test_the_schema_command_prints_the_tables(study: Study) -> None:
    """``exprunner schema --markdown`` prints the keys of the plan, and of nothing else."""
    assert study.exprunner("schema", "--markdown").out == plan_keys.tables(json_schema())
    refused = study.exprunner("schema", "gates", "--markdown")
    assert refused.code == 4
    assert "--markdown prints the keys of the plan; for 'gates' there is only the JSON Schema" in refused.err


def test_the_problems_that_the_page_quotes(study: Study) -> None:
    """The messages on the page about the plan format are what a broken plan gives."""
    study.plan(
        """\
        experiments:
          x1-first:
            sub_experiments: [e_x1_1]
            success_criteria:
              accuracy: {target: 0.9, direction: up}
        gates:
          gate_1: {experiments: [x1-frist]}
        """
    )
    run = study.pytest()
    quoted = blocks(ROOT / "docs" / "plan-format.md", "text")[-1].strip()
    assert run.code == 4
    assert quoted in run.err


def test_the_handlers_on_the_page_about_the_runner(study: Study) -> None:
    """Each handler on the page runs; the one whose model is unreachable is refused."""
    study.plan(
        """\
        experiments:
          p2:
            sub_experiments: [e_p2_1, e_p2_2]
            success_criteria:
              spatial_iou: {target: 0.7}
        """
    )
    plain, fallback = blocks(ROOT / "docs" / "runner.md", "python")
    study.handlers(f"{plain}\n\ndef ask_the_model():\n    raise ConnectionError('refused')\n\n{fallback}")
    run = study.pytest()
    assert run.code == 1
    assert run.counts(passed=1, failed=1)
    assert "cached scores used" in run.out


def test_the_page_about_trackers(study: Study) -> None:
    """Its plan, its handler and its tracker work together, and its messages are real."""
    page = ROOT / "docs" / "wandb.md"
    study.plan(blocks(page, "yaml")[0])
    handler, tracker = blocks(page, "python")
    study.handlers(handler)
    study.write("counting.py", tracker)
    run = study.pytest("experiments", "--exp-tracker", "counting:CountingTracker")
    assert run.code == 0, run.text
    assert (study.root / "counted.txt").read_text() == "e_p2_1: 3 rows, completed\n"
    source = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "pytest_exprunner").rglob("*.py"))
    for message in re.findall(
        r"^\| `(.*?)` \| ", page.read_text(encoding="utf-8").partition("## Common")[2], re.MULTILINE
    ):
        words = re.sub(r"(did not finish within|wandb missed).*", r"\1", message.partition("…")[0]).strip()
        assert words.removeprefix("wandb ") in source, message
    known = study.pytest("--help").out + study.exprunner("--help").out
    for name in set(re.findall(r"(--exp-[a-z-]+|(?<=exprunner )\w+(?= ))", page.read_text(encoding="utf-8"))):
        assert name in known, name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link of a document leads to a file of the project."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target


def test_the_options_of_the_readme_exist(study: Study) -> None:
    """Each option and command that the README names is known."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    known = study.pytest("--help").out
    for option in set(re.findall(r"--exp-[a-z-]+", readme)):
        assert option in known
    commands = study.exprunner("--help").out
    for command in set(re.findall(r"`exprunner (\w+)", readme)):
        assert f"\n  {command} " in commands


@pytest.mark.slow
def test_the_page_about_commands_has_every_option(study: Study) -> None:
    """Each option of pytest that the plugin adds is explained, and no other."""
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    table = page.partition("## Options of pytest")[2].partition("\n## ")[0]
    rows = "".join(line for line in table.splitlines() if line.startswith("|"))
    known = re.findall(r"^ +(--exp-[a-z-]+)", study.pytest("--help").out, re.MULTILINE)
    assert set(re.findall(r"--exp-[a-z-]+", rows)) == set(known)


@pytest.mark.slow
def test_the_projects_own_hint(study: Study) -> None:
    """The hook on the page about common errors is called, and what it returns stands below the failure."""
    study.plan()
    study.write("conftest.py", blocks(ROOT / "docs" / "common-errors.md", "python")[0])
    study.handlers("def e_x1_1(runner): raise OSError('no simulator licence left')\n")
    assert "Hint: All seats of the simulator are taken." in study.pytest().out


@pytest.mark.slow
def test_the_answer_about_deleted_attempts(study: Study) -> None:
    """What stands in for an attempt whose folder was deleted, and how to begin an experiment from nothing."""
    study.plan()
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.7}}\n")
    assert study.pytest().code == 1
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n")
    assert study.pytest().code == 0
    shutil.rmtree(study.attempt(sequence=1))
    assert study.exprunner("report").code == 0
    assert "accuracy was not met in attempt 1" in study.exprunner("status").out
    shutil.rmtree(study.research / "experiments" / "x1-first")
    assert "not started: x1-first" in study.exprunner("status").out


@pytest.mark.slow
def test_what_the_readme_says_to_type(study: Study) -> None:
    """Each command of its table runs; those that go to a service elsewhere have tests of their own."""
    study.plan(f"{PLAN}gates:\n  g1: {{experiments: [x1-first]}}\n")
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n")
    assert study.pytest().code == 0
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\| [^|]+ \| `((?:pytest|exprunner) [^`]+)` \|$", readme, re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        if not re.search("wandb|modal", command):
            program, *arguments = command.split()
            plugins = ("exprunner", "xdist") if "-n" in arguments else ("exprunner",)
            run = (
                study.exprunner(*arguments)
                if program == "exprunner"
                else study.pytest(*arguments, plugins=plugins)
            )
            assert run.code == 0, (command, run.text)


@pytest.mark.slow
def test_the_waiver_on_the_page_about_trust(study: Study) -> None:
    """It signs for a miss: the test is expected to fail, and the summary tells who decided."""
    [waiver] = [block for block in blocks(ROOT / "docs" / "trust.md", "yaml") if "waivers:" in block]
    study.plan(
        "experiments:\n"
        "  q3-temporal: {sub_experiments: [e_q3_1], success_criteria: {consistency: {target: 0.9}}}\n"
        + waiver
    )
    study.handlers("def e_q3_1(runner): return {'metrics': {'consistency': 0.8}}\n")
    run = study.pytest()
    assert run.code == 0, run.text
    assert run.counts(xfailed=1)
    assert "waived by A. Person on 2026-01-22 because The demo is offline" in run.out


def test_the_commands_on_the_page_about_contributing() -> None:
    """It sets up as the README does, and its site is built as a test builds it."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^\$ (.*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    set_up, tests, *_checks = re.findall(r"^\$ (.*)$", page, re.MULTILINE)
    assert first.startswith(set_up)
    assert second == tests
    assert "sphinx-build -W --keep-going -n docs site" in page
    assert "sphinx-build -W --keep-going -n docs site" in (ROOT / "docs" / "conf.py").read_text(
        encoding="utf-8"
    )


def test_the_paths_on_the_page_about_contributing() -> None:
    """Each file and folder of the project that the page names is there."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tests|pytest_exprunner|\.ci)/[\w./]*)`", page))
    assert len(named) > 8
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_paths_of_the_walks_through_the_code() -> None:
    """Each module that a walk passes through exists, and no walk turns back within a package."""
    page = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    _steps, *walks = re.split(r"^### ", page, flags=re.MULTILINE)
    assert len(walks) == 3
    for walk in walks:
        files = re.findall(r"^\d+\. `([\w/]+\.py)`", walk, re.MULTILINE)
        assert len(files) > 5
        assert [file for file in files if not (ROOT / "pytest_exprunner" / file).exists()] == []


def test_the_schema_command_prints_the_shipped_schema(study: Study) -> None:
    """``exprunner schema`` prints what is shipped beside the package."""
    shipped = Path(pytest_exprunner.__file__).parent / "research_plan.schema.json"
    assert json.loads(study.exprunner("schema").out) == json.loads(shipped.read_text(encoding="utf-8"))


def test_the_tests_that_the_page_on_reliability_names() -> None:
    """Each test that the page names exists."""
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    defined = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 30
    assert named <= defined


def test_the_page_on_modal(study: Study) -> None:
    """Its plan asks for what the page says that it may cost."""
    page = ROOT / "docs" / "modal.md"
    [plan] = blocks(page, "yaml")
    study.plan(plan)
    study.handlers("def e_p2_1(runner): ...\ndef e_p2_3(runner): ...\n")
    explained = study.pytest("experiments/", "--exp-executor", "modal", "--exp-explain")
    [quoted] = [block for block in blocks(page, "console") if "--exp-explain" in block]
    for line in quoted.splitlines()[1:]:
        assert line in explained.out.splitlines()


def shows_what_is_printed(page: str, study: Study) -> None:
    """Do everything that a page has one do; each command prints what the page shows."""
    for step in sessions.steps(page):
        printed = sessions.done(study, step)
        if isinstance(step, sessions.Typed) and not sessions.fits(step.shown, printed):
            assert printed == step.shown, f"{step.command}: refresh the page with docs/refresh.py"


@pytest.mark.slow
def test_the_first_study(study: Study) -> None:
    """The tutorial goes as it is told, from an empty folder to the end."""
    page = (ROOT / "docs" / "first-study.md").read_text(encoding="utf-8")
    shows_what_is_printed(page, study)
    assert (study.root / "report.html").is_file()


@pytest.mark.slow
def test_the_session_on_the_page_about_commands(study: Study) -> None:
    """Every command on the page prints what the page shows, and no command is left out."""
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    shows_what_is_printed(page, study)
    commands = [command for command, _shown in sessions.session(page)]
    used = {command.split()[1] for command in commands if command.startswith("exprunner")}
    assert used == {*cli.commands}
    for code, meaning in re.findall(r"^\| (\d) \| ([\w ]+)", page, re.MULTILINE):
        assert f"{code} {meaning.split(':')[0].strip()}" in " ".join(study.exprunner("--help").out.split())


def test_the_page_for_programs(study: Study) -> None:
    """Its client tells of a run, and its table names every event of the schema."""
    page = ROOT / "docs" / "agents.md"
    [client] = blocks(page, "python")
    named = re.findall(r"^\| `(\w+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert named == events.schema()["properties"]["event"]["enum"]
    study.plan()
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.7}}\n")
    study.write("client.py", client)
    told = study.python("client.py")
    assert told.out == (
        "e_x1_1: accuracy of 0.700 is below the 0.80 acceptable threshold by 0.100.\n"
        "exit code 1; next: x1-first: Decide what replaces this approach; the plan has no next step for a pivot.\n"
    )
    study.plan("experiments: {x1: {}}\n")
    assert "research/research_plan.yaml:1:" in study.python("client.py").out


def test_the_page_about_ci(study: Study) -> None:
    """The commands of its workflow run, in order; a later job with the cached attempts runs nothing again."""
    whole, cached = (yaml.safe_load(block) for block in blocks(ROOT / "docs" / "ci.md", "yaml"))
    assert whole[True] == {"push": {"branches": ["main"]}, "pull_request": None}  # 'on', to YAML 1.1
    [job] = whole["jobs"].values()
    install, run, post = (step["run"] for step in job["steps"] if "run" in step)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    assert install == f"python -m pip install './{project}[report]'"
    study.plan(f"{PLAN}gates:\n  g1: {{experiments: [x1-first]}}\n")
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n")
    step = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(study.root / "summary.md")}
    ran = study.shell(run, env=step)
    assert ran.code == 0, ran.text
    assert "## Research plan\n\n**Passed**" in (study.root / "summary.md").read_text(encoding="utf-8")
    assert study.shell(post, env=step).code == 0
    assert "# Findings" in (study.root / "summary.md").read_text(encoding="utf-8")
    kept = [path for path in job["steps"][-1]["with"]["path"].split() if not (study.root / path).exists()]
    assert kept == []
    for path in cached[0]["with"]["path"].split():
        assert list(study.root.glob(path)), path
    again = study.shell(cached[1]["run"], env=step)
    assert again.code == 0, again.text
    assert "Not run again: 1" in again.out
