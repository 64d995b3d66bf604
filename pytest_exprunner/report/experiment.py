"""Build the findings of an experiment as a document without formatting.

Every sentence follows from data; without supporting data there is no sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from pytest_exprunner._util.text import sentence_list
from pytest_exprunner.model.attempt import EvidenceKind, Recommendation, Status, Verdict
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.results import ExperimentState, Results, SubState
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.report.attempts import attempts_table, attempts_that_count
from pytest_exprunner.report.blocks import (
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
from pytest_exprunner.verdicts import narrative
from pytest_exprunner.verdicts.formatting import (
    DASH,
    explain,
    failure_text,
    measured_text,
    number_text,
    tier_text,
    verdict_text,
)
from pytest_exprunner.verdicts.outliers import outliers


def build_experiment(state: ExperimentState, results: Results, plan_link: str | None) -> Findings:
    """Return the findings of one experiment; ``plan_link`` leads to its hand-written plan."""
    return tuple(_experiment(state, results, plan_link))


def _experiment(state: ExperimentState, results: Results, plan_link: str | None) -> Iterator[Block]:
    plan = state.plan
    yield Heading(1, (plan.name or plan.id,))
    if results.stub:
        yield Paragraph((Strong("Stub run: no handler was called and nothing was measured."),))
    if plan.description:
        yield Heading(2, ("Question",))
        yield Paragraph((plan.description.strip(),))
    yield Heading(2, ("Answer",))
    yield Paragraph(_summary(state, stub=results.stub))
    if plan.success_criteria:
        yield Heading(2, ("Key metrics",))
        yield criteria_table(state, stub=results.stub)
    if not results.stub:
        yield from _findings_lists(state)
        yield from _list("Implications", narrative.implications(state, results.plan))
    yield Heading(2, ("Confidence",))
    yield Paragraph(
        (
            Strong(str(state.assessment.confidence).capitalize()),
            f". {state.assessment.confidence_notes}",
        )
    )
    if not results.stub:
        yield from _list("Caveats", narrative.caveats(state))
    yield from _list("Next steps", next_steps(state))
    yield from _sub_experiments(state)
    if any(len(sub.history) > 1 for sub in state.subs.values()):
        yield Heading(2, ("Attempts",))
        yield attempts_table(state)
    yield from claims(state)
    origin = _provenance(state)
    if origin:
        yield Heading(2, ("Provenance",))
        yield Paragraph(origin)
    yield Heading(2, ("Links",))
    yield Paragraph(tuple(_links(plan_link)))


def _findings_lists(state: ExperimentState) -> Iterator[Block]:
    """Yield what worked, what did not, the outliers, and what needs review."""
    yield from _list("What worked", what_worked(state))
    yield from _list("What did not work", what_did_not(state))
    yield from _list("Unexpected", outliers(state))
    yield from _list("To review", review_briefly(state))


def what_worked(state: ExperimentState) -> Iterator[str]:
    """Yield a sentence for each criterion that is met."""
    for name, criterion in state.plan.success_criteria.items():
        if state.criteria[name].met:
            yield _explained(criterion, state.criteria[name])


def what_did_not(state: ExperimentState) -> Iterator[str]:
    """Yield the criteria that are not met or not measured, and the failures."""
    for name, criterion in state.plan.success_criteria.items():
        if not state.criteria[name].met and (state.started or state.criteria[name].measured):
            yield _explained(criterion, state.criteria[name])
    for sub in state.subs.values():
        if sub.status is Status.FAILED:
            yield f"{sub.id} failed: {sub.reason}"


def _explained(criterion: Criterion, result: CriterionResult) -> str:
    sentence = explain(criterion, result)
    return f"{sentence} {criterion.note.strip()}" if criterion.note else sentence


def _list(title: str, texts: Iterable[str]) -> Iterator[Block]:
    """Yield a heading and a list, or nothing if the list is empty."""
    items: tuple[Spans, ...] = tuple((text,) for text in texts)
    if items:
        yield Heading(2, (title,))
        yield Bullets(items)


def _links(plan_link: str | None) -> Iterator[Span]:
    if plan_link:
        yield from (Link(PurePosixPath(plan_link).name, plan_link), " (the plan in prose), ")
    yield from (Link("results.yaml", "results.yaml"), ", ", Link("all findings", "../../FINDINGS.md"), ".")


def _summary(state: ExperimentState, *, stub: bool) -> Spans:
    status = str(state.status).replace("_", " ")
    answer = "" if stub else f"{narrative.answer(state)} "
    spans: list[Span] = [
        answer, "Status ", Strong(status), ", recommendation ", Strong(state.recommendation_text),
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
    """Return the verdict and, if unusual, its severity: ``missed (warning only)``."""
    text = verdict_text(result)
    kinds = [str(kind) for kind in result.evidence if kind is not EvidenceKind.REAL]
    if kinds and result.measured:
        text += f" on {' and '.join(kinds)} evidence"
    if criterion.severity == "gate":
        return text
    return f"{text} ({'warning only' if criterion.severity == 'warn' else 'for information'})"


def verdict_cell(state: ExperimentState, criterion: Criterion, result: CriterionResult) -> str:
    """Return the verdict as text, with the waiver if one is in effect."""
    waiver = next((w for w in state.waived if w.criterion == criterion.name), None)
    text = verdict_words(criterion, result)
    return f"{text}, {waiver.text}" if waiver is not None else text


def _decided_by(result: CriterionResult) -> Spans:
    if not result.decided_by:
        return (DASH,)
    place: Spans = (Code(str(result.decided_by)),)
    if result.attempt is not None:
        return (*place, f" attempt {result.attempt}")
    return (*place, f", {result.n} seeds") if result.n > 1 else place


def review_items(state: ExperimentState) -> list[str]:
    """Return what needs review: borderline and inadmissible values, warnings and anomalies."""
    doubtful = (explain(criterion, state.criteria[criterion.name]) for criterion in _to_review(state))
    return [*doubtful, *_waivers(state), *state.issues]


def _to_review(state: ExperimentState) -> Iterator[Criterion]:
    for name, criterion in state.plan.success_criteria.items():
        result = state.criteria[name]
        warns = criterion.severity == "warn" and result.measured and not result.met
        odd = bool(result.reason) and result.measured
        if result.borderline or result.verdict is Verdict.INADMISSIBLE or warns or odd:
            yield criterion


def review_briefly(state: ExperimentState) -> list[str]:
    """Return what needs review, briefly, because each criterion has its sentence above."""
    return [*_brief_review(state), *_waivers(state), *state.issues]


def _brief_review(state: ExperimentState) -> Iterator[str]:
    """Yield the same items in short form, because the sentences are above."""
    for criterion in _to_review(state):
        yield f"{criterion.name}: {verdict_words(criterion, state.criteria[criterion.name])}; see above."


def _waivers(state: ExperimentState) -> Iterator[str]:
    for waiver in state.waivers.values():
        if waiver in state.waived:
            yield f"{waiver.criterion} is not met, and {waiver.text}."
        elif state.started:
            yield f"{waiver.criterion} is {waiver.text}; the criterion is met, so the waiver is not needed."


def _sub_experiments(state: ExperimentState) -> Iterator[Block]:
    yield Heading(2, ("Sub-experiments",))
    for sub in state.subs.values():
        yield from sub_experiment(state, sub)


def sub_experiment(state: ExperimentState, sub: SubState) -> Iterator[Block]:
    """Yield what one sub-experiment found."""
    planned = state.plan.sub_experiments[sub.id]
    yield Heading(3, (Code(sub.id), f" — {planned.name}" if planned.name else ""))
    if planned.objective:
        yield Paragraph((f"Objective: {planned.objective.strip()}",))
    if not sub.currents:
        yield Paragraph(("Not started.",))
    yield from attempts_that_count(sub, state.plan)


def claims(state: ExperimentState) -> Iterator[Block]:
    """Yield the claims about results in the plan: shown and compared, never evidence."""
    plan = state.plan
    if plan.status is None and plan.outcome is None and not isinstance(plan.achieved, dict):
        return
    yield Heading(2, ("What the plan claims",))
    items: list[Spans] = []
    if plan.status is not None:
        measured = f"{str(state.status).replace('_', ' ')}, {state.assessment.recommendation}"
        items.append(("Status: ", Code(str(plan.status)), f". Measured: {measured}."))
    if plan.outcome is not None:
        items.append((f"Outcome: {str(plan.outcome).strip()}",))
    achieved = plan.achieved if isinstance(plan.achieved, dict) else {}
    for name, claimed in achieved.items():
        result = state.criteria.get(str(name))
        found = number_text(result.value) if result and result.value is not None else "nothing"
        items.append((Code(str(name)), f": claimed {claimed}, measured: {found}."))
    yield Bullets(tuple(items))


def next_steps(state: ExperimentState) -> list[str]:
    """Return what to do next: the plan's steps for this recommendation, and those that the data requires."""
    planned: tuple[str, ...] = getattr(state.plan.next_steps, str(state.assessment.recommendation))
    steps = [] if state.replaced_by is not None else list(planned)  # its replacement has taken them over
    for sub in state.subs.values():
        if sub.status is Status.FAILED:
            steps.append(f"Repair {sub.id}: {sub.reason}")
        elif sub.status is Status.SKIPPED:
            steps.append(f"Run {sub.id}, which was skipped: {sub.reason}")
        elif sub.status is Status.BLOCKED:
            steps.append(f"Resolve what blocks {sub.id}: {sub.reason}")
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
        return [f"Continue with {state.replaced_by}, which replaced it."]
    return steps or [_default_step(state)]


def _default_step(state: ExperimentState) -> str:
    recommendation = state.assessment.recommendation
    if recommendation is not Recommendation.PROCEED:
        return _DEFAULT_STEPS[recommendation]
    if state.leads_to:
        return f"Continue with {sentence_list(state.leads_to)}."
    return "Decide what to ask next; no other experiment depends on this one."


_DEFAULT_STEPS = {
    Recommendation.PIVOT: "Decide what replaces this approach; the plan has no next step for a pivot.",
    Recommendation.INVESTIGATE: "Find out what is missing; the plan has no next step for this.",
    Recommendation.BLOCK: "Resolve the blockers.",
}


def _provenance(state: ExperimentState) -> Spans:
    currents = [c for sub in state.subs.values() for c in sub.currents if c.record.provenance]
    if not currents:
        return ()
    newest = max(currents, key=lambda c: (c.record.started_at or "", c.sub_experiment))
    origin = newest.record.provenance
    commit = origin.get("commit")
    spans: list[Span] = ["Run ", Code(newest.record.run)]
    if commit:
        dirty = " with uncommitted changes" if origin.get("dirty") else ""
        spans += [", commit ", Code(str(commit)[:12]), dirty]
    packages = origin.get("packages")
    versions = [f"python {origin.get('python')}"]
    if isinstance(packages, dict):
        versions += [f"{name} {version}" for name, version in packages.items()]
    return (*spans, f", {', '.join(versions)}, {origin.get('platform')}.")
