"""Studies in git repositories, and what an audit says of them."""

from __future__ import annotations

import re
import subprocess
import time

from study_folder import Study

PLAN = """\
experiments:
  x1-first:
    sub_experiments: [e_x1_1]
    success_criteria:
      accuracy: {target: 0.9}
  x2-second:
    sub_experiments: [e_x2_1]
    success_criteria:
      loss: {target: 0.1, direction: lower}
gates:
  gate_1: {experiments: [x1-first, x2-second]}
"""
HANDLERS = """\
def score(model, data):
    return model + data

def e_x1_1(runner):
    accuracy = score(0.35, 0.5)
    return {"finding": "Better than before.", "metrics": {"accuracy": accuracy}}

def e_x2_1(runner):
    loss = score(0.02, 0.03)
    return {"metrics": {"loss": loss}}
"""


class Repository:
    """A study in a git repository, with commits in their order."""

    def __init__(self, study: Study, *, begin: bool = True) -> None:
        """Commit a plan and handlers, to ``begin`` with."""
        self.study = study
        self.git("init", "-q", ".")
        if not begin:
            return
        study.plan(PLAN)
        study.handlers(HANDLERS)
        self.commit("Plan")

    def git(self, *arguments: str) -> str:
        """Call git."""
        command = ["git", "-c", "user.name=A. Person", "-c", "user.email=a@b.c", *arguments]
        done = subprocess.run(command, cwd=self.study.root, check=True, capture_output=True, text=True)
        return done.stdout

    def commit(self, subject: str) -> None:
        """Commit everything; times in commits are whole seconds."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject)
        time.sleep(1.1)

    def edit(self, *changes: tuple[str, str]) -> None:
        """Change the plan."""
        file = self.study.research / "research_plan.yaml"
        text = file.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)


def audited(study: Study) -> list[str]:
    """What ``exprunner audit`` says, with commits and days made alike."""
    text = study.exprunner("audit").out
    text = re.sub(r"\b[0-9a-f]{9}\b", "COMMIT", text)
    return re.sub(r"\d{4}-\d{2}-\d{2}", "DAY", text).splitlines()
