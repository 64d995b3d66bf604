"""What travels of a project, and what is installed where it arrives."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pytest_exprunner.errors import ExecutorError
from pytest_exprunner.executors import shipping
from pytest_exprunner.executors.asking import asked, bound, in_words
from pytest_exprunner.plan import Modal, Resources

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
    found = shipping.shipped(project, project / "research", ["x1"])
    assert sorted(found) == sorted([*EXPECTED, "data/rows.csv"])


def test_links(project: Path) -> None:
    """A link to a file of the project travels as that file; what leads out or to a secret stays."""
    (project / "inside.py").symlink_to(project / "experiments" / "h.py")
    (project / "outside.txt").symlink_to("/etc/passwd")
    (project / "secret.txt").symlink_to(project / ".env")
    (project / "dangling.txt").symlink_to(project / "nowhere")
    found = shipping.shipped(project, project / "research", ["x1"])
    assert sorted(found) == sorted([*EXPECTED, "data/rows.csv", "inside.py"])


def test_what_travels_with_git(project: Path) -> None:
    """What git ignores stays; what is new goes along; a tracked file that is gone does not."""
    (project / ".gitignore").write_text("data/\n")
    (project / "gone.py").write_text("")
    for command in (["init", "-q"], ["add", "experiments", "gone.py", ".env"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    (project / "gone.py").unlink()
    assert sorted(shipping.shipped(project, project / "research", ["x1"])) == sorted(
        [*EXPECTED, ".gitignore"]
    )


def test_results_beside_the_code(project: Path) -> None:
    """Where results stand in the project's own folder, handlers of a subfolder still travel."""
    (project / "experiments" / "helpers").mkdir()
    (project / "experiments" / "helpers" / "a.py").write_text("")
    found = shipping.shipped(project, project, ["x1"])
    assert "experiments/helpers/a.py" in found
    assert "experiments/x1/deep.py" not in found


def test_a_project_that_is_too_large(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, with the files that make it so."""
    monkeypatch.setattr(shipping, "_MOST_BYTES", 100)
    (project / "model.bin").write_bytes(b"x" * 200)
    with pytest.raises(ExecutorError, match=r"the largest model\.bin, .*keep them on a volume"):
        shipping.shipped(project, project / "research", ["x1"])


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
    assert bound([{}, {"cpu": 2.0}]) == "no GPU is asked for"
    assert bound([{"gpu": "H100:2", "timeout": 1800}, {"gpu": "T4", "timeout": 3600}]) == (
        "at most 2 GPU-hours (H100 1, T4 1), if Modal repeats nothing"
    )
    assert in_words({"gpu": "T4", "timeout": 90}) == "T4, at most 1.5 min"
