"""A client as an agent is one: it reads events and JSON alone, and does what ``exprunner next`` says.

It knows what the agent skill tells and no more. Everything it reads is checked against the JSON Schema that
``exprunner schema`` prints; what is printed for people it never looks at.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
from study_folder import Run, Study

Repair = Callable[[str], str]
"""The text of a handler's file → the text in which one kind of error is mended."""
CLOSING = "<!-- exprunner:end -->\n"
_MOST_STEPS = 20
_FOR_PEOPLE = {"decide", "seeds", "gate", "go_on", "blocked"}


@dataclass
class Agent:
    """Works on a study: what it can write, and how it mends what a hint knows."""

    study: Study
    bodies: Mapping[str, str]
    """Handlers that it can write, by sub-experiment."""
    repairs: Mapping[str, Repair]
    """By the rule of a hint."""
    most_seconds: float = 60
    events: list[dict[str, Any]] = field(default_factory=list)
    """Of the last run."""
    typed: list[str] = field(default_factory=list)
    """Every command, in order."""
    mended: list[tuple[str, str]] = field(default_factory=list)
    """Rules of hints and the files that they helped to mend."""
    _validators: dict[str, jsonschema.Draft202012Validator] = field(default_factory=dict)

    # --- reading ------------------------------------------------------------------------------

    def ask(self, command: str) -> dict[str, Any]:
        """Type a command of exprunner; return its one object, whatever it is."""
        run = self._exprunner(f"{command} --json")
        return self._valid(json.loads(run.out, parse_constant=_no_json))

    def run(self, command: str) -> dict[str, Any]:
        """Type a pytest command; keep its events and return the last one."""
        whole = f"{command} --exp-json -"
        self.typed.append(whole)
        done = self.study.pytest(*shlex.split(whole)[1:], timeout=self.most_seconds)
        self.events = [
            self._valid(json.loads(line, parse_constant=_no_json)) for line in done.out.splitlines()
        ]
        last = self.events[-1]
        assert last["event"] in ("summary", "error")
        assert last["exit_code"] == done.code
        return last

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind in the last run."""
        return [event for event in self.events if event["event"] == kind]

    def _exprunner(self, command: str) -> Run:
        self.typed.append(command)
        program, *arguments = shlex.split(command)
        assert program == "exprunner"
        return self.study.exprunner(*arguments)

    def _valid(self, value: dict[str, Any]) -> dict[str, Any]:
        kind = str(value["schema"]).removeprefix("exprunner/")
        if kind not in self._validators:
            schema = json.loads(self._exprunner(f"exprunner schema {kind}").out)
            self._validators[kind] = jsonschema.Draft202012Validator(schema)
        self._validators[kind].validate(value)
        return value

    # --- doing --------------------------------------------------------------------------------

    def work(self) -> list[dict[str, Any]]:
        """Do what is next until only people can go on; return what is left to them."""
        for _step in range(_MOST_STEPS):
            actions: list[dict[str, Any]] = self.ask("exprunner next")["actions"]
            mine = [action for action in actions if action["kind"] not in _FOR_PEOPLE]
            if not mine:
                return actions
            self._do(mine[0])
        raise AssertionError(f"no end after {_MOST_STEPS} steps: {self.typed}")

    def _do(self, action: Mapping[str, Any]) -> None:
        kind, target, command = action["kind"], action["target"], action["command"]
        if kind == "write":
            for handler in self.ask(command)["written"]:
                self.fill_in(handler)
            assert self.run("pytest experiments/ --exp-stub")["exit_code"] == 0
        elif kind == "repair":
            self.repair(target)
            self.run("pytest experiments/ --exp-resume")
        else:
            assert kind in ("run", "resume"), action
            self.run(command)

    def fill_in(self, handler: Mapping[str, Any]) -> None:
        """Put a handler that measures into the place of one that ``exprunner new`` wrote."""
        file = self.study.root / handler["file"]
        source = file.read_text(encoding="utf-8")
        [node] = [n for n in ast.parse(source).body if getattr(n, "name", "") == handler["function"]]
        assert node.lineno == handler["line"]
        lines = source.splitlines(keepends=True)
        lines[node.lineno - 1 : node.end_lineno] = [self.bodies[handler["sub_experiment"]]]
        file.write_text("".join(lines), encoding="utf-8")

    def repair(self, sub_experiment: str) -> None:
        """Mend what broke, where the error says that it broke, by what the hints on it say."""
        attempts = self.ask(f"exprunner show {sub_experiment}")["sub_experiment"]["attempts"]
        failed = [attempt for attempt in attempts if attempt["status"] == "failed"]
        found = {
            (hint["rule"], attempt["error"]["place"].rpartition(":")[0])
            for attempt in failed
            for hint in attempt["hints"]
            if hint["rule"] in self.repairs
        }
        assert found, f"nothing is known of {[attempt['error'] for attempt in failed]}"
        for rule, file in sorted(found):
            self._mend(self.study.root / file, rule)
            self.mended.append((rule, file))

    def _mend(self, file: Path, rule: str) -> None:
        source = file.read_text(encoding="utf-8")
        mended = self.repairs[rule](source)
        assert mended != source, f"{rule}: the same failure again after the repair"
        file.write_text(mended, encoding="utf-8")

    # --- writing it up ------------------------------------------------------------------------

    def interpret(self, experiment: str) -> str:
        """Say below the closing marker of an experiment's findings what its criteria mean; return that."""
        shown = self.ask(f"exprunner show {experiment}")
        told = next(event for event in self.of("experiment") if event["experiment"] == experiment)
        assert told["findings"] == shown["findings"]
        sentences = [criterion["text"] for criterion in told["criteria"]]
        sentences += [
            f"{c['name']} is borderline: a person should look." for c in told["criteria"] if c["borderline"]
        ]
        sentences.append(f"Confidence is {told['confidence']}: {told['confidence_text']}")
        text = "\n".join(sentences)
        file = self.study.root / shown["findings"]
        before, marker, below = file.read_text(encoding="utf-8").partition(CLOSING)
        below = re.sub(r"(## Interpretation\n\n)_.*_\n", lambda found: f"{found[1]}{text}\n", below)
        assert text in below
        file.write_text(f"{before}{marker}{below}", encoding="utf-8")
        return text


def _no_json(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")
