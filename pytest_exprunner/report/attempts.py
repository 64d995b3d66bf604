"""Report blocks for single attempts, and for attempts that differ only in their seed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pytest_exprunner._util.serialization import as_float, number
from pytest_exprunner.diagnosis.match import more_of
from pytest_exprunner.model.attempt import AttemptRecord, Status, label
from pytest_exprunner.model.results import CurrentAttempt, ExperimentState, SubState
from pytest_exprunner.plan.models import Experiment
from pytest_exprunner.report.blocks import Block, Code, Link, Paragraph, Span, Spans, Strong, Table
from pytest_exprunner.verdicts.formatting import DASH, number_text, tiers_by_metric
from pytest_exprunner.verdicts.measurement import judged_metrics, judged_values

_SHOWN_METRICS = 40
_SHOWN_SEEDS = 8
_SHOWN_TEXT = 60


def attempts_that_count(sub: SubState, plan: Experiment) -> Iterator[Block]:
    """Yield what each current attempt found, with the numbers of several seeds side by side."""
    systems: dict[str | None, list[CurrentAttempt]] = {}
    for current in sub.currents:
        systems.setdefault(current.variant, []).append(current)
    for currents in systems.values():
        if len(currents) == 1:
            yield from _current(currents[0], plan)
        else:
            yield from _seeds(currents, plan)


def _seeds(currents: Sequence[CurrentAttempt], plan: Experiment) -> Iterator[Block]:
    if currents[0].variant is not None:
        yield Paragraph((Strong(label(currents[0].sub_experiment, currents[0].variant)),))
    for current in currents:
        blocks = list(_outcome_blocks(current))
        if blocks:
            yield Paragraph((Strong(current.label),))
            yield from blocks
    tiers, judged = tiers_by_metric(plan.success_criteria.values()), _judged(plan)
    names = dict.fromkeys(name for current in currents for name in current.record.metrics)
    rows = []
    for name in names:
        values = [number(current.record.metrics.get(name)) for current in currents]
        numbers = [as_float(value) for value in values if value is not None]
        if numbers:
            shown = [number_text(v, tiers.get(name, ())) for v in values[:_SHOWN_SEEDS]]
            rows.append((_name(name, judged), (mean_text(numbers),), *((text,) for text in shown)))
    if rows:
        seeds = [f"Seed {current.seed}" for current in currents[:_SHOWN_SEEDS]]
        yield Table(("Metric", f"Mean (SD) of {len(currents)} seeds", *seeds), tuple(rows[:_SHOWN_METRICS]))
    if len(rows) > _SHOWN_METRICS or len(currents) > _SHOWN_SEEDS:
        yield Paragraph(("More metrics or seeds are in results.yaml.",))
    for current in currents:
        yield from _artifacts(current)


def mean_text(values: Sequence[float]) -> str:
    """Return the mean and standard deviation of several values: ``0.942 (SD 0.008)``."""
    import statistics  # slow to import, and many runs have no seeds

    try:
        spread = f" (SD {number_text(statistics.stdev(values))})" if len(values) > 1 else ""
        return f"{number_text(statistics.mean(values))}{spread}"
    except (OverflowError, AttributeError, ValueError):  # not finite, or too large
        return DASH


def _judged(plan: Experiment) -> set[str]:
    return {c.metric_name for c in plan.success_criteria.values()}


def _name(name: str, judged: set[str]) -> Spans:
    return (Strong(name),) if name in judged else (Code(name),)


def _outcome_blocks(current: CurrentAttempt) -> Iterator[Block]:
    """Yield how an attempt ended, its hints, its declared evidence and its finding."""
    yield from ended(current)
    for hint in current.record.hints:
        more = more_of(hint)
        where: Spans = (" (", Code(more), ")") if more else ()
        yield Paragraph((Strong("Hint"), f": {hint.cause} {hint.fix}".rstrip(), *where))
    yield from declared(current)
    if current.record.finding:
        yield Paragraph((current.record.finding.strip(),))


def ended(current: CurrentAttempt) -> Iterator[Block]:
    """Yield how an attempt ended if it did not complete."""
    if current.status is not Status.COMPLETED:
        why = current.record.error.line if current.record.error else current.record.reason
        title = str(current.status).replace("_", " ").capitalize()
        yield Paragraph((Strong(title), f": {why}" if why else "."))


def declared(current: CurrentAttempt) -> Iterator[Block]:
    """Yield the evidence that an attempt declared."""
    for evidence in current.record.evidence:
        place = f" at {evidence.place}" if evidence.place else ""
        yield Paragraph((Strong(f"Evidence: {evidence.kind}"), f" ({evidence.reason}), declared{place}."))


def _current(current: CurrentAttempt, plan: Experiment) -> Iterator[Block]:
    if current.variant is not None or current.seed is not None:
        yield Paragraph((Strong(current.label),))
    yield from _outcome_blocks(current)
    judged, tiers = _judged(plan), tiers_by_metric(plan.success_criteria.values())
    shown = ((name, _shown(value, tiers.get(name, ()))) for name, value in current.record.metrics.items())
    rows = [(name, value) for name, value in shown if value]
    if rows:
        yield Table(
            ("Metric", "Value"),
            tuple((_name(name, judged), (value,)) for name, value in rows[:_SHOWN_METRICS]),
        )
    if len(rows) > _SHOWN_METRICS:
        yield Paragraph((f"{len(rows) - _SHOWN_METRICS} more metrics are in results.yaml.",))
    yield from _artifacts(current)


def _shown(value: object, against: tuple[float, ...]) -> str:
    """Return a metric as a table shows it, or an empty string if it is only in results.yaml."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if len(value) <= _SHOWN_TEXT else ""
    found = number(value)
    return "" if found is None else number_text(found, against)


_IMAGES = (".png", ".svg", ".jpg", ".jpeg", ".gif", ".webp")


def _artifacts(current: CurrentAttempt) -> Iterator[Block]:
    files: list[Span] = []
    for artifact in current.record.artifacts:
        name = artifact.path.rpartition("/")[2]
        if artifact.type == "image" or name.lower().endswith(_IMAGES):
            yield Paragraph((Link(name, artifact.path, image=True),))
        else:
            files += [Link(name, artifact.path), ", "]
    if files:
        links: list[Span] = ["Files: ", *files]
        yield Paragraph((*links[:-1], "."))


def attempts_table(state: ExperimentState, most: int | None = None) -> Table:
    """Return the history of every sub-experiment that has more than one attempt.

    At most ``most`` rows are kept: first attempts that did not complete, then current ones, then the newest.
    """
    every = [(sub, past) for sub in state.subs.values() for past in sub.history if len(sub.history) > 1]
    if most is not None and len(every) > most:
        urgent = sorted(range(len(every)), key=lambda place: (_rank(*every[place]), -place))[:most]
        every = [every[place] for place in sorted(urgent)]
    judged = judged_metrics(state.plan)
    rows = tuple(
        _attempt_row(sub, past, judged, tiers_by_metric(state.plan.success_criteria.values()))
        for sub, past in every
    )
    return Table(("Sub-experiment", "Attempt", "Started", "Status", "Values", "Verdicts"), rows)


def _rank(sub: SubState, past: AttemptRecord) -> int:
    if past.status is not Status.COMPLETED:
        return 0
    return 1 if any(current.attempt == past.key.sequence for current in sub.currents) else 2


def _attempt_row(
    sub: SubState, past: AttemptRecord, judged: Collection[str], tiers: dict[str, tuple[float, ...]]
) -> tuple[Spans, ...]:
    name = past.label
    counts = any(c.attempt == past.key.sequence for c in sub.currents)
    values = ", ".join(
        f"{key} {number_text(number(value), tiers.get(key, ()))}"
        for key, value in judged_values(past, judged).items()
    )
    verdicts = ", ".join(f"{key} {value.replace('_', ' ')}" for key, value in past.verdicts.items())
    return (
        (Code(name),),
        (f"{past.key.sequence}{' (counts)' if counts else ''}",),
        ((past.started_at or DASH)[:19].replace("T", " "),),
        (str(past.status).replace("_", " "),),
        (values or DASH,),
        (verdicts or DASH,),
    )
