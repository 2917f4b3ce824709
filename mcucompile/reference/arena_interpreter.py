"""The arena interpreter: executes a plan inside one byte arena, as unkindly as a plan allows.

Operands are read from the arena's bytes and results are written there; everything else that a
plan calls dead is filled with noise before each step. A wrong lifetime, overlap or address then
changes the result. What an operator computes is its integer reference; where things are is
entirely the plan's doing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcucompile.errors import InternalError
from mcucompile.ir import Array, Graph, Op
from mcucompile.plan.plan import Plan, Region, Step


def run_plan(plan: Plan, graph: Graph, inputs: Sequence[Array], seed: int = 0) -> list[Array]:
    """Outputs of the quantized `graph`, in its order, computed as `plan` says.

    inputs: int8 arrays in the order of the model; axis 0 is the batch, any size (one arena per
    sample). seed: of the noise. Returns int8 arrays with the same axis 0.
    """
    batch = len(inputs[0])
    arena = _Arena(plan, batch, seed)
    for region, array in zip(plan.inputs.values(), inputs, strict=True):
        arena.store(region, array)
    ops = {op.name: op for op in graph.ops()}
    for index, step in enumerate(plan.steps):
        arena.poison(index)
        op = ops[step.call.op]
        arrays = _operands(graph, op, step, arena)
        results = op.evaluate_int(graph.operands(op), graph.results(op), arrays)
        for region, result in zip(step.writes, results, strict=True):
            arena.store(region, result)
        arena.poison_scratch(step)
    return [
        arena.load(plan.outputs[name], graph.value(name).shape, graph.value(name).dtype)
        for name in plan.program.outputs
    ]


class _Arena:
    """One row of bytes per sample."""

    def __init__(self, plan: Plan, batch: int, seed: int) -> None:
        self.plan = plan
        self.rng = np.random.default_rng(seed)
        self.bytes = self.rng.integers(0, 256, (batch, plan.arena_size), dtype=np.uint8)

    def load(self, region: Region, shape: tuple[int, ...], dtype: str) -> Array:
        """A copy of the tensor in `region`, for each sample."""
        raw = self.bytes[:, region.offset : region.end].copy()
        return np.asarray(raw.view(dtype).reshape(-1, *shape[1:]))

    def store(self, region: Region, array: Array) -> None:
        flat = np.ascontiguousarray(array).reshape(len(self.bytes), -1)
        self.bytes[:, region.offset : region.end] = flat.view(np.uint8)

    def poison(self, index: int) -> None:
        """Noise before step `index` wherever it need not keep what is there.

        That is: all bytes that hold no value of an earlier step, the scratch memory, and the
        places of the results, except where a result takes the place of an operand.
        """
        step = self.plan.steps[index]
        dead = np.ones(self.bytes.shape[1], dtype=bool)
        inputs = set(self.plan.program.inputs)
        for b in self.plan.buffers:
            born = b.first < index or not inputs.isdisjoint(b.values)
            if b.kind == "activation" and born and index <= b.last:
                dead[b.region.offset : b.region.end] = False
        for j, target in enumerate(step.writes):
            before = dead[target.offset : target.end].copy()
            dead[target.offset : target.end] = True
            for region in _taken_over(step, j):
                shared = slice(region.offset, min(region.end, target.end))
                dead[shared] = before[: shared.stop - shared.start]
        self._fill(dead)
        self.poison_scratch(step)

    def poison_scratch(self, step: Step) -> None:
        """Noise in the scratch memory of `step`: a kernel may write there at any time."""
        if step.scratch is not None:
            used = np.zeros(self.bytes.shape[1], dtype=bool)
            used[step.scratch.offset : step.scratch.end] = True
            self._fill(used)

    def _fill(self, where: Array) -> None:
        shape = (len(self.bytes), int(where.sum()))
        self.bytes[:, where] = self.rng.integers(0, 256, shape, dtype=np.uint8)


def _taken_over(step: Step, write: int) -> list[Region]:
    """Operands whose place result `write` may and does take."""
    base = step.writes[write].offset
    places = [step.reads[i] for i, j in step.call.in_place if j == write]
    return [r for r in places if r is not None and r.offset == base]


def _operands(graph: Graph, op: Op, step: Step, arena: _Arena) -> list[Array]:
    """Contents of the operator's operands: constants from the graph, the rest from the arena."""
    places: dict[str, list[Region]] = {}
    for operand, place in zip(step.call.reads, step.reads, strict=True):
        if place is not None:
            places.setdefault(operand.value, []).append(place)
    arrays = []
    for value in graph.operands(op):
        if value.data is not None:
            arrays.append(value.data)
        elif value.name in places:
            regions = places[value.name]  # one for each slot through which the value is read
            region = regions.pop(0) if len(regions) > 1 else regions[0]
            arrays.append(arena.load(region, value.shape, value.dtype))
        else:
            raise InternalError(f"plan: {op.name} does not read its operand {value.name}")
    return arrays
