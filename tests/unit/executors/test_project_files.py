"""What travels of a project, and what is installed where it arrives."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pytest_exprunner._util.errors import ExecutorError
from pytest_exprunner.executors import project_files
from pytest_exprunner.executors.modal.image import dependencies
from pytest_exprunner.executors.modal.options import asked, bound, in_words
from pytest_exprunner.plan.compute import Modal, Resources

FILES = {
    "experiments/h.py": "",
    "experiments/x1/deep.py": "",
    "src/lib/__init__.py": "",
    "src/lib/__pycache__/a.pyc": "",
    "data/rows.csv": "1",
    ".env": "TOKEN=1",
    ".env.local": "TOKEN=1",
    "keys/id_rsa": "secret",
    "keys/prod.pem": "secret",
    ".envrc": "secret",
    ".git-credentials": "secret",
    "wandb/run/log.txt": "",
    ".venv/bin/python": "",
    "research/research_plan.yaml": "",
    "research/FINDINGS.md": "",
    "research/.exprunner/lock": "",
    "research/experiments/x1.md": "by hand",
    "research/experiments/x1/results.yaml": "",
    "research/experiments/x1/attempts/e_1/0001/record.json": "",
}
EXPECTED = [
    "experiments/h.py",
    "experiments/x1/deep.py",
    "research/experiments/x1.md",
    "research/research_plan.yaml",
    "src/lib/__init__.py",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with everything that projects have."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_travels_without_git(project: Path) -> None:
    """Everything but caches, environments, secrets and results."""
    found = project_files.shipped(project, project / "research", ["x1"])
    assert sorted(found) == sorted([*EXPECTED, "data/rows.csv"])


def test_links(project: Path) -> None:
    """A link to a file of the project travels as that file; what leads out or to a secret stays."""
    (project / "inside.py").symlink_to(project / "experiments" / "h.py")
    (project / "outside.txt").symlink_to("/etc/passwd")
    (project / "secret.txt").symlink_to(project / ".env")
    (project / "dangling.txt").symlink_to(project / "nowhere")
    found = project_files.shipped(project, project / "research", ["x1"])
    assert sorted(found) == sorted([*EXPECTED, "data/rows.csv", "inside.py"])


def test_a_link_to_a_folder(project: Path) -> None:
    """What travels of a folder travels under a link to it as well; what leads out or in circles does not."""
    (project / "linked").symlink_to(project / "src" / "lib")
    (project / "outside").symlink_to("/etc")
    (project / "src" / "lib" / "round").symlink_to(project / "src")
    found = project_files.shipped(project, project / "research", ["x1"])
    assert sorted(found) == sorted(
        [*EXPECTED, "data/rows.csv", "linked/__init__.py", "src/lib/round/lib/__init__.py"]
    )


def test_a_submodule(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its files are as much a part of what runs as those of the project."""
    other = tmp_path_factory.mktemp("other")
    (other / "model.py").write_text("")
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "protocol.file.allow=always"]
    for folder, *command in (
        (other, "init", "-q"),
        (other, "add", "."),
        (other, "commit", "-q", "-m", "A model"),
        (project, "init", "-q"),
        (project, "submodule", "--quiet", "add", str(other), "third/model"),
    ):
        subprocess.run([*git, *command], cwd=folder, check=True)
    assert "third/model/model.py" in project_files.shipped(project, project / "research", ["x1"])


def test_a_name_that_is_not_utf8(project: Path) -> None:
    """It is refused with what to do, rather than left behind."""
    (project / os.fsdecode(b"caf\xe9.txt")).write_text("")
    with pytest.raises(ExecutorError, match=r"a file is called b'caf\\xe9\.txt', which is not UTF-8"):
        project_files.shipped(project, project / "research", ["x1"])


PYPROJECT = """\
[project]
name = "My.Study"
dependencies = ["numpy"]
[project.optional-dependencies]
plots = ["matplotlib>=3"]
all = ["my-study[plots,all]", "torch"]
[dependency-groups]
tests = ["pytest", {include-group = "types"}]
types = ["mypy"]
round = [{include-group = "round"}]
"""


@pytest.mark.parametrize(
    ("extras", "groups", "expected"),
    [
        ([], [], ["numpy"]),
        (["plots"], [], ["numpy", "matplotlib>=3"]),
        (["all"], [], ["numpy", "matplotlib>=3", "torch"]),
        ([], ["tests"], ["numpy", "pytest", "mypy"]),
    ],
)
def test_what_a_project_depends_on(
    tmp_path: Path, extras: list[str], groups: list[str], expected: list[str]
) -> None:
    """Extras of extras and groups in groups are followed."""
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    assert dependencies(tmp_path, extras, groups) == expected


@pytest.mark.parametrize(
    ("extras", "groups", "said"),
    [
        (["plot"], [], "modal: the project has no extra 'plot'; it has: plots, all"),
        ([], ["docs"], "modal: the project has no dependency group 'docs'; it has: tests, types, round"),
        ([], ["round"], "modal: pyproject.toml: .*round"),
    ],
)
def test_what_a_project_does_not_have(
    tmp_path: Path, extras: list[str], groups: list[str], said: str
) -> None:
    """It is said in words, with what there is."""
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    with pytest.raises(ExecutorError, match=said):
        dependencies(tmp_path, extras, groups)


def test_what_travels_with_git(project: Path) -> None:
    """What git ignores stays; what is new goes along; a tracked file that is gone does not."""
    (project / ".gitignore").write_text("data/\n")
    (project / "gone.py").write_text("")
    for command in (["init", "-q"], ["add", "experiments", "gone.py", ".env"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    (project / "gone.py").unlink()
    assert sorted(project_files.shipped(project, project / "research", ["x1"])) == sorted(
        [*EXPECTED, ".gitignore"]
    )


def test_results_beside_the_code(project: Path) -> None:
    """Where results stand in the project's own folder, handlers of a subfolder still travel."""
    (project / "experiments" / "helpers").mkdir()
    (project / "experiments" / "helpers" / "a.py").write_text("")
    found = project_files.shipped(project, project, ["x1"])
    assert "experiments/helpers/a.py" in found
    assert "experiments/x1/deep.py" not in found


def test_a_project_that_is_too_large(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, with the files that make it so."""
    monkeypatch.setattr(project_files, "_MAX_BYTES", 100)
    (project / "model.bin").write_bytes(b"x" * 200)
    with pytest.raises(ExecutorError, match=r"the largest model\.bin, .*keep them on a volume"):
        project_files.shipped(project, project / "research", ["x1"])


def modal(text: str = "{}") -> Modal:
    """Settings of Modal."""
    return Modal.model_validate_json(text)


@pytest.mark.parametrize(
    ("resources", "limit", "settings", "expected"),
    [
        ("{}", None, "{}", {}),
        ("{}", None, '{"gpu": "T4"}', {}),
        ('{"gpu": 1}', None, "{}", {"gpu": "ANY"}),
        ('{"gpu": 1}', None, '{"gpu": "T4"}', {"gpu": "T4"}),
        ('{"gpu_type": "H100"}', None, '{"gpu": "T4"}', {"gpu": "H100"}),
        ('{"gpu": 4, "gpu_type": "H100"}', 60, "{}", {"gpu": "H100:4", "timeout": 660}),
        (
            '{"cpu": 4}',
            None,
            '{"cpu": 2, "memory": 99, "timeout": 10}',
            {"cpu": 4, "memory": 99, "timeout": 610},
        ),
        ("{}", 90_000, "{}", {"timeout": 86_400}),
    ],
)
def test_what_is_asked_for(
    resources: str, limit: float | None, settings: str, expected: dict[str, object]
) -> None:
    """The sub-experiment's word, else the section's; no GPU for whom asks for none."""
    assert asked(Resources.model_validate_json(resources), limit, modal(settings)) == expected


def test_a_stub_needs_no_gpu() -> None:
    """It calls nothing."""
    assert asked(Resources.model_validate_json('{"gpu": 8, "cpu": 2}'), None, modal(), stub=True) == {
        "cpu": 2
    }


def test_the_bound() -> None:
    """GPUs times hours; without a limit, Modal's own."""
    assert bound([{}, {"cpu": 2.0}]) == "no GPU requested"
    assert bound([{"gpu": "H100:2", "timeout": 1800}, {"gpu": "T4", "timeout": 3600}]) == (
        "at most 2 GPU-hours (H100 1, T4 1), without retries by Modal"
    )
    assert in_words({"gpu": "T4", "timeout": 90}) == "T4, at most 1.5 min"
