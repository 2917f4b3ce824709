"""When each value needs its bytes, and which values may take the bytes of another in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mcucompile.errors import InternalError, UnsupportedModelError
from mcucompile.plan.offsets import Block, Span
from mcucompile.plan.plan import ARENA_ALIGN
from mcucompile.plan.program import KernelCall, Operand, Program

Owner = str | int  # of a block: the name of a stored value, or the step whose scratch it is

INPUT = -1  # "step" that produces the model's inputs: the caller, before step 0


@dataclass(frozen=True)
class Lifetime:
    """A stored value (never a view) occupies `size` bytes during steps first..last, inclusive.

    producer: the step that writes it, INPUT for a model input. kept: nothing may overwrite it
    before the end of the run (a model output, or an input that the caller wants back).
    """

    name: str
    size: int
    producer: int
    first: int
    last: int
    kept: bool


@dataclass(frozen=True)
class InPlace:
    """At the step that writes `result`, it may take the bytes of one of `sources`, best first."""

    result: str
    sources: tuple[str, ...]


def lifetimes(program: Program, keep_input: bool = False) -> dict[str, Lifetime]:
    """Lifetimes of all values that need bytes in the arena, in order of production.

    A value lives from the step that writes it until the last step that reads it or one of its
    views; a model input from step 0 on, a model output until the last step. Constants stay in
    flash. keep_input: inputs live until the last step too.
    Raises UnsupportedModelError MC105 if a model output is a constant.
    """
    end = max(len(program.calls) - 1, 0)
    lives: dict[str, Lifetime] = {}
    for name in map(program.root, program.inputs):
        last = end if keep_input else 0
        lives[name] = Lifetime(name, stored_bytes(program, name), INPUT, 0, last, keep_input)
    for step, call in enumerate(program.calls):
        for operand in call.reads:
            root = _read_root(program, call, operand, lives)
            if root is not None:
                lives[root] = replace(lives[root], last=max(step, lives[root].last))
        for operand in call.writes:
            name = operand.value
            if name in lives or name in program.aliases:
                raise InternalError(f"lowering: {call.op} writes {name}, which exists")
            lives[name] = Lifetime(name, stored_bytes(program, name), step, step, step, False)
    for name in program.outputs:
        root = _output_root(program, name, lives)
        lives[root] = replace(lives[root], last=end, kept=True)
    return lives


def _read_root(
    program: Program, call: KernelCall, operand: Operand, lives: Mapping[str, Lifetime]
) -> str | None:
    """The stored value behind an operand; None for a constant."""
    root = program.root(operand.value)
    if program.values[root].is_constant:
        return None
    if root not in lives:
        raise InternalError(f"lowering: {call.op} reads {root} before it is written")
    return root


def _output_root(program: Program, name: str, lives: Mapping[str, Lifetime]) -> str:
    root = program.root(name)
    if program.values[root].is_constant:
        raise UnsupportedModelError(
            "MC105",
            f"output '{program.values[name].onnx_name or name}'",
            "cannot be compiled",
            "it is a constant: it does not depend on the model's input",
            "remove this output from the model",
        )
    if root not in lives:
        raise InternalError(f"lowering: nothing writes the output {name}")
    return root


def stored_bytes(program: Program, name: str) -> int:
    """Bytes of the value `name`."""
    value = program.values[name]
    return value.elements * np.dtype(value.dtype).itemsize


def in_place_options(program: Program, lives: Mapping[str, Lifetime]) -> tuple[InPlace, ...]:
    """Every result that may be written in place, in program order.

    The source must die at this step, and each slot through which the call reads it must allow
    the sharing. The best source saves most bytes; among equals it is the one produced last (the
    main branch of a residual connection: its bytes are on top of what has to wait).
    """
    options = []
    for step, call in enumerate(program.calls):
        for slot, operand in enumerate(call.writes):
            result = lives[operand.value]
            sources = [
                lives[name]
                for name in _shareable(program, call, slot)
                if name in lives and lives[name].last == step and not lives[name].kept
            ]
            sources.sort(key=lambda s: (-min(s.size, result.size), -s.producer, s.name))
            if sources:
                options.append(InPlace(result.name, tuple(s.name for s in sources)))
    return tuple(options)


def _shareable(program: Program, call: KernelCall, write: int) -> list[str]:
    """Stored values that `call` reads only through slots that may share bytes with `write`."""
    slots: dict[str, list[int]] = {}
    for slot, operand in enumerate(call.reads):
        slots.setdefault(program.root(operand.value), []).append(slot)
    return [
        root
        for root, reads in slots.items()
        if all((read, write) in call.in_place for read in reads)
    ]


def blocks(
    program: Program, lives: Mapping[str, Lifetime], shared: Mapping[str, str]
) -> dict[Owner, Block]:
    """What has to be placed.

    shared: result -> source of the values that are written in place. A chain of such values is
    one block, owned by the first; at each step it needs the bytes of the value that is alive
    then. Scratch memory is a block of one step. Sizes are rounded up to ARENA_ALIGN.
    """
    chains: dict[str, list[Lifetime]] = {}
    heads: dict[str, str] = {}
    for name, life in lives.items():
        source = shared.get(name)
        head = heads[name] = name if source is None else heads[source]
        chains.setdefault(head, []).append(life)
    found: dict[Owner, Block] = {n: Block(_profile(chain)) for n, chain in chains.items()}
    for step, call in enumerate(program.calls):
        if call.scratch:
            found[step] = Block((Span(step, step, 0, aligned(call.scratch)),))
    return found


def aligned(size: int) -> int:
    """`size` rounded up to ARENA_ALIGN."""
    return -(-size // ARENA_ALIGN) * ARENA_ALIGN


def _profile(chain: list[Lifetime]) -> tuple[Span, ...]:
    """Spans of a block whose bytes the values of `chain` have one after the other.

    At the step of a handover both values count, hence the larger of them.
    """
    spans: list[Span] = []
    for life in chain:
        size, first = aligned(life.size), life.first
        if spans and spans[-1].last == first:  # the handover, a span of its own
            before = spans.pop()
            if before.first < first:
                spans.append(replace(before, last=first - 1))
            spans.append(Span(first, first, 0, max(before.hi, size)))
            first += 1
        if first <= life.last:
            spans.append(Span(first, life.last, 0, size))
    return tuple(spans)
