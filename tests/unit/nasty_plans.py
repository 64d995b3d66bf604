"""Plans that are meant to exhaust their reader, and a way to read each within limits.

Run as a script it reads every one of them in a process of its own and prints what came of it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from pytest_exprunner._util.errors import PlanError
from pytest_exprunner.plan.loader import parse

CPU_SECONDS = 10  # each takes about two; what grows with the square of its size takes many more
MEMORY = 3 * 2**29  # bytes beyond what the interpreter holds anyway
SIZE = 4 * 2**20 - 200
_START = "experiments: {x1: {sub_experiments: [a_1]"
_END = "}}\n"


def _filled(text: str) -> str:
    return text * (SIZE // len(text))


def _many(number: int, entry: Callable[[int], str]) -> str:
    return ", ".join(entry(index) for index in range(number))


def _experiment(rest: str) -> str:
    return f"{_START}, {rest}{_END}"


def _criteria(rest: str) -> str:
    return _experiment(f"success_criteria: {{{rest}}}")


def _subs(rest: str) -> str:
    return f"experiments: {{x1: {{sub_experiments: {rest}}}}}\n"


def _experiments(number: int, rest: Callable[[int], str]) -> str:
    entries = _many(number, lambda i: f"x{i}: {{sub_experiments: [a{i}]{rest(i)}}}")
    return f"experiments: {{{entries}}}\n"


def _thousand_experiments() -> str:
    return "experiments:\n" + "".join(
        f"  x{i}:\n    sub_experiments: [{', '.join(f'e{i}_{k}' for k in range(10))}]\n" for i in range(1_000)
    )


def _thousand_detailed_experiments() -> str:
    return "experiments:\n" + "".join(
        f"  x{i}:\n"
        + (f"    dependencies: [x{i - 1}]\n" if i else "")
        + "    sub_experiments:\n"
        + "".join(f"      e{i}_{k}: {{name: n, objective: o}}\n" for k in range(10))
        + "    success_criteria: {accuracy: {target: 0.9}}\n"
        for i in range(1_000)
    )


def _shared(rest: str) -> str:
    return "long: &s " + "x" * 1_000_000 + "\n" + rest


def _spellings() -> str:
    letters = "abcdefghijklmnop"
    return ", ".join(
        "".join(c.upper() if (i >> k) & 1 else c for k, c in enumerate(letters)) for i in range(40_000)
    )


MUST_LOAD: dict[str, Callable[[], str]] = {
    "1,000 experiments of 10": _thousand_experiments,
    "1,000 detailed experiments of 10": _thousand_detailed_experiments,
    "many experiments": lambda: _experiments(15_000, lambda _: ""),
    "many sub-experiments": lambda: _subs(f"[{_many(40_000, lambda i: f'a{i}')}]"),
    "many detailed sub-experiments": lambda: _subs(f"{{{_many(30_000, lambda i: f'a{i}: {{}}')}}}"),
    "many criteria": lambda: _criteria(_many(20_000, lambda i: f"m{i}: {{target: 1}}")),
    "many gates": lambda: (
        f"{_START}{_END}gates: {{{_many(15_000, lambda i: f'g{i}: {{experiments: [x1]}}')}}}\n"
    ),
    "many gates over many experiments": lambda: (
        _experiments(6_000, lambda _: "")
        + f"gates: {{{_many(6_000, lambda i: f'g{i}: {{experiments: [x{i}]}}')}}}\n"
    ),
    "many dependencies": lambda: _experiments(
        8_001,
        lambda i: f", dependencies: [{_many(8_000, lambda k: f'x{k}')}]" if i == 8_000 else "",
    ),
    "a long chain": lambda: _experiments(8_000, lambda i: f", dependencies: [x{i - 1}]" if i else ""),
    "many criteria from many sub-experiments": lambda: (
        f"experiments: {{x1: {{sub_experiments: [{_many(9_000, lambda i: f'a{i}')}], "
        f"success_criteria: {{{_many(9_000, lambda i: f'm{i}: {{target: 1, from: a{i}}}')}}}{_END}"
    ),
    "many unknown keys": lambda: _experiment(_many(20_000, lambda i: f"k{i}: 1")),
    "unknown keys of the same letters": lambda: _experiment(
        _many(10_000, lambda i: f"airetirc_sseccus{i}: 1")
    ),
    "keys close to known ones": lambda: _experiment(_many(2_000, lambda i: f"dependenc{i}: 1")),
    "many merges": lambda: "d: &d {k: 1}\n" + _experiment(f"more: [{_many(15_000, lambda _: '{<<: *d}')}]"),
    "comments": lambda: f"{_START}{_END}" + "#\n" * 2_000_000,
    "a long text": lambda: _experiment("description: '" + "x" * 4_000_000 + "'"),
    "many aliases of a long text": lambda: _shared(_experiment(f"more: [{_many(20_000, lambda _: '*s')}]")),
}

CASES: dict[str, Callable[[], str]] = {
    **MUST_LOAD,
    **{
        f"filled with {text!r}": lambda text=text: _filled(text)  # type: ignore[misc]
        for text in (
            *("- ", "? ", "{", "[", "{a: ", "[{a: ", '"', "'", "#", "#\n", "1", "a ", " ", "\n"),
            *("\t", ":", ": ", ":\n", "!", "&", "*", "%", "|", ">", ",", "- |\n", "\\", "é", "0x"),
            *("&a ", "*a ", "!!str ", "--- ", "---\n", "...\n", "<<: ", "<<: *a\n", "a: 1\n", "\r"),
        )
    },
    "deep blocks": lambda: "".join(f"{' ' * level}a:\n" for level in range(2_500)),
    "an open quote after a key": lambda: 'a: "' + "x" * SIZE,
    "anchors": lambda: f"[{_many(90_000, lambda i: f'&a{i} 1')}]",
    "anchored collections": lambda: f"[{_many(40_000, lambda i: f'&a{i} [1]')}]",
    "nested anchors": lambda: (
        f"[{_many(900, lambda _: ''.join(f'&a{i} [' for i in range(60)) + 'x' + ']' * 60)}]"
    ),
    "billion laughs": lambda: "\n".join(
        ["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 60)]
    ),
    "merged laughs": lambda: "\n".join(
        ["a0: &a0 {k: x}"]
        + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}], k{i}: 1}}" for i in range(1, 60)]
    ),
    "duplicate keys": lambda: "a: 1\n" * 90_000,
    "keys that are numbers": lambda: _experiment(_many(40_000, lambda i: f"{i}: x")),
    "a threshold of many digits": lambda: _criteria("m: {target: " + "1" * 4_000_000 + "}"),
    "a threshold of many hexadecimal digits": lambda: _criteria("m: {target: 0x" + "f" * 4_000_000 + "}"),
    "a threshold of many decimals": lambda: _criteria("m: {target: 1." + "1" * 4_000_000 + "}"),
    "a key of many hexadecimal digits": lambda: _experiment("0x" + "f" * 1_000 * 5 + ": 1"),
    "a long tag": lambda: "a: !" + "t" * 4_000_000 + " x",
    "a long id": lambda: "experiments:\n  ? " + "k" * 4_000_000 + "\n  : {sub_experiments: [a]}\n",
    "a long sub-experiment id": lambda: _subs("[" + "k" * 4_000_000 + "]"),
    "a long unknown id": lambda: _experiment("dependencies: [" + "k" * 4_000_000 + "]"),
    "a long direction": lambda: _criteria("m: {target: 1, direction: " + "k" * 4_000_000 + "}"),
    "many problems under a long key": lambda: (
        "experiments:\n  ? "
        + "k" * 1_000_000
        + f"\n  : {{sub_experiments: {{{_many(10_000, lambda i: f'a{i}: {{seeds: x}}')}}}}}\n"
    ),
    "a threshold that is a list of long texts": lambda: _shared(
        _criteria(f"m: {{target: [{_many(8_000, lambda _: '*s')}]}}")
    ),
    "a sub-experiment that is a list of long texts": lambda: _shared(
        _subs(f"[[{_many(8_000, lambda _: '*s')}]]")
    ),
    "a type that is a list of long texts": lambda: _shared(
        _experiment(f"type: [{_many(8_000, lambda _: '*s')}]")
    ),
    "many unsound criteria": lambda: _criteria(_many(20_000, lambda i: f"m{i}: {{target: x}}")),
    "many unsound ids": lambda: _subs(f"{{{_many(40_000, lambda i: f'x-{i}: ')}}}"),
    "many keys of a later version": lambda: _subs(
        f"{{{_many(12_000, lambda i: f'a{i}: {{seeds: [0, 1], timeout: 3}}')}}}"
    ),
    "many unknown dependencies": lambda: _experiments(4_000, lambda i: f", dependencies: [y{i}x]"),
    "many unknown replacements": lambda: _experiments(8_000, lambda i: f", replaces: [y{i}]"),
    "many listed twice": lambda: _subs(f"[{_many(90_000, lambda i: f'a{i // 2}')}]"),
    "many that differ in case": lambda: _subs(f"[{_spellings()}]"),
    "a long cycle": lambda: _experiments(8_000, lambda i: f", dependencies: [x{(i + 1) % 8_000}]"),
    "many cycles": lambda: _experiments(8_000, lambda i: f", dependencies: [x{i}]"),
}


def _outcome(name: str) -> dict[str, str | int]:
    """Read one plan in this process and tell what came of it."""
    try:
        parse(CASES[name]().encode(), "plan.yaml")
    except PlanError as error:
        return {"ended": "refused", "characters": len(str(error))}
    except BaseException as error:  # noqa: BLE001 - this is what must not happen
        return {"ended": f"raised {type(error).__name__}: {str(error)[:200]}"}
    return {"ended": "loaded"}


def _limit() -> None:
    import resource

    held = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    most = held * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _in_a_process(name: str) -> dict[str, str | int]:
    """Read one plan in a forked process with little time and memory."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _limit()
        os.write(writing, json.dumps(_outcome(name)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        told = stream.read()
    _, status = os.waitpid(child, 0)
    if told:
        outcome: dict[str, str | int] = json.loads(told)
        return outcome
    return {"ended": f"died with status {os.waitstatus_to_exitcode(status)}"}


if __name__ == "__main__":
    print(json.dumps({name: _in_a_process(name) for name in sys.argv[1:] or CASES}))
