"""Which functions become handlers, how their files are imported, and what stays ordinary."""

from __future__ import annotations

import pytest
from study_folder import PLAN, Study

HANDLER = """\
def e_x1_1_probe(runner):
    return {"metrics": {"accuracy": 0.95}}
"""
TWO = """\
experiments:
  x1-first:
    sub_experiments: [e_x1_1, e_x1_2]
    success_criteria:
      accuracy: {target: 0.9}
"""
SECOND = HANDLER.replace("e_x1_1", "e_x1_2")


def test_a_file_of_any_name_may_hold_handlers(study: Study) -> None:
    """Handlers need neither a test file nor a test function's name."""
    study.plan()
    study.handlers(HANDLER, "2026 january, take two.py")
    run = study.pytest("experiments/", "-v")
    assert run.code == 0, run.text
    assert "experiments/2026 january, take two.py::e_x1_1_probe PASSED" in run.out
    assert run.counts(passed=1)


def test_python_files_star_collects_nothing_twice(study: Study) -> None:
    """With ``python_files = *.py`` handlers and tests are each collected once."""
    study.plan()
    study.write("pytest.ini", "[pytest]\npython_files = *.py\n")
    study.handlers(HANDLER + "def test_beside(): pass\n")
    study.handlers("def test_elsewhere(): pass\n", "test_more.py")
    run = study.pytest()
    assert run.code == 0, run.text
    assert run.counts(passed=3)


@pytest.mark.parametrize("python_files", ["test_*.py", "*.py"])
def test_what_defines_no_handler_is_never_executed(study: Study, python_files: str) -> None:
    """Download scripts, helpers and broken neighbours stay on disk, unread by the interpreter."""
    study.plan()
    study.write("pytest.ini", f"[pytest]\npython_files = {python_files}\n")
    study.handlers(HANDLER)
    study.handlers("open('downloaded', 'w')\ndef fetch(url): return url\n", "download.py")
    study.handlers("open('helped', 'w')\nclass Encoder: pass\n", "helper.py")
    study.handlers("open('broken', 'w')\ndef x(:\n", "broken.py")
    study.handlers("open('cached', 'w')\n", ".hidden/e_x1_1.py")
    run = study.pytest()
    assert run.code == 0, run.text
    assert run.counts(passed=1)
    assert not {"downloaded", "helped", "broken", "cached"} & study.files()
    assert (
        "warning: experiments/broken.py:2: cannot be parsed: invalid syntax; "
        "no handler was looked for in it\n" in run.out
    )


def test_a_broken_file_that_holds_the_handler_is_an_error(study: Study) -> None:
    """A syntax error in a handler's own file is reported with its place, and nothing is green."""
    study.plan()
    study.handlers("def e_x1_1_probe(runner):\n    return {\n")
    run = study.pytest()
    assert run.code in {1, 2}, run.text
    assert "handlers.py has a syntax error:" in run.out
    assert "'{' was never closed" in run.out
    assert "Traceback" not in run.out


def test_an_exception_during_import_starts_at_the_handler_file(study: Study) -> None:
    """What an import raises is shown from the handler's file on, without the plugin's frames."""
    study.plan()
    study.handlers(f"import no_such_package_anywhere\n{HANDLER}")
    run = study.pytest()
    assert run.code == 2, run.text
    assert "importing handlers.py raised ModuleNotFoundError:" in run.out
    assert "pytest_exprunner" not in run.out.split("ERRORS", 1)[1]


def test_a_handler_file_that_exits_does_not_end_the_run(study: Study) -> None:
    """SystemExit at import is an error of that file, not the end of pytest with exit 0."""
    study.plan()
    study.handlers(f"import sys\nsys.exit(0)\n{HANDLER}")
    run = study.pytest()
    assert run.code not in {0, 3, 5}, run.text
    assert "INTERNALERROR" not in run.text
    assert "handlers.py" in run.text
    assert "SystemExit" in run.text


def test_ordinary_tests_live_beside_handlers(study: Study) -> None:
    """Tests, classes and fixtures in the same file and folder run as they always did."""
    study.plan()
    study.handlers(
        HANDLER
        + """
import pytest

@pytest.fixture
def seven():
    return 7

def test_function(seven):
    assert seven == 7

class TestClass:
    def test_method(self):
        pass
""",
        "test_mixed.py",
    )
    study.handlers("def test_neighbour(): pass\n", "test_neighbour.py")
    run = study.pytest()
    assert run.code == 0, run.text
    assert run.counts(passed=4)


def test_only_ordinary_tests_are_warned_about_returned_values(study: Study) -> None:
    """A test that returns a value gets pytest's warning; a handler, whose job that is, does not."""
    study.plan()
    study.handlers(HANDLER + "def test_returns(): return 3\n", "test_mixed.py")
    run = study.pytest()
    assert run.code == 0, run.text
    assert "test_mixed.py::test_returns returned <class 'int'>" in run.out
    assert run.counts(passed=2, warning=1)
    strict = study.pytest("experiments/", "-W", "error", "-k", "e_x1_1")
    assert strict.code == 0, strict.text


def test_a_failing_ordinary_test_fails_the_run(study: Study) -> None:
    """A met criterion does not hide a failing test, and the test does not change the verdict."""
    study.plan()
    study.handlers(HANDLER + "def test_broken(): assert 1 == 2\n", "test_mixed.py")
    run = study.pytest()
    assert run.code == 1, run.text
    assert run.counts(failed=1, passed=1)
    assert study.results()["recommendation"] == "proceed"


def test_two_files_of_one_name(study: Study) -> None:
    """Two ``handlers.py`` in two folders are two modules."""
    study.plan(TWO)
    study.handlers("WHERE = 'a'\n" + HANDLER, "a/handlers.py")
    study.handlers("WHERE = 'b'\n" + SECOND.replace("0.95", "0.95 if WHERE == 'b' else 0"), "b/handlers.py")
    run = study.pytest()
    assert run.code == 0, run.text
    assert run.counts(passed=2)


def test_helper_modules_are_importable(study: Study) -> None:
    """A handler imports modules that stand beside it."""
    study.plan()
    study.handlers("VALUE = 0.95\n", "sub/helper.py")
    study.handlers(f"from helper import VALUE\n{HANDLER.replace('0.95', 'VALUE')}", "sub/handlers.py")
    run = study.pytest()
    assert run.code == 0, run.text


def test_helpers_of_one_name_in_two_folders_are_refused(study: Study) -> None:
    """The wrong helper is never used in silence: the second file is an error that says why."""
    study.plan(TWO)
    for folder, handler in (("a", HANDLER), ("b", SECOND)):
        study.handlers("VALUE = 0.95\n", f"{folder}/helper.py")
        study.handlers(f"import helper\n{handler}", f"{folder}/handlers.py")
    run = study.pytest()
    assert run.code == 2, run.text
    a, b = (study.root / "experiments" / name / "helper.py" for name in "ab")
    assert (
        f"handlers.py imports 'helper' and means {b}, but {a} was already imported under that name; "
        "rename one of them, or put an __init__.py into both folders" in run.out
    )


def test_a_helper_that_is_only_imported_inside_a_handler_is_refused_too(study: Study) -> None:
    """An import inside a function does not get the other folder's helper."""
    study.plan(TWO)
    for folder, handler, value in (("a", HANDLER, "0.95"), ("b", SECOND, "0.1")):
        study.handlers(f"VALUE = {value}\n", f"{folder}/helper.py")
        body = handler.replace("    return", "    import helper\n    return")
        study.handlers(body.replace("0.95", "helper.VALUE"), f"{folder}/handlers.py")
    run = study.pytest()
    assert run.code != 0, run.text


def test_packages_and_relative_imports(study: Study) -> None:
    """In a package a handler may import relatively, and by the package's name."""
    study.plan()
    study.handlers("", "__init__.py")
    study.handlers("", "encoders/__init__.py")
    study.handlers("VALUE = 0.95\n", "encoders/values.py")
    study.handlers(
        "from .values import VALUE\nfrom experiments.encoders import values\n"
        + HANDLER.replace("0.95", "VALUE if values.VALUE is VALUE else 0"),
        "encoders/handlers.py",
    )
    run = study.pytest()
    assert run.code == 0, run.text


@pytest.mark.parametrize(("cwd", "argument"), [(".", "sub/experiments"), ("sub", "experiments")])
def test_a_study_in_a_folder_below(study: Study, cwd: str, argument: str) -> None:
    """A study in a sub-folder is found from its handlers, and from inside."""
    study.write("pytest.ini", "[pytest]\n")
    study.write("sub/research/research_plan.yaml", PLAN)
    study.write("sub/experiments/handlers.py", HANDLER)
    run = study.pytest(argument, cwd=cwd)
    assert run.code == 0, run.text
    assert run.counts(passed=1)
    assert "research plan: sub/research/research_plan.yaml (1 experiment, 1 handler)" in run.out
    assert "sub/research/experiments/x1-first/results.yaml" in study.files()
    assert not any(file.startswith("research/") for file in study.files())


def test_a_node_id_runs_one_handler(study: Study) -> None:
    """``file.py::function`` runs that handler alone, and judges it."""
    study.plan(TWO)
    study.handlers(HANDLER + SECOND.replace("0.95", "0.1"))
    assert study.pytest("experiments/handlers.py::e_x1_1_probe").counts(passed=1)
    run = study.pytest("experiments/handlers.py::e_x1_2_probe")
    assert run.code == 1, run.text
    assert "accuracy of 0.100 is below the 0.90 target" in run.out


def test_an_unknown_node_id_is_a_usage_error(study: Study) -> None:
    """A misspelt node id runs nothing and exits 4."""
    study.plan()
    study.handlers(HANDLER)
    run = study.pytest("experiments/handlers.py::e_x1_9")
    assert run.code == 4, run.text


def test_collect_only_writes_nothing(study: Study) -> None:
    """``--collect-only`` lists handlers and leaves the folder as it was."""
    study.plan()
    study.handlers(HANDLER)
    before = study.files()
    run = study.pytest("experiments/", "--collect-only", "-q")
    assert run.code == 0, run.text
    assert "experiments/handlers.py::e_x1_1_probe" in run.out
    assert study.files() == before


def test_asserts_in_handlers_are_rewritten(study: Study) -> None:
    """A failing assert shows the values on both sides."""
    study.plan()
    study.handlers("def e_x1_1(runner):\n    shape = (3, 4)\n    assert shape == (3, 5)\n")
    run = study.pytest()
    assert run.code == 1, run.text
    assert "assert (3, 4) == (3, 5)" in run.out
    assert "At index 1 diff: 4 != 5" in run.out


def test_the_longest_id_wins(study: Study) -> None:
    """``e3_7a_probe`` belongs to ``e3_7a``, not to ``e3_7``; ``e3_70`` belongs to neither."""
    study.plan("experiments:\n  x3:\n    sub_experiments: [e3_7, e3_7a, e3_7_b]\n")
    study.handlers(
        "".join(
            f"def {name}(runner): return {{'metrics': {{}}, 'finding': runner.sub_experiment_id}}\n"
            for name in ("e3_7_probe", "e3_7a_probe", "e3_7_b_probe", "e3_70_probe")
        )
    )
    run = study.pytest()
    found = study.results("x3")["results"]["experiments"]
    assert {sub: entry["finding"] for sub, entry in found.items()} == {
        "e3_7": "e3_7",
        "e3_7a": "e3_7a",
        "e3_7_b": "e3_7_b",
    }
    assert (
        "exploratory, not run (--exp-exploratory runs them): e3_70_probe (experiments/handlers.py:4)"
        in run.out
    )


def test_two_handlers_for_one_id(study: Study) -> None:
    """Two handlers for one id are one error that names both places; nothing runs."""
    study.plan()
    study.handlers(HANDLER)
    study.handlers("\n" + HANDLER.replace("probe", "again"), "more.py")
    run = study.pytest()
    assert run.code == 4
    assert run.err.strip() == (
        "ERROR: two handlers for e_x1_1: e_x1_1_probe at experiments/handlers.py:1 and e_x1_1_again at "
        "experiments/more.py:2; remove one, or rename it to another id"
    )
    assert "research/experiments/x1-first/results.yaml" not in study.files()


def test_a_function_defined_twice_is_two_handlers(study: Study) -> None:
    """The second definition of one name hides the first, so it is refused as well."""
    study.plan()
    study.handlers(HANDLER + HANDLER)
    run = study.pytest()
    assert run.code == 4, run.text
    assert "two handlers for e_x1_1: e_x1_1_probe at experiments/handlers.py:1" in run.err


def test_a_method_is_not_a_handler(study: Study) -> None:
    """A method with a handler's name is pointed out, and the run is not green."""
    study.plan()
    study.handlers("class TestAll:\n    def e_x1_1_probe(self, runner): return {'metrics': {}}\n")
    run = study.pytest()
    assert run.code == 1, run.text
    assert (
        "e_x1_1 has no handler: experiments/handlers.py:2: e_x1_1_probe is a method of class TestAll; "
        "a handler is a function of the module" in run.out
    )


def test_a_function_without_runner_is_pointed_out(study: Study) -> None:
    """A function that has a handler's name and no parameter named runner is named as the reason."""
    study.plan()
    study.handlers("def e_x1_1_probe(run): return {'metrics': {}}\n")
    run = study.pytest()
    assert run.code == 1, run.text
    assert (
        "e_x1_1 has no handler: experiments/handlers.py:1: e_x1_1_probe has no parameter named 'runner'"
        in run.out
    )


def test_no_handler_at_all(study: Study) -> None:
    """A planned sub-experiment without a handler fails the whole run and says what to write."""
    study.plan(TWO)
    study.handlers(HANDLER)
    run = study.pytest()
    assert run.code == 1, run.text
    assert run.counts(failed=1, passed=1)
    assert "e_x1_2 has no handler; write def e_x1_2_…(runner) in the experiments folder." in run.out
    assert "FAILED research/research_plan.yaml::x1-first" in run.out
    assert "No handler: 1" in run.out


def test_an_async_handler_needs_a_plugin(study: Study) -> None:
    """An async handler that nothing runs fails and says what to install."""
    study.plan()
    study.handlers("async " + HANDLER)
    run = study.pytest()
    assert run.code == 1, run.text
    assert (
        "e_x1_1_probe is async, and nothing here runs async handlers: install pytest-asyncio and "
        "mark it with @pytest.mark.asyncio, or make it a plain function" in run.out
    )
    assert "never awaited" not in run.text
    assert study.results()["status"] == "failed"


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_an_async_handler_with_pytest_asyncio(study: Study, mode: str) -> None:
    """With pytest-asyncio an async handler is awaited and judged like any other."""
    study.plan()
    mark = "@pytest.mark.asyncio\n" if mode == "strict" else ""
    study.handlers(
        f"import asyncio, pytest\n{mark}async def e_x1_1(runner):\n"
        "    await asyncio.sleep(0)\n    return {'metrics': {'accuracy': 0.7}}\n"
    )
    options = ("-o", f"asyncio_mode={mode}", "-o", "asyncio_default_fixture_loop_scope=function")
    run = study.pytest("experiments/", *options, plugins=("exprunner", "asyncio"))
    assert run.code == 1, run.text
    assert "accuracy of 0.700 is below the 0.80 acceptable threshold by 0.100" in run.out


def test_decorated_handlers(study: Study) -> None:
    """A decorator that uses functools.wraps keeps a handler a handler."""
    study.plan()
    study.handlers(
        """\
        import functools

        def half(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                found = function(*args, **kwargs)
                return {"metrics": {"accuracy": found["metrics"]["accuracy"] / 2}}
            return wrapper

        @half
        def e_x1_1_probe(runner):
            return {"metrics": {"accuracy": 1.9}}
        """
    )
    run = study.pytest()
    assert run.code == 0, run.text
    assert study.results()["results"]["experiments"]["e_x1_1"]["metrics"] == {"accuracy": 0.95}


def test_a_decorator_that_hides_the_parameter(study: Study) -> None:
    """A decorator that replaces the handler is an error that names it."""
    study.plan()
    study.handlers("def hide(f): return lambda *a: f(*a)\n@hide\n" + HANDLER)
    run = study.pytest()
    assert run.code == 2, run.text
    assert (
        "experiments/handlers.py:3: e_x1_1_probe is no longer a function with a parameter named "
        "'runner' once the file is imported; does a decorator hide it (functools.wraps keeps it "
        "visible)?" in run.out
    )


def test_exploratory_handlers_are_listed_and_not_run(study: Study) -> None:
    """A handler that no id matches is named at the end and does not run by itself."""
    study.plan()
    study.handlers(HANDLER + "def e_idea(runner): open('ran', 'w')\n")
    run = study.pytest()
    assert run.code == 0, run.text
    assert "exploratory, not run (--exp-exploratory runs them): e_idea (experiments/handlers.py:3)" in run.out
    assert "ran" not in study.files()


def test_exploratory_handlers_run_on_request_and_are_never_judged(study: Study) -> None:
    """``--exp-exploratory`` runs them, records them apart, and changes no result."""
    study.plan()
    idea = "def e_idea(runner): return {'metrics': {'accuracy': 0.0}}\n"
    study.handlers(HANDLER + idea)
    run = study.pytest("experiments/", "--exp-exploratory")
    assert run.code == 0, run.text
    assert run.counts(passed=2)
    assert study.results()["criteria"]["accuracy"]["value"] == 0.95
    kept = [f for f in study.files() if "e_idea" in f and f.endswith("record.json")]
    assert kept == [
        "research/.exprunner/exploratory/experiments/exploratory/attempts/e_idea/0001/record.json"
    ]


def test_an_exploratory_handler_that_crashes_fails_the_run(study: Study) -> None:
    """Code that raises is red, planned or not."""
    study.plan()
    study.handlers(HANDLER + "def e_idea(runner): raise ValueError('no')\n")
    run = study.pytest("experiments/", "--exp-exploratory")
    assert run.code == 1, run.text
    assert run.counts(failed=1, passed=1)


def test_fixtures_of_the_file_and_the_folder(study: Study) -> None:
    """Handlers take fixtures of their file, of conftest files, and of pytest itself."""
    study.plan()
    study.write("conftest.py", "import pytest\n@pytest.fixture\ndef base(): return 0.9\n")
    study.handlers(
        """\
        import pytest

        @pytest.fixture
        def rest(base):
            return 0.05 + base

        def e_x1_1(runner, rest, tmp_path):
            assert tmp_path.is_dir()
            return {"metrics": {"accuracy": rest}}
        """
    )
    run = study.pytest()
    assert run.code == 0, run.text


def test_fixtures_may_use_the_runner(study: Study) -> None:
    """A fixture of a handler file sees the same runner as the handler, during set-up and tear-down."""
    study.plan()
    study.handlers(
        """\
        import pytest

        @pytest.fixture
        def logged(runner):
            runner.log_metrics({"before": 1.0})
            yield runner

        def e_x1_1(runner, logged):
            assert runner is logged
            return {"metrics": {"accuracy": 0.95}}
        """
    )
    run = study.pytest()
    assert run.code == 0, run.text
    assert study.record()["logged"]["before"]["count"] == 1


def test_a_conftest_fixture_may_use_the_runner(study: Study) -> None:
    """A fixture of the experiments folder's conftest sees the runner too."""
    study.plan()
    study.handlers(
        "import pytest\n@pytest.fixture\ndef name(runner): return runner.sub_experiment_id\n",
        "conftest.py",
    )
    study.handlers(
        "def e_x1_1(runner, name):\n    assert name == 'e_x1_1'\n    return {'metrics': {'accuracy': 0.95}}\n"
    )
    run = study.pytest()
    assert run.code == 0, run.text


def test_a_users_own_runner_fixture(study: Study) -> None:
    """A fixture named runner, in a conftest above, serves tests; handlers get the experiment's."""
    study.plan()
    study.write("conftest.py", "import pytest\n@pytest.fixture\ndef runner(): return 'mine'\n")
    study.handlers(
        "def e_x1_1(runner):\n    assert runner.sub_experiment_id == 'e_x1_1'\n"
        "    return {'metrics': {'accuracy': 0.95}}\n"
    )
    study.handlers("def test_mine(runner): assert runner == 'mine'\n", "test_mine.py")
    study.write("tests/test_other.py", "def test_other(runner): assert runner == 'mine'\n")
    run = study.pytest("experiments/", "tests/")
    assert run.code == 0, run.text
    assert run.counts(passed=3)


def test_a_test_in_a_handler_file_keeps_the_users_runner(study: Study) -> None:
    """An ordinary test beside a handler never dies of the plugin's own fixture."""
    study.plan()
    study.write("conftest.py", "import pytest\n@pytest.fixture\ndef runner(): return 'mine'\n")
    study.handlers(HANDLER + "def test_mine(runner): assert runner == 'mine'\n", "test_mixed.py")
    run = study.pytest()
    assert "KeyError" not in run.out, run.text
    assert run.code == 0, run.text


def test_an_ordinary_test_without_a_runner_gets_pytests_message(study: Study) -> None:
    """A test outside handler files that asks for runner hears that there is no such fixture."""
    study.plan()
    study.handlers(HANDLER)
    study.handlers("def test_x(runner): pass\n", "test_x.py")
    run = study.pytest()
    assert run.code == 1, run.text
    assert "fixture 'runner' not found" in run.out


def test_variants(study: Study) -> None:
    """Each parametrization is a variant: recorded apart, told apart, and all must meet."""
    study.plan()
    study.handlers(
        """\
        import pytest

        @pytest.mark.parametrize("lr", [0.1, 0.2])
        def e_x1_1(runner, lr):
            assert runner.params == {"lr": lr}
            return {"metrics": {"accuracy": 1 - lr / 2}}
        """
    )
    run = study.pytest()
    assert run.code == 0, run.text
    assert run.counts(passed=2)
    criterion = study.results()["criteria"]["accuracy"]
    assert (criterion["value"], criterion["decided_by"]) == (0.9, "e_x1_1[0.2]")
    entry = study.results()["results"]["experiments"]["e_x1_1"]
    assert [v["variant"] for v in entry["variants"]] == ["0.1", "0.2"]
    one = study.pytest("experiments/", "-k", "0.1")
    assert one.code == 0, one.text
    assert study.results()["criteria"]["accuracy"]["decided_by"] == "e_x1_1[0.2]"


def test_wide_fixtures_are_set_up_once(study: Study) -> None:
    """Module and session fixtures are shared by the handlers of a file as by tests."""
    study.plan(TWO)
    study.handlers(
        """\
        import pytest

        @pytest.fixture(scope="module")
        def model():
            with open("set-up", "a") as file:
                file.write("x")
            return 0.95

        def e_x1_1(runner, model): return {"metrics": {"accuracy": model}}
        def e_x1_2(runner, model): return {"metrics": {"accuracy": model}}
        """
    )
    run = study.pytest()
    assert run.code == 0, run.text
    assert (study.root / "set-up").read_text() == "x"


def test_a_module_fixture_cannot_take_the_runner(study: Study) -> None:
    """A runner is one per attempt, so a wider fixture that asks for it gets pytest's scope message."""
    study.plan()
    study.handlers(
        "import pytest\n@pytest.fixture(scope='module')\ndef model(runner): return 1\n"
        "def e_x1_1(runner, model): return {'metrics': {'accuracy': 0.95}}\n"
    )
    run = study.pytest()
    assert run.code == 1, run.text
    assert "ScopeMismatch" in run.out
    assert study.results()["status"] == "failed"


def test_conditional_definitions(study: Study) -> None:
    """A handler defined under ``if`` that is not there after the import is an error, not a gap."""
    study.plan()
    study.handlers("if False:\n    def e_x1_1(runner): return {'metrics': {'accuracy': 1}}\n")
    run = study.pytest()
    assert run.code != 0, run.text
    assert "e_x1_1" in run.out


def test_a_linked_experiments_folder(study: Study) -> None:
    """Handlers behind a symbolic link are collected, or at least never silently passed over."""
    study.plan()
    study.write("elsewhere/handlers.py", HANDLER)
    (study.root / "experiments").symlink_to(study.root / "elsewhere")
    run = study.pytest()
    assert run.code == 0, run.text
    assert run.counts(passed=1)
