"""State → the lines that a terminal shows, plain text with one style per line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pytest_exprunner._util.errors import count
from pytest_exprunner._util.text import replace_control
from pytest_exprunner.model.attempt import Confidence, GateState, Recommendation, Status, Verdict
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.results import ExperimentState, GateResult, Results
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.report.experiment import review_items, verdict_words
from pytest_exprunner.verdicts.formatting import explain, failure_text, measured_text, tier_text

Style = Literal["", "good", "bad", "warn", "bold"]

_MAX_LINES = 60
_MAX_TEXT = 300


@dataclass(frozen=True, slots=True)
class Line:
    """One line of output."""

    text: str
    style: Style = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """What the end of a run is about: the state, and what this run did."""

    results: Results
    touched: Sequence[str]
    """Experiments of which something was selected."""
    without_handler: Mapping[str, str] = field(default_factory=dict)
    """Sub-experiments that have no handler, with a hint where something looks like one."""
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    told: Sequence[str] = ()
    """Who else was told, and where that is."""
    gates: Sequence[str] = ()
    """Gates that were asked for by name."""


def safe(text: str, limit: int = _MAX_TEXT) -> str:
    """Return text that cannot steer a terminal or start a workflow command, on one line."""
    flat = " ".join(replace_control(text).split()).replace("##[", "## [")
    if flat.startswith("::"):
        flat = f": :{flat[2:]}"
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"


def heading(results: Results) -> str:
    """``research plan: Foresight``."""
    name = results.plan.project.name
    title = f"research plan: {safe(name, 60)}" if name else "research plan"
    return f"{title} (stub run)" if results.stub else title


def render(summary: Summary, verbosity: int = 0) -> list[Line]:
    """Return the summary of a run: one line with ``-q``, tables by default, sentences with ``-v``."""
    return [_one_line(summary)] if verbosity < 0 else list(_full(summary, verbosity))


def _one_line(summary: Summary) -> Line:
    states = [summary.results.experiments[e] for e in summary.touched]
    said = ", ".join(f"{s.id} {s.assessment.recommendation}" for s in states[:5])
    more = f" and {len(states) - 5} more" if len(states) > 5 else ""
    if summary.results.stub:
        said, more = "nothing measured", ""
    look = 0 if summary.results.stub else sum(len(review_items(state)) for state in states)
    review = f" {count(look, 'item')} to review." if look else ""
    return Line(f"{heading(summary.results)}: {said}{more}.{review} {_counts(summary.counts)}", "bold")


def _full(summary: Summary, verbosity: int) -> Iterator[Line]:
    results = summary.results
    if results.stub:
        yield Line(
            "STUB RUN: no handler was called and nothing was measured. A stub run never counts.", "warn"
        )
    states = [results.experiments[e] for e in summary.touched]
    idle = [s for s in states if not s.started and not s.plan.blockers and not results.stub and verbosity < 1]
    shown = [s for s in states if s not in idle]
    width = max((len(safe(s.plan.title, 60)) for s in shown), default=0)
    body = [line for state in shown for line in _experiment(state, summary, verbosity, width)]
    if len(body) > _MAX_LINES and verbosity < 1:
        body = [_title(state, width, stub=results.stub) for state in shown]
        hidden = len(body) - _MAX_LINES
        more = f"… and {count(hidden, 'more experiment')}" if hidden > 0 else "(the tables are long)"
        body = [*body[:_MAX_LINES], Line(f"{more}; -v shows everything")]
    yield from body
    if idle:
        yield Line(f"not started: {', '.join(state.id for state in idle)}", "warn")
    yield from (gate_line(gate) for gate in gates_to_show(summary))
    for note in summary.notes:
        yield Line(safe(note), "warn")
    yield from (Line(safe(told)) for told in summary.told)
    yield Line(_counts(summary.counts), "bold")


def gates_to_show(summary: Summary) -> list[GateResult]:
    """Return the gates that were asked for, and those over what the run was about."""
    if summary.results.stub:
        return []
    touched = set(summary.touched)
    return [
        gate
        for gate in summary.results.gates.values()
        if gate.plan.id in summary.gates or set(gate.plan.experiments) & touched
    ]


def _counts(counts: Mapping[str, int]) -> str:
    shown = "  ".join(f"{name}: {number}" for name, number in counts.items())
    return f"{shown} (--exp-resume continues)" if counts.get("Unfinished") else shown


def _experiment(state: ExperimentState, summary: Summary, verbosity: int, width: int) -> Iterator[Line]:
    stub = summary.results.stub
    yield _title(state, width, stub=stub)
    if state.plan.success_criteria:
        yield from table(state, summary.without_handler, stub=stub)
    if verbosity > 0 and not stub:
        for name, criterion in state.plan.success_criteria.items():
            yield Line(f"  {safe(explain(criterion, state.criteria[name]))}")
    if not stub:
        yield from _remarks(state, verbosity)


def _title(state: ExperimentState, width: int, *, stub: bool) -> Line:
    status = str(state.status).replace("_", " ")
    title = f"{safe(state.plan.title, 60):<{width}}"
    if stub:
        return Line(f"{title}  {status}", "bold")
    said = state.assessment
    return Line(
        f"{title}  {status} → {safe(state.recommendation_text)} (confidence: {said.confidence})", _tone(state)
    )


def _tone(state: ExperimentState) -> Style:
    if state.assessment.recommendation is Recommendation.PROCEED:
        return "good" if state.assessment.confidence is not Confidence.LOW else "warn"
    return "warn" if state.replaced_by is not None else "bad"


def _remarks(state: ExperimentState, verbosity: int) -> Iterator[Line]:
    recommendation = state.assessment.recommendation
    proceeds = recommendation is Recommendation.PROCEED
    failed = any(sub.status is Status.FAILED for sub in state.subs.values())
    # Notes that only name what failed say less than the lines below, which give the cause.
    # A blocker is said in any case.
    told_below = failed and recommendation is Recommendation.INVESTIGATE
    if verbosity > 0 or not (proceeds or told_below):
        yield Line(f"  {safe(state.assessment.notes)}")
    if verbosity > 0:
        yield Line(f"  confidence {state.assessment.confidence}: {safe(state.assessment.confidence_notes)}")
    if state.replaced_by is not None:
        also = "; it now meets all its criteria but cannot count as met" if proceeds else ""
        yield Line(f"  replaced by {state.replaced_by}: misses are expected{also}")
    for issue in state.issues:
        yield Line(f"  note: {safe(issue)}", "warn")
    for sub in state.subs.values():
        if sub.status is Status.FAILED:
            yield Line(f"  {sub.id} failed: {safe(sub.reason)}", "bad")


def table(
    state: ExperimentState, without_handler: Mapping[str, str], *, stub: bool = False
) -> Iterator[Line]:
    """The criteria of an experiment with value, tiers and verdict, aligned."""
    rows = [
        _row(criterion, state.criteria[name], state, without_handler, stub=stub)
        for name, criterion in state.plan.success_criteria.items()
    ]
    yield from aligned(rows)


def criteria_lines(criteria: Iterable[tuple[Criterion, CriterionResult]]) -> Iterator[Line]:
    """The same table for some criteria alone."""
    yield from aligned([(_cells(c, r, verdict_words(c, r)), _style(c, r)) for c, r in criteria])


def aligned(rows: Sequence[tuple[Sequence[str], Style]]) -> Iterator[Line]:
    """Rows under the header of a criteria table."""
    header = ("criterion", "value", "target", "acceptable", "verdict")
    every = [header, *(cells for cells, _style in rows)]
    widths = [max(len(cells[column]) for cells in every) for column in range(len(header) - 1)]
    for cells, style in ((header, ""), *rows):
        padded = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False))
        yield Line(f"  {padded}  {cells[-1]}", style)


def _row(
    criterion: Criterion,
    result: CriterionResult,
    state: ExperimentState,
    without_handler: Mapping[str, str],
    *,
    stub: bool,
) -> tuple[Sequence[str], Style]:
    if stub:
        return _cells(criterion, CriterionResult(result.name, Verdict.NOT_MEASURED), "stub"), ""
    words = verdict_words(criterion, result)
    if result.borderline:
        words += " — needs review"
    elif result.verdict is Verdict.FAILURE:
        words += f" ({failure_text(criterion)})"
    elif not result.measured:
        words += f" ({safe(_why_not(criterion, result, state, without_handler), 120)})"
    if result.measured and result.reason:
        words += f" (no interval: {safe(str(result.reason), 120)})"
    waiver = next((w for w in state.waived if w.criterion == criterion.name), None)
    if waiver is not None:
        words += f" — {safe(waiver.text, 120)}"
    source = result.decided_by
    if source is not None and (source.variant is not None or source.seed is not None):
        words += f" in {safe(str(source), 60)}"
    return _cells(criterion, result, words), _style(criterion, result)


def _why_not(
    criterion: Criterion,
    result: CriterionResult,
    state: ExperimentState,
    without_handler: Mapping[str, str],
) -> str:
    sub, _variant = criterion.source
    if result.verdict is Verdict.INADMISSIBLE or result.decided_by:
        return str(result.reason or "")
    if sub is not None and sub in without_handler:
        return f"planned in {sub}, no handler"
    missing = [s for s in state.subs if s in without_handler]
    if sub is None and len(missing) == 1:
        return f"{result.reason}; {missing[0]} has no handler"
    return str(result.reason or "")


def _cells(criterion: Criterion, result: CriterionResult, words: str) -> Sequence[str]:
    return (
        safe(criterion.name, 40),
        safe(measured_text(criterion, result), 60),
        tier_text(criterion, criterion.target),
        tier_text(criterion, criterion.acceptable),
        words,
    )


def _style(criterion: Criterion, result: CriterionResult) -> Style:
    if result.met:
        return "warn" if result.borderline else "good"
    return "bad" if criterion.severity == "gate" else "warn"


def gate_line(gate: GateResult) -> Line:
    """One line for a gate: where it stands, and what keeps it from passing."""
    open_ = "; ".join(gate.lines) if gate.state is not GateState.PASSED else ""
    why = f" — {safe(open_)}" if open_ else ""
    claim = gate.plan.status
    claimed = (
        f" (the plan claims {safe(str(claim), 40)})"
        if claim is not None and str(claim) != str(gate.state)
        else ""
    )
    style: Style = (
        "good" if gate.state is GateState.PASSED else "bad" if gate.state is GateState.FAILED else "warn"
    )
    return Line(f"{gate.plan.id}: {str(gate.state).replace('_', ' ')}{why}{claimed}", style)
