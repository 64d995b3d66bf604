"""What in a handler's source a person should look at: made-up numbers, swallowed errors, other thresholds.

Read, never run. Each is a hint: an honest handler may look like that, and a dishonest one may not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_exprunner._util.errors import closest
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.verdicts.formatting import tiers_by_metric

_MADE_UP = re.compile(r"simulat|dummy|fake|mock|placeholder|hard_?coded", re.IGNORECASE)
_RANDOM = re.compile(
    r"(^|\.)(random|rand|randn|randint|uniform|normal|normalvariate|gauss|default_rng)(\.|$)"
)
_LIMIT = re.compile(r"threshold|target|acceptable|failure|minimum|maximum|tier|limit", re.IGNORECASE)
_BROAD = frozenset({"Exception", "BaseException"})
_DECLARES = frozenset({"evidence", "fallback"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Tell:
    """Something to look at, in a line of a file."""

    line: int
    text: str


def lint(source: str, names: Iterable[str], criteria: Sequence[Criterion]) -> list[Tell]:
    """Return what stands out in the handlers called ``names``, as far as ``criteria`` depend on them."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    wanted = set(names)
    found: list[Tell] = []
    for node in ast.walk(tree):
        if isinstance(node, Function) and node.name in wanted:
            found += _of_handler(node, {c.metric_name for c in criteria if c.severity == "gate"})
    found += _other_thresholds(tree, criteria)
    return sorted(set(found), key=lambda tell: (tell.line, tell.text))


def unmentioned(sources: Iterable[str], criteria: Sequence[Criterion]) -> dict[str, str]:
    """Return the metrics that no source mentions, each with what it may be meant by, if anything."""
    texts: set[str] = set()
    for source in sources:
        try:
            nodes = list(ast.walk(ast.parse(source)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return {}
        texts |= {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        texts |= {n.arg for n in nodes if isinstance(n, ast.keyword) and n.arg}
        if any(isinstance(n, ast.JoinedStr) for n in nodes):
            return {}  # names may be put together
    bare = {text.rpartition("/")[2] for text in texts} | texts
    return {c.metric_name: closest(c.metric_name, bare) or "" for c in criteria if c.metric_name not in bare}


def _of_handler(function: Function, gated: set[str]) -> Iterator[Tell]:
    if any(_is_declaration(node) for node in ast.walk(function)):
        return  # it says itself where its numbers come from
    yield from _made_up_names(function)
    yield from _made_up_metrics(function, gated)
    for node in ast.walk(function):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and _substitutes(node):
            yield Tell(
                node.lineno,
                "a broad 'except' replaces a failure by a value; catch the expected exception, or call "
                "runner.fallback(why)",
            )


def _is_declaration(node: ast.AST) -> bool:
    called = node.func if isinstance(node, ast.Call) else None
    return (
        isinstance(called, ast.Attribute)
        and called.attr in _DECLARES
        and isinstance(called.value, ast.Name)
        and called.value.id == "runner"
    )


def _made_up_names(function: Function) -> Iterator[Tell]:
    seen: set[str] = set()
    for node in ast.walk(function):
        if not isinstance(node, ast.Name | ast.Attribute):
            continue
        name = node.id if isinstance(node, ast.Name) else node.attr
        if _MADE_UP.search(name) and name not in seen:
            seen.add(name)
            text = f"{name!r} sounds made up; if numbers come from it, call runner.evidence('simulated', why)"
            yield Tell(node.lineno, text)


def _made_up_metrics(function: Function, gated: set[str]) -> Iterator[Tell]:
    assigned: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    assigned.setdefault(target.id, []).append(node.value)
    for name, value in _named_values(function):
        if name not in gated:
            continue
        values = assigned.get(value.id, [value]) if isinstance(value, ast.Name) else [value]
        if any(_is_number(each) for each in values):
            yield Tell(value.lineno, f"the gated metric {name!r} is a literal number in the code")
        if any(_draws(each) for each in values):
            yield Tell(value.lineno, f"the gated metric {name!r} comes from a random number")


def _named_values(function: Function) -> Iterator[tuple[str, ast.expr]]:
    """Yield what gets a name as metrics do: in a mapping, in ``dict(…)``, by ``metrics["…"] = …``."""
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
            yield from ((keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                key = target.slice if isinstance(target, ast.Subscript) else None
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, node.value


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _draws(node: ast.expr) -> bool:
    """Return whether a value is a random number itself, not something computed from data."""
    while isinstance(node, ast.BinOp):
        if _draws(node.right):
            return True
        node = node.left
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name) and node.func.id in {"float", "round", "abs"}:
        return any(map(_draws, node.args))
    return bool(_RANDOM.search(_dotted(node.func)))


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return _dotted(node.func)
    return node.id if isinstance(node, ast.Name) else ""


def _is_broad(node: ast.ExceptHandler) -> bool:
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or _dotted(kind).rpartition(".")[2] in _BROAD for kind in kinds)


def _substitutes(node: ast.ExceptHandler) -> bool:
    inside = [inner for statement in node.body for inner in ast.walk(statement)]
    if any(isinstance(inner, ast.Raise) for inner in inside):
        return False
    values: list[ast.expr | None] = [
        inner.value for inner in inside if isinstance(inner, ast.Assign | ast.AnnAssign | ast.Return)
    ]
    return any(value is not None and _holds_number(value) for value in values)


def _holds_number(node: ast.expr) -> bool:
    return any(_is_number(inner) for inner in ast.walk(node) if isinstance(inner, ast.expr))


# --- thresholds -------------------------------------------------------------------------------


def _other_thresholds(tree: ast.AST, criteria: Sequence[Criterion]) -> Iterator[Tell]:
    tiers = tiers_by_metric(criteria)
    for node in ast.walk(tree):
        for name, number in _compared(node, tiers):
            if number not in tiers[name]:
                shown = ", ".join(f"{tier:g}" for tier in tiers[name])
                text = f"{name!r} is compared with {number:g} here, which is not one of its tiers in the plan"
                text += f" ({shown})"
                yield Tell(node.lineno, text)  # type: ignore[attr-defined]


def _compared(node: ast.AST, tiers: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    """Yield metrics and the numbers that they are compared with, or that a limit of theirs is set to."""
    if isinstance(node, ast.Compare) and len(node.comparators) == 1:
        for side, other in ((node.left, node.comparators[0]), (node.comparators[0], node.left)):
            number = _number(other)
            if number is not None:
                yield from ((name, number) for name in tiers if _is_about(side, name))
    if isinstance(node, ast.Assign) and (number := _number(node.value)) is not None:
        for target in node.targets:
            text = target.id if isinstance(target, ast.Name) else ""
            for name in tiers:
                if _LIMIT.search(text) and _words(name) <= _words(text):
                    yield name, number


def _number(node: ast.expr) -> float | None:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return None
    return value if type(value) in (int, float) else None


def _is_about(node: ast.expr, name: str) -> bool:
    if isinstance(node, ast.Subscript):
        node = node.slice
    if isinstance(node, ast.Constant):
        return node.value == name
    text = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return bool(text) and text.lower() == name.lower()


def _words(text: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+|_", text.lower())) - {""}
