"""One run over a study: match, decide, run, record, judge, publish. Knows nothing of pytest."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_exprunner._util.errors import ResourceError, ResultsError, count, os_reason
from pytest_exprunner._util.location import study_root
from pytest_exprunner._util.serialization import Plain
from pytest_exprunner.diagnosis.match import diagnose
from pytest_exprunner.execution.attempt import Attempt
from pytest_exprunner.execution.specs import EXPLORATORY, Specs, unplanned
from pytest_exprunner.execution.upstream import Needs
from pytest_exprunner.executors.pending_jobs import PendingJob, PendingJobs
from pytest_exprunner.handlers.scan import Handler
from pytest_exprunner.model.attempt import (
    AttemptKey,
    AttemptRecord,
    Failure,
    Hint,
    Status,
    dump_record,
    parse_record,
)
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.model.results import ExperimentState
from pytest_exprunner.model.selection import Selected, SharedRun
from pytest_exprunner.model.settings import Settings
from pytest_exprunner.plan.loader import LoadedPlan
from pytest_exprunner.plan.models import SubExperiment
from pytest_exprunner.provenance import environment
from pytest_exprunner.provenance.gpus import leased
from pytest_exprunner.provenance.inputs import Inputs
from pytest_exprunner.report.hints import hint_lines
from pytest_exprunner.report.publish import Publisher
from pytest_exprunner.report.terminal import Summary
from pytest_exprunner.schedule import reuse
from pytest_exprunner.schedule.reuse import Resumption
from pytest_exprunner.session import unfinished
from pytest_exprunner.session.judgment import (
    Assertion,
    Judgement,
    Outcome,
    SelectedItem,
    assertion,
    judge_experiment,
    judge_gate,
)
from pytest_exprunner.session.publication import Publication
from pytest_exprunner.session.run_state import ENDED, RunProgress, Slot
from pytest_exprunner.store import atomic, journal, manifest
from pytest_exprunner.store.lock import RunLock
from pytest_exprunner.store.results_file import Reader
from pytest_exprunner.store.study import Study
from pytest_exprunner.store.tail import announce
from pytest_exprunner.trackers.supervisor import Trackers
from pytest_exprunner.verdicts import gates
from pytest_exprunner.verdicts.criteria import evaluate_alone
from pytest_exprunner.verdicts.fold import Pending, deciding, of_seed
from pytest_exprunner.verdicts.gates import Action, Decision
from pytest_exprunner.verdicts.measurement import Reading

if TYPE_CHECKING:
    from pytest_exprunner.audit.audit import Audit

_LAST_LINES = 10
_STOPPED = 2.0  # seconds that trackers get where somebody waits for the run to end


class ExperimentSession:
    """Holds the state of one run; every hook of the plugin calls one verb of it."""

    def __init__(
        self,
        settings: Settings,
        loaded: LoadedPlan,
        without_handler: Mapping[str, str],
        handlers: Mapping[str, Handler],
        shared: SharedRun | None = None,
    ) -> None:
        """Open the study under ``settings.results_root``; nothing is written yet.

        ``shared`` is given in a worker: another process leads the run, starts and publishes it.
        """
        self.settings = settings
        self.plan = plan = loaded.plan
        self._loaded = loaded
        self.run = shared.run if shared else environment.new_run_id()
        self._leads = shared is None
        self.layout = Layout(settings.results_root, "stub" if settings.stub else "")
        self._reader = Reader()
        self.study = Study(plan, self.layout, self.run, self._reader)
        self.without_handler = without_handler
        study = study_root(settings.plan_file)
        self._inputs = Inputs(settings.root, settings.project_root, study, self.layout.state, handlers)
        self._publication = Publication(Publisher(self.layout, self._reader))
        self._lock = RunLock(self.layout.lock_folder)
        self.trackers = Trackers(settings.trackers, settings.plan_file, settings.root, self.layout)
        self._progress = RunProgress(self.run)
        self._provenance: Mapping[str, Plain] = shared.provenance if shared else {}
        self._settled: set[str] = set()
        self._specs = Specs(plan, settings, self.run)
        self._latest: Attempt | None = None
        self._assigned: dict[Slot, int] = {}
        self._elsewhere = self._begun_elsewhere() if settings.resume else {}
        self._reserved = {slot: begun.job.sequence for slot, begun in self._elsewhere.items()}
        self.started = False
        self.damage: list[str] = []
        """What could not be written."""
        self._judged = False

    # --- before anything runs -----------------------------------------------------------------

    def start(
        self,
        selected: Sequence[Selected],
        whole: Iterable[str],
        uncollected: Mapping[str, str] | None = None,
        *,
        stands: bool = False,
    ) -> None:
        """Mark what was selected as in progress, on disk. Raises `ResultsError` if that fails.

        ``whole`` are the experiments none of whose planned sub-experiments was left out;
        ``uncollected`` are handlers that should have been found, and their places; ``stands`` if
        for everything selected a stored attempt stands, so that results stay what they are.
        """
        uncollected = uncollected or {}
        wanted = {item.experiment for item in selected} | {self.plan.owner(sub).id for sub in uncollected}
        whole = frozenset(whole)
        self._progress = RunProgress(
            self.run,
            selected=selected,
            whole=whole,
            uncollected=uncollected,
            touched=tuple(e for e in self.plan.experiments if e in wanted or e in whole),
            by_node={item.nodeid: item for item in selected},
        )
        self._refuse_missing_gpus(selected)
        try:
            self._publication.publisher.prepare()
            self.share()
            stands = not self._take_lock() and stands
            unfinished.sweep(self.layout, self.study, self._progress.touched, self._inputs.folders)
            for experiment in self._progress.touched:
                self.layout.experiment(experiment).mkdir(parents=True, exist_ok=True)
            unfinished.mark(self.study, self.layout, self.run, self._pending())
            # Where there are no results yet, nothing could pass for a result of this run.
            stale = [e for e in self._progress.touched if self.layout.results_of(e).exists()]
            if stale and not stands:
                self._publication.now(self.study, stale, durable=False)
        except OSError as error:
            self._lock.release()
            raise ResultsError(
                f"the results folder {self.layout.root} cannot be written: {os_reason(error)}; "
                "expected a folder that this user can write to (--exp-results)"
            ) from error
        self.started = True
        self.trackers.start(self.run)

    def gpus(self, item: Selected) -> int:
        """Return how many GPUs an item needs to itself."""
        return self.plan.experiments[item.experiment].sub_experiments[item.sub_experiment].resources.gpu

    def _refuse_missing_gpus(self, selected: Sequence[Selected]) -> None:
        there = self.settings.devices
        here = not (self.settings.stub or self.settings.executor == "modal")
        for item in selected if here else ():
            if self.gpus(item) > len(there):
                has = "there is 1" if len(there) == 1 else f"there are {len(there)}"
                names = f" ({', '.join(there)})" if there else ""
                raise ResourceError(
                    f"{item.sub_experiment} needs {count(self.gpus(item), 'GPU')} to itself, "
                    f"and {has}{names}; leave it out with -k, run where there are enough, "
                    "or name devices: --exp-devices 0,1"
                )

    def lease(self, item: Selected | None) -> contextlib.AbstractContextManager[tuple[str, ...]]:
        """Have the GPUs that an item needs to oneself while this lasts."""
        number = 0 if item is None or self.settings.stub else self.gpus(item)
        if item is not None and item.slot in self._assigned:
            number = 0  # the machine was chosen for it, and has nobody else on it
        if not number:
            return contextlib.nullcontext(())
        return leased(number, self.settings.devices, self.layout.lock_folder / "devices")

    def snapshot(self) -> None:
        """Remember the code of this moment, right after it was imported."""
        if not self.settings.stub:
            self._inputs.snapshot()

    def _take_lock(self) -> bool:
        """Tell whether another run had it, and has written since anything was read."""
        waited = self._lock.acquire(
            self.run, self.settings.lock_timeout, self.settings.shown(self.layout.root)
        )
        if waited:
            self.study = Study(self.plan, self.layout, self.run, self._reader)
        return waited

    def share(self) -> SharedRun:
        """Return what workers have to know of this run."""
        if not self._provenance:
            self._provenance = environment.capture(self.settings.project_root, self.layout.root)
            self._keep_diff()
        return SharedRun(self.run, self._provenance)

    def _keep_diff(self) -> None:
        """Keep what the code differs in from its commit; attempts name it."""
        text = environment.diff(self.settings.project_root) if self._provenance.get("dirty") else ""
        if text:
            data = text.encode("utf-8", "surrogateescape")
            name = hashlib.sha256(data).hexdigest()[:16]
            file = self.layout.state / "diffs" / f"{name}.diff"
            with self._noting("what the code differs in from its commit could not be kept"):
                file.parent.mkdir(parents=True, exist_ok=True)
                atomic.replace(file, data)
                self._provenance = {**self._provenance, "diff": name}

    def _pending(self) -> dict[str, list[Pending]]:
        resumed = self.settings.resume
        return unfinished.pending_of(self.study, self._progress, self._reserved, resumed=resumed)

    @property
    def leads(self) -> bool:
        """Whether this process leads the run, and is no worker."""
        return self._leads

    # --- one item -----------------------------------------------------------------------------

    def decide(self, item: Selected) -> Decision:
        """Decide whether an item may run, from what finished attempts say now."""
        if self.settings.stub:
            return Decision(Action.RUN)
        experiment = self.plan.experiments[item.experiment]
        missing = self._inputs.missing(experiment.sub_experiments[item.sub_experiment])
        if missing:
            return Decision(Action.BLOCK, (reuse.files_missing(item.sub_experiment, missing),))
        if item.slot in self._assigned:
            return Decision(Action.RUN)  # decided where the run is led
        if item.slot in self._elsewhere:
            return Decision(Action.BLOCK, (_begun_in_words(self._elsewhere[item.slot]),))
        needs = experiment.sub_experiments[item.sub_experiment].needs
        if self.settings.ignore_dependencies:
            if not self._leads:
                self.study.reread((), needs)
            return Decision(Action.RUN)
        needed = self.requires(item.experiment)
        if not (needed or needs or experiment.blockers):
            return Decision(Action.RUN)
        if not self._leads:
            open_ = needed - self._settled
            self.study.reread(open_, {*needs, *(sub for name in open_ for sub in self.plan.compared[name])})
        states = {experiment: self.study.state(experiment) for experiment in needed}
        self._settled |= {name for name, state in states.items() if _is_settled(state)}
        subs = [of_seed(self.study.sub(sub), item.seed) for sub in needs]
        return gates.decide(self.plan, item.experiment, states, self.settings.level, subs)

    def _begun_elsewhere(self) -> dict[Slot, PendingJob]:
        """Return what an earlier run has begun elsewhere and nobody has brought home."""
        pending = PendingJobs(self.layout).pending()
        return {(begun.job.sub_experiment, begun.job.variant, begun.job.seed): begun for begun in pending}

    def blocked(self, nodeid: str, reason: str) -> None:
        """Take in that an item was not run, wherever that was decided."""
        item = self._progress.by_node.get(nodeid)
        if item is not None:
            self._progress.blocked[item.slot] = reason

    def requires(self, experiment: str) -> set[str]:
        """The experiments whose state decides whether this one may run."""
        needed: set[str] = set()
        for requirement in self.plan.requirements(experiment):
            gate = self.plan.gates.get(requirement)
            needed.update(gate.experiments if gate else [requirement])
        return needed

    def begin(self, item: Selected, params: Mapping[str, Any], watch: Callable[[str], None]) -> Attempt:
        """Start an attempt: it is marked on disk before anything of it runs."""
        experiment = self.plan.experiments[item.experiment]
        after = self._last_sequence(item)
        needs = self._upstream(experiment.sub_experiments[item.sub_experiment], item.seed)
        inputs = self._inputs.of(experiment.sub_experiments[item.sub_experiment], params)
        self._inputs.keep(inputs)
        spec = self._specs.of(item, experiment, self._provenance, needs.used(), inputs)
        self._latest = Attempt(self.layout, spec, experiment, params, watch, needs, after)
        return self._latest

    def assign(self, key: AttemptKey) -> None:
        """Take in, far from where the run is led, that an attempt is to be made, and under which number."""
        self._assigned[key.sub_experiment, key.variant, key.seed] = key.sequence - 1
        self.study.reread((), self.plan.experiments[key.experiment].sub_experiments[key.sub_experiment].needs)

    def code_behind(self, items: Iterable[Selected]) -> set[str]:
        """Return the project's files that handlers consist of, relative to the project's folder."""
        found: set[str] = set()
        for item in items:
            code = self._inputs.of(
                self.plan.experiments[item.experiment].sub_experiments[item.sub_experiment], {}
            )["code"]
            found.update(code if isinstance(code, dict) else ())
        return found

    def reserve(self, item: Selected) -> tuple[AttemptKey, list[Path]]:
        """Take the number of an attempt that is going to be made elsewhere; return what it reads."""
        _folder, sequence = journal.take_next(
            self.layout, item.experiment, item.sub_experiment, self._last_sequence(item)
        )
        key = AttemptKey(item.experiment, item.sub_experiment, sequence, item.variant, item.seed)
        announce(self.layout, self.run, key)
        self._reserved[item.slot] = sequence
        sub = self.plan.experiments[item.experiment].sub_experiments[item.sub_experiment]
        self._inputs.keep(self._inputs.of(sub, {}))  # the code that goes along is that of now
        return key, list(self._upstream(sub).files())

    def brought(self, item: Selected) -> None:
        """Take in that the files of an attempt that was made elsewhere are here."""
        self.study.reread((), [item.sub_experiment])

    def _last_sequence(self, item: Selected) -> int:
        if item.slot in self._assigned:
            return self._assigned[item.slot]
        if self._leads:
            return self.study.last_sequence(item.experiment, item.sub_experiment)
        # Who leads the run has looked, and wrote it down.
        if self.run not in self.study.runs:
            self.study.reread(())
        pending = self.study.runs.get(self.run, {}).get(item.experiment, ())
        return max((p.after for p in pending if p.sub_experiment == item.sub_experiment), default=0)

    def _upstream(self, sub: SubExperiment, seed: int | None = None) -> Needs:
        return Needs(
            sub.id, sub.needs, self.plan, self.layout, lambda needed: self.study.sub(needed).currents, seed
        )

    def begin_exploratory(
        self, item: Selected, params: Mapping[str, Any], watch: Callable[[str], None]
    ) -> Attempt:
        """Start an attempt that no plan knows: recorded apart, never judged."""
        layout = Layout(self.settings.results_root, EXPLORATORY)
        if not self._provenance:
            self._publication.publisher.prepare()
            self._provenance = environment.capture(self.settings.project_root, self.layout.root)
        experiment = unplanned(item)
        needs = self._upstream(experiment.sub_experiments[item.sub_experiment])
        spec = self._specs.of(item, experiment, self._provenance)
        return Attempt(layout, spec, experiment, params, watch, needs)

    def stands(self, item: Selected, params: Mapping[str, Any]) -> bool:
        """Tell whether a stored attempt stands for an item, before anything has been run."""
        return self.decide(item).action is Action.RUN and self.resume(item, params).record is not None

    def resume(self, item: Selected, params: Mapping[str, Any]) -> Resumption:
        """Tell whether a stored attempt stands for an item, and why or why not."""
        sub = self.plan.experiments[item.experiment].sub_experiments[item.sub_experiment]
        known = self.study.attempts(item.experiment).get(item.sub_experiment, ())
        earlier = [
            p
            for run, pending in self.study.runs.items()
            if run != self.run
            for p in pending.get(item.experiment, ())
            if p.slot == item.slot
        ]
        return reuse.resume(
            [a for a in known if a.key.slot == item.slot[1:]],
            earlier,
            self._inputs.of(sub, params),
            self._upstream(sub).used(),
            lambda before: self._inputs.code_change(sub.id, before),
            lambda record: journal.item_failed(self.layout.attempt(record.key)),
        )

    def replay(self, item: Selected) -> None:
        """Note that a stored attempt stands for an item, for every process of the run."""
        manifest.note_replayed(self.layout.runs, self.run, item.experiment, item.slot)

    def replayed(self, nodeid: str, sequence: int, outcome: Outcome) -> None:
        """Take in that a stored attempt stands for an item, wherever that was decided."""
        item = self._progress.by_node[nodeid]
        known = self.study.attempts(item.experiment)[item.sub_experiment]
        self._progress.outcomes[nodeid] = outcome
        self._progress.replayed[item.slot] = next(a for a in known if a.key.sequence == sequence)
        self.study.settle(item.experiment, item.slot)

    def assertion(self, attempt: Attempt) -> Assertion:
        """Say what an item has to assert of a completed attempt; one of several seeds its code alone."""
        assert attempt.record is not None
        return self._assertion(attempt.record, attempt.results)

    def assertion_of(self, record: AttemptRecord) -> Assertion:
        """Say what an item has to assert of a stored attempt, by the criteria as they are now."""
        experiment = self.plan.experiments[record.key.experiment]
        found = evaluate_alone(experiment.success_criteria.values(), Reading(record))
        return self._assertion(record, found)

    def _assertion(self, record: AttemptRecord, results: Sequence[CriterionResult]) -> Assertion:
        experiment = self.plan.experiments[record.key.experiment]
        if record.key.seed is not None or experiment.together:
            return Assertion("pass")
        return assertion(
            experiment,
            record,
            results,
            self.settings.level,
            self.plan.replaced.get(experiment.id),
            lambda: self.settings.shown(self.layout.attempt(record.key)),
            self.plan.waived.get(experiment.id, {}),
        )

    def record(self, text: str, outcome: Outcome) -> None:
        """Take in the record that came with an item's report, and publish now and then."""
        record = self._own_record(text) or parse_record(text)
        self._progress.outcomes[record.nodeid] = outcome
        if record.key.experiment not in self.plan.experiments:
            return
        self.study.add(record)
        self._publication.later(self.study, record.key.experiment)

    def _own_record(self, text: str) -> AttemptRecord | None:
        """Return the record behind a text that this very process has just written."""
        latest = self._latest
        return latest.record if latest is not None and latest.published == text else None

    def item_of(self, nodeid: str) -> Selected | None:
        """Return what this run selected under a node id."""
        return self._progress.by_node.get(nodeid)

    def record_of(self, item: Selected) -> AttemptRecord | None:
        """Return the attempt that decides for an item in this run, or stands for it."""
        own = self._own(item)
        return deciding(own) if own else None

    @property
    def selected(self) -> Sequence[Selected]:
        """What this run selected."""
        return self._progress.selected

    def isolation(self, item: Selected | None) -> tuple[bool, float | None]:
        """Tell whether an item gets a process of its own, and for how many seconds.

        Only another process can keep a time limit, so a limit asks for one.
        """
        sub = None
        if item is not None:
            sub = self.plan.experiments[item.experiment].sub_experiments[item.sub_experiment]
        timeout = self.settings.timeout if sub is None or sub.timeout is None else sub.timeout
        asked = self.settings.executor == "subprocess" or timeout is not None
        # CUDA sees what it saw when it was first used: a process of its own for each choice of GPUs.
        own = sub is not None and (sub.isolate or sub.resources.gpu)
        return not self.settings.stub and bool(asked or own), timeout

    def lost(
        self,
        item: Selected,
        nodeid: str,
        cause: str,
        stacks: str = "",
        diagnose: Callable[[Failure], Sequence[Hint]] = diagnose,
    ) -> tuple[str, str]:
        """Record the attempt of an item whose process is gone; return its record and words for people.

        Both are empty where the attempt had not started.
        """
        if item.experiment not in self.plan.experiments:
            return "", ""  # exploratory: its own folder tells
        self.study.reread((), [item.sub_experiment])
        own = [a for a in self._own(item) if a.nodeid == nodeid]
        if not own:
            return "", ""
        folder = self.layout.attempt(own[-1].key)
        what = f"{item.label} failed"
        hints: Sequence[Hint] = ()
        if own[-1].finished_at is None:
            spec = self._specs.of(item, self.plan.experiments[item.experiment], self._provenance)
            failure = Failure("ProcessLost", cause, stacks)
            hints = diagnose(failure)
            text = ""
            with self._noting(f"the end of {item.label} could not be recorded"):
                text = journal.close_lost(folder, own[-1], spec, failure, time.time(), hints)
        else:
            text = dump_record(own[-1]).decode()
            with self._noting(f"that {item.label} failed after its attempt could not be recorded"):
                journal.note_item_failed(folder, cause)
            what += f" after its attempt was {own[-1].status}"
        tail = journal.last_lines(folder, _LAST_LINES)
        shown = [f"{what}: {cause}.", *(["The last it logged:"] if tail else [])]
        shown += [f"  {line}" for line in tail]
        shown += hint_lines(hints)
        return text, "\n".join([*shown, f"Its files are in {self.settings.shown(folder)}"])

    def interrupted(self, attempt: Attempt, reason: str) -> None:
        """Publish an attempt that was stopped from outside; no report will bring its record."""
        record = attempt.interrupt(reason)
        if record.key.experiment in self.plan.experiments:
            self.study.add(record)

    # --- the end ------------------------------------------------------------------------------

    @property
    def findings_shown(self) -> str:
        """Where the project's findings are, as messages show it."""
        return self.settings.shown(self.layout.findings)

    def judge(self) -> list[Judgement]:
        """Return what no item asserts: whole experiments, skipped and unmeasured things, gates."""
        progress = self._progress
        self._judged = True
        found = []
        for experiment in progress.touched:
            text = judge_experiment(
                self.study.state(experiment),
                slots=[i for i in progress.selected if i.experiment == experiment],
                own=self._own,
                outcomes=progress.outcomes,
                blocked=progress.blocked,
                uncollected=progress.uncollected,
                whole=experiment in progress.whole,
                without_handler=self.without_handler,
                level=self.settings.level,
                stub=self.settings.stub,
            )
            if text:
                found.append(Judgement(experiment, text))
        if not self.settings.stub:
            self.study.set_pending(self.run, self._pending())  # what was blocked is known by now
            found += self._moved() if self.settings.strict else []
            results = self.study.results()
            for gate in self.settings.gates:
                text = judge_gate(results.gates[gate])
                if text:
                    found.append(Judgement(gate, text))
        return found

    def _moved(self) -> list[Judgement]:
        """What moved, of the experiments that this run was about; one failure for each of them."""
        moved: dict[str, list[str]] = {}
        for entry in self.audit().changed:
            if entry.experiment in self._progress.touched:
                moved.setdefault(entry.experiment, []).append(f"  {entry.text}")
        head = "something moved after there was a result (--exp-strict):"
        return [Judgement(name, "\n".join([head, *lines])) for name, lines in moved.items()]

    def audit(self) -> Audit:
        """Return what moved after there was a result."""
        from pytest_exprunner.audit.audit import audit  # asked for seldom, and reads git

        return audit(self.study, self.settings.plan_file, self.settings.project_root)

    def is_whole(self) -> bool:
        """Tell whether everything selected has ended, was judged, and is on disk."""
        ended = self._progress.all_ended(self.study)
        return not self.started or (ended and self._judged and not self.damage)

    def finish(self, *, stopped: bool = False, say: Callable[[str], None] = lambda _text: None) -> None:
        """Write everything, whole and durable; forget what is no longer pending.

        Trackers get the time that the settings give them to be told the rest, little if the run was
        ``stopped``; where that takes a while, a person is told with ``say``.
        """
        if not self.started:
            return
        try:
            self._publication.publisher.prepare()
            # What was stopped in another process has been noted there, and no report told of it.
            open_ = (i for i in self._progress.selected if not self._progress.is_recorded(self.study, i))
            self.study.reread((), {item.sub_experiment for item in open_})
            unfinished.mark(self.study, self.layout, self.run, self._pending())
            unfinished.drop_superseded(self.study, self.layout, self._progress)
            everything = (*self._progress.touched, *self._comparing())
            self._publication.now(self.study, everything, durable=True)
        except OSError as error:
            self.damage.append(f"results and findings could not be written: {os_reason(error)}")
        finally:
            patience = self.settings.tracker_timeout
            patience = min(patience, _STOPPED) if stopped else patience
            try:
                self.trackers.finish(self._progress.touched, patience, say)
                self._forget_followed()
            finally:
                self._lock.release()

    def _comparing(self) -> list[str]:
        """The experiments with results that compare with what this run was about."""
        touched = self._progress.touched
        others = dict.fromkeys(other for name in touched for other in self.plan.comparing.get(name, ()))
        return [name for name in others if name not in touched and self.layout.results_of(name).exists()]

    def _forget_followed(self) -> None:
        """Remove the list of this run's attempts, which whoever followed it has read to the end."""
        with self._noting("the list of this run's attempts could not be removed"):
            manifest.sweep(self.layout.runs)

    @contextlib.contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        """Go on where something cannot be written; the run then says so, and is no success."""
        try:
            yield
        except OSError as error:
            self.damage.append(f"{what}: {os_reason(error)}")

    def durations(self, selected: Sequence[Selected]) -> list[float]:
        """Return how long each of them took when it last completed; 0 where it never did."""
        found = []
        for item in selected:
            known = self.study.attempts(item.experiment).get(item.sub_experiment, ())
            own = [a for a in known if a.key.slot == item.slot[1:] and a.status is Status.COMPLETED]
            found.append(own[-1].duration_s or 0.0 if own else 0.0)
        return found

    def summary(self) -> Summary:
        """Return what the end of the run shows."""
        progress = self._progress
        results = self.study.results()
        notes = [
            *(*self.damage, *self._plan_edited(), *self._publication.publisher.notes, *self.study.problems),
            *self.trackers.notes,
        ]
        return Summary(
            results=results,
            touched=progress.touched,
            without_handler={
                sub: hint
                for sub, hint in self.without_handler.items()
                if self.plan.owner(sub).id in progress.touched
            },
            counts=progress.counts(self.study, self.without_handler),
            notes=notes,
            told=self.trackers.told,
            gates=self.settings.gates,
        )

    def _plan_edited(self) -> list[str]:
        if self._loaded.is_current():
            return []
        name = self.settings.shown(self._loaded.file)
        return [f"{name} was edited during the run; this run was judged by it as it was at the start."]

    def _own(self, item: SelectedItem) -> list[AttemptRecord]:
        return self._progress.own(self.study, item)


def _begun_in_words(begun: PendingJob) -> str:
    return (
        f"attempt {begun.job.sequence} was begun on Modal ({begun.run}); 'exprunner collect' brings it home "
        "once it has ended"
    )


def _is_settled(state: ExperimentState) -> bool:
    """Tell whether nothing of an experiment is going to end in this run any more."""
    ended = {Status.BLOCKED, *ENDED}
    return all(sub.currents and {c.status for c in sub.currents} <= ended for sub in state.subs.values())
