"""What the templates see: plain strings and numbers, decided here, printed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.emit import ctext
from mcucompile.emit.constants import Constant, Constants, operand_name
from mcucompile.ir import Array, Graph, Op, Port, QParams, Value
from mcucompile.ir.storage import stored_bytes
from mcucompile.plan.plan import Place, Plan, Region, Step
from mcucompile.plan.program import Const, Operand


@dataclass(frozen=True)
class ConstView:
    """A constant array: its C declaration and contents."""

    symbol: str
    ctype: str
    length: int
    rows: str


@dataclass(frozen=True)
class TensorView:
    """A model input or output as the header describes it. means: what its numbers stand for."""

    name: str
    literal: str
    ctype: str
    kind: str
    means: str
    size: int
    count: int
    shape: tuple[int, ...]
    layout: str
    scale: str
    zero_point: int
    offset: int


@dataclass(frozen=True)
class StepView:
    """One step: a comment, a kernel, its parameters and the places of its operands."""

    index: int
    comment: tuple[str, ...]
    kernel: str
    shared: bool
    params: tuple[tuple[str, str], ...]
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    rows: int
    whole: bool
    scratch: str


def tensor_view(port: Port, value: Value, region: Region) -> TensorView:
    q = api_qparams(port, value)
    return TensorView(
        name=ctext.comment(port.name),
        literal=ctext.string(port.name),
        ctype=ctext.C_TYPES[port.element],
        kind=f"MCUC_{port.element.upper()}",
        means=ctext.comment(port_meaning(port)),
        size=stored_bytes(value),
        count=value.elements,
        shape=port.shape,
        layout=port.layout,
        scale=ctext.floating(q.scale[0]),
        zero_point=q.zero_point,
        offset=region.offset,
    )


def api_qparams(port: Port, value: Value) -> QParams:
    """scale and zero-point of the numbers in the C API; 1 and 0 where they are real or raw ones."""
    raw = port.preprocessing is not None and port.preprocessing.form != "exact"
    if port.element == "float32" or raw:
        return QParams((1.0,), 0)
    shift = 128 if port.element == "uint8" else 0
    return QParams(value.q.scale, value.q.zero_point + shift)


def port_meaning(port: Port) -> str:
    """What a person must know of the numbers of `port`, beyond type, scale and zero-point."""
    given = port.preprocessing
    if given is not None:
        mean, scale = ([f"{x:g}" for x in numbers] for numbers in (given.mean, given.scale))
        numbers = f"(raw - {_list(mean)}) * {_list(scale)}"
        form = {
            "exact": "which is how it is stored",
            "folded": "which the first layer computes",
            "table": "which tables compute",
        }[given.form]
        return f"raw numbers, the model's own are {numbers}, {form}"
    if port.dtype == "uint8" and port.element == "int8":
        return "the model's own uint8 value is q + 128"
    return ""


def _list(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def const_views(found: Constants, prefix: str) -> list[ConstView]:
    """Every constant array, in step order."""
    own = [c for key, c in found.items() if key == (c.step, c.name)]
    return [_const_view(_symbol(prefix, c), c.data) for c in own]


def step_view(
    graph: Graph, plan: Plan, index: int, prefix: str, shared: bool, found: Constants
) -> StepView:
    step = plan.steps[index]
    call = step.call
    params: list[tuple[str, str]] = []
    for field, value in call.params.items():
        if isinstance(value, Const):
            params.append((field, _symbol(prefix, found[index, value.name])))
        elif isinstance(value, float):
            params.append((field, ctext.floating(value)))
        else:
            params.append((field, ctext.integer(value)))
    sources = []
    for slot, (operand, place) in enumerate(zip(call.reads, step.reads, strict=True)):
        if place is None:
            constant = found[index, operand_name(slot)]
            cast = "" if constant.data.dtype == "int8" else "(const int8_t *)"
            sources.append(_rows(cast + _symbol(prefix, constant), operand))
        else:
            sources.append(_view(plan, place))
    targets = [_view(plan, place) for place in step.writes]
    if step.state is not None:
        targets.append(f"{{{address(plan, step.state.offset)}, {step.state.size}, 1}}")
    return StepView(
        index=index,
        comment=tuple(ctext.comment(line) for line in _describe(graph, step)),
        kernel=call.kernel,
        shared=shared,
        params=tuple(params),
        sources=tuple(sources),
        targets=tuple(targets),
        rows=step.total_rows,
        whole=plan.segment_of(index).mode == "whole",
        scratch=address(plan, step.scratch.offset) if step.scratch else "NULL",
    )


def twins(steps: Sequence[StepView]) -> dict[int, int]:
    """Step -> the first one that computes the same with the same parameters, elsewhere; for all
    that are not the only one to do so."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for s in steps:
        groups.setdefault((s.kernel, s.params), []).append(s.index)
    return {i: group[0] for group in groups.values() if len(group) > 1 for i in group}


def address(plan: Plan, offset: int) -> str:
    """The byte at `offset` in C: `arena` is where the arena begins, or an array of where its parts
    do."""
    if not plan.parts:
        return f"arena + {offset}"
    k = plan.part_of(offset)
    return f"arena[{k}] + {offset - plan.parts[k].region.offset}"


def _describe(graph: Graph, step: Step) -> list[str]:
    call = step.call
    op = next(o for o in graph.ops() if o.name == call.op)
    ins = [v for v in graph.operands(op) if not v.is_constant]
    shapes = " + ".join(_shape(v.shape) for v in ins)
    outs = ", ".join(_shape(v.shape) for v in graph.results(op))
    places = [f"reads {_where(p)}" for p in step.reads]
    places += [f"writes {_where(p)}" for p in step.writes]
    places += [f"state {_bytes(step.state)}"] if step.state else []
    places += [f"scratch {_bytes(step.scratch)}"] if step.scratch else []
    return [
        f"{op.kind}: {_names(op)}",
        f"{shapes} -> {outs}, {call.macs:,} MAC",
        f"arena: {', '.join(places)}",
        f"kernel {call.kernel}: {call.why}",
    ]


def _names(op: Op) -> str:
    return ", ".join(op.origin)


def _shape(shape: Sequence[int]) -> str:
    return "x".join(str(d) for d in shape)


def _where(place: Place | None) -> str:
    return "flash" if place is None else _bytes(place.region)


def _bytes(region: Region) -> str:
    return f"[{region.offset}, {region.end})"


def _view(plan: Plan, place: Place) -> str:
    """The initializer of a row view; where rows do not follow each other, of the one row y0."""
    if (place.stride, place.lead) == (1, 0):
        return f"{{{address(plan, place.offset)}, {place.pitch}, {place.rows}}}"
    y = "y0" if place.stride == 1 else f"y0 * {place.stride}"
    slot = f"({y} + {place.lead}) % {place.rows}"
    base = address(plan, place.offset)
    return f"{{{base} + {slot} * {place.pitch}, {place.row_bytes}, 1}}"


def _rows(base: str, operand: Operand) -> str:
    return f"{{{base}, {operand.row_bytes}, {operand.rows}}}"


def _symbol(prefix: str, constant: Constant) -> str:
    return f"{prefix}_step{constant.step}_{constant.name}"


def _const_view(symbol: str, data: Array) -> ConstView:
    flat = np.ascontiguousarray(data).reshape(-1)
    return ConstView(symbol, ctext.C_TYPES[str(flat.dtype)], flat.size, ctext.array(flat))
