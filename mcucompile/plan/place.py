"""Placement: a schedule becomes a plan; every store, ring and scratch memory gets an address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mcucompile.ir.storage import stored_bytes
from mcucompile.plan import offsets
from mcucompile.plan.memories import Memory, beyond_borders, borders, parts
from mcucompile.plan.offsets import Block, Span
from mcucompile.plan.plan import ARENA_ALIGN, Buffer, Place, Plan, Pull, Region, Segment, Step
from mcucompile.plan.program import KernelCall, Operand, Program
from mcucompile.plan.segments import Schedule
from mcucompile.plan.simulate import asking_order, turn_call, turn_rows
from mcucompile.plan.stores import INPUT, Network, Store, Task
from mcucompile.plan.trace import Owner, Trace, Use


@dataclass(frozen=True)
class Layout:
    """Base of every owner of bytes; bytes of the arena; the most bytes in use at one tick; what
    every layout needs, as is proved; live bytes of each step at its worst tick."""

    bases: Mapping[Owner, int]
    size: int
    bound: int
    proved: int
    live: Mapping[int, int]


def lay_out(net: Network, schedule: Schedule, memories: Sequence[Memory] = ()) -> Layout:
    """Addresses for everything that `schedule` keeps in memory."""
    uses, ticks = _all_uses(net, schedule.traces)
    heads = _heads(schedule.traces)
    spans: dict[Owner, list[Span]] = {}
    for use in uses:
        owner = heads.get(use.owner, use.owner)
        spans.setdefault(owner, []).append(Span(use.first, use.last, use.lo, use.hi))
    blocks = {owner: Block(_joined(found)) for owner, found in spans.items()}
    placement = offsets.place(list(blocks.values()), ARENA_ALIGN, borders=borders(memories))
    bases = dict(zip(blocks, placement.bases, strict=True))
    for owner, head in heads.items():
        bases[owner] = bases[head]
    live = offsets.live_bytes(list(blocks.values()))
    worst: dict[int, int] = {}
    for tick, step in enumerate(ticks):
        worst[step] = max(worst.get(step, 0), live[tick] if tick < len(live) else 0)
    bound = max(live, default=0)
    return Layout(bases, aligned(placement.size), aligned(bound), placement.bound, worst)


def aligned(size: int) -> int:
    """`size` rounded up to ARENA_ALIGN."""
    return -(-size // ARENA_ALIGN) * ARENA_ALIGN


def _all_uses(net: Network, traces: Iterable[Trace]) -> tuple[list[Use], list[int]]:
    """Uses of all segments on one time scale, those of waiting stores included; and the step that
    each tick belongs to."""
    found = [  # before anything is computed the inputs are there, even rows that nobody reads
        Use(Owner("store", s.index), 0, 0, 0, s.size) for s in net.stores if s.first == INPUT
    ]
    steps = [0]
    for trace in traces:
        now = len(steps)
        steps += _tick_steps(trace)
        for u in trace.uses:
            found.append(u._replace(first=u.first + now, last=u.last + now))
        touched = {u.owner for u in trace.uses}
        for s in net.stores:
            owner = Owner("store", s.index)
            if s.first < trace.first <= s.last and owner not in touched:
                found.append(Use(owner, now, now + trace.ticks - 1, 0, s.size))
    return found, steps


def _tick_steps(trace: Trace) -> list[int]:
    if trace.mode == "whole":
        return [trace.first] * trace.ticks
    return [e.step for e in trace.events]


def _heads(traces: Iterable[Trace]) -> dict[Owner, Owner]:
    """Store -> the store at whose base it is, where a result takes over an operand's bytes."""
    heads: dict[Owner, Owner] = {}
    for trace in traces:
        for result, source in trace.merged.items():
            owner = Owner("store", source)
            heads[Owner("store", result)] = heads.get(owner, owner)
    return heads


def _joined(spans: list[Span]) -> tuple[Span, ...]:
    """`spans` in order of time; neighbours that use the same bytes are one."""
    joined: list[Span] = []
    for s in sorted(spans, key=lambda s: s.first):
        last = joined[-1] if joined else None
        if last is not None and (last.lo, last.hi, last.last + 1) == (s.lo, s.hi, s.first):
            joined[-1] = replace(last, last=s.last)
        else:
            joined.append(s)
    return tuple(joined)


def state_bytes(program: Program) -> int:
    """Bytes that outlive a run. They are in use at all times, so that a place of their own beside
    everything else is as good as any."""
    return sum(aligned(call.state) for call in program.calls)


def assemble(
    net: Network,
    schedule: Schedule,
    layout: Layout,
    keep_input: bool,
    memories: Sequence[Memory] = (),
) -> Plan:
    """The plan that runs `schedule` in `layout`."""
    program = net.program

    def named(name: str) -> Region:
        store = net.store_of[program.root(name)]
        if store is net.pushed and pushed is not None:
            return pushed.region
        base = layout.bases[Owner("store", store.index)]
        return Region(base, base + stored_bytes(program.values[name]))

    steps: list[Step] = []
    for trace in schedule.traces:
        steps += _Assembler(net, trace, layout).steps()
    kept = state_bytes(program)
    states = beyond_borders(layout.size, kept, memories)
    steps = _with_states(steps, states, kept)
    pushed = _pushed_place(net, schedule.traces[0], layout) if net.pushed is not None else None
    buffers = (*_buffers(net, schedule, layout), *_state_buffers(steps))
    return Plan(
        program=program,
        steps=tuple(steps),
        segments=tuple(_segment(net, t) for t in schedule.traces),
        buffers=buffers,
        arena_size=states + kept if kept else layout.size,
        lower_bound=layout.bound + kept,
        proved_bound=layout.proved + kept,
        inputs={name: named(name) for name in program.inputs},
        outputs={name: named(name) for name in program.outputs},
        keeps_inputs=keep_input,
        pushed=pushed,
        parts=parts(memories, (b.region for b in buffers)),
    )


def _with_states(steps: Sequence[Step], offset: int, kept: int) -> list[Step]:
    """`steps` with their states, one after the other from `offset` on, `kept` bytes in all."""
    found = []
    for step in steps:
        size = step.call.state
        state = Region(offset, offset + size) if size else None
        found.append(replace(step, state=state, live=step.live + kept))
        offset += aligned(size)
    return found


def _state_buffers(steps: Sequence[Step]) -> Iterator[Buffer]:
    for k, step in enumerate(steps):
        if step.state is not None:
            yield Buffer(f"state of step {k}", step.state, 0, len(steps) - 1, (), "state")


def _pushed_place(net: Network, trace: Trace, layout: Layout) -> Place:
    """Where the rows of the pushed input go."""
    store = net.pushed
    assert store is not None
    ring = store.index in trace.heights
    base = layout.bases[Owner("ring" if ring else "store", store.index)]
    rows = trace.heights[store.index] if ring else store.rows
    return Place(base, store.row_bytes, rows, store.row_bytes)


class _Assembler:
    """Steps of one segment."""

    def __init__(self, net: Network, trace: Trace, layout: Layout) -> None:
        self.net, self.trace, self.layout = net, trace, layout
        tasks = net.tasks[trace.first : trace.end]
        self.hosts = {t.writes[0].index: t for t in tasks if t.step in trace.taken}

    def steps(self) -> list[Step]:
        return [self._step(t) for t in self.net.tasks[self.trace.first : self.trace.end]]

    def _step(self, task: Task) -> Step:
        call, rows = self._call(task)
        base = self.layout.bases.get(Owner("scratch", task.step))
        scratch = None if base is None else Region(base, base + call.scratch)
        return Step(
            call=call,
            reads=tuple(
                None if store is None else self._place(store, operand)
                for store, operand in zip(task.reads, call.reads, strict=True)
            ),
            writes=tuple(
                self._place(store, operand)
                for store, operand in zip(task.writes, call.writes, strict=True)
            ),
            scratch=scratch,
            rows=rows,
            live=self.layout.live[task.step],
        )

    def _call(self, task: Task) -> tuple[KernelCall, int]:
        """The call, and how many rows it computes at a time."""
        if self.trace.mode == "whole":
            return task.whole, (task.whole.reads if task.whole.folds else task.whole.writes)[0].rows
        call = turn_call(task, self.trace.turn)
        rows = turn_rows(task, self.trace.turn)
        if not task.is_steppable:
            rows = (call.reads if call.folds else call.writes)[0].rows
        return replace(call, windows=task.windows), rows

    def _place(self, store: Store, operand: Operand) -> Place:
        """Where the rows of an operand are."""
        rows, row_bytes = operand.rows, operand.row_bytes
        inset = self.net.program.insets.get(operand.value)
        if inset is not None:
            base = self.layout.bases[Owner("store", store.index)] + inset.offset
            pitch = row_bytes if inset.is_dense else inset.pitch
            return Place(base, row_bytes, rows, pitch)
        host = self.hosts.get(store.index)
        if host is not None:
            ring, window = host.reads[0], host.windows[0]
            assert ring is not None
            assert window is not None
            height = self.trace.heights[ring.index]
            base = self.layout.bases[Owner("ring", ring.index)]
            lead = -window.top % height
            return Place(base, row_bytes, height, ring.row_bytes, window.stride, lead)
        if store.index not in self.trace.heights:
            base = self.layout.bases[Owner("store", store.index)]
            return Place(base, row_bytes, rows, row_bytes)
        base = self.layout.bases[Owner("ring", store.index)]
        if rows == store.rows:
            rows = self.trace.heights[store.index]
        return Place(base, row_bytes, rows, row_bytes)


def _segment(net: Network, trace: Trace) -> Segment:
    if trace.mode == "whole":
        return Segment(trace.first, trace.end, "whole", (trace.first,))
    tasks = net.tasks[trace.first : trace.end]
    asked = {p for t in tasks for p in t.producers}
    pulls: dict[int, tuple[Pull, ...]] = {}
    for task in tasks:
        slots = [s for s in asking_order(task, trace.order) if (task.step, s) in trace.pulls]
        if slots:
            pulls[task.step] = tuple(Pull(s, task.producers[s]) for s in slots)
    return Segment(
        trace.first,
        trace.end,
        "rows",
        sinks=tuple(t.step for t in tasks if t.step not in asked),
        rest=trace.rest,
        pulls=pulls,
    )


def _buffers(net: Network, schedule: Schedule, layout: Layout) -> tuple[Buffer, ...]:
    views: dict[str, list[str]] = {name: [name] for name in net.store_of}
    for view in (*net.program.aliases, *net.program.insets):
        if net.program.root(view) in views:
            views[net.program.root(view)].append(view)
    found = []
    for trace in schedule.traces:
        for task in net.tasks[trace.first : trace.end]:
            base = layout.bases.get(Owner("scratch", task.step))
            if base is not None:
                size = turn_call(task, trace.turn).scratch
                if trace.mode == "whole":
                    size = task.whole.scratch
                place = Region(base, base + size)
                name = f"scratch of step {task.step}"
                found.append(Buffer(name, place, task.step, task.step, (), "scratch"))
    heights = {i: h for t in schedule.traces for i, h in t.heights.items()}
    for s in net.stores:
        values = tuple(v for name in s.values for v in views[name])
        ring = Owner("ring", s.index) if s.index in heights else None
        base = layout.bases.get(ring or Owner("store", s.index))
        if base is None:  # a result that lives in its operand's ring
            continue
        size = heights[s.index] * s.row_bytes if ring else s.size
        region = Region(base, base + size)
        first = max(s.first, 0)
        kind: Literal["ring", "activation"] = "ring" if ring else "activation"
        found.append(Buffer(s.values[0], region, first, s.last, values, kind))
    return tuple(sorted(found, key=lambda b: (b.first, b.kind, b.region.offset)))
