"""Which project files a handler is made from, and whether a change in them matters to it.

Every attempt records the hash of each file; the texts are kept by hash. Only where a hash differs are
the two texts parsed and compared, comments, formatting and docstrings aside, and of a handler's own
file only what the handler uses. Imports are followed as they are written; what is imported by a name
that only the running program knows is not seen.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from pytest_exprunner._util.paths import shown_path
from pytest_exprunner.store import atomic

Hashes = Mapping[str, str]

_IMPORT = re.compile(
    r"(?:^|;|:)[ \t]*(?:from[ \t]+(?P<module>[.\w]+)[ \t]+import[ \t]*"
    r"(?P<names>\((?:[^()#]|#[^\n]*)*\)|[^\n;#]+)"
    r"|import[ \t]+(?P<plain>[\w., \t]+))",
    re.MULTILINE,
)
_CONTINUED = re.compile(r"\\\r?\n")
_COMMENT = re.compile(r"#[^\n]*")
_PLUGINS = re.compile(r"^pytest_plugins\b[^=\n]*=\s*(\[[^\]]*\]|\([^)]*\)|[^\n]+)", re.MULTILINE)
_QUOTED = re.compile(r"['\"]([.\w]+)['\"]")
_NOT_OURS = frozenset({"site-packages", "dist-packages", ".venv", "venv", ".tox", ".nox"})
_SEES_EVERYTHING = frozenset({"globals", "exec", "eval", "vars"})
_DIGITS = 16
_DIGEST = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")

_THIS_TOOL = Path(__file__).parent.parent
"""Its version is recorded; its files are nobody's experiment, also where it is developed."""


class Sources:
    """Reads project files once; remembers their texts by hash."""

    def __init__(self, root: Path, study_root: Path, store: Path) -> None:
        """Files under ``root`` are the project's; texts of earlier attempts are kept in ``store``."""
        self._root = root
        self._bases = (study_root, root, root / "src")
        self._store = store
        self._texts: dict[Path, tuple[str, bytes]] = {}
        self._behind: dict[Path, Hashes] = {}
        self._kept: set[str] = set()

    def behind(self, file: Path) -> Hashes:
        """Return the hash of each project file that a handler's file is made from, itself included."""
        if file not in self._behind:
            found = self._reach([file, *self._conftests(file)])
            self._behind[file] = {self._shown(path): self._read(path)[0] for path in found}
        return self._behind[file]

    def keep(self, hashes: Hashes) -> None:
        """Keep the texts behind some hashes, so that later attempts can be compared with them."""
        for name, digest in hashes.items():
            if digest not in self._kept:
                self._kept.add(digest)
                kept = self._store / f"{digest}.py"
                known, _text = self._read(self._root / name)
                if not kept.exists() and known == digest:  # elsewhere it may have been another text
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    atomic.replace(kept, self._read(self._root / name)[1])

    def text(self, name: str, digest: str) -> bytes | None:
        """Return a project file as it was under a hash, where that is kept or is what it still is."""
        if not _DIGEST.fullmatch(digest):
            return None
        known, now = self._read(self._root / name)
        return now if known == digest else self._stored(digest)

    def change(self, file: Path, function: str, before: Hashes) -> str:
        """Say what has changed of a handler since ``before``, or return an empty text."""
        now = self.behind(file)
        if now == before:
            return ""
        own = self._shown(file)
        text = self._read(file)[1]
        old = self._stored(before.get(own, ""))
        if before.get(own) != now[own]:
            if old is None:
                return f"{own} has changed, and its earlier version is not known here"
            if closure(old, function) != closure(text, function):
                return f"{function} has changed, or code it uses in {own}"
            gone = self._reached(old, function, file) - self._reached(text, function, file)
            if gone:  # what is imported to act stands in no closure
                return f"{self._shown(min(gone))} is no longer imported"
        used = [file, *self._conftests(file), *self._imported(used_text(text, function), file)]
        for path in self._reach(used, skip=file):
            name = self._shown(path)
            if name != own and name not in before:
                return f"{name} was not used before"
            if name != own and before[name] != now.get(name, self._read(path)[0]):
                known = self._stored(before[name])
                if known is None or normal(known) != normal(self._read(path)[1]):
                    return f"{name} has changed"
        lost = [name for name in before if name not in now and not (self._root / name).exists()]
        return f"{lost[0]} is gone" if lost else ""

    def _shown(self, path: Path) -> str:
        return shown_path(path, self._root)

    def _read(self, path: Path) -> tuple[str, bytes]:
        if path not in self._texts:
            try:
                text = path.read_bytes()
            except OSError:
                text = b""
            self._texts[path] = hashlib.sha256(text).hexdigest()[:_DIGITS], text
        return self._texts[path]

    def _stored(self, digest: str) -> bytes | None:
        try:
            return (self._store / f"{digest}.py").read_bytes() if digest else None
        except OSError:
            return None

    def _conftests(self, file: Path) -> list[Path]:
        folders = [folder for folder in file.parents if folder.is_relative_to(self._root)]
        return [found for folder in folders if (found := folder / "conftest.py").is_file()]

    def _reach(self, start: Iterable[Path], skip: Path | None = None) -> list[Path]:
        """Return files and what they import, over several steps; not what ``skip`` imports."""
        found = dict.fromkeys(start)
        for path in (pending := list(found)):
            if path != skip:
                for other in self._imported(self._read(path)[1], path):
                    if other not in found:
                        found[other] = None
                        pending.append(other)
        return list(found)

    def _reached(self, text: bytes, function: str, file: Path) -> set[Path]:
        return set(self._imported(used_text(text, function), file))

    def _imported(self, text: bytes, file: Path) -> Iterator[Path]:
        for module, names in _imports(text):
            yield from self._resolve(module, names, file)

    def _resolve(self, module: str, names: Sequence[str], file: Path) -> Iterator[Path]:
        level = len(module) - len(module.lstrip("."))
        parts = [part for part in module.split(".") if part]
        bases: Iterable[Path]
        if level:
            bases = [file.parents[level - 1]] if level <= len(file.parents) else []
        else:
            bases = (file.parent, *self._bases, *self._on_path())
        for base in bases:
            found = list(self._modules(base, parts, names))
            if found:
                yield from found
                return

    def _on_path(self) -> Iterator[Path]:
        for entry in sys.path:
            folder = Path(entry)
            if self._is_ours(folder):
                yield folder

    def _is_ours(self, path: Path) -> bool:
        if not path.is_relative_to(self._root) or path.is_relative_to(_THIS_TOOL):
            return False
        return not _NOT_OURS.intersection(path.relative_to(self._root).parts)

    def _modules(self, base: Path, parts: Sequence[str], names: Sequence[str]) -> Iterator[Path]:
        """The files of ``a.b`` under a folder: packages on the way, the module, submodules by name."""
        here = base
        for part in parts:
            here = here / part
            candidates = (here.with_suffix(".py"), here / "__init__.py")
            yield from (path for path in candidates if self._is_ours(path) and path.is_file())
        for name in names:
            candidates = (here / f"{name}.py", here / name / "__init__.py")
            yield from (path for path in candidates if self._is_ours(path) and path.is_file())


def _imports(source: bytes) -> Iterator[tuple[str, list[str]]]:
    """(module, names) of every import that is written in a text; too many rather than too few."""
    text = _CONTINUED.sub(" ", source.decode("utf-8", "replace"))
    for found in _IMPORT.finditer(text):
        if found["module"]:
            names = re.findall(r"(\w+)(?:\s+as\s+\w+)?", _COMMENT.sub("", found["names"]))
            yield found["module"], names
        else:
            yield from ((part.split()[0], []) for part in found["plain"].split(",") if part.split())
    for found in _PLUGINS.finditer(text):
        yield from ((name, []) for name in _QUOTED.findall(found[1]))


# --- what a function uses -----------------------------------------------------------------------


@lru_cache(maxsize=256)
def normal(source: bytes) -> str:
    """Return what a module says, comments, formatting and docstrings aside; the text itself if broken."""
    tree = _parse(source)
    return source.decode("utf-8", "replace") if tree is None else "\n".join(_dumps(tree.body))


@lru_cache(maxsize=4096)
def closure(source: bytes, function: str) -> str:
    """Return what a function and all that it uses in its file say, everything else aside."""
    tree = _parse(source)
    return "" if tree is None else "\n".join(_dumps(_used(tree, function)))


def used_text(source: bytes, function: str) -> bytes:
    """Return a function and all that it uses in its file, as text; and imports that are there to act."""
    tree = _parse(source)
    if tree is None:
        return source
    used = _used(tree, function)
    acting = [s for s in tree.body if isinstance(s, _IMPORTING) and s not in used and _is_unnamed(tree, s)]
    return ast.unparse(ast.Module([*used, *acting], [])).encode()


@lru_cache(maxsize=256)
def _parse(source: bytes) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@lru_cache(maxsize=64)
def _tables(tree: ast.Module) -> tuple[list[frozenset[str]], list[frozenset[str]]]:
    """What each statement of a module binds, and what it uses."""
    return [frozenset(_bound(s)) for s in tree.body], [frozenset(_names(s)) for s in tree.body]


def _used(tree: ast.Module, function: str) -> list[ast.stmt]:
    binds, uses = _tables(tree)
    wanted = {i for i, bound in enumerate(binds) if function in bound} | _acting(tree)
    pending = list(wanted)
    for index in pending:
        if uses[index] & _SEES_EVERYTHING:
            return tree.body
        for other, bound in enumerate(binds):
            if other not in wanted and bound & uses[index]:
                wanted.add(other)
                pending.append(other)
    return [statement for i, statement in enumerate(tree.body) if i in wanted]


@lru_cache(maxsize=64)
def _acting(tree: ast.Module) -> frozenset[int]:
    """Return which statements matter to every function of a module."""
    binds, _uses = _tables(tree)
    return frozenset(i for i, s in enumerate(tree.body) if _always(tree, s, binds[i]))


@lru_cache(maxsize=64)
def _assigned(tree: ast.Module) -> frozenset[str]:
    return frozenset(name for s in tree.body if isinstance(s, _ASSIGNING) for name in _bound(s))


def _is_unnamed(tree: ast.Module, statement: ast.stmt) -> bool:
    """Return whether nothing else in a module uses what a statement binds: it is there for what it does."""
    binds, uses = _tables(tree)
    own = tree.body.index(statement)
    return not any(binds[own] & used for other, used in enumerate(uses) if other != own)


def _always(tree: ast.Module, statement: ast.stmt, bound: frozenset[str]) -> bool:
    """Return whether a statement acts when the module is imported, or on every test in it."""
    if isinstance(statement, ast.ClassDef) and _registers(tree, statement):
        return True
    if isinstance(statement, _ASSIGNING) and _acts(tree, statement):
        return True
    if isinstance(statement, ast.Expr):
        return not isinstance(statement.value, ast.Constant)
    if bound & _ALWAYS or any(_BY_CONVENTION.match(name) for name in bound):
        return True
    if isinstance(statement, _DECORATED):
        texts = [ast.unparse(decorator) for decorator in statement.decorator_list]
        return any("autouse" in text or not _HARMLESS.match(text) for text in texts)
    return not bound or "*" in bound or not isinstance(statement, _DEFINING)


def _registers(tree: ast.Module, statement: ast.ClassDef, deep: int = 9) -> bool:
    """Return whether what a class is derived from may note that there is one more."""
    acting = [word for word in statement.keywords if word.arg not in {"total", "closed"}]
    if acting or any(getattr(s, "name", "") == "__init_subclass__" for s in statement.body):
        return True
    known = {s.name: s for s in tree.body if isinstance(s, ast.ClassDef)}
    for base in statement.bases:
        text = ast.unparse(base)
        if text in known and known[text] is not statement and deep:
            if _registers(tree, known[text], deep - 1):
                return True
        elif not _PLAIN_BASE.match(text):
            return True
    return False


def _acts(tree: ast.Module, statement: ast.Assign | ast.AnnAssign) -> bool:
    """Return whether an assignment does more than to bind names: to a part of something, or by a call."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    if any(isinstance(target, ast.Subscript | ast.Attribute) for target in targets):
        return True
    calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
    if not calls:
        return False
    owners = {_root(call.func.value) for call in calls if isinstance(call.func, ast.Attribute)}
    return bool(owners & _assigned(tree)) or _is_unnamed(tree, statement)


def _root(node: ast.expr) -> str:
    """Return the name that an expression such as ``CONFIG.parts[0]`` begins with."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


_IMPORTING = ast.Import | ast.ImportFrom
_ASSIGNING = ast.Assign | ast.AnnAssign
# Classes to derive from that keep no list of those derived from them.
_PLAIN_BASE = re.compile(
    r"(object|dict|list|tuple|set|str|int|float|\w*(Exception|Error))$|((torch\.)?nn\.|torch\.|np\.|threading\.)\w"
    r"|(typing\.)?(NamedTuple|Protocol|TypedDict|Generic)\b|(enum\.)?(Int|Str)?(Enum|Flag)$|(abc\.)?ABC$|Module$"
    r"|(Iterable)?Dataset\b|((pl|L|lightning)\.)?Lightning(Data)?Module$|(pydantic\.)?BaseModel$"
)
_DECORATED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
# Decorators that do nothing but to what they decorate; any other may note it somewhere.
_HARMLESS = re.compile(
    r"(pytest\.)?(fixture\b(?!.*\bname=(?!['\"]))|mark\.)|functools\.|(lru_)?cache\b|wraps\b|cached_property\b"
    r"|staticmethod$|classmethod$|property$|\w+\.setter$|(dataclasses\.)?dataclass\b|(contextlib\.)?contextmanager$"
    r"|torch\.(no_grad|inference_mode|jit)\b|(typing\.)?(overload|override|final)$|(numba\.)?n?jit\b"
)
# What pytest uses by its name.
_ALWAYS = frozenset({"pytestmark", "pytest_plugins"})
_BY_CONVENTION = re.compile(r"pytest_|(setup|teardown)_(module|function|class|method)$")
_DEFINING = ast.ClassDef | ast.Assign | ast.AnnAssign | ast.Import | ast.ImportFrom


def _bound(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        for decorator in statement.decorator_list:
            for word in decorator.keywords if isinstance(decorator, ast.Call) else ():
                if word.arg == "name" and isinstance(word.value, ast.Constant):
                    yield str(word.value.value)  # a fixture by another name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)


def _names(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg  # a fixture is used by the name of a parameter
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield node.value  # usefixtures("name"), getfixturevalue("name")


def _dumps(statements: Iterable[ast.stmt]) -> Iterator[str]:
    for statement in statements:
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            yield ast.dump(_without_docstrings(statement))


class _Docstrings(ast.NodeTransformer):
    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:] or [ast.Pass()]
        return node


def _without_docstrings(statement: ast.stmt) -> ast.AST:
    return _Docstrings().visit(copy.deepcopy(statement))  # type: ignore[no-any-return]
