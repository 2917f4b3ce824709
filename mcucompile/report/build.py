"""The report: every byte and every cycle of a compiled model, as data.

`<name>_report.json` is this dictionary; every other view is made from it. Its keys are documented
in `report.schema.json` beside this file. What has not been measured is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcucompile import __version__
from mcucompile.board import Board
from mcucompile.compress.forms import Form
from mcucompile.elf import Elf
from mcucompile.emit.constants import weight_bytes
from mcucompile.emit.views import port_meaning
from mcucompile.emulate.build import model_cflags
from mcucompile.emulate.code_size import FunctionSize
from mcucompile.ir import Graph, Op, Port
from mcucompile.memory import Memory
from mcucompile.patching import Patches
from mcucompile.plan.plan import Plan, Region, Step
from mcucompile.report.accuracy import UNKNOWN
from mcucompile.report.linked import linked
from mcucompile.report.pruning import pruning
from mcucompile.report.schedule import schedule
from mcucompile.report.sparsity import sparsity
from mcucompile.report.timing import Profiled, energy_source, estimate, execution, total
from mcucompile.report.weights import weights as stored_weights

SCHEMA_VERSION = 2

Report = dict[str, Any]


def check_version(report: Report) -> None:
    """Raise ValueError if `report` is of another schema version."""
    if report["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema version {report['schema_version']}, not {SCHEMA_VERSION}")


@dataclass(frozen=True)
class ModelInfo:
    """The model that was compiled. sha256: of its file. params: numbers in its constants."""

    name: str
    sha256: str
    macs: int
    params: int


@dataclass(frozen=True)
class Measured:
    """What a build tells, in bytes; None where it was not measured.

    code_bytes: flash of the model besides its constants. stack_bytes: of one run.
    static_bytes: RAM of the model besides arena and stack. functions: those that steps execute.
    elf: the image in which it was measured.
    """

    code_bytes: int | None = None
    stack_bytes: int | None = None
    static_bytes: int | None = None
    functions: tuple[FunctionSize, ...] | None = None
    elf: Elf | None = field(default=None, repr=False)


def build_report(
    graph: Graph,
    plan: Plan,
    board: Board,
    model: ModelInfo,
    measured: Measured | None = None,
    profiled: Profiled | None = None,
    warnings: Sequence[str] = (),
    pruned: tuple[Graph, Graph] | None = None,
    quantization: Report | None = None,
    estimated: Sequence[int] | None = None,
    patches: Patches | None = None,
    forms: Mapping[str, Form] | None = None,
) -> Report:
    """The report of the quantized `graph`, placed as `plan`, on `board`.

    Cycles are modelled from what is profiled. pruned: the graph before and after channels were
    removed. quantization: what `report.quantization` says of it.
    estimated: instructions of each step, without a profile. patches: what was cut. forms: of
    packed weights, by their name.
    """
    measured = measured or Measured()
    sram = _sram(plan, board, measured)
    flash = _flash(plan, board, measured)
    ops = {op.name: op for op in graph.ops()}
    weights = weight_bytes(plan)
    steps = [
        {
            **_step(graph, plan, ops[step.call.op], index, weights[index]),
            "code_bytes": _own_code(measured, index),
            **estimate(board, None if estimated is None else [estimated[index]]),
            **execution(board, profiled, index),
            "cycles_measured": None,
            **UNKNOWN,
        }
        for index, step in enumerate(plan.steps)
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "mcucompile_version": __version__,
        "model": {
            "name": model.name,
            "sha256": model.sha256,
            "macs": model.macs,
            "macs_repeated": sum(step.repeated_macs for step in plan.steps),
            "params": model.params,
        },
        "board": {
            "name": board.name,
            "title": board.title,
            "core": board.core,
            "clock_hz": board.clock_hz,
            "cflags": " ".join(model_cflags(board)),
            "energy": energy_source(board),
        },
        "fits": _both(sram["fits"], flash["fits"]),
        "sram": sram,
        "flash": flash,
        "inputs": _ports(graph.input_ports, graph.inputs, plan.inputs),
        "outputs": _ports(graph.output_ports, graph.outputs, plan.outputs),
        "keeps_inputs": plan.keeps_inputs,
        "quantization": quantization,
        "validation": None,
        "pruning": pruning(*(pruned or (graph, graph))),
        "sparsity": sparsity(graph, plan),
        "weights": stored_weights(graph, plan, forms or {}),
        "patches": _patches(patches),
        "schedule": schedule(plan),
        "steps": steps,
        "buffers": _buffers(plan),
        "shared_code": _shared_code(measured),
        "linked": None if measured.elf is None else linked(measured.elf, model.name),
        **estimate(board, estimated),
        **total(board, profiled),
        "cycles_measured": None,
        "latency_ms_measured": None,
        "warnings": list(warnings),
    }


def _patches(patches: Patches | None) -> Report | None:
    if patches is None:
        return None
    before, after = patches.macs
    return {
        "grid": list(patches.grid),
        "segment": [{"name": op.name, "onnx_names": list(op.origin)} for op in patches.ops],
        "macs": {"before": before, "after": after},
        "macs_overhead": after / before - 1 if before else 0.0,
    }


def _sram(plan: Plan, board: Board, measured: Measured) -> Report:
    parts = (plan.arena_bytes, measured.stack_bytes, measured.static_bytes)
    whole = _sum(parts)
    beside = _sum(parts[1:])
    return {
        "arena_bytes": plan.arena_bytes,
        "scratch_bytes": max((step.call.scratch for step in plan.steps), default=0),
        "state_bytes": plan.states.size,
        "stack_bytes": measured.stack_bytes,
        "static_bytes": measured.static_bytes,
        "total_bytes": whole,
        "lower_bound_bytes": plan.lower_bound,
        "proved_bound_bytes": plan.proved_bound,
        "available_bytes": board.ram_bytes,
        "fits": _fits(parts, board.ram_bytes),
        "regions": _parts(plan, board, beside)
        if plan.parts
        else _regions(whole, board.main_ram, board.ram),
    }


def _flash(plan: Plan, board: Board, measured: Measured) -> Report:
    constants = sum(weight_bytes(plan))
    parts = (constants, measured.code_bytes)
    whole = _sum(parts)
    return {
        "code_bytes": measured.code_bytes,
        "const_bytes": constants,
        "total_bytes": whole,
        "available_bytes": board.flash_bytes,
        "fits": _fits(parts, board.flash_bytes),
        "regions": _regions(whole, board.main_flash, board.flash),
    }


def _parts(plan: Plan, board: Board, beside: int | None) -> list[Report]:
    """The regions over which the arena is spread; the main one has stack and statics as well."""
    used = {part.memory: part.region.size for part in plan.parts}
    found = []
    for memory in board.arena:
        own = (beside if memory is board.main_ram else 0, used.get(memory.name, 0))
        found.append(_region(memory, _sum(own)))
    return found


def _region(memory: Memory, used: int | None) -> Report:
    return {"name": memory.name, "used_bytes": used, "capacity_bytes": memory.usable}


def _regions(used: int | None, main: Memory, all_memories: Sequence[Memory]) -> list[Report]:
    """The contiguous stretch of memory that the model uses, then those it leaves alone."""
    others = [m for m in all_memories if not main.origin <= m.origin < main.end]
    return [
        _region(main, used),
        *(_region(m, 0) for m in others),
    ]


def _sum(parts: Sequence[int | None]) -> int | None:
    """The sum, unless a part is unknown."""
    known = [p for p in parts if p is not None]
    return sum(known) if len(known) == len(parts) else None


def _fits(parts: Sequence[int | None], available: int) -> bool | None:
    """False as soon as the known parts are too much; True only if all parts are known."""
    if sum(p for p in parts if p is not None) > available:
        return False
    return None if None in parts else True


def _both(a: bool | None, b: bool | None) -> bool | None:
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def _step(graph: Graph, plan: Plan, op: Op, index: int, weights: int) -> Report:
    step = plan.steps[index]
    activations = [v for v in graph.operands(op) if not v.is_constant]
    return {
        "index": index,
        "op": op.kind,
        "name": op.name,
        "onnx_names": list(op.origin),
        "kernel": step.call.kernel,
        "why": step.call.why,
        "segment": plan.segment_of(index).mode,
        "shapes": {
            "inputs": [list(v.shape) for v in activations],
            "outputs": [list(v.shape) for v in graph.results(op)],
        },
        "macs": step.call.macs,
        "weight_bytes": weights,
        "live_bytes": step.live,
        "buffers": _uses(step),
    }


def _own_code(measured: Measured, index: int) -> int | None:
    """Bytes of the functions that only this step executes."""
    if measured.functions is None:
        return None
    return sum(f.size for f in measured.functions if f.steps == (index,))


def _shared_code(measured: Measured) -> list[Report] | None:
    if measured.functions is None:
        return None
    return [
        {"function": f.name, "bytes": f.size, "steps": list(f.steps)}
        for f in measured.functions
        if len(f.steps) > 1
    ]


def _uses(step: Step) -> list[Report]:
    """The bytes of the arena that a step touches, in the order of its operands."""
    call = step.call
    reads = [
        _use(o.value, "read", p.region)
        for o, p in zip(call.reads, step.reads, strict=True)
        if p is not None
    ]
    writes = [
        _use(o.value, "write", p.region) for o, p in zip(call.writes, step.writes, strict=True)
    ]
    others = {"scratch": step.scratch, "state": step.state}
    inner = [_use(name, name, region) for name, region in others.items() if region is not None]
    return reads + writes + inner


def _use(name: str, role: str, region: Region) -> Report:
    return {"name": name, "role": role, "offset": region.offset, "end": region.end}


def _ports(
    ports: Sequence[Port], names: Sequence[str], regions: Mapping[str, Region]
) -> list[Report]:
    """Model inputs or outputs: names, shapes and dtypes of the model, place in the arena."""
    return [
        {
            "name": port.name,
            "shape": list(port.shape),
            "dtype": port.dtype,
            "element": port.element,
            "meaning": port_meaning(port),
            "offset": regions[name].offset,
            "end": regions[name].end,
        }
        for port, name in zip(ports, names, strict=True)
    ]


def _buffers(plan: Plan) -> list[Report]:
    return [
        {
            "name": b.name,
            "kind": b.kind,
            "values": list(b.values),
            "offset": b.region.offset,
            "end": b.region.end,
            "first": b.first,
            "last": b.last,
        }
        for b in plan.buffers
    ]
