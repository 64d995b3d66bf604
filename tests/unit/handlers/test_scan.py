"""Which file defines which handler: found in the source text, nothing is ever executed."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import X1, make_entry, make_plan

from pytest_exprunner._util.errors import HandlerError
from pytest_exprunner.handlers.scan import Scan, is_conventional_test_file, python_files, scan

PLAN = make_plan({X1: make_entry(subs=("e3_7", "e3_7a", "e_x1_1", "e_x1_10"))})

Write = Callable[..., Scan]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files under ``experiments`` and scan them; names stand for texts or bytes."""

    def scanned(source: str | bytes = "", **others: str) -> Scan:
        folder = tmp_path / "experiments"
        folder.mkdir(exist_ok=True)
        for name, text in {"handlers": source, **others}.items():
            data = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
            (folder / f"{name}.py").write_bytes(data)
        return scan(PLAN, [folder], tmp_path)

    return scanned


def names(found: Scan) -> dict[str, str | None]:
    """Return the sub-experiment of each handler, by function name."""
    return {handler.name: handler.sub_experiment for handler in found.handlers}


@pytest.mark.parametrize(
    ("name", "sub"),
    [
        ("e_x1_1", "e_x1_1"),
        ("e_x1_1_probe", "e_x1_1"),
        ("e_x1_1__probe", "e_x1_1"),
        ("e_x1_10_probe", "e_x1_10"),
        ("e3_7a_probe", "e3_7a"),
        ("e3_7_a_probe", "e3_7"),
        ("e3_7b", None),
        ("e_x1_11", None),
        ("e_other", None),
        ("exp1_probe", None),
    ],
)
def test_names(write: Write, name: str, sub: str | None) -> None:
    """The longest id that a name starts with, followed by an underscore, is the one that is meant."""
    assert names(write(f"def {name}(runner): ...")) == {name: sub}


@pytest.mark.parametrize(
    "source",
    [
        "def e_x1_1_probe(runner): ...",
        "async def e_x1_1_probe(runner): ...",
        "def e_x1_1_probe(runner, lr): ...",
        "def e_x1_1_probe(tmp_path, *, runner): ...",
        "def e_x1_1_probe(runner, /): ...",
        "def e_x1_1_probe(runner: 'ExperimentRunner') -> dict: ...",
        "import pytest\n@pytest.mark.parametrize('lr', [1])\n@x\ndef e_x1_1_probe(runner, lr): ...",
        "if True:\n    def e_x1_1_probe(runner): ...",
        "if False:\n    pass\nelse:\n    def e_x1_1_probe(runner): ...",
        "try:\n    import torch\nexcept ImportError:\n    def e_x1_1_probe(runner): ...",
        "try:\n    pass\nfinally:\n    def e_x1_1_probe(runner): ...",
        "with open('x') as f:\n    def e_x1_1_probe(runner): ...",
        "for i in []:\n    pass\nelse:\n    def e_x1_1_probe(runner): ...",
    ],
)
def test_where_handlers_are_found(write: Write, source: str) -> None:
    """A function of the module is a handler, decorated, asynchronous, or under a condition."""
    found = write(source)
    assert names(found) == {"e_x1_1_probe": "e_x1_1"}
    assert [f.is_handler_file for f in found.files.values()] == [True]


@pytest.mark.parametrize(
    "source",
    [
        "",
        "x = 1",
        "def helper(runner): ...",
        "def test_it(runner): ...",
        "def outer():\n    def e_x1_1_probe(runner): ...",
        "def outer():\n    class A:\n        def e_x1_1_probe(self, runner): ...",
        "e_x1_1_probe = lambda runner: {}",
        "'''\ndef e_x1_1_probe(runner): ...\n'''",
        "# def e_x1_1_probe(runner): ...",
        "def e_x1_1_probe(*runner): ...",
        "def e_x1_1_probe(**runner): ...",
    ],
)
def test_where_there_is_no_handler(write: Write, source: str) -> None:
    """Nested functions, lambdas, texts and helpers are none."""
    found = write(source)
    assert names(found) == {}
    assert not any(f.is_handler_file for f in found.files.values())
    assert found.problems() == []


def test_places(write: Write) -> None:
    """A handler is at the line of its ``def``, in a path relative to the root."""
    found = write("import os\n\n@mark\ndef e_x1_1_probe(runner): ...")
    assert next(found.handlers).place == "experiments/handlers.py:4"


def test_nothing_is_executed(write: Write, tmp_path: Path) -> None:
    """Scanning runs nothing and leaves nothing behind."""
    write(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef e_x1_1_probe(runner): ...")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["experiments", "handlers.py"]


# --- what only looks like a handler -----------------------------------------------------------


def test_a_missing_parameter(write: Write) -> None:
    """A function of the right name without a runner is pointed at."""
    found = write("x = 1\ndef e_x1_1_probe(model): ...")
    assert names(found) == {}
    assert found.suspects("e_x1_1") == [
        "experiments/handlers.py:2: e_x1_1_probe has no parameter named 'runner'"
    ]


def test_a_method(write: Write) -> None:
    """A method is no handler, and the reason is said."""
    found = write("class TestIt:\n    def e_x1_1_probe(self, runner): ...")
    assert names(found) == {}
    assert found.suspects("e_x1_1") == [
        "experiments/handlers.py:2: e_x1_1_probe is a method of class TestIt; "
        "a handler is a function of the module"
    ]


def test_exploratory(write: Write) -> None:
    """A handler that no id matches is listed apart."""
    found = write("def e_idea(runner): ...\ndef e_x1_1(runner): ...")
    assert [h.name for h in found.exploratory()] == ["e_idea"]
    assert {s: h.name for s, h in found.planned().items()} == {"e_x1_1": "e_x1_1"}


# --- duplicates -------------------------------------------------------------------------------


def test_two_handlers_for_one_id(write: Write) -> None:
    """Both places are named, for every id that has two."""
    found = write(
        "def e_x1_1_a(runner): ...\ndef e3_7(runner): ...",
        other="def e_x1_1_b(runner): ...\n\ndef e3_7_x(runner): ...",
    )
    with pytest.raises(HandlerError) as caught:
        found.check()
    assert str(caught.value) == (
        "two handlers for e_x1_1: e_x1_1_a at experiments/handlers.py:1 and "
        "e_x1_1_b at experiments/other.py:1; remove one, or rename it to another id\n"
        "two handlers for e3_7: e3_7 at experiments/handlers.py:2 and "
        "e3_7_x at experiments/other.py:3; remove one, or rename it to another id"
    )


def test_a_function_defined_twice(write: Write) -> None:
    """The second of two functions of one name would silently hide the first."""
    found = write("def e_x1_1(runner): ...\ndef e_x1_1(runner): ...")
    with pytest.raises(HandlerError, match=r"handlers\.py:1 and e_x1_1 at experiments/handlers\.py:2"):
        found.check()


def test_no_duplicates(write: Write) -> None:
    """One handler per id, and any number of exploratory ones, are fine."""
    write("def e_x1_1(runner): ...\ndef e_x(runner): ...", other="def e_x(runner): ...").check()


# --- broken files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (b"def e_x1_1_probe(runner):\n    return {\n", "experiments/handlers.py:2: cannot be parsed: "),
        (b"def e_x1_1_probe(runner) ...\n", "experiments/handlers.py:1: cannot be parsed: "),
        (b"def e_x1_1_probe(runner): ...\nx = '\xff'\n", "experiments/handlers.py:"),
        (b"def e_x1_1_probe(runner): ...\nx = '\x00'\n", "experiments/handlers.py:0: cannot be parsed: "),
        (
            b"# coding: nonsense\ndef e_x1_1_probe(runner): ...\n",
            "experiments/handlers.py:0: cannot be parsed: ",
        ),
        (b"def e_x1_1_probe(runner): ...\nx = " + b"(" * 50_000, "experiments/handlers.py:"),
        (
            b"def e_x1_1_probe(runner): ...\nx = 1" + b" + 1" * 50_000,
            "experiments/handlers.py:0: cannot be parsed: ",
        ),
    ],
    ids=["open", "colon", "bytes", "null", "coding", "parentheses", "deep"],
)
def test_a_broken_file_with_a_planned_name(write: Write, source: bytes, problem: str) -> None:
    """A file that cannot be parsed is a problem of the sub-experiment that it seems to define."""
    found = write(source)
    assert len(found.problems()) == 1
    assert found.problems()[0].startswith(problem)
    assert found.suspects("e_x1_1") == found.problems()
    assert [f.is_handler_file for f in found.files.values()] == [True]


def test_a_broken_neighbour(write: Write) -> None:
    """A broken file that defines nothing planned hides no handler and is no handler file."""
    found = write("def e_x1_1(runner): ...", download="def fetch(:\n")
    assert names(found) == {"e_x1_1": "e_x1_1"}
    assert [f.is_handler_file for f in found.files.values()] == [False, True]
    assert len(found.problems()) == 1


@pytest.mark.parametrize(
    "source",
    [
        "# -*- coding: latin-1 -*-\nx = 'é'\ndef e_x1_1(runner): ...".encode("latin-1"),
        "\ufeffdef e_x1_1(runner): ...".encode(),
        b"def e_x1_1(runner): ...\r\n",
        b"x = 1\rdef e_x1_1(runner): ...\r",
        b"def\te_x1_1(runner): ...\n",
        b"def  e_x1_1 ( runner ) : ...",
    ],
    ids=["latin-1", "mark", "CRLF", "CR", "tab", "blanks"],
)
def test_encodings_and_line_ends(write: Write, source: bytes) -> None:
    """Whatever python itself can read is read."""
    assert names(write(source)) == {"e_x1_1": "e_x1_1"}


def test_a_huge_file(write: Write) -> None:
    """A large table of numbers with a handler at its end is read, and quickly."""
    found = write("data = [\n" + "    1.5,\n" * 30_000 + "]\ndef e_x1_1(runner): ...")
    assert next(found.handlers).line == 30_003


def test_a_file_that_cannot_be_read(write: Write, tmp_path: Path) -> None:
    """A link to nowhere is a problem in words."""
    write()
    (tmp_path / "experiments" / "gone.py").symlink_to("nowhere.py")
    assert write().problems() == ["experiments/gone.py: cannot be read: No such file or directory"]


# --- which files ------------------------------------------------------------------------------


def test_which_files(tmp_path: Path) -> None:
    """Python files in a stable order; caches, environments and hidden folders are left out."""
    for name in (
        "b.py",
        "a.py",
        "sub/c.py",
        ".hidden/d.py",
        "__pycache__/e.py",
        "venv/f.py",
        "g.txt",
        ".h.py",
    ):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    found = [p.relative_to(tmp_path).as_posix() for p in python_files(tmp_path)]
    assert found == [".h.py", "a.py", "b.py", "sub/c.py"]
    assert list(python_files(tmp_path / "gone")) == []


def test_overlapping_folders(write: Write, tmp_path: Path) -> None:
    """A file under two folders is one file, and its handler no duplicate."""
    write("def e_x1_1(runner): ...")
    folder = tmp_path / "experiments"
    found = scan(PLAN, [folder, tmp_path, folder], tmp_path)
    assert len(found.files) == 1
    found.check()


@pytest.mark.parametrize(
    ("source", "tests"),
    [
        ("def test_it(): ...", True),
        ("class TestIt: ...", True),
        ("import unittest\nclass A(unittest.TestCase): ...", True),
        ("def e_x1_1(runner): ...", False),
        ("class Model: ...", False),
    ],
)
def test_files_with_tests(write: Write, source: str, tests: bool) -> None:
    """What pytest collects by itself is noticed."""
    assert [f.tests for f in write(source).files.values()] == [tests]


@pytest.mark.parametrize(
    ("name", "expected"), [("test_a.py", True), ("a_test.py", True), ("tests.py", False), ("a.py", False)]
)
def test_test_files(name: str, expected: bool) -> None:
    """Pytest's own names for test files."""
    assert is_conventional_test_file(Path(name)) is expected
