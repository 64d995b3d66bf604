"""The agent skill: what is shipped, how it gets into a folder, and that everything in it is true."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import yaml
from sessions import session, steady, typed
from study_folder import Study
from test_documents import blocks
from test_json_output import validated

import pytest_exprunner
from pytest_exprunner.cli import skill_files
from pytest_exprunner.cli.main import cli
from pytest_exprunner.diagnosis.rules import RULES
from pytest_exprunner.plan import loader
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.report import events
from pytest_exprunner.report.hints import short_page

SHIPPED = Path(pytest_exprunner.__file__).parent / "skill"
PAGES = sorted(SHIPPED.rglob("*.md"))
FOLDER = ".claude/skills/exprunner"
FILES = [
    "SKILL.md",
    "assets/findings-notes.md",
    "assets/handler.py",
    "assets/research_plan.yaml",
    "references/common-errors.md",
    "references/findings-guide.md",
    "references/handler-patterns.md",
    "references/wandb-guide.md",
]
CHANGED = (
    f"{FOLDER}/SKILL.md has changed since exprunner wrote it; nothing was written. Save your version under another "
    "name and run this again; 'exprunner skill --show SKILL.md' prints what would be written\n"
)


# --- the command ------------------------------------------------------------------------------


def test_into_a_project(study: Study) -> None:
    """Every file of the skill is written where agents look for it; again, nothing is to be done."""
    run = study.exprunner("skill")
    assert run.code == 0, run.text
    names = "".join(f"  {name}\n" for name in FILES)
    assert run.out == f"wrote the skill exprunner into {FOLDER}: 8 files\n{names}"
    assert study.files() == {f"{FOLDER}/{name}" for name in [*FILES, skill_files.MANIFEST]}
    assert study.exprunner("skill").out == f"{FOLDER} is up to date: 8 files\n"


def test_into_a_study_from_within(study: Study) -> None:
    """From a folder inside a study it goes to where the study begins; a folder that is named decides."""
    study.plan()
    assert study.exprunner("skill", cwd="research").code == 0
    assert (study.root / FOLDER / "SKILL.md").is_file()
    assert study.exprunner("skill", ".agents/skills", cwd="research").code == 0
    assert (study.research / ".agents" / "skills" / "exprunner" / "SKILL.md").is_file()


def test_as_json(study: Study) -> None:
    """What was written, what there is, and a file are told by one schema."""
    told = validated(study.exprunner("skill", "--json"), "skill")
    assert (told["folder"], told["written"], told["unchanged"]) == (FOLDER, FILES, [])
    told = validated(study.exprunner("skill", "--json"), "skill")
    assert (told["written"], told["unchanged"]) == ([], FILES)
    assert validated(study.exprunner("skill", "--list", "--json"), "skill")["files"] == FILES
    told = validated(study.exprunner("skill", "--show", "assets/handler.py", "--json"), "skill")
    assert told["text"] == (study.root / FOLDER / "assets" / "handler.py").read_text(encoding="utf-8")


def test_shown_and_listed(study: Study) -> None:
    """Both write nothing; an unknown file, and two things at once, are refused."""
    assert study.exprunner("skill", "--list").out.split() == FILES
    shown = study.exprunner("skill", "--show", "SKILL.md")
    assert shown.out == (SHIPPED / "SKILL.md").read_text(encoding="utf-8")
    run = study.exprunner("skill", "--show", "SKIL.md")
    assert (run.code, run.err) == (
        4,
        f"the skill has no file 'SKIL.md' (did you mean 'SKILL.md'?); it has: {', '.join(FILES)}\n",
    )
    assert study.exprunner("skill", "x", "--list").err.startswith("name a folder, or --list, or --show FILE.")
    assert study.files() == set()


def test_what_a_person_changed_is_not_overwritten(study: Study) -> None:
    """A changed file is named, with what to do, and nothing at all is written; then it goes on."""
    study.exprunner("skill")
    skill = study.root / FOLDER
    text = (skill / "SKILL.md").read_text(encoding="utf-8")
    (skill / "SKILL.md").write_text(f"{text}Ours.\n", encoding="utf-8")
    (skill / "assets" / "handler.py").unlink()
    before = study.files()
    run = study.exprunner("skill")
    assert (run.code, run.out, run.err) == (4, "", CHANGED)
    assert study.files() == before
    assert validated(study.exprunner("skill", "--json"), "error")["problems"][0]["text"] == CHANGED.strip()
    (skill / "SKILL.md").rename(skill / "OURS.md")
    run = study.exprunner("skill")
    assert run.out == f"updated {FOLDER}\n  SKILL.md\n  assets/handler.py\n"
    assert (skill / "OURS.md").read_text(encoding="utf-8").endswith("Ours.\n")


def test_files_without_a_manifest_are_a_persons(study: Study) -> None:
    """Also a link, and what a broken manifest claims; only what is as it would be written is taken as ours."""
    study.write(f"{FOLDER}/SKILL.md", "mine\n")
    assert study.exprunner("skill").err == CHANGED
    study.write(f"{FOLDER}/{skill_files.MANIFEST}", '{"files": {"SKILL.md": 3, "../../../x": 4}}')
    assert study.exprunner("skill").err == CHANGED
    (study.root / FOLDER / "SKILL.md").unlink()
    (study.root / FOLDER / "SKILL.md").symlink_to("elsewhere.md")
    assert study.exprunner("skill").err == CHANGED
    (study.root / FOLDER / "SKILL.md").unlink()
    study.write(f"{FOLDER}/SKILL.md", skill_files.shipped()["SKILL.md"])
    assert study.exprunner("skill").code == 0


def test_a_file_where_a_folder_would_be(study: Study) -> None:
    """It is named, and nothing is written."""
    study.write(".claude", "a file\n")
    run = study.exprunner("skill")
    assert (run.code, run.err) == (4, f"{study.root / '.claude'} is not a folder; nothing was written\n")
    assert study.files() == {".claude"}


def test_an_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """What is untouched is replaced or removed; what a person added or changed stays."""
    old = {"SKILL.md": "old\n", "same.md": "same\n", "gone.md": "gone\n", "kept.md": "kept\n"}
    skill_files.install(tmp_path, "s", "0.1", old)
    (tmp_path / "mine.md").write_text("mine\n", encoding="utf-8")
    (tmp_path / "kept.md").write_text("changed\n", encoding="utf-8")
    (tmp_path / "SKILL.md").write_bytes(b"old\r\n")  # as git may check it out
    done = skill_files.install(
        tmp_path, "s", "0.2", {"SKILL.md": "new\n", "same.md": "same\n", "more.md": ""}
    )
    assert done == skill_files.Installed(("more.md",), ("SKILL.md",), ("gone.md",), ("same.md",))
    assert {file.name for file in tmp_path.iterdir()} == {
        "SKILL.md", "same.md", "more.md", "mine.md", "kept.md", skill_files.MANIFEST,
    }  # fmt: skip
    assert (tmp_path / "SKILL.md").read_text(encoding="utf-8") == "new\n"


# --- the format -------------------------------------------------------------------------------


def test_the_format(study: Study) -> None:
    """Name, description, length and references are as agents expect them."""
    study.exprunner("skill")
    text = (study.root / FOLDER / "SKILL.md").read_text(encoding="utf-8")
    _before, front, body = text.split("---\n", 2)
    about = yaml.safe_load(front)
    assert set(about) == {"name", "description"}
    assert about["name"] == Path(FOLDER).name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", about["name"])
    assert len(about["name"]) <= 64
    assert 0 < len(about["description"]) <= 1024
    assert len(body.splitlines()) < 500
    linked = set()
    for page in (study.root / FOLDER).rglob("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"
            linked.add((page.parent / target).resolve().relative_to(study.root / FOLDER).as_posix())
    assert linked >= {*FILES} - {"SKILL.md"}


def test_the_common_errors_are_those_of_the_rules() -> None:
    """``docs/refresh.py`` writes the page."""
    page = (SHIPPED / "references" / "common-errors.md").read_text(encoding="utf-8")
    assert page == short_page(RULES)


def test_what_the_pages_name_exists(study: Study) -> None:
    """Options, commands, events, their fields and rules are known."""
    helps = study.pytest("--help").out
    kinds = events.schema()["$defs"]
    fields = {name: set(definition.get("properties", ())) for name, definition in kinds.items()}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for option in set(re.findall(r"--exp-[a-z-]+", text)):
            assert option in helps, option
        for command in set(re.findall(r"[`$] ?exprunner (\w+)", text)):
            assert command in cli.commands, command
        for words in set(re.findall(r"exprunner schema (\w+)", text)):
            assert (SHIPPED.parent / "json_schemas" / f"{words}.json").is_file()
    skill = (SHIPPED / "SKILL.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(\w+)` \| (.*) \|$", skill, re.MULTILINE)
    assert {name for name, _about in table} <= set(fields)
    for name, about in table:
        named = re.findall(r"`(\w+)`", about)
        assert named
        assert set(named) <= fields[name], name
    [hint] = re.findall(r"A hint has (.*)\.", skill)
    assert set(re.findall(r"`(\w+)`", hint)) == fields["hint"]
    [error] = re.findall(r"An `error` has (.*?),\s+the nearest", skill, re.DOTALL)
    [of_errors] = [
        one for one in kinds["attempt_finished"]["properties"]["error"]["anyOf"] if "properties" in one
    ]
    assert set(re.findall(r"`(\w+)`", error)) == set(of_errors["properties"])
    [criterion] = re.findall(r"for each of them (.*?)\.", skill, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", criterion)) <= fields["criterion"]


# --- what stands in code blocks ---------------------------------------------------------------


def shows(output: str, shown: str) -> bool:
    """Return whether a command printed what a page shows; a line with … stands for any lines."""
    lines = steady(shown).splitlines()
    pattern = "".join(r"(?:.*\n)*" if line == "…" else f"{re.escape(line)}\n" for line in lines)
    return re.fullmatch(pattern, f"{output}\n" if output else "") is not None


def sections(page: Path) -> list[tuple[str, str, list[str]]]:
    """The sections of a page that have a plan: title, plan, handlers of the files that stand below it."""
    found = []
    for text in re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        plans, handlers = fenced(text, "yaml"), fenced(text, "python")
        if plans:
            [plan] = plans
            found.append((text.partition("\n")[0], plan, handlers))
    return found


def fenced(text: str, language: str) -> list[str]:
    """The blocks of a language in a text."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


PATTERNS = [
    pytest.param(
        title, plan, handlers,
        id=f"{title} {number}",
        marks=[pytest.mark.slow] if "import torch" in handlers else [],
    )
    for title, plan, several in sections(SHIPPED / "references" / "handler-patterns.md")
    for number, handlers in enumerate(several, start=1)
]  # fmt: skip
INADMISSIBLE = "Failing honestly"


@pytest.mark.slow
@pytest.mark.parametrize(("title", "plan", "handlers"), PATTERNS)
def test_the_patterns(study: Study, title: str, plan: str, handlers: str) -> None:
    """Each is a study that runs: checked, stubbed, run, and nothing in it for a person to look at."""
    for library in re.findall(r"^(?:import|from) (numpy|torch|matplotlib)\b", handlers, re.MULTILINE):
        pytest.importorskip(library)
    study.plan(plan)
    study.handlers(handlers, "handlers.py")
    study.write("data/words.txt", "evidence measured of the attempt\n")
    assert study.exprunner("check").out.count("no handler") == 0
    assert study.pytest("experiments", "--exp-stub").code == 0
    run = study.pytest("experiments", env={"OMP_NUM_THREADS": "1"})
    assert run.code == (1 if title == INADMISSIBLE else 0), run.text
    assert study.exprunner("verify", "--strict").code == 0
    if title == INADMISSIBLE:
        assert study.results("x1-service")["criteria"]["agreement"]["verdict"] == "inadmissible"
        study.write("service.json", '{"answers": [1, 1, 1, 0, 1, 1]}')
        assert study.pytest().code == 0


def test_every_pattern_is_run() -> None:
    """No plan and no handler stands outside a section that is run."""
    page = SHIPPED / "references" / "handler-patterns.md"
    found = sections(page)
    assert [plan for _title, plan, _handlers in found] == blocks(page, "yaml")
    assert [text for _title, _plan, several in found for text in several] == blocks(page, "python")
    assert any(title == INADMISSIBLE for title, _plan, _handlers in found)


def test_a_checkpoint_is_taken_up(study: Study) -> None:
    """The training of the page goes on where an attempt of the same code was killed."""
    [(plan, handlers)] = [
        (plan, several[0])
        for title, plan, several in sections(SHIPPED / "references" / "handler-patterns.md")
        if title.startswith("Training")
    ]
    dying = (
        "        if epoch == 20 and 'DIES' in os.environ:\n            os._exit(9)\n        partial.replace"
    )
    study.plan(plan)
    study.handlers(f"import os\n{handlers.replace('        partial.replace', dying)}")
    assert study.pytest("experiments", env={"DIES": "1"}).code == 1
    run = study.pytest("experiments", "--exp-resume", "-v")
    assert run.code == 0, run.text
    assert "Training from epoch 20" in run.out


SESSIONS = [page for page in PAGES if "```console" in page.read_text(encoding="utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in SESSIONS if p.stem != "wandb-guide"], ids=lambda page: page.stem)
def test_the_sessions(study: Study, page: Path) -> None:
    """Every command of a page prints what the page shows."""
    for command, shown in session(page.read_text(encoding="utf-8")):
        printed = steady(typed(study, command))
        assert shows(printed, shown), f"{command}\n{printed}"


@pytest.mark.slow
def test_the_page_about_wandb(study: Study) -> None:
    """Its plan, its handler and its commands work with the real wandb, offline; its messages are real."""
    pytest.importorskip("wandb")
    from test_wandb import environment, logs

    page = SHIPPED / "references" / "wandb-guide.md"
    [plan], [handlers] = blocks(page, "yaml"), blocks(page, "python")
    study.plan(plan)
    study.handlers(handlers)
    offline = environment(WANDB_MODE="offline", HOME=str(study.root))
    (run, _shown), (sync, shown) = session(page.read_text(encoding="utf-8"))
    done = study.pytest(*run.split()[1:], env=offline)
    assert done.code == 0, done.text
    sent = study.exprunner(*sync.split()[1:], env=offline)
    assert sent.code == 3, sent.text
    assert shows(steady(sent.text.strip("\n")), shown)
    log = logs(study)["e_x1_1 #1"]
    assert log.run["project"] == "clouds"
    assert len([row for row in log.history if "e_x1_1/accuracy" in row]) == 10
    source = "".join(file.read_text(encoding="utf-8") for file in SHIPPED.parent.rglob("*.py"))
    said = re.findall(r"^\| (`.*?) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(said) == 4
    for words in re.findall(r"`(.*?)`", " ".join(said)):
        assert words.removeprefix("wandb ") in source, words


def test_no_block_goes_untested() -> None:
    """Only kinds of blocks that a test here runs, compares or loads stand in the pages."""
    known = {"console", "yaml", "python", "markdown", "text"}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"^```(\S*)", text, re.MULTILINE)) - {""} <= known, page.name
    for kind, names in {
        "python": {"handler-patterns.md", "wandb-guide.md"},
        "yaml": {"handler-patterns.md", "wandb-guide.md"},
        "markdown": {"findings-guide.md"},
        "text": {"common-errors.md"},
    }.items():
        assert {page.name for page in PAGES if blocks(page, kind)} == names


# --- the templates ----------------------------------------------------------------------------


def template(study: Study) -> Plan:
    """Copy the plan and the handlers of the skill into a study."""
    shipped = skill_files.shipped()
    study.plan(shipped["assets/research_plan.yaml"])
    study.handlers(shipped["assets/handler.py"], "handler.py")
    plan, warnings = loader.parse(shipped["assets/research_plan.yaml"].encode(), "plan.yaml")
    assert warnings == ()
    return plan


def test_the_templates(study: Study) -> None:
    """The plan loads, each of its sub-experiments has a handler, and none is green before it measures."""
    plan = template(study)
    told = validated(study.exprunner("check", "--json"), "check")
    assert set(told["handlers"]) == {sub.id for _experiment, sub in plan.sub_experiments()}
    assert (told["warnings"], told["unreadable"]) == ([], [])
    assert study.pytest("experiments", "--exp-stub").code == 0
    run = study.pytest("experiments")
    assert run.code == 1
    assert "NotImplementedError: e_c1_1: load the data" in run.out


FILLED = {
    "load_data": "import random\n    numbers = random.Random(runner.seed)\n"
    "    draw = [(numbers.gauss(4 * label, 1), label) for label in (0, 1) for _ in range(300)]\n"
    "    numbers.shuffle(draw)\n    return draw[:300], draw[300:]",
    "fit_baseline": "return lambda value: 1",
    "fit_method": "return lambda value: int(value > 2)",
    "predictions_are_right": "return [model(value) == label for value, label in test]",
}


def test_the_filled_in_templates(study: Study) -> None:
    """With the functions filled in, they answer the question of the plan."""
    template(study)
    file = study.root / "experiments" / "handler.py"
    text = file.read_text(encoding="utf-8")
    for name, body in FILLED.items():
        start = text.index("raise", text.index(f"def {name}("))
        text = text[:start] + body + text[text.index("\n", start) :]
    file.write_text(text, encoding="utf-8")
    ast.parse(text)
    run = study.pytest("experiments")
    assert run.code == 0, run.text
    criteria = study.results("c1-claim")["criteria"]
    assert {name: said["verdict"] for name, said in criteria.items()} == {
        "accuracy": "target",
        "gain_over_baseline": "target",
    }


@pytest.mark.slow
def test_the_notes_of_the_findings_survive(study: Study) -> None:
    """The sections of the template, and the example of the guide, are those that a new file offers."""
    typed(study, "exprunner init")
    study.pytest("experiments", "-q")
    file = study.research / "experiments" / "c1-centroids" / "FINDINGS.md"
    generated, marker, offered = file.read_text(encoding="utf-8").partition("<!-- exprunner:end -->\n")
    [example] = blocks(SHIPPED / "references" / "findings-guide.md", "markdown")
    for text in (skill_files.shipped()["assets/findings-notes.md"], example):
        assert re.findall(r"^## .*", text, re.MULTILINE) == re.findall(r"^## .*", offered, re.MULTILINE)
        file.write_text(f"{generated}{marker}\n{text}", encoding="utf-8")
        assert study.exprunner("report").code == 0
        assert file.read_text(encoding="utf-8") == f"{generated}{marker}\n{text}"
        verified = json.loads(study.exprunner("verify", "--json").out)
        assert verified["doubts"] == []
