"""The independent checker: is this plan right? Trusts nothing that the planner says.

It shares no code with the planner and does not look at lifetimes. It walks the steps with a tag
on every byte of the arena, the value that was last written there, and requires of each step that
every operand is found intact. From that alone it follows that no value is overwritten too early.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from mcucompile.errors import InternalError
from mcucompile.ir import Array
from mcucompile.plan.plan import ARENA_ALIGN, Buffer, Plan, Region, Step
from mcucompile.plan.program import Operand, Program

NOTHING = "nothing"


def check_plan(plan: Plan) -> None:
    """Raise InternalError, naming step and values, unless running `plan` computes its program.

    Checked: the steps are the program's calls; every region is aligned, of its operand's size and
    inside the arena; every read, and every output at the end, finds its value intact; a step
    writes over what it reads only where the kernel allows it, at the same base address; scratch
    memory touches nothing that the step reads or writes; inputs survive where that is promised;
    the buffers say the same as the steps.
    """
    _check_calls(plan)
    arena = _Arena.of(plan)
    _load_inputs(plan, arena)
    for i, step in enumerate(plan.steps):
        where = f"plan: step {i} ({step.call.op})"
        _check_reads(plan.program, step, arena, where)
        _check_disjoint(step, where)
        _write_results(plan.program, step, arena, where)
    for name in plan.program.outputs:
        arena.expect(_home(plan.program, name), plan.outputs[name], f"plan: output '{name}'")
    if plan.keeps_inputs:
        for name in plan.program.inputs:
            arena.expect(_home(plan.program, name), plan.inputs[name], f"plan: input '{name}'")
    _check_buffers(plan)


@dataclass
class _Arena:
    """tags: per byte, an index into `names`: the value written there last."""

    tags: Array
    names: list[str] = field(default_factory=lambda: [NOTHING])

    @classmethod
    def of(cls, plan: Plan) -> _Arena:
        size = plan.arena_size
        if size < 0 or size % ARENA_ALIGN:
            raise InternalError(f"plan: the arena has {size} bytes, which is not aligned")
        return cls(np.zeros(size, dtype=np.int32))

    def check_place(self, region: Region, size: int, where: str) -> None:
        if region.offset % ARENA_ALIGN:
            raise InternalError(f"{where}: {_text(region)} is not aligned")
        if not 0 <= region.offset <= region.end <= self.tags.size:
            raise InternalError(f"{where}: {_text(region)} is not inside the arena")
        if region.end - region.offset != size:
            raise InternalError(f"{where}: {_text(region)} is not {size} bytes long")

    def write(self, name: str, region: Region) -> None:
        self.names.append(name)
        self.tags[region.offset : region.end] = len(self.names) - 1

    def expect(self, name: str, region: Region, where: str) -> None:
        """Raise unless every byte of `region` is one of value `name`, in its place."""
        found = self.tags[region.offset : region.end]
        for tag in np.unique(found):
            if self.names[tag] != name:
                at = region.offset + int(np.argmax(found == tag))
                raise InternalError(
                    f"{where}: '{name}' in {_text(region)} is not intact: "
                    f"byte {at} holds '{self.names[tag]}'"
                )


def _check_calls(plan: Plan) -> None:
    calls = plan.program.calls
    if len(plan.steps) != len(calls):
        raise InternalError(f"plan: {len(plan.steps)} steps for {len(calls)} kernel calls")
    for i, (step, call) in enumerate(zip(plan.steps, calls, strict=True)):
        same = step.call == call and len(step.reads) == len(call.reads)
        if not same or len(step.writes) != len(call.writes):
            raise InternalError(f"plan: step {i} is not the program's call of {call.op}")
    if tuple(plan.inputs) != tuple(dict.fromkeys(plan.program.inputs)):
        raise InternalError("plan: the inputs are not the program's")
    if tuple(plan.outputs) != tuple(dict.fromkeys(plan.program.outputs)):
        raise InternalError("plan: the outputs are not the program's")


def _load_inputs(plan: Plan, arena: _Arena) -> None:
    """The caller writes the inputs: all are there before step 0."""
    program = plan.program
    for name in program.inputs:
        arena.check_place(plan.inputs[name], _bytes(program, name), f"plan: input '{name}'")
        arena.write(_home(program, name), plan.inputs[name])
    for name in program.inputs:
        arena.expect(_home(program, name), plan.inputs[name], f"plan: input '{name}'")
    for name in program.outputs:
        arena.check_place(plan.outputs[name], _bytes(program, name), f"plan: output '{name}'")


def _check_reads(program: Program, step: Step, arena: _Arena, where: str) -> None:
    for operand, region in zip(step.call.reads, step.reads, strict=True):
        in_flash = program.values[_home(program, operand.value)].data is not None
        if in_flash != (region is None):
            raise InternalError(f"{where}: constants, and only they, are read from flash")
        if region is not None:
            _check_size(program, operand, where)
            arena.check_place(region, operand.size, f"{where} reads '{operand.value}'")
            arena.expect(_home(program, operand.value), region, f"{where} reads '{operand.value}'")


def _check_size(program: Program, operand: Operand, where: str) -> None:
    if operand.rows * operand.row_bytes != _bytes(program, operand.value):
        raise InternalError(f"{where}: operand '{operand.value}' is not the size of its value")


def _check_disjoint(step: Step, where: str) -> None:
    """Nothing that a kernel writes may touch its other operands, but for what it allows."""
    call = step.call
    written = [
        (f"result '{o.value}'", j, r)
        for j, (o, r) in enumerate(zip(call.writes, step.writes, strict=True))
    ]
    if call.scratch or step.scratch is not None:
        written.append(("its scratch", -1, _scratch(step, where)))
    read = [
        (o.value, i, r)
        for i, (o, r) in enumerate(zip(call.reads, step.reads, strict=True))
        if r is not None
    ]
    for k, (what, j, region) in enumerate(written):
        for name, i, source in read:
            in_place = (i, j) in call.in_place and source.offset == region.offset
            if not in_place and _meet(region, source):
                raise InternalError(f"{where}: {what} overlaps the operand '{name}'")
        for other, _, target in written[:k]:
            if _meet(region, target):
                raise InternalError(f"{where}: {what} overlaps {other}")


def _scratch(step: Step, where: str) -> Region:
    if step.scratch is None or step.scratch.end - step.scratch.offset < step.call.scratch:
        raise InternalError(f"{where}: scratch is smaller than {step.call.scratch} bytes")
    return step.scratch


def _write_results(program: Program, step: Step, arena: _Arena, where: str) -> None:
    if step.scratch is not None:
        size = step.scratch.end - step.scratch.offset
        arena.check_place(step.scratch, size, f"{where} scratch")
        arena.write(f"scratch of {step.call.op}", step.scratch)
    for operand, region in zip(step.call.writes, step.writes, strict=True):
        _check_size(program, operand, where)
        arena.check_place(region, operand.size, f"{where} writes '{operand.value}'")
        arena.write(operand.value, region)


def _check_buffers(plan: Plan) -> None:
    """The report, the arena interpreter and debug builds believe the buffers: same places as in
    the steps, alive whenever a step uses them, from the start for inputs, to the end for outputs.
    """
    homes = {v: b for b in plan.buffers if b.kind == "activation" for v in b.values}
    scratch = {b.first: b for b in plan.buffers if b.kind == "scratch"}
    end = max(len(plan.steps) - 1, 0)
    for tick, name, region in _uses(plan, end):
        buffer = homes.get(name)
        if buffer is None:
            raise InternalError(f"plan: step {tick}: '{name}' has no buffer")
        _check_use(buffer, tick, name, region)
    for i, step in enumerate(plan.steps):
        own = scratch.get(i)
        if (own.region if own else None) != step.scratch:
            raise InternalError(f"plan: step {i}: the buffer of its scratch is somewhere else")
    _check_births(plan, homes)


def _uses(plan: Plan, end: int) -> Iterator[tuple[int, str, Region]]:
    """(step, value, place) of everything that must be alive."""
    yield from ((0, name, region) for name, region in plan.inputs.items())
    for i, step in enumerate(plan.steps):
        operands = (*step.call.reads, *step.call.writes)
        for operand, region in zip(operands, (*step.reads, *step.writes), strict=True):
            if region is not None:
                yield i, operand.value, region
    yield from ((end, name, region) for name, region in plan.outputs.items())
    if plan.keeps_inputs:
        yield from ((end, name, region) for name, region in plan.inputs.items())


def _check_use(buffer: Buffer, tick: int, name: str, region: Region) -> None:
    if not buffer.first <= tick <= buffer.last:
        raise InternalError(f"plan: step {tick}: the buffer of '{name}' is not alive")
    if region.offset != buffer.region.offset or region.end > buffer.region.end:
        raise InternalError(f"plan: step {tick}: the buffer of '{name}' is somewhere else")


def _check_births(plan: Plan, homes: Mapping[str, Buffer]) -> None:
    """A buffer is alive no earlier than its value, or dead bytes would count as alive."""
    for i, step in enumerate(plan.steps):
        for operand in step.call.writes:
            if homes[operand.value].first != i:
                raise InternalError(f"plan: the buffer of '{operand.value}' is alive too early")


def _home(program: Program, name: str) -> str:
    """The value whose bytes `name` is; views of views are refused."""
    home = program.aliases.get(name, name)
    if home in program.aliases:
        raise InternalError(f"plan: '{name}' is a view of the view '{home}'")
    return home


def _bytes(program: Program, name: str) -> int:
    value = program.values[name]
    return int(np.prod(value.shape, dtype=np.int64)) * np.dtype(value.dtype).itemsize


def _meet(a: Region, b: Region) -> bool:
    return max(a.offset, b.offset) < min(a.end, b.end)


def _text(region: Region) -> str:
    return f"[{region.offset}, {region.end})"
