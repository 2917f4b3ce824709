"""Segments as the template prints them: loops in which steps ask for each other's rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mcucompile.plan.plan import CALLER, Plan, Segment
from mcucompile.plan.program import RowWindow


@dataclass(frozen=True)
class Asked:
    """A loop that computes rows of `step`, `turn` at a time, until there are `until` of `rows`.

    until: a C expression. pulls: the loops that run before each turn. called: the loop is the body
    of a function, which is called here. step is CALLER where the caller must have handed over that
    many rows of the input.
    """

    step: int
    until: str
    rows: int
    turn: int
    pulls: tuple[Asked, ...]
    called: bool = False


@dataclass(frozen=True)
class SegmentView:
    """See plan.Segment. rows: of the only step of a whole segment.

    waits: it ends early where the caller must hand over rows first, and goes on when called again.
    functions: the loops that are needed in several places. shares: turns of the outer loop, in each
    of which every sink computes its share of rows; 1 if there is one sink and no such loop.
    """

    first: int
    last: int
    whole: bool
    rows: int
    waits: bool
    functions: tuple[Asked, ...]
    shares: int
    sinks: tuple[Asked, ...]
    rest: tuple[Asked, ...]


def segment_views(plan: Plan) -> list[SegmentView]:
    """The segments of `plan`, in order."""
    return [_Segment(plan, segment).view() for segment in plan.segments]


class _Segment:
    def __init__(self, plan: Plan, segment: Segment) -> None:
        self.plan, self.segment = plan, segment
        sites = [p.producer for pulls in segment.pulls.values() for p in pulls]
        counts = Counter([*sites, *segment.sinks, *segment.rest])
        self.shared = sorted(k for k, n in counts.items() if n > 1 and k != CALLER)

    def view(self) -> SegmentView:
        segment, steps = self.segment, self.plan.steps
        most = max(steps[k].total_rows for k in segment.sinks)
        several = len(segment.sinks) > 1

        def share(k: int) -> str:
            total = steps[k].total_rows
            if not several or most == 1:
                return str(total)
            return "share" if total == most else f"share * {total} / {most}"

        return SegmentView(
            first=segment.first,
            last=segment.end - 1,
            whole=segment.mode == "whole",
            rows=steps[segment.first].total_rows,
            waits=self.plan.pushed is not None and segment.first == 0,
            functions=tuple(self._loop(k, "until") for k in self.shared),
            shares=most if several else 1,
            sinks=tuple(self._ask(k, share(k)) for k in segment.sinks),
            rest=tuple(self._ask(k, str(steps[k].total_rows)) for k in segment.rest),
        )

    def _ask(self, k: int, until: str) -> Asked:
        if k == CALLER:
            return Asked(k, until, 0, 1, ())
        if k in self.shared:
            step = self.plan.steps[k]
            return Asked(k, until, step.total_rows, step.rows, (), called=True)
        return self._loop(k, until)

    def _loop(self, k: int, until: str) -> Asked:
        step = self.plan.steps[k]
        pulls = []
        for pull in self.segment.pulls.get(k, ()):
            window, rows = step.call.window(pull.slot), step.call.reads[pull.slot].rows
            if window is None:  # all rows, as their producer counts them
                need = str(self.plan.steps[pull.producer].total_rows)
            else:
                need = _need(window, f"end{k}", rows)
            pulls.append(self._ask(pull.producer, need))
        return Asked(k, until, step.total_rows, step.rows, tuple(pulls))


def _need(window: RowWindow, end: str, rows: int) -> str:
    """RowWindow.end(end - 1, rows) in C."""
    if window == RowWindow():
        return end
    if window.divide > 1:
        more = window.size - window.top
        times = "" if window.stride == 1 else f" * {window.stride}"
        return f"mcuc_up_to(({end} - 1){times} / {window.divide} + {more}, {rows})"
    more = window.size - window.top - window.stride
    scaled = end if window.stride == 1 else f"{end} * {window.stride}"
    return f"mcuc_up_to({scaled} {'-' if more < 0 else '+'} {abs(more)}, {rows})"
