"""Why the schedule is what it is, and what the next best choices would cost."""

from __future__ import annotations

from mcucompile.plan.plan import Alternative, Choice
from mcucompile.plan.segments import Schedule, Segmenter
from mcucompile.plan.trace import NEVER, Trace


def choices(segmenter: Segmenter, schedule: Schedule) -> tuple[Choice, ...]:
    """One for each segment of `schedule`, in order."""
    return tuple(_choice(segmenter, schedule, trace) for trace in schedule.traces)


def alternatives(segmenter: Segmenter) -> tuple[Alternative, ...]:
    """The two ends of what can be had: fewest instructions, fewest bytes."""
    least = segmenter.least_memory()
    assert least is not None
    ends = {"fewest instructions": segmenter.fastest(), "fewest bytes with these kernels": least}
    return tuple(Alternative(name, s.peak, round(s.cost)) for name, s in ends.items())


def _choice(segmenter: Segmenter, schedule: Schedule, trace: Trace) -> Choice:
    found = (_in_one_call if trace.mode == "rows" else _with_a_neighbour)(segmenter, trace)
    why = _why_rows(segmenter, trace) if trace.mode == "rows" else _why_whole(schedule, trace)
    return Choice(trace.peak, round(segmenter.price(trace)), why, found)


def _why_whole(schedule: Schedule, trace: Trace) -> str:
    if trace.peak == schedule.peak:
        return "in one call: no other way needs fewer bytes where the peak is"
    return f"in one call: other segments need {schedule.peak:,} bytes anyway"


def _why_rows(segmenter: Segmenter, trace: Trace) -> str:
    worst = max(range(trace.first, trace.end), key=lambda k: segmenter.wholes[k].peak)
    peak = segmenter.wholes[worst].peak
    if peak >= NEVER:
        return "row by row, as the caller hands over the input"
    return f"row by row: step {worst} in one call needs {peak:,} bytes"


def _in_one_call(segmenter: Segmenter, trace: Trace) -> Alternative | None:
    """The steps of a segment, each in one call."""
    wholes = segmenter.wholes[trace.first : trace.end]
    peak = max(w.peak for w in wholes)
    if peak >= NEVER:
        return None
    return Alternative("each in one call", peak, round(sum(map(segmenter.price, wholes))))


def _with_a_neighbour(segmenter: Segmenter, trace: Trace) -> Alternative | None:
    """A step row by row together with the one before or after it, whichever needs fewer bytes."""
    k = trace.first
    found = []
    for name, first, other in (("the step before", k - 1, k - 1), ("the next step", k, k + 1)):
        joined = segmenter.streamed(first, first + 2)
        if joined is not None:
            cost = segmenter.price(joined) - segmenter.price(segmenter.wholes[other])
            found.append(Alternative(f"row by row with {name}", joined.peak, round(cost)))
    return min(found, key=lambda a: a.peak, default=None)
