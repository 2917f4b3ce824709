"""Graphs of made-up operators for tests of planning: every byte of an operand matters.

A `Mix` hashes all bytes of its operands into every byte of its results, so that one wrong byte
anywhere in a plan's arena changes the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array, Graph, Op, QParams, Shape, Value
from mcucompile.lower import lower
from mcucompile.ops.reshape import Reshape
from mcucompile.plan.program import Const, KernelCall, Operand, Program, Target

Q = QParams((0.1,), 0)


@dataclass(frozen=True)
class Mix(Op):
    """Results of the given numbers of bytes. in_place: pairs as in KernelCall."""

    sizes: tuple[int, ...] = (8,)
    scratch: int = 0
    in_place: tuple[tuple[int, int], ...] = ()

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        return tuple((1, n) for n in self.sizes)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        raise NotImplementedError

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        batch = max(len(a) for a in arrays)
        total = np.zeros((batch, 1), dtype=np.int64)
        for slot, a in enumerate(arrays):
            flat = a.reshape(len(a), -1).astype(np.int64)
            weights = 2 * np.arange(flat.shape[1]) + 1 + 2 * slot  # odd: no byte change is lost
            total = total + (flat * weights).sum(axis=1, keepdims=True)
        return tuple(
            (total * (2 * np.arange(n) + 1) + np.arange(n) + k).astype(np.int8)
            for k, n in enumerate(self.sizes)
        )

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        return KernelCall(
            op=self.name,
            kernel="mcuc_mix_s8",
            header="mcuc/mix.h",
            params={"table": Const("table", np.zeros(16, dtype=np.int8))},
            reads=tuple(Operand(v.name, 1, v.elements) for v in operands),
            writes=tuple(Operand(v.name, 1, v.elements) for v in results),
            scratch=self.scratch,
            in_place=self.in_place,
            why="it mixes",
            macs=sum(v.elements for v in operands) * sum(self.sizes),
        )


class Builder:
    """Builds a quantized graph op by op."""

    def __init__(self, *input_sizes: int) -> None:
        self.graph = Graph("mixed")
        names = [f"in{i}" for i in range(len(input_sizes))]
        self.inputs = [self._value(n, (1, s)) for n, s in zip(names, input_sizes, strict=True)]
        self.graph.inputs = tuple(names)

    def _value(self, name: str, shape: Shape, data: Array | None = None) -> Value:
        return self.graph.add_value(Value(name, shape, "int8", Q, data))

    def constant(self, name: str, size: int) -> Value:
        return self._value(name, (1, size), np.arange(size, dtype=np.int8).reshape(1, size))

    def mix(
        self,
        name: str,
        operands: Sequence[Value],
        *sizes: int,
        scratch: int = 0,
        in_place: Sequence[tuple[int, int]] = (),
    ) -> tuple[Value, ...]:
        """Results are called like the op, with a letter if there are several."""
        op = Mix(name, (name,), tuple(sizes), scratch, tuple(in_place))
        names = [name] if len(sizes) == 1 else [f"{name}{'abc'[i]}" for i in range(len(sizes))]
        results = [self._value(n, (1, s)) for n, s in zip(names, sizes, strict=True)]
        self.graph.add_op(op, [v.name for v in operands], names)
        return tuple(results)

    def view(self, name: str, operand: Value) -> Value:
        shape = (1, 1, operand.elements)
        result = self._value(name, shape)
        self.graph.add_op(Reshape(name, (name,), shape), [operand.name], [name])
        return result

    def program(self, *outputs: Value) -> Program:
        self.graph.outputs = tuple(v.name for v in outputs)
        return lower(self.graph, Target())


def random_graph(rng: np.random.Generator, ops: int) -> tuple[Graph, Program]:
    """Chains, residual sums in place, concatenations, views, splits, constants, scratch."""
    build = Builder(*(int(n) for n in rng.integers(1, 60, rng.integers(1, 3))))
    pool = list(build.inputs)
    for i in range(ops):
        _add_random_op(build, rng, pool, i)
    outputs = [pool[-1]]
    if rng.random() < 0.4:
        outputs.append(pool[int(rng.integers(len(pool)))])
    return build.graph, build.program(*dict.fromkeys(outputs))


def _add_random_op(build: Builder, rng: np.random.Generator, pool: list[Value], i: int) -> None:
    def recent() -> Value:
        return pool[max(0, len(pool) - 1 - int(rng.geometric(0.5) - 1))]

    name, scratch = f"n{i}", int(rng.integers(0, 40)) if rng.random() < 0.5 else 0
    kind = rng.choice(["any", "sum", "unary", "view", "split", "concat", "constant"])
    x = recent()
    if kind == "any":
        pool.extend(build.mix(name, [x], int(rng.integers(1, 60)), scratch=scratch))
    elif kind == "sum":
        y = recent()
        pairs = [(k, 0) for k, v in enumerate((x, y)) if rng.random() < 0.8 or v is x]
        pool.extend(build.mix(name, [x, y], x.elements, scratch=scratch, in_place=pairs))
    elif kind == "unary":
        size = max(1, x.elements + int(rng.integers(-8, 9)))
        pool.extend(build.mix(name, [x], size, scratch=scratch, in_place=[(0, 0)]))
    elif kind == "view":
        pool.append(build.view(name, x))
    elif kind == "split":
        sizes = [int(n) for n in rng.integers(1, 30, 2)]
        pool.extend(build.mix(name, [x], *sizes, in_place=[(0, int(rng.integers(2)))]))
    elif kind == "concat":
        parts = [x, recent(), recent()]
        size = sum(v.elements for v in parts)
        pool.extend(build.mix(name, parts, size if size < 120 else 20, scratch=scratch))
    else:
        table = build.constant(f"c{i}", 5)
        pool.extend(build.mix(name, [table, x], 12, scratch=scratch, in_place=[(1, 0)]))


def reference(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """Outputs of `graph` without any arena."""
    arrays = dict(zip(graph.inputs, inputs, strict=True))
    for op in graph.ops():
        operands, results = graph.operands(op), graph.results(op)
        given = [v.data if v.data is not None else arrays[v.name] for v in operands]
        found = op.evaluate_int(operands, results, given)
        arrays.update(zip((v.name for v in results), found, strict=True))
    return [arrays[name] for name in graph.outputs]


def random_inputs(graph: Graph, rng: np.random.Generator, batch: int = 2) -> list[Array]:
    shapes = [graph.value(n).shape for n in graph.inputs]
    return [rng.integers(-128, 128, (batch, *s[1:])).astype(np.int8) for s in shapes]
