"""Assertions and judgements: an item asserts its code and its own criteria, the controller the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal, Protocol

from pytest_exprunner._util.text import sentence_list
from pytest_exprunner.model.attempt import AttemptRecord, Level, Source, Status, Verdict
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.reasons import OutOfBounds
from pytest_exprunner.model.results import ExperimentState, GateResult
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.models import Experiment, Waiver
from pytest_exprunner.report.terminal import criteria_lines
from pytest_exprunner.verdicts.fold import deciding
from pytest_exprunner.verdicts.formatting import explain
from pytest_exprunner.verdicts.gates import HAS_PASSED

Outcome = Literal["passed", "failed", "skipped"]
Slot = tuple[str, str | None, int | None]


class SelectedItem(Protocol):
    """The attributes of a selected item that judging needs."""

    @property
    def sub_experiment(self) -> str:
        """Id of the sub-experiment."""

    @property
    def variant(self) -> str | None:
        """The variant, if any."""

    @property
    def seed(self) -> int | None:
        """The planned seed, if any."""

    @property
    def nodeid(self) -> str:
        """The item's node id."""

    @property
    def slot(self) -> Slot:
        """(sub-experiment, variant, seed)."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """An item's result: it passes, fails, or misses a criterion as expected."""

    kind: Literal["pass", "fail", "expected"]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A failure of an experiment or a gate as a whole."""

    subject: str
    text: str


def assertion(
    experiment: Experiment,
    record: AttemptRecord,
    results: Sequence[CriterionResult],
    level: Level,
    replaced_by: str | None,
    folder: Callable[[], str],
    waivers: Mapping[str, Waiver],
) -> Assertion:
    """Return what the item of a completed attempt asserts: each gating criterion it decides."""
    pairs = [(experiment.success_criteria[result.name], result) for result in results]
    bad = [(c, r) for c, r in pairs if c.severity == "gate" and not level.met_by(r.verdict)]
    if not bad:
        return Assertion("pass")
    if replaced_by is not None and all(r.measured for _c, r in bad):
        sentences = " ".join(explain(c, r) for c, r in bad)
        return Assertion("expected", f"{sentences} {experiment.id} was replaced by {replaced_by}.")
    if all(c.name in waivers for c, _r in bad):
        return Assertion("expected", " ".join(f"{explain(c, r)} {_waived(waivers[c.name])}" for c, r in bad))
    asked = "" if level is Level.ACCEPTABLE else f"This run requires the {level} tier (--exp-level {level})."
    return Assertion("fail", _failure_text(experiment, record, pairs, bad, folder(), asked))


def _waived(waiver: Waiver) -> str:
    return f"{waiver.text[0].upper()}{waiver.text[1:]}."


def _failure_text(
    experiment: Experiment,
    record: AttemptRecord,
    pairs: Sequence[tuple[Criterion, CriterionResult]],
    bad: Sequence[tuple[Criterion, CriterionResult]],
    folder: str,
    asked: str,
) -> str:
    lines = [explain(c, r) for c, r in bad]
    if asked:
        lines.append(asked)
    lines += ["", *(line.text for line in criteria_lines(pairs)), ""]
    lines.append(f"Attempt {record.key.sequence} of {record.key.label}; its files are in {folder}")
    measured = any(r.measured for _c, r in bad)
    steps = experiment.next_steps.pivot if measured else experiment.next_steps.investigate
    if steps:
        lines.append(f"The plan suggests: {'; '.join(steps)}")
    lines += [advice for c, r in bad if (advice := _advice(c, r))]
    return "\n".join(lines)


def _advice(criterion: Criterion, result: CriterionResult) -> str:
    """Return advice about an inadmissible value, if the plan has none."""
    refused = [str(kind) for kind in result.evidence if str(kind) not in criterion.evidence]
    if result.verdict is Verdict.NOT_MEASURED:
        return f"Return it as a number: {{'metrics': {{{criterion.metric_name!r}: …}}}}."
    if result.verdict is not Verdict.INADMISSIBLE:
        return ""
    if refused:
        kinds = ", ".join([*criterion.evidence, *refused])
        return f"Measure it on the real system, or admit this evidence in the plan: evidence: [{kinds}]."
    if isinstance(result.reason, OutOfBounds):
        return "Check its unit, or the bounds in the plan."
    return "Find where it becomes NaN or infinite."


def judge_experiment(
    state: ExperimentState,
    *,
    slots: Sequence[SelectedItem],
    own: Callable[[SelectedItem], list[AttemptRecord]],
    outcomes: Mapping[str, Outcome],
    blocked: Mapping[Slot, str],
    uncollected: Mapping[str, str],
    complete: bool,
    without_handler: Mapping[str, str],
    level: Level,
    stub: bool,
) -> str:
    """Return why an experiment fails as a whole, or an empty string.

    Failures that an item has already reported are left out.
    """
    failed_nodes = {node for node, outcome in outcomes.items() if outcome == "failed"}
    lines: list[str] = []
    reported: set[Source] = set()
    here: set[tuple[Source, int | None]] = set()
    for item in slots:
        done = own(item)
        here |= {(a.source, a.key.sequence) for a in done}
        here |= {(Source(item.sub_experiment, item.variant), None)} if done else set()
        if done and item.nodeid in failed_nodes:
            reported.add(done[-1].source)
        elif item.slot not in blocked:
            lines += _item_lines(item, deciding(done) if done else None)
    for sub, place in uncollected.items():
        if sub in state.subs:
            lines.append(f"{sub} has a handler at {place} that pytest did not collect.")
    stopped = any(item.slot in blocked for item in slots)
    if not (stub or stopped):
        lines += _criteria_lines(state, reported, level, here, complete=complete)
        if complete and state.replaced_by is None:
            lines += _missing_handlers(state, without_handler)
    if not lines:
        return ""
    status = str(state.status).replace("_", " ")
    assessment = state.assessment
    head = status if stub else f"{status} → {state.recommendation_text}. {assessment.notes}"
    return "\n".join([head, *(f"  {line}" for line in lines)])


def _item_lines(item: SelectedItem, record: AttemptRecord | None) -> Iterator[str]:
    if record is None:
        yield f"{item.sub_experiment} was selected but did not run."
    elif record.status is Status.SKIPPED:
        yield f"{record.key.label} was skipped: {record.reason}."
    elif record.status is Status.FAILED:
        why = record.error.line if record.error else record.reason
        yield f"{record.key.label} failed, but pytest did not report its test as failed: {why}"
    elif record.status is not Status.COMPLETED:
        yield f"{record.key.label} is unfinished: {record.reason}."


def _criteria_lines(
    state: ExperimentState,
    reported: set[Source],
    level: Level,
    here: AbstractSet[tuple[Source | None, int | None]],
    *,
    complete: bool,
) -> Iterator[str]:
    if state.replaced_by is not None or not state.started:
        return
    for criterion in state.plan.gating:
        result = state.criteria[criterion.name]
        settled = level.met_by(result.verdict) or criterion.name in state.waivers
        if settled or result.decided_by in reported or _source_failed(criterion, result, reported):
            continue
        # If one attempt must meet all criteria, any attempt of this run can be that one.
        one_for_all = state.plan.together and bool(here)
        if complete or one_for_all or (result.decided_by, result.attempt) in here:
            yield explain(criterion, result)


def _source_failed(criterion: Criterion, result: CriterionResult, reported: set[Source]) -> bool:
    """Return whether a criterion is not measured because of a source failure that is reported already."""
    sub, _variant = criterion.source
    failed = {source.sub_experiment for source in reported}
    return result.verdict is Verdict.NOT_MEASURED and (bool(failed) if sub is None else sub in failed)


def _missing_handlers(state: ExperimentState, without_handler: Mapping[str, str]) -> Iterator[str]:
    missing = [sub for sub in state.subs if sub in without_handler]
    for sub in missing:
        if without_handler[sub]:
            yield f"{sub} has no handler: {without_handler[sub]}"
    plain = [sub for sub in missing if not without_handler[sub]]
    if plain:
        verb = "has" if len(plain) == 1 else "have"
        function = f"def {plain[0]}_…(runner)"
        yield f"{sentence_list(plain)} {verb} no handler; write {function} in the experiments folder."


def judge_gate(gate: GateResult) -> str:
    """Return why a gate does not pass, or an empty string."""
    if gate.state in HAS_PASSED:
        return ""
    return "\n".join([f"gate status: {gate.state}", *(f"  {line}" for line in gate.lines)])
