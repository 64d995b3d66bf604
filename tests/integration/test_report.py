"""``--exp-report`` writes one page from stored files alone."""

from __future__ import annotations

import hashlib
import re
import shutil
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
import report_studies
from study_folder import Study

HANDLER = """\
def e_x1_1(runner):
    runner.log_metrics({"loss": 0.5}, step=0)
    runner.log_metrics({"loss": 0.25}, step=1)
    return {"finding": "It works.", "metrics": {"accuracy": 0.95}}
"""


SAVING = """\
def e_x1_1(runner):
    table = runner.results.save_artifact("table.csv", "a,b\\n1,2\\n")
    return {"metrics": {"accuracy": 0.95}, "artifacts": [table]}
"""


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.source = file.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._inside = ""
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        del tag
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        """What a person reads, spaces joined."""
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_page_is_written_at_the_end_of_a_run(study: Study) -> None:
    """It says what the findings say; the summary says where it is."""
    study.plan()
    study.handlers(HANDLER)
    run = study.pytest("experiments/", "--exp-report", "out/report.html")
    assert run.code == 0
    assert "Report: out/report.html" in run.out
    page = Page(study.root / "out" / "report.html")
    assert "accuracy of 0.950 is above the 0.90 target." in page.text
    assert "It works." in page.text
    assert "attempt 1: 0.500 → 0.250 (0.250 to 0.500; 2 values)" in page.text
    links = {a["href"] for a in page.all("a") if not str(a["href"]).startswith("#")}
    assert {
        "../research/experiments/x1-first/FINDINGS.md",
        "../research/experiments/x1-first/results.yaml",
    } == links


def test_the_same_study_gives_the_same_page(study: Study) -> None:
    """It follows from stored files: byte for byte, whoever writes it and when."""
    study.plan()
    study.handlers(HANDLER)
    study.pytest("experiments/", "--exp-report", "a.html")
    run = study.pytest("experiments/", "--exp-resume", "--exp-report", "b.html")
    assert run.code == 0
    assert (study.root / "a.html").read_bytes() == (study.root / "b.html").read_bytes()


def test_a_clone_has_a_page_too(study: Study) -> None:
    """Without journals and records, what results files say is shown, and what is missing is said."""
    study.plan()
    study.handlers(HANDLER)
    study.pytest("experiments/")
    (study.attempt() / "events.jsonl").unlink()
    assert study.exprunner("report", "--html", "r.html").code == 0
    page = Page(study.root / "r.html")
    assert "accuracy of 0.950 is above the 0.90 target." in page.text
    assert "What was logged is not here: journals are not committed." in page.text
    shutil.rmtree(study.research / "experiments" / "x1-first" / "attempts")
    run = study.exprunner("report", "--html", "r.html")
    assert (run.code, run.out.splitlines()[0][:14]) == (0, "wrote r.html (")
    page = Page(study.root / "r.html")
    assert "accuracy of 0.950 is above the 0.90 target." in page.text
    assert "lists 1 attempt that is not on disk; it is used in place of what is missing" in page.text


def test_an_interrupted_run_has_a_page_that_says_so(study: Study) -> None:
    """Yesterday's success is not shown for what this run began and did not end."""
    study.plan()
    study.handlers(HANDLER)
    study.pytest("experiments/")
    study.handlers("def e_x1_1(runner):\n    raise KeyboardInterrupt\n")
    run = study.pytest("experiments/", "--exp-report", "r.html")
    assert run.code == 2
    page = Page(study.root / "r.html")
    assert "in progress" in page.text
    assert "accuracy of 0.950" not in page.text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "report.pdf",
            "--exp-report: 'report.pdf' is not the name of a page; expected one such as report.html",
        ),
        ("plan.html/r.html", "cannot be written; expected a file that this user can write"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_before_anything_runs(
    study: Study, name: str, message: str
) -> None:
    """Nobody waits for hours to learn that."""
    study.plan()
    study.handlers(HANDLER)
    study.write("plan.html", "a file")
    run = study.pytest("experiments/", "--exp-report", name)
    assert run.code == 4
    assert message in run.text
    assert not (study.research / "FINDINGS.md").exists()


def test_without_jinja2_it_is_said_how_to_get_it(study: Study) -> None:
    """The library is an extra; nothing else needs it."""
    study.plan()
    study.handlers(HANDLER)
    study.write("hidden/jinja2.py", "raise ImportError(\"No module named 'jinja2'\")\n")
    hidden = {"PYTHONPATH": str(study.root / "hidden")}
    run = study.pytest("experiments/", "--exp-report", "r.html", env=hidden)
    assert run.code == 4
    assert (
        "--exp-report: No module named 'jinja2'; install it with: pip install 'pytest-exprunner[report]'"
        in run.text
    )
    assert study.pytest("experiments/", env=hidden).code == 0


def test_a_report_needs_a_plan(study: Study) -> None:
    """Like every other intent."""
    study.write("test_a.py", "def test_a(): pass\n")
    run = study.pytest("test_a.py", "--exp-report", "r.html")
    assert run.code == 4
    assert "--exp-report needs a research plan, and there is none" in run.text


def test_a_stub_run_says_on_the_page_that_nothing_was_measured(study: Study) -> None:
    """Nobody takes it for a result."""
    study.plan()
    study.handlers(HANDLER)
    study.pytest("experiments/", "--exp-stub", "--exp-report", "r.html")
    page = Page(study.root / "r.html")
    assert "Stub run: no handler was called and nothing was measured." in page.text
    assert "0.950" not in page.text


def test_what_moved_is_on_the_page(study: Study) -> None:
    """The audit's lines stand with the experiment that they are about."""
    study.plan()
    study.handlers(HANDLER)
    study.pytest("experiments/")
    study.plan(
        (study.research / "research_plan.yaml").read_text().replace("acceptable: 0.8", "acceptable: 0.7")
    )
    run = study.pytest("experiments/", "--exp-resume", "--exp-report", "r.html")
    assert run.code == 0
    text = Page(study.root / "r.html").text
    assert "Audit: changes and notes changed " in text
    assert "accuracy" in text.partition("Audit: changes and notes")[2]


def test_only_files_of_the_experiment_are_shown(study: Study) -> None:
    """A link, or a path that somebody wrote into results.yaml, cannot bring other files into the page."""
    study.plan()
    study.handlers(SAVING)
    secret = study.write("secret.csv", "key,value\npassword,hunter2\n")
    study.pytest("experiments/")
    folder = study.research / "experiments" / "x1-first"
    shutil.rmtree(folder / "attempts")
    published = folder / "artifacts" / "e_x1_1" / "table.csv"
    published.unlink()
    published.symlink_to(secret)
    assert study.exprunner("report", "--html", "r.html").code == 0
    page = Page(study.root / "r.html")
    assert "its path leads out of the experiment's folder" in page.text
    results = folder / "results.yaml"
    for path in (str(secret), "artifacts/../../../../secret.csv"):
        text = results.read_text(encoding="utf-8").replace("artifacts/e_x1_1/table.csv", path)
        (study.root / "kept.yaml").write_text(results.read_text(encoding="utf-8"), encoding="utf-8")
        results.write_text(text, encoding="utf-8")
        assert study.exprunner("report", "--html", "r.html").code == 0
        assert "hunter2" not in Page(study.root / "r.html").source
        results.write_text((study.root / "kept.yaml").read_text(encoding="utf-8"), encoding="utf-8")


def test_what_is_not_what_was_recorded_is_not_shown(study: Study) -> None:
    """A table that somebody changed after the attempt is no evidence."""
    study.plan()
    study.handlers(SAVING)
    study.pytest("experiments/")
    for file in study.research.rglob("table.csv"):
        file.write_text("a,b\n1,9\n", encoding="utf-8")
    assert study.exprunner("report", "--html", "r.html").code == 0
    page = Page(study.root / "r.html")
    assert "table.csv (8 bytes): changed since it was recorded" in page.text
    assert not [row for row in page.text.split() if row == "9"]


@pytest.mark.parametrize("name", ["research/FINDINGS.md", "mine.html"])
def test_a_file_that_is_no_report_is_not_touched(study: Study, name: str) -> None:
    """Neither by the command nor by the option; a report is written over."""
    study.plan()
    study.handlers(HANDLER)
    study.pytest("experiments/", "--exp-report", "r.html")
    study.write("mine.html", "<p>mine</p>")
    before = (study.root / name).read_bytes()
    for run in (
        study.exprunner("report", "--html", name),
        study.pytest("experiments/", "--exp-report", name),
    ):
        assert run.code == 4
        assert (
            "is not the name of a page" in run.text
            or "exists and is not a report; it was left unchanged" in run.text
        )
    assert (study.root / name).read_bytes() == before
    assert study.exprunner("report", "--html", "r.html").code == 0


def test_hostile_text_stays_text(study: Study) -> None:
    """Whatever a plan, a handler or an artifact says, the page has its own elements and no other."""
    report_studies.hostile(study)
    run = study.exprunner("report", "--html", "r.html")
    assert run.code == 0, run.text
    page = Page(study.root / "r.html")
    scripts = page.all("script")
    assert [script.get("type") for script in scripts] == ["application/json", None, None]
    assert not page.all("iframe") + page.all("object") + page.all("embed") + page.all("form")
    assert all(str(image["src"]).startswith("data:image/") for image in page.all("img"))
    assert not [name for _tag, attributes in page.tags for name in attributes if name.startswith("on")]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", page.source)
    assert "49" not in page.text.replace("{{7*7}}", "")[:2000]
    for link in page.all("a"):
        assert re.match(r"#|research/", str(link["href"]))


def test_only_the_scripts_and_styles_of_the_package_may_run(study: Study) -> None:
    """The policy names them by hash, and allows nothing else, no request of any kind."""
    study.plan()
    study.handlers(HANDLER)
    study.pytest("experiments/", "--exp-report", "r.html")
    page = Page(study.root / "r.html")
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert re.fullmatch(
        r"default-src 'none'; img-src data:; style-src 'sha256-[\w+/=]+'; "
        r"script-src 'sha256-[\w+/=]+' 'sha256-[\w+/=]+'; base-uri 'none'; form-action 'none'",
        str(policy),
    )
    assert not [name for _tag, attributes in page.tags for name in attributes if name == "style"]


def test_the_vendored_files_are_what_their_readme_says() -> None:
    """Nobody changed them on the way."""
    folder = resources.files("pytest_exprunner.report.html") / "vendor"
    told = re.findall(
        r"^    ([0-9a-f]{64})  (\S+)$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(told) == 3
    for digest, name in told:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


@pytest.mark.slow
def test_a_thousand_sub_experiments_stay_small(study: Study) -> None:
    """Under 500 kB without images; texts are shortened, and that is said."""
    report_studies.large(study)
    run = study.exprunner("report", "--html", "r.html")
    assert run.code == 0, run.text
    page = Page(study.root / "r.html")
    assert len(page.source.encode()) < 500_000
    assert "This study is large: texts are shortened" in page.text
    assert len(page.all("section")) == 100
    run = study.exprunner("report", "--html", "one.html", "--only", "x10")
    assert (run.code, run.out.count("\n")) == (0, 1)
    page = Page(study.root / "one.html")
    assert [section["id"] for section in page.all("section")] == ["experiment-x10"]
    assert "attempt 1: 0 → 0.995 (0 to 0.995; 200 values)" in page.text


def test_one_experiment_alone_is_one_of_the_plan(study: Study) -> None:
    """A wrong id is refused, with the one that was meant."""
    study.plan()
    run = study.exprunner("report", "--html", "r.html", "--only", "x1-frist")
    assert (run.code, run.text) == (4, "unknown experiment 'x1-frist' (did you mean 'x1-first'?)\n")
    run = study.exprunner("report", "--only", "x1-first")
    assert (run.code, run.text) == (4, "--only needs --html FILE\n")
