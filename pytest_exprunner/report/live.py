"""Render progress as the lines that a user watches during a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pytest_exprunner._util.serialization import Plain
from pytest_exprunner.report.terminal import safe
from pytest_exprunner.schedule.progress import Progress
from pytest_exprunner.verdicts.formatting import number_text

_BAR = 12
_MAX_LINES = 12
_MAX_METRICS = 4
_LONG = 10_000_000.0  # seconds; a longer estimate is implausible


def block(running: Sequence[Progress], now: float, width: int) -> list[str]:
    """Return a line per running attempt, the longest running first, none wider than ``width``."""
    ordered = sorted(running, key=lambda progress: (progress.began, progress.label))
    shown = ordered[:_MAX_LINES]
    names = max((len(safe(progress.label, 40)) for progress in shown), default=0)
    lines = [_cut(line(progress, now, names, width), width) for progress in shown]
    if len(ordered) > len(shown):
        lines.append(_cut(f"… and {len(ordered) - len(shown)} more", width))
    return lines


def line(progress: Progress, now: float, names: int = 0, width: int = 10_000) -> str:
    """Return ``e_p2_1  0:42  [2/5] Training  ████░░░░ 45%  3.2/s  12 s left  loss 0.231 (step 40)``.

    If it is wider than ``width``, the least important parts are left out: the bar, the rate, the title.
    """
    parts = {
        "label": f"{safe(progress.label, 40):<{names}}",
        "clock": clock(now - progress.began),
        "stage": _stage(progress),
        "bar": " ".join(part for part in (_bar(progress), _how_far(progress)) if part),
        "rate": _rate(progress),
        "left": _left(progress.remaining(now)),
        "metrics": _metrics(progress.metrics, progress.step),
    }
    for least, shorter in (("", ""), ("bar", _how_far(progress)), ("rate", ""), ("stage", "")):
        parts[least] = shorter
        text = "  ".join(part for part in parts.values() if part)
        if len(text) <= width:
            return text
    return text


def clock(seconds: float) -> str:
    """Return a duration such as ``0:42`` or ``1:02:03``."""
    total = max(int(seconds), 0) if math.isfinite(seconds) else 0
    hours, rest = divmod(total, 3600)
    minutes, last = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{last:02d}" if hours else f"{minutes}:{last:02d}"


def _stage(progress: Progress) -> str:
    texts = [safe(text, 40) for text in (progress.stage, progress.title) if text]
    place = ""
    if progress.stage_number is not None:
        place = f"[{progress.stage_number}/{progress.stages or '?'}] "
    return f"{place}{': '.join(dict.fromkeys(texts))}"


def _how_far(progress: Progress) -> str:
    if progress.fraction is None:
        return "" if progress.done is None else f"{progress.done} done"
    steps = f" ({progress.done}/{progress.total})" if progress.total else ""
    return f"{progress.fraction:.0%}{steps}"


def _bar(progress: Progress) -> str:
    full = round((progress.fraction or 0.0) * _BAR)
    return "" if progress.fraction is None else f"{'█' * full}{'░' * (_BAR - full)}"


def _rate(progress: Progress) -> str:
    if not progress.rate:
        return ""
    if progress.rate < 1:
        return f"{1 / progress.rate:.1f} s each"
    return f"{progress.rate:.1f}/s" if progress.rate < 100 else f"{progress.rate:,.0f}/s"


def _left(seconds: float | None) -> str:
    if seconds is None or not seconds < _LONG:
        return ""
    return f"{seconds:.0f} s left" if seconds < 100 else f"{clock(seconds)} left"


def _metrics(metrics: Mapping[str, Plain], step: int | None) -> str:
    shown = [
        f"{safe(name, 24)} {number_text(value)}"
        for name, value in metrics.items()
        if isinstance(value, int | float)
    ]
    if not shown:
        return ""
    more = ", …" if len(shown) > _MAX_METRICS else ""
    text = ", ".join(shown[:_MAX_METRICS]) + more
    return text if step is None else f"{text} (step {step})"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"
