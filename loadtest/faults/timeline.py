"""One cell over time, as an SVG picture: what was acknowledged, what was delivered, and when the fault was. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from loadtest.faults.outcome import STEP_SECONDS, Timeline
from loadtest.faults.verdict import BEGUN, ENDED, WHOLE

WIDTH, HEIGHT = 640, 90
_FLOOR = 74
_TOP = 6


def picture(timeline: Timeline) -> str:
    """Acknowledged grows upwards as an area, delivered is a line over it, the fault a shade behind both."""
    steps = max(len(timeline.acknowledged), len(timeline.delivered), 1)
    seconds = steps * STEP_SECONDS
    peak = max([1.0, *_smooth(timeline.acknowledged), *_smooth(timeline.delivered)])
    return "".join(
        (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="messages over {seconds:.0f} seconds">',
            _shade(timeline, seconds),
            f'<polygon class="sent" points="0,{_FLOOR} {_points(timeline.acknowledged, steps, peak)} '
            f'{_x(len(timeline.acknowledged), steps):.1f},{_FLOOR}"/>',
            f'<polyline class="got" points="{_points(timeline.delivered, steps, peak)}"/>',
            _axis(seconds, peak),
            "</svg>",
        )
    )


def _shade(timeline: Timeline, seconds: float) -> str:
    marks = dict(timeline.marks)
    begun = marks.get(BEGUN)
    if begun is None:
        return ""
    ended = marks.get(ENDED, seconds)
    whole = marks.get(WHOLE)
    left, right = begun / seconds * WIDTH, ended / seconds * WIDTH
    found = f'<rect class="fault" x="{left:.1f}" y="0" width="{max(1.0, right - left):.1f}" height="{_FLOOR}"/>'
    if whole is not None:
        at = whole / seconds * WIDTH
        title = f"<title>{escape(WHOLE)}</title>"
        found += f'<line class="whole" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{_FLOOR}">{title}</line>'
    return found


def _axis(seconds: float, peak: float) -> str:
    every = next(each for each in (1, 2, 5, 10, 20, 50, 100, 1_000) if seconds / each <= 16)
    ticks = (
        f'<text x="{at / seconds * WIDTH:.1f}" y="{HEIGHT - 4}">{at} s</text>' for at in range(0, int(seconds), every)
    )
    return f'<text x="{WIDTH - 2}" y="12" text-anchor="end">{peak / STEP_SECONDS:.0f}/s</text>' + "".join(ticks)


def _points(counts: Sequence[int], steps: int, peak: float) -> str:
    smooth = _smooth(counts)
    return " ".join(
        f"{_x(step + 0.5, steps):.1f},{_FLOOR - count / peak * (_FLOOR - _TOP):.1f}"
        for step, count in enumerate(smooth)
    )


def _smooth(counts: Sequence[int]) -> list[float]:
    """Each with its neighbours; a step in which nothing happened stays one."""
    return [
        sum(counts[max(0, step - 1) : step + 2]) / len(counts[max(0, step - 1) : step + 2]) if count else 0.0
        for step, count in enumerate(counts)
    ]


def _x(step: float, steps: int) -> float:
    return step / steps * WIDTH
