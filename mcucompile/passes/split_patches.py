"""A segment of the quantized graph, patch by patch instead of layer by layer.

    x -> a -> b -> y    =>    x -> Slice -> a1 -> b1 \\
                              x -> Slice -> a2 -> b2 -> Concat -> y

for any number of operators and patches: y is cut into a grid, and for each patch there are clones
of all operators, each on what the patch needs of its operands. Neighbouring patches need some of
the same pixels, the halo, which are computed again. In exchange no tensor within the segment ever
exists as a whole. Padding stays where it was, on the border of the image only, so that every number
is computed from the same integers as before: the result is the same, bit for bit.

Patch-based inference is known from MCUNetV2 (Lin et al., NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mcucompile.ir import Box, Graph, Op, Value
from mcucompile.ops.concat import Concat
from mcucompile.ops.slice import Slice

Grid = tuple[int, int]  # patches per column and per row


@dataclass(frozen=True)
class Clone:
    """`op` as it is computed for one patch. boxes: of its operands; None: as it is. box: of its
    result."""

    op: Op
    boxes: tuple[Box | None, ...]
    box: Box


@dataclass(frozen=True)
class Wiring:
    """Operands and the only result of operators, by name."""

    operands: Mapping[str, tuple[Value, ...]]
    result: Mapping[str, Value]

    @classmethod
    def of(cls, graph: Graph, ops: Sequence[Op]) -> Wiring:
        return cls(
            {op.name: graph.operands(op) for op in ops},
            {op.name: graph.results(op)[0] for op in ops},
        )


def parts(size: int, count: int) -> list[range]:
    """`size` pixels in `count` parts that are as equal as can be."""
    return [range(size * i // count, size * (i + 1) // count) for i in range(count)]


def split_patches(graph: Graph, ops: Sequence[Op], grid: Grid) -> Graph:
    """`graph` with the segment `ops` cut into `grid` patches of the last one's result.

    ops: in topological order; only the last one's result may be used by others. Raises ValueError
    if the segment cannot be cut like that.
    """
    graph = graph.copy()
    target = graph.result(ops[-1])
    _, height, width, _ = target.shape
    if not (1 <= grid[0] <= height and 1 <= grid[1] <= width):
        raise ValueError(f"{height}x{width} pixels are fewer than {grid[0]}x{grid[1]} patches")
    wiring, rows = Wiring.of(graph, ops), []
    for y, down in enumerate(parts(height, grid[0])):
        row = []
        for x, across in enumerate(parts(width, grid[1])):
            clones = clones_for(wiring, ops, (down, across))
            if clones is None:
                raise ValueError("an operator of the segment cannot be computed in patches")
            row.append(_add_patch(graph, wiring, clones, f"p{y}_{x}"))
        rows.append(_join(graph, ops[-1], row, 2, target))
    graph.redirect(target, _join(graph, ops[-1], rows, 1, target))
    for op in reversed(ops):
        graph.erase_op(op)
    return graph


def clones_for(wiring: Wiring, ops: Sequence[Op], box: Box) -> list[Clone] | None:
    """What is computed of `ops` for the pixels `box` of the last one's result, in order.

    None if an operator does not know how. An operator of whose result nothing is needed is left
    out.
    """
    needed: dict[str, Box] = {wiring.result[ops[-1].name].name: box}
    clones: list[Clone] = []
    for op in reversed(ops):
        result, operands = wiring.result[op.name], wiring.operands[op.name]
        if result.name not in needed:
            continue
        found = op.patch(needed[result.name], operands, (result,))
        if found is None:
            return None
        for value, part in zip(operands, found[1], strict=True):
            if part is not None:
                needed[value.name] = _around(part, needed.get(value.name, part))
        clones.append(Clone(*found, needed[result.name]))
    return clones[::-1]


def _around(a: Box, b: Box) -> Box:
    """The smallest box with all of `a` and `b`."""
    (ay, ax), (by, bx) = a, b
    return (
        range(min(ay.start, by.start), max(ay.stop, by.stop)),
        range(min(ax.start, bx.start), max(ax.stop, bx.stop)),
    )


def _add_patch(graph: Graph, wiring: Wiring, clones: Sequence[Clone], tag: str) -> Value:
    """Add the operators of one patch to `graph`; the result of the last one."""
    made: dict[str, tuple[Value, Box]] = {}  # by the value of the whole image
    slices: dict[tuple[str, Box], Value] = {}
    for clone in clones:
        operands = []
        for value, box in zip(wiring.operands[clone.op.name], clone.boxes, strict=True):
            if box is None:
                operands.append(value)
                continue
            source, have = made.get(value.name, (value, _all_of(value)))
            if have != box and (source.name, box) not in slices:
                slices[source.name, box] = _cut(graph, clone.op, source, have, box, tag)
            operands.append(source if have == box else slices[source.name, box])
        old = wiring.result[clone.op.name]
        result = _append(graph, clone.op, operands, tag, old)
        made[old.name] = result, clone.box
    return made[wiring.result[clones[-1].op.name].name][0]


def _all_of(value: Value) -> Box:
    return range(value.shape[1]), range(value.shape[2])


def _append(graph: Graph, op: Op, operands: Sequence[Value], tag: str, like: Value) -> Value:
    """Add a copy of `op`; its result, stored like `like`."""
    name = graph.fresh_name(f"{op.name}_{tag}")
    (shape,) = op.result_shapes(operands)
    result = replace(like, name=graph.fresh_name(f"{like.name}_{tag}"), shape=shape, onnx_name="")
    graph.add_value(result)
    graph.add_op(replace(op, name=name), [v.name for v in operands], [result.name])
    return result


def _cut(graph: Graph, op: Op, value: Value, have: Box, want: Box, tag: str) -> Value:
    """For `op`, the pixels `want` of `value`, which has the pixels `have`."""
    (y, x), (down, across) = have, want
    rows = range(down.start - y.start, down.stop - y.start)
    columns = range(across.start - x.start, across.stop - x.start)
    slice_op = Slice(f"{value.name}_cut", op.origin, (None, rows, columns, None))
    return _append(graph, slice_op, [value], tag, value)


def _join(graph: Graph, op: Op, parts: Sequence[Value], axis: int, like: Value) -> Value:
    """`parts` side by side along `axis`."""
    if len(parts) == 1:
        return parts[0]
    join = Concat(f"{like.name}_join", op.origin, axis=axis)
    return _append(graph, join, parts, "rows" if axis == 2 else "all", like)
