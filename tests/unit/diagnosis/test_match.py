"""Failures that are known are told by what libraries write; what a person's own code raises is not taken for one."""

from __future__ import annotations

import json
import os
import pickle
import re
import socket
import threading
import time
import urllib.error
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pytest_exprunner
from pytest_exprunner.diagnosis.match import MOST, diagnose, hint_of, more_of, place_of
from pytest_exprunner.diagnosis.rules import RULES, Rule, Sign
from pytest_exprunner.model.attempt import Failure, Hint
from pytest_exprunner.report.hints import hint_lines, page

DOCUMENT = Path(pytest_exprunner.__file__).parent.parent / "docs" / "common-errors.md"
BY_ID = {rule.id: rule for rule in RULES}


def raised(act: Callable[[], object]) -> Failure:
    """Return what is recorded of what a call raises."""
    try:
        act()
    except BaseException as error:  # noqa: BLE001 - whatever a library raises
        info = pytest.ExceptionInfo.from_exception(error)
        return Failure(type(error).__name__, str(error), str(info.getrepr(style="long")))
    raise AssertionError("nothing was raised")


def rules_of(failure: Failure) -> list[str]:
    """Return the rules that speak of a failure, in their order."""
    return [hint.rule for hint in diagnose(failure)]


def raiser(error: BaseException) -> Callable[[], object]:
    """Return a call that raises an exception."""

    def act() -> None:
        raise error

    return act


# --- the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_is_whole(rule: Rule) -> None:
    """Its id can be an anchor, it says why and what to do, and its snippet is Python."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
    assert rule.title
    for sentence in (rule.cause, rule.fix):
        assert sentence.endswith(".")
    compile(rule.snippet, rule.id, "exec")
    assert rule.link == f"docs/common-errors.md#{rule.id}"
    hint = hint_of(rule)
    assert "$" not in f"{hint.cause}{hint.fix}{hint.snippet}".replace("$USER", "")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_snippet_runs(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is whole: nothing in it is missing, whatever it is pasted into."""
    monkeypatch.setattr(os, "environ", {**os.environ, "HF_TOKEN": "t"})
    monkeypatch.setattr("faulthandler.enable", lambda: None)
    exec(compile(rule.snippet, rule.id, "exec"), {})


@pytest.mark.parametrize(
    ("rule", "text"),
    [pytest.param(r.id, e, id=f"{r.id}-{i}") for r in RULES for i, e in enumerate(r.examples)],
)
def test_an_example_shows_its_rule(rule: str, text: str) -> None:
    """Each text that the document shows is told as this rule and no other."""
    kind, _, message = text.partition(": ")
    assert rules_of(Failure(kind, message)) == [rule]
    assert rules_of(Failure(kind, f"{message} (in a fixture)")) == [rule]


def test_ids_are_unique() -> None:
    """No rule hides another."""
    assert len(BY_ID) == len(RULES)


def test_the_document_is_what_the_rules_say() -> None:
    """docs/common-errors.md is written by: exprunner hints --markdown > docs/common-errors.md."""
    assert DOCUMENT.read_text(encoding="utf-8") == page(RULES)
    for rule in RULES:
        assert f"\n## {rule.id}\n" in page(RULES)


# --- exceptions as libraries raise them --------------------------------------------------------------


def _numpy_cases() -> list[tuple[str, Callable[[], object]]]:
    import numpy as np

    def divide() -> None:
        with np.errstate(all="raise"):
            np.float64(0) / np.float64(0)

    def local() -> None:
        def inner() -> None: ...

        pickle.dumps(inner)

    np_any: Any = np
    return [
        ("numpy-in-json", lambda: json.dumps(np.float32(1))),
        ("numpy-in-json", lambda: json.dumps(np.int64(1))),
        ("numpy-in-json", lambda: json.dumps(np.bool_(1))),
        ("numpy-in-json", lambda: json.dumps(np.ones(2))),
        ("numpy-in-json", lambda: json.dumps({np.int64(1): 1})),
        ("library-changed", lambda: np_any.float),
        ("library-changed", lambda: np_any.infty),
        ("out-of-memory", lambda: np.ones(10**15)),
        ("out-of-memory", lambda: bytearray(10**17)),
        ("shape-mismatch", lambda: np.ones((2, 3)) + np.ones((2, 4))),
        ("shape-mismatch", lambda: np.ones((2, 3)) @ np.ones((2, 3))),
        ("shape-mismatch", lambda: np.dot(np.ones((2, 3)), np.ones((2, 3)))),
        ("shape-mismatch", lambda: np.ones(6).reshape(4)),
        ("shape-mismatch", lambda: np.stack([np.ones(2), np.ones(3)])),
        ("shape-mismatch", lambda: np.concatenate([np.ones((2, 3)), np.ones((2, 4))])),
        ("nan-loss", divide),
        ("cannot-pickle", lambda: pickle.dumps(lambda: 1)),
        ("cannot-pickle", local),
        ("cannot-pickle", lambda: pickle.dumps(threading.Lock())),
        ("missing-package", lambda: __import__("no_such_package")),
        ("library-changed", lambda: __import__("numpy.no_such_part")),
        ("library-changed", lambda: exec("from numpy import no_such_name")),
        ("disk-full", lambda: Path("/dev/full").write_bytes(b"x" * 100_000)),
        (
            "hub-cache-permissions",
            raiser(PermissionError(13, "Permission denied", "/h/.cache/huggingface/hub")),
        ),
        ("too-many-open-files", raiser(OSError(24, "Too many open files", "data.npy"))),
        (
            "hub-offline",
            raiser(urllib.error.URLError(socket.gaierror(-3, "Temporary failure in name resolution"))),
        ),
    ]


@pytest.mark.parametrize(("rule", "act"), _numpy_cases())
def test_real_exceptions(rule: str, act: Callable[[], object]) -> None:
    """What Python and NumPy raise is told."""
    assert rules_of(raised(act)) == [rule]


@pytest.mark.slow
def test_real_exceptions_of_torch() -> None:
    """What torch raises on a CPU is told; the device ``meta`` stands for a GPU."""
    torch = pytest.importorskip("torch")
    nn, one = torch.nn, torch.ones
    far = one(2, 2, device="meta")

    def anomaly() -> None:
        with warnings.catch_warnings(action="ignore"), torch.autograd.detect_anomaly():
            (torch.sqrt(torch.zeros(1, requires_grad=True)) * 0).sum().backward()

    def deterministic() -> None:
        torch.use_deterministic_algorithms(True)
        try:
            nn.functional.max_unpool1d(one(1, 1, 2), torch.tensor([[[0, 2]]]), 2)
        finally:
            torch.use_deterministic_algorithms(False)

    def dies(_worker: int) -> None:
        os._exit(3)

    def workers() -> None:
        list(torch.utils.data.DataLoader(one(4), num_workers=1, worker_init_fn=dies))

    def finite() -> None:
        loss = torch.tensor(float("nan"))
        raise AssertionError(f"assert tensor(False)\n +  where tensor(False) = isfinite({loss!r})")

    cases: list[tuple[str, Callable[[], object]]] = [
        ("grad-tensor-to-numpy", lambda: one(2, requires_grad=True).numpy()),
        ("cuda-tensor-to-numpy", far.numpy),
        ("numpy-in-json", lambda: json.dumps(one(2))),
        ("library-changed", lambda: __import__("torch._six")),
        ("library-changed", lambda: torch.no_such_name),
        ("state-dict-mismatch", lambda: nn.Linear(2, 2).load_state_dict({"w": one(1)})),
        ("device-mismatch", lambda: one(2, 2) + far),
        ("device-mismatch", lambda: nn.Linear(2, 2)(far)),
        ("out-of-memory", lambda: torch.empty(10**15)),
        (
            "gpu-out-of-memory",
            raiser(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")),
        ),
        ("gpu-out-of-memory", raiser(torch.cuda.OutOfMemoryError("CUDA out of memory."))),
        ("shape-mismatch", lambda: one(2, 3) @ one(2, 3)),
        ("shape-mismatch", lambda: one(2, 3) @ one(2)),
        ("shape-mismatch", lambda: nn.Linear(4, 2)(one(2, 3))),
        ("shape-mismatch", lambda: one(2, 3) + one(2, 4)),
        ("shape-mismatch", lambda: one(2, 3).view(4)),
        ("shape-mismatch", lambda: torch.cat([one(2, 3), one(2, 4)])),
        ("shape-mismatch", lambda: torch.stack([one(3), one(4)])),
        ("shape-mismatch", lambda: torch.bmm(one(2, 3, 4), one(2, 3, 4))),
        ("shape-mismatch", lambda: nn.Conv2d(3, 4, 1)(one(1, 1, 4, 4))),
        ("shape-mismatch", lambda: nn.functional.cross_entropy(one(3, 4), one(2).long())),
        ("shape-mismatch", lambda: nn.functional.binary_cross_entropy(one(3), one(2))),
        ("dtype-mismatch", lambda: nn.Linear(2, 2)(one(2, 2).double())),
        ("dtype-mismatch", lambda: torch.dot(one(2), one(2).double())),
        ("dtype-mismatch", lambda: nn.Conv2d(1, 1, 1)(one(1, 1, 2, 2).double())),
        ("dtype-mismatch", lambda: nn.Embedding(3, 2)(one(2))),
        ("dtype-mismatch", lambda: nn.functional.cross_entropy(one(3, 4), one(3).int())),
        ("dtype-mismatch", lambda: one(2).long().mean()),
        ("dtype-mismatch", lambda: nn.LSTM(2, 2)(one(2, 2, 2).double())),
        ("index-out-of-range", lambda: nn.Embedding(3, 2)(torch.tensor([7]))),
        ("index-out-of-range", lambda: nn.functional.cross_entropy(one(1, 3), torch.tensor([7]))),
        ("nan-loss", lambda: torch.multinomial(torch.tensor([float("nan"), 1.0]), 1)),
        ("nan-loss", lambda: torch.distributions.Normal(torch.tensor([float("nan")]), one(1))),
        ("nan-loss", anomaly),
        ("nan-loss", finite),
        ("not-deterministic", deterministic),
        ("cannot-pickle", lambda: torch.save(lambda: 1, os.devnull)),
        ("dataloader-worker-died", workers),
    ]
    if not torch.cuda.is_available():
        cases.append(("no-gpu", lambda: one(1, device="cuda")))
    assert [(rule, rules_of(raised(act))) for rule, act in cases] == [(rule, [rule]) for rule, _act in cases]


@pytest.mark.slow
def test_real_exceptions_of_other_libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What scikit-learn, Matplotlib and wandb raise is told."""
    linear = pytest.importorskip("sklearn.linear_model")
    plt = pytest.importorskip("matplotlib.pyplot")
    wandb = pytest.importorskip("wandb")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    def outside_of_the_main_thread() -> None:
        raise UserWarning("Starting a Matplotlib GUI outside of the main thread will likely fail.")

    cases: list[tuple[str, Callable[[], object]]] = [
        ("nan-loss", lambda: linear.LinearRegression().fit([[float("nan")]], [1.0])),
        ("nan-loss", lambda: linear.LinearRegression().fit([[1.0]], [float("inf")])),
        ("shape-mismatch", lambda: linear.LinearRegression().fit([[1.0], [2.0], [3.0]], [1.0, 2.0])),
        ("library-changed", lambda: linear.LogisticRegression(no_such_argument=1)),
        ("library-changed", lambda: exec("from sklearn.metrics import no_such_name")),
        ("matplotlib-backend", lambda: plt.switch_backend("TkAgg")),
        ("matplotlib-backend", outside_of_the_main_thread),
        ("wandb-login", wandb.Api),
        ("wandb-login", lambda: wandb.login(key="short")),
    ]
    assert [(rule, rules_of(raised(act))) for rule, act in cases] == [(rule, [rule]) for rule, _act in cases]


# --- what is none of them ----------------------------------------------------------------------------


class Mine:
    """A class of a user's own."""


def own_function(a: int) -> int:
    """Take one argument."""
    return a


UNRELATED: dict[str, Callable[[], object]] = {
    "a key of an own dict": lambda: {"a": 1}["accuracy"],
    "a key of an own dict that models have too": lambda: {"a": 1}["logits"],
    "a key that is a number": raiser(KeyError(3)),
    "an own assertion": raiser(AssertionError("accuracy 0.3 is too low")),
    "an own assertion about shapes": raiser(AssertionError("assert (2, 3) == (2, 4)")),
    "an own assertion about a name with nan in it": raiser(AssertionError("assert 'isnan' in names")),
    "shapes of a configuration": raiser(ValueError("config: shape must be (2, 3), got (2, 4)")),
    "a size of a configuration": raiser(ValueError("size mismatch between train and test: 3 != 4")),
    "shapes in a file": raiser(ValueError("shapes (a, b) of the file do not fit")),
    "an attribute of an own class": lambda: Mine().last_hidden_state,  # type: ignore[attr-defined]
    "an attribute of a module of one's own": raiser(
        AttributeError("module 'helpers' has no attribute 'load'")
    ),
    "an attribute of None": lambda: None.shape,  # type: ignore[attr-defined]
    "an argument of an own function": lambda: own_function(b=1),  # type: ignore[call-arg]
    "too few arguments": raiser(TypeError("own_function() missing 1 required positional argument: 'a'")),
    "a name from a module of one's own": raiser(
        ImportError("cannot import name 'load' from 'helpers' (/study/experiments/helpers.py)")
    ),
    "a part of a package of one's own": raiser(ModuleNotFoundError("No module named 'study.data'")),
    "a file that is not there": lambda: Path("no-such-file.npz").read_bytes(),
    "a file that may not be read": raiser(PermissionError(13, "Permission denied", "/data/private.csv")),
    "a file system that is read only": raiser(OSError(30, "Read-only file system", "/data/out.csv")),
    "a folder that is named like a hub": raiser(
        PermissionError(13, "Permission denied", "/d/huggingface-x/a.csv")
    ),
    "a server of one's own": raiser(
        ConnectionError("HTTPConnectionPool(host='localhost', port=8000): Max retries exceeded with url: /")
    ),
    "a connection that was refused": raiser(ConnectionRefusedError(111, "Connection refused")),
    "another 401": raiser(RuntimeError("Error code: 401 in the table of sensors")),
    "an own permission": raiser(PermissionError("this user may not start experiments")),
    "a path in JSON": lambda: json.dumps(Path()),
    "a set in JSON": lambda: json.dumps({1}),
    "an own class in JSON": lambda: json.dumps(Mine()),
    "broken JSON": lambda: json.loads("{"),
    "a division by zero": lambda: 1 / 0,
    "an index of a list": raiser(IndexError("list index out of range")),
    "an own message about memory": raiser(ValueError("memory must be positive")),
    "an own message about a device": raiser(ValueError("unknown device 'tpu'")),
    "an own message about dtypes": raiser(TypeError("dtype must be one of float32, float64")),
    "an own message about a loss": raiser(ValueError("unknown loss 'hinge'; known: mse, mae")),
    "an own message about information": raiser(ValueError("loss of information")),
    "an own list of losses": raiser(ValueError("config: loss must be one of inf, mse")),
    "own weights of a loss": raiser(ValueError("loss weights: inf not allowed")),
    "an own loss by a name": raiser(ValueError("nan loss function unavailable")),
    "an own comparison of a loss": raiser(ValueError("loss of 0.3 is above 0.2; expected nan-free")),
    "a host that nobody knows": raiser(socket.gaierror(-2, "Name or service not known")),
    "a database that nobody knows": raiser(ConnectionError("[Errno -2] Name or service not known: db.local")),
    "an own memory that is full": raiser(
        type("OutOfMemoryError", (Exception,), {})("the robot's log is full")
    ),
    "a number of files": raiser(ValueError("size mismatch, got 3 files, expected 4")),
    "an own word about a device": raiser(ValueError("No space left on device reserved in config")),
    "own scalar types": raiser(TypeError("expected scalar type int but got str")),
    "a recursion": raiser(RecursionError("maximum recursion depth exceeded")),
    "a time-out": raiser(TimeoutError("timed out")),
    "no message": raiser(RuntimeError()),
    "a name that is not defined": lambda: exec("no_such_name"),
    "a None that is subscripted": raiser(TypeError("'NoneType' object is not subscriptable")),
    "a process that exited": raiser(RuntimeError("its process exited with code 3")),
}


@pytest.mark.parametrize("act", UNRELATED.values(), ids=UNRELATED.keys())
def test_unrelated_errors(act: Callable[[], object]) -> None:
    """Nothing is said of an error that only looks a little like a known one."""
    assert rules_of(raised(act)) == []


def test_words_in_the_code_shown_are_no_exception() -> None:
    """A traceback shows source text; only what was raised counts."""

    def act() -> None:
        hint = "CUDA out of memory. Tried to allocate; Object of type float32 is not JSON serializable"
        raise ValueError(len(hint))

    assert rules_of(raised(act)) == []


# --- chains ------------------------------------------------------------------------------------------


def test_a_cause_is_told() -> None:
    """Where an exception was raised from another, both are looked at, the outer one first."""

    def act() -> None:
        try:
            json.dumps({1: __import__("numpy").float32(1)})
        except TypeError as error:
            raise RuntimeError("the results could not be saved") from error

    def both() -> None:
        try:
            act()
        except RuntimeError as error:
            raise MemoryError from error

    assert rules_of(raised(act)) == ["numpy-in-json"]
    assert rules_of(raised(both)) == ["out-of-memory", "numpy-in-json"]


def test_what_was_being_handled_is_no_cause() -> None:
    """An exception in a handler of another one says nothing of that."""

    def act() -> None:
        try:
            __import__("no_such_package")
        except ImportError:
            raise ValueError("no accuracy in the file")  # noqa: B904 - that is the point

    assert rules_of(raised(act)) == []


def test_where_it_was_raised_counts() -> None:
    """A key is a model's where transformers looks for it; an argument a library's where one passes it."""
    inside = "/venv/lib/python3.12/site-packages/transformers/utils/generic.py:431: KeyError"
    assert rules_of(Failure("KeyError", "'scores'", inside)) == ["missing-model-output"]
    assert rules_of(Failure("KeyError", "'scores'", "experiments/handlers.py:4: KeyError")) == []
    code = (
        ">       states = out.hidden_states[-1]\nE       TypeError: …\n\nexperiments/handlers.py:4: TypeError"
    )
    none = Failure("TypeError", "'NoneType' object is not subscriptable", code)
    assert rules_of(none) == ["missing-model-output"]
    code = (
        ">       return outputs['logits']\nE       KeyError: 'logits'\n\nexperiments/handlers.py:4: KeyError"
    )
    assert rules_of(Failure("KeyError", "'logits'", code)) == ["missing-model-output"]
    passed = "f() got an unexpected keyword argument 'x'"
    place = "../venv/lib/python3.12/site-packages/lib/core.py:12: TypeError"
    assert rules_of(Failure("TypeError", passed, place)) == ["library-changed"]


def test_what_is_missing_is_named() -> None:
    """The package's own name stands in the hint."""
    (hint,) = diagnose(raised(lambda: __import__("no_such_package")))
    assert hint.cause.startswith("no_such_package is not installed for the Python that runs this; or")
    assert hint.fix.startswith("pip install no_such_package into the same environment")
    assert 'importorskip("no_such_package")' in hint.snippet


# --- laws --------------------------------------------------------------------------------------------

_pieces = st.sampled_from([e.partition(": ")[2] for rule in RULES for e in rule.examples])
_texts = st.text(max_size=300) | st.lists(st.text(max_size=20) | _pieces, max_size=6).map(" ".join)
_types = st.text(max_size=20) | st.sampled_from(["KeyError", "TypeError", "RuntimeError", "ProcessLost"])


@given(_types, _texts, _texts.map(lambda text: text.replace(" ", "\nE   ")))
@example("", "", "The above exception was the direct cause of the following exception:\n" * 9)
@example("E", "\x00\ud800", "E   \nE   : \n> \n:1:\n")
def test_any_text_is_taken(kind: str, message: str, traceback: str) -> None:
    """Whatever an exception says, the answer is a few hints of known rules, the same each time."""
    found = diagnose(Failure(kind, message, traceback))
    assert len(found) <= MOST
    assert {hint.rule for hint in found} <= set(BY_ID)
    assert len({hint.rule for hint in found}) == len(found)
    assert found == diagnose(Failure(kind, message, traceback))


@settings(max_examples=40)
@given(
    st.sampled_from(
        ["loss ", "Input type (", "a", " ", "(", "'", "models--", "Permission denied", "is", "isnan"]
    )
    | st.text(min_size=1, max_size=4),
    st.integers(1, 6),
)
def test_it_takes_no_time(piece: str, power: int) -> None:
    """No text is so long, or so bad, that a run would wait for it."""
    text = piece * 10**power
    began = time.process_time()
    diagnose(Failure(text[:1000], text, f"E   {text}\n{text}"))
    assert time.process_time() - began < 5


def test_rules_of_others() -> None:
    """The first rule that knows an exception speaks; named groups fill what it says."""
    rules = [
        Rule(
            "mine",
            "",
            (),
            (Sign(r"seat (?P<seat>\d+)", "LicenceError OtherError"),),
            "Seat $seat.",
            "Wait.",
            "",
        ),
        Rule("any", "", (), (Sign(),), "Something.", "Look.", ""),
    ]
    assert diagnose(Failure("LicenceError", "seat 7 is taken"), rules) == (
        Hint("mine", "Seat 7.", "Wait.", "", "docs/common-errors.md#mine"),
    )
    assert [hint.rule for hint in diagnose(Failure("ValueError", "seat 7"), rules)] == ["any"]


# --- words -------------------------------------------------------------------------------------------


def test_how_hints_are_shown() -> None:
    """Cause, fix, snippet and where to read more, each line safe for a terminal."""
    hints = [
        Hint("a", "It broke. " * 12, "Mend it.", "if x:\n\n    y = 1  # \x1b\n", "docs/common-errors.md#a"),
        Hint("b", "\x1b[31mRed\n::error::no", "", "", "https://example.org/b"),
        Hint("c", "", "Only this."),
    ]
    assert hint_lines(hints) == [
        "Hint: It broke. It broke. It broke. It broke. It broke. It broke. It broke. It broke. It broke. It",
        "  broke. It broke. It broke.",
        "  Mend it.",
        "      if x:",
        "",
        "          y = 1  # �",
        "  More: exprunner hints a",
        "Hint: �[31mRed ::error::no",
        "  More: https://example.org/b",
        "Hint: c",
        "  Only this.",
    ]
    assert [more_of(hint) for hint in hints] == ["exprunner hints a", "https://example.org/b", ""]


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (["experiments/a.py:3: ", "experiments/b.py:49: ValueError"], "experiments/b.py:49"),
        (
            ["experiments/a.py:3: ", "../../usr/lib/python3.11/json/encoder.py:180: TypeError"],
            "experiments/a.py:3",
        ),
        (["a.py:3: ", ".venv/lib/python3.11/site-packages/torch/x.py:1: RuntimeError"], "a.py:3"),
        (["a.py:3: ", "/usr/lib/python3.11/json/encoder.py:180: TypeError"], "a.py:3"),
        (["C:/python/json.py:1: TypeError"], ""),
        (["E   a.py:3: no place", "> x = 'a.py:3: '"], ""),
        ([], ""),
    ],
)
def test_where_the_projects_own_code_broke(lines: list[str], place: str) -> None:
    """The last place of the traceback that is neither Python's nor installed; nothing where there is none."""
    assert place_of(Failure("ValueError", "x", "\n".join(lines))) == place
