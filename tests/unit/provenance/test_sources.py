"""What a handler is made from: which files, and what of a change matters."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_exprunner.provenance.sources import Sources, closure, normal

HANDLERS = """\
import os
import helpers
from lib import deep

RATE = 0.1
OTHER = 2


def train(rate):
    "Train."
    return helpers.fit(rate)  # slow


def e_1(runner):
    return train(RATE)


def e_2(runner):
    return deep.look(OTHER)
"""


class Project:
    """Files of a project; texts of before are kept in its store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("experiments/handlers.py", HANDLERS)
        self.write("experiments/helpers.py", "import shared\ndef fit(rate): return rate\n")
        self.write("experiments/lib/__init__.py", "")
        self.write("experiments/lib/deep.py", "from . import sibling\ndef look(x): return x\n")
        self.write("experiments/lib/sibling.py", "X = 1\n")
        self.write("shared.py", "Y = 1\n")
        self.write("unused.py", "Z = 1\n")
        self.write("conftest.py", "import pytest\n")
        self.write(".venv/lib/site-packages/os.py", "")
        self.before = self.now().behind(self.file)
        self.now().keep(self.before)

    @property
    def file(self) -> Path:
        """The file with the handlers."""
        return self.root / "experiments" / "handlers.py"

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace something in a file."""
        text = (self.root / name).read_text(encoding="utf-8")
        assert old in text
        self.write(name, text.replace(old, new))

    def now(self) -> Sources:
        """Look at the files as they are."""
        return Sources(self.root, self.root, self.root / "store")

    def change(self, function: str = "e_1") -> str:
        """Say what has changed of a handler."""
        return self.now().change(self.file, function, self.before)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A small project."""
    return Project(tmp_path)


def test_the_files_behind_a_handler(project: Project) -> None:
    """What is imported from the project over several steps, and conftest files; nothing else."""
    assert set(project.before) == {
        "experiments/handlers.py", "experiments/helpers.py", "experiments/lib/__init__.py",
        "experiments/lib/deep.py", "experiments/lib/sibling.py", "shared.py", "conftest.py",
    }  # fmt: skip
    assert project.change() == ""


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("experiments/handlers.py", "  # slow", "  # fast\n    # really"),
        ("experiments/handlers.py", '"Train."', '"Fit a probe."'),
        ("experiments/handlers.py", "return train(RATE)", "return (\n        train(\n            RATE))"),
        ("experiments/handlers.py", "OTHER = 2", "OTHER = 3"),
        ("experiments/handlers.py", "return deep.look(OTHER)", "return 7"),
        ("experiments/handlers.py", "import os\n", "import os\nimport sys\n"),
        ("experiments/handlers.py", "RATE = 0.1\n", "\n\nRATE = 0.10\n"),
        ("experiments/helpers.py", "def fit", "# a comment\ndef fit"),
        ("experiments/lib/sibling.py", "X = 1", "X = 2"),
        ("unused.py", "Z = 1", "Z = 2"),
        ("conftest.py", "import pytest", "import  pytest  # fixtures"),
    ],
)
def test_what_does_not_matter(project: Project, name: str, old: str, new: str) -> None:
    """Comments, formatting, docstrings, other handlers and what only they use."""
    project.edit(name, old, new)
    assert project.change() == ""


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("experiments/handlers.py", "train(RATE)", "train(1)", "e_1 has changed, or code it uses in {0}"),
        ("experiments/handlers.py", "RATE = 0.1", "RATE = 0.2", "e_1 has changed, or code it uses in {0}"),
        ("experiments/handlers.py", "fit(rate)", "fit(-rate)", "e_1 has changed, or code it uses in {0}"),
        ("experiments/handlers.py", "import helpers", "import unused as helpers", "e_1 has changed, or code it uses in {0}"),
        ("experiments/handlers.py", "import os\n", "import os\nos.umask(0)\n", "e_1 has changed, or code it uses in {0}"),
        ("experiments/helpers.py", "return rate", "return -rate", "{0} has changed"),
        ("shared.py", "Y = 1", "Y = 2", "{0} has changed"),
        ("conftest.py", "import pytest", "import pytest\nX = 1", "{0} has changed"),
    ],
)  # fmt: skip
def test_what_matters(project: Project, name: str, old: str, new: str, reason: str) -> None:
    """The handler, what it uses in its file, what it imports, and conftest files."""
    project.edit(name, old, new)
    assert project.change() == reason.format(name)


def test_what_another_handler_uses(project: Project) -> None:
    """A change in a module matters to the handler that uses it."""
    project.edit("experiments/lib/sibling.py", "X = 1", "X = 2")
    assert project.change("e_2") == "experiments/lib/sibling.py has changed"


def test_a_module_that_was_not_there(project: Project) -> None:
    """A new file that takes the place of an installed module, and a conftest that is gone."""
    project.write("experiments/shared.py", "Y = 1\n")
    assert project.change() == "experiments/shared.py was not used before"
    (project.root / "experiments" / "shared.py").unlink()
    (project.root / "conftest.py").unlink()
    assert project.change() == "conftest.py is gone"


def test_fixtures(project: Project) -> None:
    """A fixture in the file belongs to those that name it; one that is used by all, to all."""
    fixtures = (
        "import pytest\n@pytest.fixture\ndef data(): return 1\n"
        "@pytest.fixture(autouse=True)\ndef always(): return 1\n"
    )
    project.write("experiments/handlers.py", f"{fixtures}def e_1(runner, data): ...\ndef e_2(runner): ...\n")
    project.before = project.now().behind(project.file)
    project.now().keep(project.before)
    project.edit("experiments/handlers.py", "data(): return 1", "data(): return 2")
    assert project.change("e_1") != ""
    assert project.change("e_2") == ""
    project.edit("experiments/handlers.py", "always(): return 1", "always(): return 2")
    assert project.change("e_2") != ""


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("@pytest.fixture(name='model')\ndef make(): return 1\ndef e_1(runner, model): ...\n", "return 1", "return 2"),
        ("def setup_module(): V['a'] = 1\ndef e_1(runner): ...\n", "= 1", "= 2"),
        ("@pytest.fixture\ndef ready(): return 1\npytestmark = pytest.mark.usefixtures('ready')\ndef e_1(runner): ...\n",
         "return 1", "return 2"),
        ("def pytest_generate_tests(metafunc): return 1\ndef e_1(runner): ...\n", "return 1", "return 2"),
        ("@register\ndef net(): return 1\ndef e_1(runner): return MODELS\n", "return 1", "return 2"),
        ("@register('x')\nclass Net: size = 1\ndef e_1(runner): return MODELS\n", "size = 1", "size = 2"),
        ("class Base:\n    def __init_subclass__(cls): R[cls.__name__] = cls\nclass Net(Base): size = 1\n"
         "def e_1(runner): return R\n", "size = 1", "size = 2"),
        ("class A:\n    def __init_subclass__(cls): ...\nclass B(A): ...\nclass Net(B): size = 1\ndef e_1(runner): ...\n",
         "size = 1", "size = 2"),
        ("from ours import Registered\nclass Net(Registered): size = 1\ndef e_1(runner): ...\n", "size = 1", "size = 2"),
        ("class Net(metaclass=Meta): size = 1\ndef e_1(runner): ...\n", "size = 1", "size = 2"),
        ("C = {'a': 1}\n_ = C.update(a=1)\ndef e_1(runner): return C\n", "a=1", "a=2"),
        ("C = {'a': 1}\nother = C['a'] = 1\ndef e_1(runner): return C\n", "= 1\ndef", "= 2\ndef"),
        ("C = {'a': 1}\n_done = note(C, 1)\ndef e_1(runner): return C\n", "(C, 1)", "(C, 2)"),
    ],
)  # fmt: skip
def test_what_is_used_without_being_named(project: Project, text: str, old: str, new: str) -> None:
    """Fixtures by another name, set-up functions, marks, hooks, decorators that note what they decorate."""
    project.write("experiments/handlers.py", f"import pytest\n{text}")
    project.before = project.now().behind(project.file)
    project.now().keep(project.before)
    project.edit("experiments/handlers.py", old, new)
    assert project.change() != ""


def test_a_module_that_is_imported_to_act(project: Project) -> None:
    """Nothing names it, so it is there for what it does when it is imported."""
    project.write("experiments/base.py", "R = {}\n")
    project.write("experiments/acting.py", "from base import R\nR['m'] = 1\n")
    project.write("experiments/handlers.py", "import acting\nfrom base import R\ndef e_1(runner): return R\n")
    project.before = project.now().behind(project.file)
    project.now().keep(project.before)
    project.edit("experiments/acting.py", "= 1", "= 2")
    assert project.change() == "experiments/acting.py has changed"
    project.edit("experiments/handlers.py", "import acting\n", "")
    assert project.change() == "experiments/acting.py is no longer imported"


@pytest.mark.parametrize(
    "text",
    [
        "class Net(nn.Module): size = 1\n",
        "class Net: size = 1\n",
        "class Small(nn.Module): ...\nclass Net(Small): size = 1\n",
        "class Net(TypedDict, total=False): size = 1\n",
        "DATA = load(1)\ndef e_2(runner): return DATA\n",
    ],
)
def test_what_is_only_defined(project: Project, text: str) -> None:
    """A class or a value that nothing of a handler uses does not matter to it."""
    project.write("experiments/handlers.py", f"from torch import nn\n{text}def e_1(runner): ...\n")
    project.before = project.now().behind(project.file)
    project.now().keep(project.before)
    old, new = ("(1)", "(2)") if "load" in text else ("size = 1", "size = 2")
    project.edit("experiments/handlers.py", old, new)
    assert project.change() == ""


def test_a_module_that_is_gone(project: Project) -> None:
    """A file that was imported if it was there, and is not any more."""
    project.write(
        "experiments/handlers.py", "try:\n    import extra\nexcept ImportError: ...\ndef e_1(runner): ...\n"
    )
    project.write("experiments/extra.py", "X = 1\n")
    project.before = project.now().behind(project.file)
    project.now().keep(project.before)
    (project.root / "experiments" / "extra.py").unlink()
    assert project.change() == "experiments/extra.py is gone"


def test_plugins_of_a_conftest(project: Project) -> None:
    """Modules that pytest loads by their names belong to it."""
    project.write("conftest.py", "pytest_plugins = [\n    'unused',  # not any more\n]\n")
    assert "unused.py" in project.now().behind(project.file)


def test_texts_that_are_not_known(project: Project) -> None:
    """In a clone the texts of before are missing: what differs then counts as changed."""
    for kept in (project.root / "store").iterdir():
        kept.unlink()
    assert project.change() == ""
    project.edit("experiments/helpers.py", "def fit", "# a comment\ndef fit")
    assert project.change() == "experiments/helpers.py has changed"
    project.edit("experiments/handlers.py", "# slow", "# fast")
    assert (
        project.change() == "experiments/handlers.py has changed, and its earlier version is not known here"
    )


@pytest.mark.parametrize(
    "text",
    [
        "from package import (\n    first,  # here\n    second as other,\n)\n",
        "def f():\n    import package.first as x, package.second\n",
        "if True: from package import first, second\n",
        "x = 1; from package import first; from .package import second\n",
        "from package.first import f\nfrom package.second import (g)\n",
        "from package import \\\n    first, \\\n    second\n",
        "from package import (  # models (small)\n    first,\n    second,  # (large)\n)\n",
    ],
)
def test_ways_to_import(tmp_path: Path, text: str) -> None:
    """Every way to write an import is seen, anywhere in a file."""
    project = Project(tmp_path)
    for name in ("__init__", "first", "second"):
        project.write(f"experiments/package/{name}.py", "")
    project.write("experiments/handlers.py", text)
    found = set(project.now().behind(project.file))
    assert {f"experiments/package/{name}.py" for name in ("__init__", "first", "second")} <= found


def test_imports_in_a_circle(tmp_path: Path) -> None:
    """Modules that import one another end."""
    project = Project(tmp_path)
    project.write("experiments/handlers.py", "import one\n")
    project.write("experiments/one.py", "import two\n")
    project.write("experiments/two.py", "import one, handlers\n")
    assert len(project.now().behind(project.file)) == 4


def test_broken_texts() -> None:
    """What cannot be parsed is compared as it stands."""
    assert normal(b"def (") == "def ("
    assert closure(b"def (", "f") == ""


def test_code_that_sees_everything() -> None:
    """A handler that uses globals() is made from the whole file."""
    text = b"A = 1\ndef e_1(runner): return globals()['A']\n"
    assert closure(text, "e_1") != closure(text.replace(b"A = 1", b"A = 2"), "e_1")


def test_asking_twice_gives_the_same() -> None:
    """Comparing leaves nothing behind that a later comparison would see."""
    text = b'def f():\n    "One."\n    "Two."\n    return 1\n'
    assert [closure(text, "f"), normal(text)] == [closure(text, "f"), normal(text)]
    closure.cache_clear()
    first = closure(text, "f")
    closure.cache_clear()
    assert closure(text, "f") == first
