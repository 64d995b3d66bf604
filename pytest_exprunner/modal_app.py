"""Starts the same runs with ``modal run -m pytest_exprunner.modal_app::run_experiment``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import modal
import pytest

from pytest_exprunner._util.location import find_plan
from pytest_exprunner.executors import project_files
from pytest_exprunner.executors.modal.container import PROJECT, smoke
from pytest_exprunner.executors.modal.image import image_of, stage
from pytest_exprunner.executors.modal.results import VOLUME
from pytest_exprunner.plan import loader

app = modal.App("pytest-exprunner", include_source=False)


@app.local_entrypoint()
def run_experiment(
    experiment_id: str,
    sub_experiment: str = "",
    stub_mode: bool = False,  # noqa: FBT001, FBT002 - becomes --stub-mode
    resume: bool = False,  # noqa: FBT001, FBT002
) -> None:
    """Run one experiment of the plan, or one sub-experiment of it; the exit code is pytest's."""
    plan = _plan()
    loaded = loader.load(plan, str(plan)).plan
    if experiment_id not in loaded.experiments:
        _refuse(f"the plan has no experiment {experiment_id!r}; it has: {', '.join(loaded.experiments)}")
    subs = loaded.experiments[experiment_id].sub_experiments
    if sub_experiment and sub_experiment not in subs:
        _refuse(f"{experiment_id} has no sub-experiment {sub_experiment!r}; it has: {', '.join(subs)}")
    arguments = [
        str(plan.parent.parent / "experiments"),
        "--exp-executor=modal",
        *("-m", sub_experiment or experiment_id),
        *(["--exp-stub"] if stub_mode else []),
        *(["--exp-resume"] if resume else []),
    ]
    raise SystemExit(int(pytest.main(arguments)))


@app.local_entrypoint()
def list_results() -> None:
    """List the attempts that the volume holds, by run."""
    volume = modal.Volume.from_name(VOLUME, create_if_missing=True)
    try:
        entries = list(volume.iterdir("runs", recursive=True))
    except (FileNotFoundError, modal.exception.NotFoundError):
        entries = []
    answered = sorted(entry.path for entry in entries if entry.path.endswith(".json"))
    for path in answered:
        answer = json.loads(b"".join(volume.read_file(path)))
        size = sum(file["bytes"] for file in answer["files"])
        _run, *attempt, _name = path.split("/")[1:]
        what = answer["problem"] or f"{len(answer['files'])} files, {size:,} bytes"
        print(f"{_run}  {'/'.join(attempt)}  {what}")  # noqa: T201 - printing is the purpose
    if not answered:
        print(f"the volume {VOLUME} holds no attempt")  # noqa: T201


@app.local_entrypoint()
def smoke_test(gpu: str = "") -> None:
    """Build the image, upload the project and let pytest collect it; with a GPU, check that it is usable."""
    plan = _plan()
    loaded = loader.load(plan, str(plan)).plan
    root = Path.cwd()
    staged = stage(root, project_files.shipped(root, plan.parent, loaded.experiments))
    try:
        smoke_app = modal.App("pytest-exprunner-smoke-test", include_source=False)
        image = image_of(loaded.modal, root, Path(staged.name))
        function = smoke_app.function(image=image, timeout=600, gpu=gpu or None)(smoke)
        with smoke_app.run():
            seen = function.remote(f"{PROJECT}/{plan.parent.parent.relative_to(root).as_posix()}/experiments")
    finally:
        staged.cleanup()
    print("\n".join(f"{name}: {value}" for name, value in seen.items()))  # noqa: T201 - printing is the purpose
    raise SystemExit(0 if seen["collected"] and (seen["cuda"] or not gpu) else 1)


def _plan() -> Path:
    found = find_plan([Path.cwd()], Path.cwd())
    if found is None:
        _refuse(f"there is no plan: looked for research/research_plan.yaml from {Path.cwd()} upwards")
    assert found is not None
    return found


def _refuse(text: str) -> None:
    print(f"ERROR: {text}", file=sys.stderr)  # noqa: T201 - in pytest's format
    raise SystemExit(4)
