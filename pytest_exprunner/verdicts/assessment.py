"""From criterion results to a recommendation, a status and a confidence, each with its reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pytest_exprunner._util.errors import count
from pytest_exprunner._util.text import sentence_list
from pytest_exprunner.model.attempt import Confidence, EvidenceKind, Level, Recommendation, Status, Verdict
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.results import Assessment, SubState, waived
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.models import Experiment, Waiver
from pytest_exprunner.verdicts.formatting import number_text, threshold_text, tier_text, value_text

_NO_WAIVERS: Mapping[str, Waiver] = {}
_UNFINISHED = (Status.NOT_STARTED, Status.IN_PROGRESS, Status.SKIPPED, Status.BLOCKED)


def experiment_status(plan: Experiment, subs: Mapping[str, SubState], replaced_by: str | None) -> Status:
    """Return how an experiment stands, from how its sub-experiments ended."""
    statuses = {sub.status for sub in subs.values()}
    if replaced_by is not None:
        return Status.PIVOTED
    if plan.blockers or Status.BLOCKED in statuses:
        return Status.BLOCKED
    if Status.FAILED in statuses:
        return Status.FAILED
    if statuses == {Status.COMPLETED}:
        return Status.COMPLETED
    return Status.NOT_STARTED if statuses == {Status.NOT_STARTED} else Status.IN_PROGRESS


def assess(
    plan: Experiment,
    subs: Mapping[str, SubState],
    criteria: Mapping[str, CriterionResult],
    level: Level = Level.ACCEPTABLE,
    waivers: Mapping[str, Waiver] = _NO_WAIVERS,
) -> Assessment:
    """Recommend what to do next. Zero measured is never a success.

    block where a person named blockers; investigate where code failed or is unfinished; pivot
    where a gating criterion was measured on admissible evidence and not met; investigate where
    one was not measured; proceed otherwise. What a person waived keeps its verdict and no longer decides.
    """
    in_effect = waived(plan, criteria, waivers, level)
    recommendation, notes = _recommend(plan, subs, criteria, level, in_effect)
    confidence, reasons = _confidence(plan, subs, criteria, in_effect)
    return Assessment(recommendation, notes, confidence, reasons)


def doubted(assessment: Assessment) -> Assessment:
    """Return an assessment that a reader should take with the notes beside it."""
    if assessment.has_notes:
        return assessment
    notes = f"{assessment.confidence_notes.rstrip('.')}; see the notes."
    return replace(assessment, confidence=Confidence.LOW, confidence_notes=notes, has_notes=True)


def _recommend(
    plan: Experiment,
    subs: Mapping[str, SubState],
    criteria: Mapping[str, CriterionResult],
    level: Level,
    in_effect: Sequence[Waiver],
) -> tuple[Recommendation, str]:
    if plan.blockers:
        return Recommendation.BLOCK, f"Blocked by: {'; '.join(plan.blockers)}."
    failed = [sub for sub in subs.values() if sub.status is Status.FAILED]
    if failed:
        return Recommendation.INVESTIGATE, f"{_subs(failed)} failed."
    unfinished = [sub for sub in subs.values() if sub.status in _UNFINISHED]
    gating = [(c, criteria[c.name]) for c in plan.gating]
    if unfinished:
        measured = sum(result.measured for _c, result in gating)
        of = (
            f" {measured} of {count(len(gating), 'gating criterion', 'gating criteria')} measured."
            if gating
            else ""
        )
        return Recommendation.INVESTIGATE, f"{_unfinished(unfinished)}.{of}"
    excused = {waiver.criterion for waiver in in_effect}
    judged = [(c, r) for c, r in gating if c.name not in excused]
    unmet = [(c, r) for c, r in judged if r.measured and not level.met_by(r.verdict)]
    if unmet:
        return (
            Recommendation.PIVOT,
            f"Not met: {sentence_list([_miss(c, r, level) for c, r in unmet])}.",
        )
    open_ = [r for _c, r in judged if not r.measured]
    if open_:
        return (
            Recommendation.INVESTIGATE,
            f"{_open(open_)} ({len(gating) - len(open_)} of {len(gating)} {_words_for(open_)}).",
        )
    if not gating:
        return Recommendation.INVESTIGATE, (
            "The plan has no gating success criterion, so it does not define success."
        )
    warned = _warned(plan, criteria, level)
    if excused:
        return Recommendation.PROCEED, _with_waivers(gating, in_effect, level) + warned
    few = {1: "The success criterion is met.", 2: "Both success criteria are met."}
    met = few.get(len(gating), f"All {len(gating)} success criteria are met.")
    return Recommendation.PROCEED, met + warned


def _warned(plan: Experiment, criteria: Mapping[str, CriterionResult], level: Level) -> str:
    """Return what is not met and decides nothing, so that "all are met" is not read as more than it says."""
    warnings = [(c, criteria[c.name]) for c in plan.success_criteria.values() if c.severity == "warn"]
    missed = [_miss(c, r, level) for c, r in warnings if r.measured and not level.met_by(r.verdict)]
    return f" Not met (warning only): {sentence_list(missed)}." if missed else ""


def _with_waivers(
    gating: Sequence[tuple[Criterion, CriterionResult]], in_effect: Sequence[Waiver], level: Level
) -> str:
    """``1 of 2 success criteria met. Waived, not met: latency 0.3 (needs ≤ 0.2), by …``."""
    results = {c.name: (c, r) for c, r in gating}
    met = sum(level.met_by(r.verdict) for _c, r in gating)
    parts = []
    for waiver in in_effect:
        criterion, result = results[waiver.criterion]
        how = _miss(criterion, result, level) if result.measured else f"{criterion.name} ({_words(result)})"
        parts.append(f"{how}, {waiver.text}")
    noun = "criterion" if len(gating) == 1 else "criteria"
    return f"{met} of {len(gating)} success {noun} met. Not met but waived: {'; '.join(parts)}."


def _words(result: CriterionResult) -> str:
    return str(result.verdict).replace("_", " ")


def _subs(subs: list[SubState]) -> str:
    return sentence_list([sub.id for sub in subs])


def _unfinished(subs: list[SubState]) -> str:
    parts = []
    for status in _UNFINISHED:
        group = [sub for sub in subs if sub.status is status]
        if group:
            verb = "is" if len(group) == 1 else "are"
            parts.append(f"{_subs(group)} {verb} {str(status).replace('_', ' ')}")
    return "; ".join(parts)


def _words_for(results: list[CriterionResult]) -> str:
    refused = any(result.verdict is Verdict.INADMISSIBLE for result in results)
    return "with an admissible value" if refused else "measured"


def _open(results: list[CriterionResult]) -> str:
    words = {
        Verdict.NOT_MEASURED: "Not measured",
        Verdict.INADMISSIBLE: "Measured but inadmissible",
    }
    parts = []
    for verdict, text in words.items():
        names = [r.name for r in results if r.verdict is verdict]
        if names:
            parts.append(f"{text}: {sentence_list(names)}")
    return "; ".join(parts)


def _miss(criterion: Criterion, result: CriterionResult, level: Level) -> str:
    needed = criterion.target if level is Level.TARGET else criterion.deciding
    return f"{criterion.name} {value_text(criterion, result.value)} (needs {tier_text(criterion, needed)})"


def miss_text(criterion: Criterion, result: CriterionResult, level: Level = Level.ACCEPTABLE) -> str:
    """``spatial_iou 0.559 < 0.60``: a miss in the shortest form."""
    needed = criterion.target if level is Level.TARGET else criterion.deciding
    sign = "<" if criterion.better == "higher" else ">"
    return f"{criterion.name} {value_text(criterion, result.value)} {sign} {threshold_text(needed)}"


def _confidence(
    plan: Experiment,
    subs: Mapping[str, SubState],
    criteria: Mapping[str, CriterionResult],
    in_effect: Sequence[Waiver],
) -> tuple[Confidence, str]:
    results = [criteria[c.name] for c in plan.gating]
    measured = [r for r in results if r.measured]
    if not measured:
        return (
            Confidence.LOW,
            f"Measured 0 of {count(len(results), 'gating criterion', 'gating criteria')}.",
        )
    reasons = [f"Measured {len(measured)} of {count(len(results), 'gating criterion', 'gating criteria')}"]
    doubts = []
    if len(measured) < len(results):
        doubts.append("not everything was measured")
    borderline = [r.name for r in measured if r.borderline]
    if borderline:
        verb = "is" if len(borderline) == 1 else "are"
        doubts.append(f"{sentence_list(borderline)} {verb} borderline")
    if in_effect:
        verb = "was" if len(in_effect) == 1 else "were"
        doubts.append(f"{sentence_list([waiver.criterion for waiver in in_effect])} {verb} waived")
    if any(kind is not EvidenceKind.REAL for r in measured for kind in r.evidence):
        doubts.append("not all values are real measurements")
    doubts += [f"{r.name}: {r.reason}" for r in measured if r.reason]
    unfinished = [sub for sub in subs.values() if sub.status is not Status.COMPLETED]
    if unfinished:
        doubts.append(f"{_subs(unfinished)} did not complete")
    reasons += _spread(measured)
    text = f"{'; '.join([*reasons, *doubts])}."
    if doubts:
        return Confidence.LOW, text
    sure = all(r.over_seeds and r.n >= _ENOUGH_SEEDS and r.sd for r in measured)
    return (Confidence.HIGH if sure else Confidence.MEDIUM), text


_ENOUGH_SEEDS = 3


def _spread(measured: Sequence[CriterionResult]) -> Iterator[str]:
    """Say what is known of how values vary."""
    single = [r.name for r in measured if r.interval is None]
    sampled = [r for r in measured if r.method is not None and not r.over_seeds]
    seeded = [r for r in measured if r.over_seeds]
    if single and len(single) == len(measured):
        yield "one run each (n = 1), so the spread over seeds is unknown"
    elif single:
        yield f"{sentence_list(single)}: one run (n = 1), so the spread over seeds is unknown"
    for result in sampled:
        yield f"{result.name}: {result.n} samples of one run, so the spread over seeds is unknown"
    for result in seeded:
        if not result.sd:
            why = "either the metric does not depend on the seed or the handler ignores runner.seed"
            yield f"{result.name}: {result.n} seeds gave exactly the same value; {why}"
        elif result.n < _ENOUGH_SEEDS:
            yield f"{result.name}: {result.n} seeds, too few to estimate the spread"
        else:
            yield f"{result.name}: {result.n} seeds, standard deviation {number_text(result.sd)}"
