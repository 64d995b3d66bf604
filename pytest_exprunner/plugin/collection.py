"""Handlers as pytest items: which files become modules, which names select them, and stub items."""

from __future__ import annotations

import gc
import inspect
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from pytest_exprunner._util.errors import HandlerError
from pytest_exprunner._util.serialization import text
from pytest_exprunner.execution.attempt import Attempt
from pytest_exprunner.handlers.loader import import_handlers
from pytest_exprunner.handlers.scan import PARAMETER, Scan, ScannedFile, is_conventional_test_file
from pytest_exprunner.model.attempt import Failure
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.plan.models import Experiment, Plan, with_at_least
from pytest_exprunner.plugin.hints import Hinting

if TYPE_CHECKING:
    from pytest_exprunner.executors.link import LinePipe

SELECTED = pytest.StashKey[Selected]()
"""Set on every item that is a handler, or represents one in a stub run."""
EXPLORATORY = pytest.StashKey[bool]()
ATTEMPT = pytest.StashKey[Attempt]()
"""Set while a handler's attempt is open."""
_SEED = "exprunner_seed"
"""The parameter that creates an item for each seed; handlers do not receive it."""
LINK: pytest.StashKey[LinePipe] = pytest.StashKey()
"""Set on a remote worker: the pipe that carries its jobs and answers."""


class HandlerModule(pytest.Module):
    """A file with handlers; items that pytest itself collects from it are kept."""

    def __init__(
        self,
        *,
        scanned: ScannedFile,
        names: frozenset[str],
        collecting: HandlerCollection,
        ordinary: bool,
        **kwargs: Any,
    ) -> None:
        """``names`` are the handlers to collect; ``ordinary`` keeps ordinary tests in the file."""
        super().__init__(**kwargs)
        self._scanned = scanned
        self.names = names
        self._collecting = collecting
        self._ordinary = ordinary

    def _getobj(self) -> Any:
        try:
            module = import_handlers(self.path, self._collecting.study_root, self._scanned.imports)
        except HandlerError as error:
            raise self.CollectError(str(error)) from error
        except SyntaxError as error:
            text = "".join(traceback.format_exception_only(error))
            raise self.CollectError(f"{self.path.name} has a syntax error:\n{text}") from error
        except (Exception, SystemExit) as error:
            raise self.CollectError(self._diagnosed(error)) from error
        self.config.pluginmanager.consider_module(module)
        return module

    def _diagnosed(self, error: BaseException) -> str:
        """Return why the file could not be imported, with hints."""
        why = _import_failure(self.path, error)
        hints = Hinting(self.config, self.ihook)
        found = hints(Failure(type(error).__name__, text(error), text(why)))
        return "\n".join([why, *hints.lines(found)])

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        """Collect handlers by their names, and ordinary tests if the file has any."""
        _register_runner(self)
        collected = list(super().collect())
        missing = [h for h in self._scanned.handlers if h.name in self.names and not self._is_handler(h.name)]
        if missing:
            raise self.CollectError("\n".join(_HIDDEN.format(place=h.place, name=h.name) for h in missing))
        # Noted here, before a node id or --lf removes items.
        self._collecting.note_variants(collected)
        return collected

    def _is_handler(self, name: str) -> bool:
        return takes_runner(getattr(self.obj, name, None))

    def istestfunction(self, obj: object, name: str) -> bool:
        """Accept handlers, and what pytest accepts if the file is a test file too."""
        if name in self.names:
            return self._is_handler(name)
        return self._ordinary and super().istestfunction(obj, name)

    def istestclass(self, obj: object, name: str) -> bool:
        """Accept classes only if the file is a test file too."""
        return self._ordinary and super().istestclass(obj, name)


def takes_runner(obj: object) -> bool:
    """Return whether something takes a parameter named ``runner``."""
    if inspect.isfunction(obj) and not hasattr(obj, "__wrapped__"):
        code = obj.__code__
        return PARAMETER in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    try:
        return callable(obj) and PARAMETER in inspect.signature(obj).parameters
    except (TypeError, ValueError):
        return False


_HIDDEN = (
    f"{{place}}: {{name}} is no longer a function with a parameter named '{PARAMETER}' once the file is "
    "imported; does a decorator hide it (functools.wraps keeps it visible)?"
)


def _import_failure(file: Path, error: BaseException) -> str:
    """Return the traceback from the handler file on, without the frames that imported it."""
    frames = traceback.extract_tb(error.__traceback__)
    start = next((i for i, frame in enumerate(frames) if frame.filename == str(file)), 0)
    lines = traceback.format_list(frames[start:])
    what = "".join(traceback.format_exception_only(error))
    return f"importing {file.name} raised {type(error).__name__}:\n{''.join(lines)}{what}"


def only_setup(config: pytest.Config) -> bool:
    """Return whether pytest shows fixtures and calls nothing (--setup-only, --setup-plan)."""
    return any(config.getoption(name, None) for name in ("setuponly", "setupplan"))


def runner(request: pytest.FixtureRequest) -> Any:
    """Return the `ExperimentRunner` of this attempt; in ordinary tests, any other fixture of this name."""
    attempt = request.node.stash.get(ATTEMPT, None)
    if attempt is None and SELECTED in request.node.stash and only_setup(request.config):
        return None
    return request.getfixturevalue(PARAMETER) if attempt is None else attempt.runner


def params_of(item: pytest.Item) -> dict[str, Any]:
    """Return the parameters of an item by name, without its seed."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return {name: value for name, value in params.items() if name != _SEED}


def slot_of(item: pytest.Item) -> tuple[str | None, int | None]:
    """Return the variant and the seed of an item."""
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return None, None
    seed = callspec.params.get(_SEED)
    if seed is None:
        return callspec.id, None
    variant = callspec.id.removesuffix(seed_id(seed)).removesuffix("-")
    return variant or None, seed


def seed_id(seed: int) -> str:
    """Return a seed as it appears in a node id."""
    return f"seed{seed}"  # a word that -k accepts


def offer_runner(item: pytest.Item, attempt: Attempt) -> None:
    """Set a handler's runner directly: resolving a fixture takes a tenth of the time of a trivial attempt.

    The same holds for ``request``, which the fixture uses. Other fixtures still get the runner as a fixture.
    """
    if isinstance(item, pytest.Function) and PARAMETER not in params_of(item):
        item.funcargs[PARAMETER] = attempt.runner
        item.funcargs["request"] = item._request  # noqa: SLF001 - pytest would set the same value


def _register_runner(module: pytest.Module) -> None:
    """Make ``runner`` visible to the handlers of one module only, before any fixture of that name."""
    if hasattr(pytest, "register_fixture"):
        pytest.register_fixture(name=PARAMETER, func=runner, node=module)
        return
    holder = type("Handlers", (), {PARAMETER: staticmethod(pytest.fixture(runner))})()
    module.session._fixturemanager.parsefactories(holder, module.nodeid)  # noqa: SLF001 - pytest < 9.1


class HandlerCollection:
    """Decides for each file under the handlers' folders what pytest collects from it."""

    _spared: ClassVar[bool] = False
    """Whether a run of this process has frozen objects for the garbage collector."""

    def __init__(
        self,
        plan: Plan,
        scan: Scan,
        study_root: Path,
        plan_name: str,
        *,
        exploratory: bool,
        seeds: int | None = None,
        enabled: bool = True,
    ) -> None:
        """``plan_name`` is the plan's path as messages show it; handlers are collected only if ``enabled``.

        ``seeds`` is the minimum number of seeds per handler.
        """
        self._seeds = seeds
        self.enabled = enabled
        self.plan = plan
        self.scan = scan
        self.plan_name = plan_name
        self.study_root = study_root
        self.variants: dict[str, tuple[str | None, ...]] = {}
        """Every variant that the handler of a sub-experiment defines, selected or not."""
        self._exploratory = exploratory
        self._reserved: frozenset[str] = frozenset()
        self._decorators: dict[str, pytest.MarkDecorator] = {}

    def file(self, file_path: Path, parent: pytest.Collector, collected: Sequence[Any]) -> list[Any]:
        """Return what is collected from a file; a file that defines nothing to run is left out."""
        scanned = self.scan.files.get(file_path)
        if scanned is None:
            return list(collected)
        names = frozenset(
            h.name
            for h in scanned.handlers
            if self.enabled and (h.sub_experiment is not None or self._exploratory)
        )
        usual = [node for node in collected if isinstance(node, pytest.Module)]
        others = [node for node in collected if not isinstance(node, pytest.Module)]
        if names or (self.enabled and scanned.is_handler_file):
            module = HandlerModule.from_parent(
                parent,
                path=file_path,
                scanned=scanned,
                names=names,
                collecting=self,
                ordinary=bool(usual) and (scanned.tests or is_conventional_test_file(file_path)),
            )
            return [*others, module]
        if scanned.tests or is_conventional_test_file(file_path):
            return list(collected)
        return others

    def item(self, item: pytest.Item) -> None:
        """Attach its sub-experiment to an item, and the names that select it."""
        if not isinstance(item, pytest.Function) or not isinstance(item.parent, HandlerModule):
            return
        name = item.originalname
        sub = self.plan.match(name)
        variant, seed = slot_of(item)
        if name not in item.parent.names:
            return
        if sub is None:
            item.stash[EXPLORATORY] = True
            item.stash[SELECTED] = Selected("exploratory", name, variant, None, item.nodeid)
            return
        experiment = self.plan.owner(sub)
        item.stash[SELECTED] = Selected(experiment.id, sub, variant, seed, item.nodeid)
        for keyword in self.names(experiment, sub):
            item.extra_keyword_matches.add(keyword)
            if keyword not in self._reserved:
                item.add_marker(self._decorator(keyword))

    def seeds_of(self, sub: str) -> tuple[int, ...]:
        """Return the seeds of a sub-experiment in this run: planned seeds, and more if requested."""
        return with_at_least(self.plan.owner(sub).sub_experiments[sub].seeds, self._seeds or 0)

    def generate(self, metafunc: pytest.Metafunc) -> None:
        """Create an item of a handler for each of its seeds."""
        module, name = metafunc.definition.parent, metafunc.definition.originalname
        if not isinstance(module, HandlerModule) or name not in module.names:
            return
        sub = self.plan.match(name)
        seeds = () if sub is None else self.seeds_of(sub)
        if seeds:
            metafunc.fixturenames.append(_SEED)  # pytest rejects a parameter that the function does not have
            metafunc.parametrize(_SEED, seeds, ids=[seed_id(seed) for seed in seeds])

    def _decorator(self, name: str) -> pytest.MarkDecorator:
        if name not in self._decorators:
            self._decorators[name] = getattr(pytest.mark, name)
        return self._decorators[name]

    def names(self, experiment: Experiment, sub: str) -> list[str]:
        """Return every name that selects a sub-experiment in ``-k`` and ``-m``."""
        names = [sub, experiment.id, *self.plan.gates_of(experiment.id)]
        if experiment.type:
            names.append(experiment.type)
        if experiment.phase is not None:
            names.append(phase_name(experiment.phase))
        return names

    def register_markers(self, config: pytest.Config) -> None:
        """Register ids for ``-m`` under ``--strict-markers``; existing markers keep their meaning."""
        lines: list[str] = config.getini("markers")
        self._reserved = frozenset(line.split(":", 1)[0].split("(", 1)[0].strip() for line in lines)
        known: set[str] = set(self._reserved)
        for experiment, sub in self.plan.sub_experiments():
            for name in self.names(experiment, sub.id):
                if name not in known:
                    known.add(name)
                    config.addinivalue_line("markers", f"{name}: from the research plan")

    @classmethod
    def spare(cls) -> None:
        """Exclude the collected objects from garbage collection, because they live as long as the run.

        pytest collects garbage ten times when it ends, and the interpreter once more. So the objects are only
        released when another run starts in the same process.
        """
        if cls._spared:
            gc.unfreeze()
            gc.collect()
        cls._spared = not gc.get_freeze_count()  # else the caller of pytest has frozen objects
        if cls._spared:
            gc.freeze()

    def note_variants(self, collected: Sequence[Any]) -> None:
        """Record the variants that a module's handlers define."""
        found: dict[str, dict[str | None, None]] = {}
        for item in collected:
            if isinstance(item, pytest.Function) and isinstance(item.parent, HandlerModule):
                sub = self.plan.match(item.originalname)
                if item.originalname in item.parent.names and sub is not None:
                    found.setdefault(sub, {})[slot_of(item)[0]] = None
        self.variants.update({sub: tuple(variants) for sub, variants in found.items()})


def phase_name(phase: int | str) -> str:
    """Return the name of a phase in ``-k`` and ``-m``: ``phase_1``."""
    text = "".join(c if c.isalnum() else "_" for c in str(phase))
    return f"phase_{text}"


class StubItem(pytest.Item):
    """Represents a planned sub-experiment without a handler in a stub run."""

    def __init__(self, *, plan_name: str, **kwargs: Any) -> None:
        """``plan_name`` is the plan's path as messages show it."""
        super().__init__(**kwargs)
        self._plan_name = plan_name

    def runtest(self) -> None:
        """Do nothing, because there is no handler to call; the hooks record the attempt."""
        self.stash[ATTEMPT].stub()

    def reportinfo(self) -> tuple[str, int | None, str]:
        """Return its origin: the plan."""
        return self._plan_name, None, self.name
