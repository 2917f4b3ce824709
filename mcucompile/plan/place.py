"""Placement: a program becomes a plan, whole tensors at fixed addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mcucompile.plan import offsets
from mcucompile.plan.lifetimes import (
    InPlace,
    Lifetime,
    Owner,
    blocks,
    in_place_options,
    lifetimes,
    stored_bytes,
)
from mcucompile.plan.plan import ARENA_ALIGN, Buffer, Plan, Region, Step
from mcucompile.plan.program import Operand, Program

TRIALS = 40  # other choices of what is written in place that are tried, at most


@dataclass(frozen=True)
class _Layout:
    """Base of every stored value and scratch; bytes of the arena; lower bound of the arena."""

    bases: Mapping[Owner, int]
    size: int
    bound: int


def make_plan(program: Program, keep_input: bool = False) -> Plan:
    """Addresses for `program`, run call by call on whole tensors.

    The bytes of a model input are used again after its last reader, so a run destroys the inputs
    unless `keep_input` is set. Deterministic.
    Raises UnsupportedModelError MC105 if a model output is a constant.
    """
    lives = lifetimes(program, keep_input)
    layout = _best_layout(program, lives)

    def region(operand: Operand) -> Region | None:
        base = layout.bases.get(program.root(operand.value))
        return None if base is None else Region(base, base + operand.size)

    def named(name: str) -> Region:
        base = layout.bases[program.root(name)]
        return Region(base, base + stored_bytes(program, name))

    steps = []
    for i, call in enumerate(program.calls):
        base = layout.bases.get(i)
        scratch = None if base is None else Region(base, base + call.scratch)
        reads = tuple(region(o) for o in call.reads)
        steps.append(Step(call, reads, tuple(named(o.value) for o in call.writes), scratch))
    return Plan(
        program=program,
        steps=tuple(steps),
        buffers=_buffers(program, lives, layout),
        arena_size=layout.size,
        lower_bound=layout.bound,
        inputs={name: named(name) for name in program.inputs},
        outputs={name: named(name) for name in program.outputs},
        keeps_inputs=keep_input,
    )


def _best_layout(program: Program, lives: Mapping[str, Lifetime]) -> _Layout:
    """The smallest layout over the choices of what is written in place.

    Writing everything in place that can be gives the least lower bound. If the placement does
    not meet it, giving up one sharing, or sharing with the other operand, may still help.
    """
    options = in_place_options(program, lives)
    shared = _all_in_place(options)
    best = _layout(program, lives, shared, offsets.WORK)
    goal = best.bound
    for trial, other in enumerate(_alternatives(options, shared)):
        if best.size <= goal or trial == TRIALS:
            break
        layout = _layout(program, lives, other, offsets.WORK // TRIALS)
        if layout.size < best.size:
            best = layout
    return replace(best, bound=min(goal, best.bound))


def _all_in_place(options: tuple[InPlace, ...]) -> dict[str, str]:
    """result -> source: the best source that no earlier result has taken."""
    shared: dict[str, str] = {}
    for option in options:
        free = [s for s in option.sources if s not in shared.values()]
        if free:
            shared[option.result] = free[0]
    return shared


def _alternatives(
    options: tuple[InPlace, ...], shared: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    """`shared` with one result written elsewhere: into another operand, or to bytes of its own."""
    for option in options:
        for source in option.sources:
            if source not in shared.values():
                yield {**shared, option.result: source}
    for option in options:
        yield {r: s for r, s in shared.items() if r != option.result}


def _layout(
    program: Program, lives: Mapping[str, Lifetime], shared: Mapping[str, str], work: int
) -> _Layout:
    owned = blocks(program, lives, shared)
    found = list(owned.values())
    placement = offsets.place(found, ARENA_ALIGN, work)
    bases = dict(zip(owned, placement.bases, strict=True))
    for result in lives:  # producers come first, so the source's base is known
        if result in shared:
            bases[result] = bases[shared[result]]
    return _Layout(bases, placement.size, max(offsets.live_bytes(found), default=0))


def _buffers(
    program: Program, lives: Mapping[str, Lifetime], layout: _Layout
) -> tuple[Buffer, ...]:
    views: dict[str, list[str]] = {name: [name] for name in lives}
    for view, root in program.aliases.items():
        if root in views:
            views[root].append(view)
    found = []
    for name, life in lives.items():
        place = Region(layout.bases[name], layout.bases[name] + life.size)
        values = tuple(views[name])
        found.append(Buffer(name, place, life.first, life.last, values, "activation"))
    for i, call in enumerate(program.calls):
        if call.scratch:
            base = layout.bases[i]
            place = Region(base, base + call.scratch)
            found.append(Buffer(f"scratch of step {i}", place, i, i, (), "scratch"))
    return tuple(sorted(found, key=lambda b: (b.first, b.kind, b.region.offset)))
