"""Render the state as lines for a terminal: plain text, one style per line."""

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
    """The input of a run's summary: the state, and what this run did."""

    results: Results
    touched: Sequence[str]
    """Experiments with at least one selected sub-experiment."""
    without_handler: Mapping[str, str] = field(default_factory=dict)
    """Sub-experiments without a handler, with a hint if something looks like one."""
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    told: Sequence[str] = ()
    """The trackers that received attempts, and where."""
    gates: Sequence[str] = ()
    """Gates requested by name."""


def safe(text: str, limit: int = _MAX_TEXT) -> str:
    """Return text on one line that cannot control a terminal or start a workflow command."""
    flat = " ".join(replace_control(text).split()).replace("##[", "## [")
    if flat.startswith("::"):
        flat = f": :{flat[2:]}"
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"


def heading(results: Results) -> str:
    """Return the title of the output: ``research plan: Foresight``."""
    name = results.plan.project.name
    title = f"research plan: {safe(name, 60)}" if name else "research plan"
    return f"{title} (stub run)" if results.stub else title


def render(summary: Summary, verbosity: int = 0) -> list[Line]:
    """Return the summary of a run: one line with ``-q``, tables by default, sentences with ``-v``."""
    return [_one_line(summary)] if verbosity < 0 else list(_full(summary, verbosity))


def _one_line(summary: Summary) -> Line:
    states = [summary.results.experiments[e] for e in summary.touched]
    shown = ", ".join(f"{s.id} {s.assessment.recommendation}" for s in states[:5])
    more = f" and {len(states) - 5} more" if len(states) > 5 else ""
    if summary.results.stub:
        shown, more = "nothing measured", ""
    to_review = 0 if summary.results.stub else sum(len(review_items(state)) for state in states)
    review = f" {count(to_review, 'item')} to review." if to_review else ""
    return Line(f"{heading(summary.results)}: {shown}{more}.{review} {_counts(summary.counts)}", "bold")


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
    yield from (Line(safe(note)) for note in summary.told)
    yield Line(_counts(summary.counts), "bold")


def gates_to_show(summary: Summary) -> list[GateResult]:
    """Return the gates requested by name and those over the experiments of this run."""
    if summary.results.stub:
        return []
    experiments = set(summary.touched)
    return [
        gate
        for gate in summary.results.gates.values()
        if gate.plan.id in summary.gates or set(gate.plan.experiments) & experiments
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
    confidence = state.assessment.confidence
    return Line(
        f"{title}  {status} → {safe(state.recommendation_text)} (confidence: {confidence})", _tone(state)
    )


def _tone(state: ExperimentState) -> Style:
    if state.assessment.recommendation is Recommendation.PROCEED:
        return "good" if state.assessment.confidence is not Confidence.LOW else "warn"
    return "warn" if state.replaced_by is not None else "bad"


def _remarks(state: ExperimentState, verbosity: int) -> Iterator[Line]:
    recommendation = state.assessment.recommendation
    proceeds = recommendation is Recommendation.PROCEED
    failed = any(sub.status is Status.FAILED for sub in state.subs.values())
    # Assessment notes only name the failed sub-experiments; the lines below also give the cause.
    # A blocker is always shown.
    shown_below = failed and recommendation is Recommendation.INVESTIGATE
    if verbosity > 0 or not (proceeds or shown_below):
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
    """Yield the criteria of an experiment with value, tiers and verdict, aligned."""
    rows = [
        _row(criterion, state.criteria[name], state, without_handler, stub=stub)
        for name, criterion in state.plan.success_criteria.items()
    ]
    yield from aligned(rows)


def criteria_lines(criteria: Iterable[tuple[Criterion, CriterionResult]]) -> Iterator[Line]:
    """Yield the same table for some criteria only."""
    yield from aligned([(_cells(c, r, verdict_words(c, r)), _style(c, r)) for c, r in criteria])


def aligned(rows: Sequence[tuple[Sequence[str], Style]]) -> Iterator[Line]:
    """Yield rows under the header of a criteria table."""
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
    text = verdict_words(criterion, result)
    if result.borderline:
        text += " — needs review"
    elif result.verdict is Verdict.FAILURE:
        text += f" ({failure_text(criterion)})"
    elif not result.measured:
        text += f" ({safe(_why_not(criterion, result, state, without_handler), 120)})"
    if result.measured and result.reason:
        text += f" (no interval: {safe(str(result.reason), 120)})"
    waiver = next((w for w in state.waived if w.criterion == criterion.name), None)
    if waiver is not None:
        text += f" — {safe(waiver.text, 120)}"
    source = result.decided_by
    if source is not None and (source.variant is not None or source.seed is not None):
        text += f" in {safe(str(source), 60)}"
    return _cells(criterion, result, text), _style(criterion, result)


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


def _cells(criterion: Criterion, result: CriterionResult, verdict: str) -> Sequence[str]:
    return (
        safe(criterion.name, 40),
        safe(measured_text(criterion, result), 60),
        tier_text(criterion, criterion.target),
        tier_text(criterion, criterion.acceptable),
        verdict,
    )


def _style(criterion: Criterion, result: CriterionResult) -> Style:
    if result.met:
        return "warn" if result.borderline else "good"
    return "bad" if criterion.severity == "gate" else "warn"


def gate_line(gate: GateResult) -> Line:
    """Return the line of a gate: its state, and what keeps it from passing."""
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
