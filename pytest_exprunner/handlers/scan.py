"""Which file defines which handler, read from the source text: nothing is imported or run."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_exprunner._util.errors import HandlerError
from pytest_exprunner._util.paths import shown_path

if TYPE_CHECKING:
    from pytest_exprunner.plan.models import Plan  # counting handlers must not cost the import of pydantic

PARAMETER = "runner"

_EXPLORATORY = re.compile(r"e_|e[a-z]*\d")
_DEFINITION = re.compile(rb"^[ \t]*(?:async[ \t]+)?def[ \t]+(\w+)", re.MULTILINE)
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "venv", "build", "dist"})

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that takes a ``runner``; ``sub_experiment`` is None where no id matches."""

    name: str
    file: Path
    line: int
    sub_experiment: str | None

    @property
    def place(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """One file under the experiments folder."""

    file: Path
    handlers: tuple[Handler, ...] = ()
    tests: bool = False
    """Whether it defines something that pytest collects by itself."""
    problem: str = ""
    imports: frozenset[str] = frozenset()
    """Top-level names of the modules that it imports when it is imported."""
    suspects: Mapping[str, str] = field(default_factory=dict)
    """Sub-experiment ids that something in the file looks like, and why it is no handler."""

    @property
    def is_handler_file(self) -> bool:
        """Whether a planned handler is in it, or would be if it could be parsed."""
        return any(h.sub_experiment for h in self.handlers) or bool(self.problem and self.suspects)


@dataclass(frozen=True, slots=True)
class Scan:
    """Everything found under the experiments folders."""

    files: Mapping[Path, ScannedFile]

    @property
    def handlers(self) -> Iterator[Handler]:
        """Every handler, exploratory ones included."""
        for scanned in self.files.values():
            yield from scanned.handlers

    def planned(self) -> dict[str, Handler]:
        """The handler of each sub-experiment that has one."""
        return {h.sub_experiment: h for h in self.handlers if h.sub_experiment is not None}

    def exploratory(self) -> list[Handler]:
        """Handlers that no planned id matches."""
        return [h for h in self.handlers if h.sub_experiment is None]

    def suspects(self, sub_experiment: str) -> list[str]:
        """Why something that looks like the handler of a sub-experiment is none."""
        return [s.suspects[sub_experiment] for s in self.files.values() if sub_experiment in s.suspects]

    def without_handler(self, plan: Plan) -> dict[str, str]:
        """Planned sub-experiments that have no handler, and why what looks like one is none."""
        handlers = self.planned()
        return {
            sub.id: next(iter(self.suspects(sub.id)), "")
            for _experiment, sub in plan.sub_experiments()
            if sub.id not in handlers
        }

    def problems(self) -> list[str]:
        """Files that could not be parsed."""
        return [s.problem for s in self.files.values() if s.problem]

    def check(self) -> None:
        """Raise `HandlerError` where two functions are handlers of one sub-experiment."""
        first: dict[str, Handler] = {}
        lines = []
        for handler in self.handlers:
            if handler.sub_experiment is None:
                continue
            other = first.setdefault(handler.sub_experiment, handler)
            if other is not handler:
                lines.append(
                    f"two handlers for {handler.sub_experiment}: {other.name} at {other.place} and "
                    f"{handler.name} at {handler.place}; remove one, or rename it to another id"
                )
        if lines:
            raise HandlerError("\n".join(lines))


def scan(plan: Plan, folders: Sequence[Path], relative_to: Path) -> Scan:
    """Scan every ``.py`` file under ``folders``; places are shown relative to ``relative_to``."""
    files: dict[Path, ScannedFile] = {}
    for folder in folders:
        for file in python_files(folder):
            if file not in files:
                files[file] = scan_file(plan, file, relative_to)
    return Scan(files)


def python_files(folder: Path) -> Iterator[Path]:
    """The ``.py`` files under a folder, in a stable order, hidden and cache folders left out."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _SKIPPED_FOLDERS)
        for name in sorted(names):
            if name.endswith(".py"):
                yield Path(root, name)


def scan_file(plan: Plan, file: Path, relative_to: Path) -> ScannedFile:
    """Scan one file. Never raises on its content."""
    shown = Path(shown_path(file, relative_to))
    try:
        source = file.read_bytes()
    except OSError as error:
        return ScannedFile(file, problem=f"{shown}: cannot be read: {error.strerror}")
    if b"def" not in source and b"class" not in source:
        return ScannedFile(file)
    try:
        tree = ast.parse(source, str(file))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 0
        reason = getattr(error, "msg", None) or str(error)
        problem = f"{shown}:{line}: cannot be parsed: {reason}"
        return ScannedFile(file, problem=problem, suspects=_text_suspects(plan, source, problem))
    statements = list(_statements(tree.body))
    functions = [node for node in statements if isinstance(node, _Function)]
    handlers = [(f, h) for f in functions if (h := _as_handler(plan, f, shown)) is not None]
    taken = {id(function) for function, _handler in handlers}
    others = [function for function in functions if id(function) not in taken]
    return ScannedFile(
        file,
        handlers=tuple(handler for _f, handler in handlers),
        tests=_defines_tests(statements),
        imports=frozenset(_imports(statements)),
        suspects=_suspects(plan, tree, others, shown),
    )


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported, also under ``if``, ``try`` and ``with``."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
            for block in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(node, block, ()))
            for clause in getattr(node, "handlers", ()):
                yield from _statements(clause.body)


def _functions(body: Iterable[ast.stmt]) -> Iterator[_Function]:
    return (node for node in _statements(body) if isinstance(node, _Function))


def _imports(statements: Iterable[ast.stmt]) -> Iterator[str]:
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def _takes_runner(function: _Function) -> bool:
    """Whether pytest would pass a ``runner``: a parameter with a default gets none."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = positional[: len(positional) - len(arguments.defaults)]
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    required += [argument for argument, default in named if default is None]
    return any(argument.arg == PARAMETER for argument in required)


def _why_none(function: _Function) -> str:
    arguments = function.args
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    if any(argument.arg == PARAMETER for argument in every):
        return f"gives its parameter '{PARAMETER}' a default, so pytest passes nothing for it"
    return f"has no parameter named '{PARAMETER}'"


def _as_handler(plan: Plan, function: _Function, shown: Path) -> Handler | None:
    if not _takes_runner(function):
        return None
    sub = plan.match(function.name)
    if sub is None and not _EXPLORATORY.match(function.name):
        return None
    return Handler(function.name, shown, function.lineno, sub)


def _defines_tests(statements: Iterable[ast.stmt]) -> bool:
    for node in statements:
        if isinstance(node, _Function) and node.name.startswith("test"):
            return True
        if isinstance(node, ast.ClassDef) and (
            node.name.startswith("Test") or any("TestCase" in ast.unparse(base) for base in node.bases)
        ):
            return True
    return False


def _suspects(plan: Plan, tree: ast.Module, functions: Sequence[_Function], shown: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for function in functions:
        sub = plan.match(function.name)
        if sub is not None and not _takes_runner(function):
            found[sub] = f"{shown}:{function.lineno}: {function.name} {_why_none(function)}"
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        for method in _functions(node.body):
            sub = plan.match(method.name)
            if sub is not None and _takes_runner(method):
                found[sub] = (
                    f"{shown}:{method.lineno}: {method.name} is a method of class {node.name}; "
                    "a handler is a function of the module"
                )
    return found


def _text_suspects(plan: Plan, source: bytes, problem: str) -> dict[str, str]:
    names = (match.decode("utf-8", "replace") for match in _DEFINITION.findall(source))
    return {sub: problem for name in names if (sub := plan.match(name)) is not None}


def count_candidates(folders: Sequence[Path]) -> int:
    """Count functions that look like handlers, without a plan: for a one-line remark only."""
    total = 0
    for folder in folders:
        for file in python_files(folder):
            try:
                source = file.read_bytes()
                if PARAMETER.encode() not in source:
                    continue
                tree = ast.parse(source)
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            total += sum(_takes_runner(f) and bool(_EXPLORATORY.match(f.name)) for f in _functions(tree.body))
    return total


def is_conventional_test_file(file: Path) -> bool:
    """Whether a file is named as pytest names test files by default."""
    return file.name.startswith("test_") or file.name.endswith("_test.py")
