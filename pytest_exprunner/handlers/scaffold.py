"""The text of a handler that is still to be written, from what the plan says of it.

It fails with a message for each metric that it does not measure yet, so that it is never green by
accident. What the plan says goes into the text as data: in literals and in comments of one line.
"""

from __future__ import annotations

import ast
import keyword
import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from pytest_exprunner._util.errors import printable
from pytest_exprunner._util.text import sentence_list
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.models import Experiment, Plan, SubExperiment
from pytest_exprunner.verdicts.formatting import failure_text, tier_text

RUNNER = "ExperimentRunner"
_HEAD = '''\
"""Handlers of {id}{name}."""

from __future__ import annotations

from pytest_exprunner import ExperimentRunner
'''
_WIDTH = 88
_MAX_SLUG = 40
_MAX_NAME = 200
_MAX_TEXT = 2000


def module_text(experiment: Experiment) -> str:
    """Return the beginning of a file of handlers."""
    name = f": {_in_docstring(experiment.name)[:60]}" if experiment.name else ""
    return _HEAD.format(id=experiment.id, name=name.rstrip(" .\\"))


def knows_the_runner(source: str) -> bool:
    """Return whether a file has the name of the runner's type, for annotations."""
    names = (
        alias.asname or alias.name
        for node in ast.parse(source).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    )
    return RUNNER in names


def defined_in(source: str) -> set[str]:
    """Return the names of what a file defines, functions and classes."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)}


def function_name(plan: Plan, sub: SubExperiment) -> str:
    """Return the id and what its name describes, such that no other id fits it better."""
    words = _slug(sub.name or "")
    own = sub.id.casefold()
    words = words.removeprefix(own).strip("_") if words.startswith(f"{own}_") else words
    name = f"{sub.id}_{words}" if words and words != own else sub.id
    if plan.match(name) != sub.id:
        name = sub.id
    return f"{name}_handler" if keyword.iskeyword(name) else name


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().casefold()
    words = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if len(words) <= _MAX_SLUG:
        return words
    cut, _underscore, _rest = words[: _MAX_SLUG + 1].rpartition("_")
    return cut or words[:_MAX_SLUG]


def function_text(plan: Plan, experiment: Experiment, sub: SubExperiment, *, annotated: bool) -> str:
    """Return a handler that lists what it has to measure, and fails until it does."""
    name = function_name(plan, sub)
    parts = [f"{name}(runner: {RUNNER}) -> dict[str, object]:" if annotated else f"{name}(runner):"]
    parts += [f"    {line}" if line else "" for line in _body(plan, experiment, sub)]
    return "\n".join([f"def {parts[0]}", *parts[1:]]) + "\n"


def _body(plan: Plan, experiment: Experiment, sub: SubExperiment) -> Iterator[str]:
    yield from _docstring(sub)
    for text in (*_about(experiment, sub), "Replace each None by what was measured."):
        yield from textwrap.wrap(text, _WIDTH - 4, initial_indent="# ", subsequent_indent="# ")
    metrics = _metrics(plan, experiment, sub)
    variables = _variables(list(metrics))
    for metric, (told, _task) in metrics.items():
        yield f"{variables[metric]} = None" + (f"  # {told}" if told else "")
    if not metrics:
        yield "finding = None"
        task = f" ({_one_line(sub.objective)})" if sub.objective else ""
        yield from _unless("finding", f"{sub.id}: say what was found{task}")
    for metric, (_told, task) in metrics.items():
        yield from _unless(variables[metric], f"{sub.id}: measure {_one_line(metric)}{task}")
    yield "return {"
    if metrics:
        values = (f"{_without_braces(m)} is {{{v}}}" for m, v in variables.items())
        yield f'    "finding": f{_literal("; ".join(values))},'
        yield '    "metrics": {'
        for metric, variable in variables.items():
            yield f"        {_literal(metric)}: {variable},"
        yield "    },"
    else:
        yield '    "finding": finding,'
        yield '    "metrics": {},'
    yield '    "artifacts": [],'
    yield "}"


def _docstring(sub: SubExperiment) -> Iterator[str]:
    first = _in_docstring(sub.name or f"What {sub.id} is to find out")
    if first[-1:] not in (".", "?", "!"):
        first += "."
    lines = textwrap.wrap(first, _WIDTH - 10, break_long_words=False)
    if sub.objective:
        objective = _in_docstring(sub.objective)
        lines += ["", *textwrap.wrap(objective, _WIDTH - 4, break_long_words=False)]
    if len(lines) == 1:
        yield f'"""{lines[0]}"""'
        return
    yield f'"""{lines[0]}'
    yield from lines[1:]
    yield '"""'


def _about(experiment: Experiment, sub: SubExperiment) -> Iterator[str]:
    """Say what of the plan this has to use."""
    if sub.seeds:
        yield f"Runs once for each seed of {_some(sub.seeds)}: runner.seed is that of this attempt."
    for needed in sub.needs:
        yield f'runner.needs["{needed}"] has .metrics and .artifact(name) of {needed}.'
    if sub.data:
        yield f"Its data: {_one_line(sentence_list(sub.data))}."
    if sub.resources.gpu:
        yield "runner.device is where to compute."
    shared = [c for c in experiment.success_criteria.values() if c.source[0] is None]
    if shared and len(experiment.sub_experiments) > 1:
        names = _one_line(sentence_list([c.metric_name for c in shared]))
        yield (
            f"The plan does not say which sub-experiment measures {names}: each that returns it must meet "
            "the criterion. Delete here what another one measures; 'from:' in the plan settles it."
        )


def _some(seeds: Sequence[int]) -> str:
    shown = ", ".join(map(str, seeds[:5]))
    return f"{shown}, …" if len(seeds) > 5 else shown


def _metrics(plan: Plan, experiment: Experiment, sub: SubExperiment) -> dict[str, tuple[str, str]]:
    """Metrics that criteria need of it: the comment for each, and what its message adds."""
    judged: dict[str, list[tuple[str, str]]] = {}
    baselines: dict[str, tuple[str, str]] = {}
    for owner in plan.experiments.values():
        for criterion in owner.success_criteria.values():
            own = owner is experiment and criterion.source[0] in (None, sub.id)
            if own:
                judged.setdefault(criterion.metric_name, []).append(_task(criterion))
            base = criterion.baseline
            if base is not None and (base.sub_experiment == sub.id or (own and base.sub_experiment is None)):
                baselines[base.metric] = (f"{_one_line(criterion.name)} compares with it", "")
    tasks = {
        metric: (
            "; ".join(told for told, _target in found),
            f" ({'; '.join(target for _told, target in found)})",
        )
        for metric, found in judged.items()
    }
    return {**baselines, **tasks}


def _task(criterion: Criterion) -> tuple[str, str]:
    """All tiers of a criterion, and its target alone."""
    of = "" if criterion.baseline is None else f"{_compared(criterion)}: "
    return f"{of}{_tiers(criterion)}", f"{of}target {tier_text(criterion, criterion.target)}"


def _compared(criterion: Criterion) -> str:
    """``accuracy minus copy``: what is judged where a metric is compared with a baseline."""
    if criterion.minus is not None:
        return _one_line(f"{criterion.metric_name} minus {criterion.minus}")
    return _one_line(f"{criterion.metric_name} over {criterion.over}")


def _tiers(criterion: Criterion) -> str:
    told = [f"target {tier_text(criterion, criterion.target)}"]
    if criterion.acceptable is not None:
        told.append(f"acceptable {tier_text(criterion, criterion.acceptable)}")
    if criterion.failure is not None:
        told.append(f"failure {failure_text(criterion)}")
    unit = f", in {_one_line(criterion.unit)}" if criterion.unit else ""
    return f"{', '.join(told)}{unit}"


def _variables(metrics: Sequence[str]) -> dict[str, str]:
    """A name for each metric that Python admits, no two the same."""
    found: dict[str, str] = {}
    for metric in metrics:
        words = _slug(metric)
        name = (
            words if words.isidentifier() and not keyword.iskeyword(words) else f"metric_{words}".strip("_")
        )
        while name in (*found.values(), "runner", "finding"):
            name += "_"
        found[metric] = name
    return found


def _unless(variable: str, message: str) -> Iterator[str]:
    yield f"if {variable} is None:"
    one = f"    raise NotImplementedError({_literal(message)})"
    if len(one) + 4 <= _WIDTH:
        yield one
    else:
        yield "    raise NotImplementedError("
        yield f"        {_literal(message)}"
        yield "    )"


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))[:_MAX_NAME]


def _in_docstring(text: str) -> str:
    flat = printable(" ".join(text.split()))[:_MAX_TEXT]
    return flat.replace("\\", "\\\\").replace('"', "'")


def _literal(text: str) -> str:
    """Return text as Python has it, in double quotes."""
    return f'"{"".join(_escaped(character) for character in text)}"'


def _escaped(character: str) -> str:
    if character == '"':
        return '\\"'
    return character if character == "'" else repr(character)[1:-1]


def _without_braces(name: str) -> str:
    """Return the name of a metric for a formatted string, in which braces stand for themselves."""
    return _one_line(name).replace("{", "{{").replace("}", "}}")
