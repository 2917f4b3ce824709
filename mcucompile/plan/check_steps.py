"""Is a plan well-formed? What can be told of its steps and segments without running them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from mcucompile.errors import InternalError
from mcucompile.plan.plan import ARENA_ALIGN, CALLER, Place, Plan, Region, Segment, Step
from mcucompile.plan.program import KernelCall, Operand, Program, RowWindow


def check_steps(plan: Plan) -> None:
    """Raise InternalError unless the steps are the program's calls, each in its own or a permitted
    form and with places inside the arena, and the segments say how all of them are run."""
    program = plan.program
    if len(plan.steps) != len(program.calls):
        raise InternalError(f"plan: {len(plan.steps)} steps for {len(program.calls)} kernel calls")
    ends = [0, *(s.end for s in plan.segments)]
    if [*(s.first for s in plan.segments), len(plan.steps)] != ends:
        raise InternalError("plan: the segments do not cover the steps")
    for segment in plan.segments:
        _check_segment(plan, segment)
    for k, (step, call) in enumerate(zip(plan.steps, program.calls, strict=True)):
        where = f"plan: step {k} ({call.op})"
        _check_form(step, call, f"plan: step {k}")
        _check_places(plan, step, where)
        _check_lodging(step, plan.segment_of(k), where)
    for ports, names in ((plan.inputs, program.inputs), (plan.outputs, program.outputs)):
        if tuple(ports) != tuple(dict.fromkeys(names)):
            raise InternalError("plan: the inputs and outputs are not the program's")
        for name, region in ports.items():
            check_region(plan, region, f"plan: '{name}'")
            if plan.pushed is not None and ports is plan.inputs:
                continue
            if region.size != value_bytes(program, name):
                raise InternalError(f"plan: '{name}' is not the size of its value")


def _check_segment(plan: Plan, segment: Segment) -> None:
    """Steps ask earlier ones of their segment, or the caller; a whole segment is one call."""
    inside = range(segment.first, segment.end)
    where = f"plan: segment {segment.first} to {segment.end}"
    if not inside or not segment.sinks or not {*segment.sinks, *segment.rest} <= {*inside}:
        raise InternalError(f"{where} asks steps that are not its own")
    for k, pulls in segment.pulls.items():
        for pull in pulls:
            asked = pull.producer in range(segment.first, k) or pull.producer == CALLER
            if k not in inside or not asked or pull.slot not in range(len(plan.steps[k].reads)):
                raise InternalError(f"{where}: step {k} cannot ask step {pull.producer}")
    step = plan.steps[segment.first]
    alone = segment.end - segment.first == 1 and not segment.pulls
    if segment.mode == "whole" and not (alone and step.rows == step.total_rows):
        raise InternalError(f"{where} is not whole: it is no single call")


def _check_places(plan: Plan, step: Step, where: str) -> None:
    program = plan.program
    for operand, place in zip(step.call.reads, step.reads, strict=True):
        in_flash = program.values[program.root(operand.value)].data is not None
        if in_flash != (place is None):
            raise InternalError(f"{where}: constants, and only they, are in flash")
        if place is not None:
            _check_place(plan, operand, place, f"{where} reads '{operand.value}'")
    for operand, place in zip(step.call.writes, step.writes, strict=True):
        _check_place(plan, operand, place, f"{where} writes '{operand.value}'")
    _check_scratch(plan, step, where)
    _check_state(plan, step, where)


def _check_form(step: Step, call: KernelCall, where: str) -> None:
    """The step's call must be the program's or one of its forms, with its windows or wider ones,
    and with as many rows at a time as the form can compute."""
    same_slots = len(step.reads) == len(call.reads) and len(step.writes) == len(call.writes)
    if step.call.op != call.op or not same_slots:
        raise InternalError(f"{where} is not the program's call of {call.op}")
    forms = [(n, f) for n, f in _forms(call, step.call) if _is_form(step.call, f)]
    if not forms:
        raise InternalError(
            f"{where} runs {step.call.kernel} in a form that {call.op} does not have"
        )
    partial = step.rows < step.total_rows
    if step.rows < 1 or (partial and len(step.writes) > 1):
        raise InternalError(f"{where} computes {step.rows} of {step.total_rows} rows")
    in_bands = not partial or step.rows % max(step.call.band, 1) == 0
    if not in_bands or not any(n in (None, step.rows) for n, _ in forms):
        raise InternalError(f"{where}: {step.call.kernel} cannot do {step.rows} rows at a time")


def _forms(call: KernelCall, like: KernelCall) -> Iterator[tuple[int | None, KernelCall]]:
    """The forms of `call`, each with the number of rows at a time if it has to be that.

    The one that is split into rows has as many rows as `like`.
    """
    bases = [call] + ([call.folding] if call.folding is not None else [])
    if call.row_unit and like.writes[0].rows > 1:
        with suppress(ValueError):  # there may be no such form
            bases.append(call.split(like.writes[0].rows))
    for base in bases:
        yield None, base
        for rows, turn in base.turns.items():
            yield rows, replace(turn, windows=base.windows)


def _is_form(call: KernelCall, form: KernelCall) -> bool:
    """Is `call` the `form`, at most with wider windows?"""
    if len(call.reads) != len(form.reads):
        return False
    wider = all(call.window(i) in (None, form.window(i)) for i in range(len(form.reads)))
    return wider and replace(call, windows=(), turns={}) == replace(form, windows=(), turns={})


def _check_lodging(step: Step, segment: Segment, where: str) -> None:
    """Rows that do not follow each other are computed, and read, by calls for one row."""
    reads = zip(step.reads, map(step.call.window, range(len(step.reads))), strict=True)
    windows = [w for p, w in reads if p is not None and (p.stride, p.lead) != (1, 0)]
    written = any((p.stride, p.lead) != (1, 0) for p in step.writes)
    single = segment.mode == "rows" and step.rows == 1 and not (written and step.call.folds)
    if (windows or written) and not (single and all(w == RowWindow() for w in windows)):
        raise InternalError(f"{where}: it sees one row where it needs several")


def _check_place(plan: Plan, operand: Operand, place: Place, where: str) -> None:
    unit = ARENA_ALIGN
    if operand.value in plan.program.insets:  # words of pixels
        unit = math.gcd(plan.program.values[operand.value].shape[-1], unit)
    check_region(plan, place.region, where, unit)
    size = operand.rows * operand.row_bytes
    if size != value_bytes(plan.program, operand.value) or place.row_bytes != operand.row_bytes:
        raise InternalError(f"{where}: the operand is not the size of its value")
    if place.pitch % unit and place.row_bytes % unit == 0:
        raise InternalError(f"{where}: its rows are not aligned")
    if not place.rows > 0 or place.pitch < place.row_bytes or place.stride < 1 or place.lead < 0:
        raise InternalError(f"{where}: its rows overlap")


def check_region(plan: Plan, region: Region, where: str, unit: int = ARENA_ALIGN) -> None:
    if region.offset % unit:
        raise InternalError(f"{where}: {text(region)} is not aligned")
    if not 0 <= region.offset <= region.end <= plan.arena_size:
        raise InternalError(f"{where}: {text(region)} is not inside the arena")
    if plan.parts and not any(_holds(p.region, region) for p in plan.parts):
        raise InternalError(f"{where}: {text(region)} is not in one memory")


def _holds(outer: Region, inner: Region) -> bool:
    return outer.offset <= inner.offset and inner.end <= outer.end


def _check_scratch(plan: Plan, step: Step, where: str) -> None:
    if step.scratch is None:
        if step.call.scratch:
            raise InternalError(f"{where}: it has no scratch memory")
        return
    check_region(plan, step.scratch, where)
    if step.scratch.size < step.call.scratch:
        raise InternalError(f"{where}: scratch is smaller than {step.call.scratch} bytes")


def _check_state(plan: Plan, step: Step, where: str) -> None:
    if (step.state is None) != (step.call.state == 0):
        raise InternalError(f"{where}: it has no state, or one that it does not ask for")
    if step.state is not None:
        check_region(plan, step.state, where)
        if step.state.size < step.call.state:
            raise InternalError(f"{where}: its state is smaller than {step.call.state} bytes")


def value_bytes(program: Program, name: str) -> int:
    value = program.values[name]
    if value.dtype == "bit":  # 32 channels in a word, each pixel in words of its own
        return int(np.prod(value.shape[:-1], dtype=np.int64)) * 4 * ((value.shape[-1] + 31) // 32)
    return int(np.prod(value.shape, dtype=np.int64)) * np.dtype(value.dtype).itemsize


def text(region: Region) -> str:
    return f"[{region.offset}, {region.end})"
