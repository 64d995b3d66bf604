"""What was found, as a document without formatting: headings, paragraphs, tables, lists.

Every sentence follows from data; where the data does not support one, there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from pytest_exprunner.blocks import (
    Block,
    Bullets,
    Code,
    Findings,
    Heading,
    Link,
    Paragraph,
    Span,
    Spans,
    Strong,
    Table,
)
from pytest_exprunner.errors import count
from pytest_exprunner.findings_attempts import attempts_table, attempts_that_count
from pytest_exprunner.gates import HAS_PASSED
from pytest_exprunner.plan import Criterion
from pytest_exprunner.records import (
    CriterionResult,
    EvidenceKind,
    Recommendation,
    Status,
    Verdict,
)
from pytest_exprunner.state import ExperimentState, GateResult, Results, SubState
from pytest_exprunner.wording import (
    DASH,
    explain,
    failure_text,
    measured_text,
    number_text,
    sentence_list,
    tier_text,
    verdict_text,
)

_SHOWN_METRICS = 40
_SHOWN_ISSUES = 5
_SHOWN_TEXT = 60


def build_experiment(state: ExperimentState, results: Results, plan_link: str | None) -> Findings:
    """Return the findings of one experiment; ``plan_link`` leads to its hand-written plan."""
    return tuple(_experiment(state, results, plan_link))


def _experiment(state: ExperimentState, results: Results, plan_link: str | None) -> Iterator[Block]:
    plan = state.plan
    yield Heading(1, (plan.name or plan.id,))
    if results.stub:
        yield Paragraph((Strong("Stub run: no handler was called and nothing here was measured."),))
    if plan.description:
        yield Paragraph((plan.description.strip(),))
    yield Heading(2, ("Summary",))
    yield Paragraph(_summary(state))
    if plan_link:
        yield Paragraph(("Plan: ", Link(PurePosixPath(plan_link).name, plan_link), "."))
    if plan.success_criteria:
        yield Heading(2, ("Key metrics",))
        yield criteria_table(state, stub=results.stub)
        if not results.stub:
            yield Bullets(tuple(_explained(state)))
    review = review_items(state)
    if review and not results.stub:
        yield Heading(2, ("For a person to look at",))
        yield Bullets(tuple((item,) for item in review))
    yield from _sub_experiments(state)
    if any(len(sub.history) > 1 for sub in state.subs.values()):
        yield Heading(2, ("Attempts",))
        yield attempts_table(state)
    yield from claims(state)
    yield Heading(2, ("Confidence",))
    yield Paragraph(
        (
            Strong(str(state.assessment.confidence).capitalize()),
            f". {state.assessment.confidence_notes}",
        )
    )
    yield Heading(2, ("Next steps",))
    yield Bullets(tuple((step,) for step in next_steps(state)))
    origin = _provenance(state)
    if origin:
        yield Heading(2, ("Provenance",))
        yield Paragraph(origin)


def _summary(state: ExperimentState) -> Spans:
    status = str(state.status).replace("_", " ")
    spans: list[Span] = [
        "Status ", Strong(status), ", recommendation ", Strong(state.says),
        f" (confidence: {state.assessment.confidence}). {state.assessment.notes}",
    ]  # fmt: skip
    if state.replaced_by is not None:
        spans += [" It was replaced by ", Code(state.replaced_by), " and cannot count as met."]
    return tuple(spans)


def criteria_table(state: ExperimentState, *, stub: bool = False) -> Table:
    """Return the criteria with value, tiers and verdict."""
    rows = []
    for name, criterion in state.plan.success_criteria.items():
        result = state.criteria[name]
        rows.append(
            (
                (Code(name),),
                (DASH if stub else measured_text(criterion, result),),
                (tier_text(criterion, criterion.target),),
                (tier_text(criterion, criterion.acceptable),),
                (failure_text(criterion),),
                (Strong("stub" if stub else verdict_cell(state, criterion, result)),),
                _decided_by(result),
            )
        )
    header = ("Criterion", "Value", "Target", "Acceptable", "Failure", "Verdict", "Measured in")
    return Table(header, tuple(rows))


def verdict_words(criterion: Criterion, result: CriterionResult) -> str:
    """``missed (warning only)``: the verdict, and what it counts for where that is not usual."""
    words = verdict_text(result)
    kinds = [str(kind) for kind in result.evidence if kind is not EvidenceKind.REAL]
    if kinds and result.measured:
        words += f" on {' and '.join(kinds)} evidence"
    if criterion.severity == "gate":
        return words
    return f"{words} ({'warning only' if criterion.severity == 'warn' else 'for information'})"


def verdict_cell(state: ExperimentState, criterion: Criterion, result: CriterionResult) -> str:
    """Return the verdict in words, with the waiver that a person gave where it is in effect."""
    waiver = next((w for w in state.waived if w.criterion == criterion.name), None)
    words = verdict_words(criterion, result)
    return f"{words}, {waiver.text}" if waiver is not None else words


def _decided_by(result: CriterionResult) -> Spans:
    if not result.decided_by:
        return (DASH,)
    place: Spans = (Code(result.decided_by),)
    if result.attempt is not None:
        return (*place, f" attempt {result.attempt}")
    return (*place, f", {result.n} seeds") if result.n > 1 else place


def _explained(state: ExperimentState) -> Iterator[Spans]:
    for name, criterion in state.plan.success_criteria.items():
        sentence = explain(criterion, state.criteria[name])
        yield (f"{sentence} {criterion.note.strip()}" if criterion.note else sentence,)


def review_items(state: ExperimentState) -> list[str]:
    """What a person should look at: borderline and refused numbers, and what is odd."""
    items = []
    for name, criterion in state.plan.success_criteria.items():
        result = state.criteria[name]
        if result.borderline or result.verdict is Verdict.INADMISSIBLE:
            items.append(explain(criterion, result))
    for waiver in state.waivers.values():
        if waiver in state.waived:
            items.append(f"{waiver.criterion} is not met, and {waiver.text}.")
        elif state.started:
            items.append(f"{waiver.criterion} is {waiver.text}; it is met, so nothing needs this waiver.")
    return [*items, *state.issues]


def _sub_experiments(state: ExperimentState) -> Iterator[Block]:
    yield Heading(2, ("Sub-experiments",))
    for sub in state.subs.values():
        yield from sub_experiment(state, sub)


def sub_experiment(state: ExperimentState, sub: SubState) -> Iterator[Block]:
    """What one sub-experiment found."""
    planned = state.plan.sub_experiments[sub.id]
    yield Heading(3, (Code(sub.id), f" — {planned.name}" if planned.name else ""))
    if planned.objective:
        yield Paragraph((f"Objective: {planned.objective.strip()}",))
    if not sub.currents:
        yield Paragraph(("Not started.",))
    yield from attempts_that_count(sub, state.plan)


def claims(state: ExperimentState) -> Iterator[Block]:
    """What a person wrote into the plan about results: shown, compared, never evidence."""
    plan = state.plan
    if plan.status is None and plan.outcome is None and not isinstance(plan.achieved, dict):
        return
    yield Heading(2, ("What the plan claims",))
    items: list[Spans] = []
    if plan.status is not None:
        measured = f"{str(state.status).replace('_', ' ')}, {state.assessment.recommendation}"
        items.append(("Status: ", Code(str(plan.status)), f". Measured here: {measured}."))
    if plan.outcome is not None:
        items.append((f"Outcome: {str(plan.outcome).strip()}",))
    achieved = plan.achieved if isinstance(plan.achieved, dict) else {}
    for name, claimed in achieved.items():
        result = state.criteria.get(str(name))
        found = number_text(result.value) if result and result.value is not None else "nothing"
        items.append((Code(str(name)), f": claimed {claimed}, measured here: {found}."))
    yield Bullets(tuple(items))


def next_steps(state: ExperimentState) -> list[str]:
    """What to do next: the plan's words for this recommendation, and what the data asks for."""
    planned = getattr(state.plan.next_steps, str(state.assessment.recommendation))
    steps = list(planned)
    for sub in state.subs.values():
        if sub.status is Status.FAILED:
            steps.append(f"Repair {sub.id}: {sub.reason}")
        elif sub.status is Status.SKIPPED:
            steps.append(f"Run {sub.id}, which was skipped: {sub.reason}")
        elif sub.status is Status.BLOCKED:
            steps.append(f"Settle what blocks {sub.id}: {sub.reason}")
    open_ = [s.id for s in state.subs.values() if s.status in (Status.NOT_STARTED, Status.IN_PROGRESS)]
    if open_:
        steps.append(f"Run {sentence_list(open_)}.")
    elif state.status is Status.COMPLETED and state.assessment.recommendation is Recommendation.INVESTIGATE:
        steps += [
            f"Return {state.plan.success_criteria[r.name].metric_name!r} from a handler: {r.reason}."
            for r in state.criteria.values()
            if r.verdict is Verdict.NOT_MEASURED
        ]
    if not steps and state.replaced_by is not None:
        return [f"Go on with {state.replaced_by}, which replaced it."]
    return steps or [_DEFAULT_STEPS[state.assessment.recommendation]]


_DEFAULT_STEPS = {
    Recommendation.PROCEED: "Go on to what depends on this experiment.",
    Recommendation.PIVOT: "Decide what replaces this approach; the plan names no step for a pivot.",
    Recommendation.INVESTIGATE: "Find out what is missing; the plan names no step for this.",
    Recommendation.BLOCK: "Settle the blockers.",
}


def _provenance(state: ExperimentState) -> Spans:
    currents = [c for sub in state.subs.values() for c in sub.currents if c.provenance]
    if not currents:
        return ()
    newest = max(currents, key=lambda c: (c.started_at or "", c.sub_experiment))
    origin = newest.provenance
    commit = origin.get("commit")
    spans: list[Span] = ["Run ", Code(newest.run)]
    if commit:
        dirty = " with uncommitted changes" if origin.get("dirty") else ""
        spans += [", commit ", Code(str(commit)[:12]), dirty]
    packages = origin.get("packages")
    versions = [f"python {origin.get('python')}"]
    if isinstance(packages, dict):
        versions += [f"{name} {version}" for name, version in packages.items()]
    return (*spans, f", {', '.join(versions)}, {origin.get('platform')}.")


def build_project(results: Results) -> Findings:
    """Return the findings of the whole study."""
    return tuple(_project(results))


def _project(results: Results) -> Iterator[Block]:
    project = results.plan.project
    yield Heading(1, (f"Findings: {project.name}" if project.name else "Findings",))
    if results.stub:
        yield Paragraph((Strong("Stub run: no handler was called and nothing here was measured."),))
    if project.hypothesis:
        yield Paragraph(("Hypothesis: ", project.hypothesis.strip()))
    yield Heading(2, ("Experiments",))
    yield Paragraph((_overview(results.experiments.values()),))
    yield Table(
        ("Experiment", "Phase", "Status", "Recommendation", "Confidence", "Key metrics"),
        tuple(_experiment_row(state) for state in results.experiments.values()),
    )
    if results.gates:
        yield Heading(2, ("Gates",))
        for gate in results.gates.values():
            yield from _gate(gate)
    review = [line for state in results.experiments.values() for line in _review_lines(state)]
    if review and not results.stub:
        yield Heading(2, ("For a person to look at",))
        yield Bullets(tuple(review))
    yield Heading(2, ("Next steps",))
    yield Bullets(tuple(_project_steps(results)))


def _review_lines(state: ExperimentState) -> Iterator[Spans]:
    items = review_items(state)
    for item in items[:_SHOWN_ISSUES]:
        yield (Code(state.id), f": {item}")
    if len(items) > _SHOWN_ISSUES:
        yield (Code(state.id), f": {len(items) - _SHOWN_ISSUES} more in its own findings.")


def _overview(states: Iterable[ExperimentState]) -> str:
    groups: dict[str, int] = {}
    for state in states:
        word = "not started" if state.status is Status.NOT_STARTED else str(state.assessment.recommendation)
        groups[word] = groups.get(word, 0) + 1
    total = count(sum(groups.values()), "experiment")
    return f"{total}: {', '.join(f'{number} {word}' for word, number in groups.items())}."


def _experiment_row(state: ExperimentState) -> tuple[Spans, ...]:
    name: Spans = (
        (Link(state.id, f"experiments/{state.id}/FINDINGS.md"),) if state.started else (Code(state.id),)
    )
    metrics = [
        f"{name} {measured_text(criterion, state.criteria[name])} {verdict_text(state.criteria[name])}"
        for name, criterion in state.plan.success_criteria.items()
        if state.criteria[name].value is not None
    ]
    said = state.started or bool(state.plan.blockers)
    return (
        (*name, f" — {state.plan.name}" if state.plan.name else ""),
        (str(state.plan.phase) if state.plan.phase is not None else DASH,),
        (str(state.status).replace("_", " "),),
        (Strong(state.says) if said else DASH,),
        (str(state.assessment.confidence) if said else DASH,),
        ("; ".join(metrics) or DASH,),
    )


def _gate(gate: GateResult) -> Iterator[Block]:
    title = f"{gate.plan.id} — {gate.plan.name}" if gate.plan.name else gate.plan.id
    yield Paragraph(
        (
            Strong(f"{title}: {str(gate.state).replace('_', ' ')}"),
            f". {unlocks(gate)}" if gate.plan.unlocks is not None else "",
        )
    )
    yield Bullets(tuple((line,) for line in gate.lines))
    claim = gate.plan.status
    if claim is not None and str(claim) != str(gate.state):
        yield Paragraph(("The plan claims ", Code(str(claim)), f"; measured here: {gate.state}."))


def unlocks(gate: GateResult) -> str:
    """``It would unlock: Phase 2``: what waits for a gate; empty where nothing does."""
    if gate.plan.unlocks is None:
        return ""
    what = gate.plan.unlocks if isinstance(gate.plan.unlocks, str) else sentence_list(list(gate.plan.unlocks))
    verb = "has unlocked" if gate.state in HAS_PASSED else "would unlock"
    return f"It {verb}: {what}"


def _project_steps(results: Results) -> Iterator[Spans]:
    found = False
    for state in results.experiments.values():
        if state.started and state.replaced_by is None:
            for step in next_steps(state):
                found = True
                yield (Code(state.id), f": {step}")
    waiting: Sequence[str] = [s.id for s in results.experiments.values() if not s.started]
    if waiting:
        yield (f"Not started: {sentence_list(list(waiting))}.",)
    elif not found:
        yield ("Nothing is left to do in this plan.",)
