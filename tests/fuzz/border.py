"""Random conversions between the caller's numbers and stored ones."""

from __future__ import annotations

from mcucompile.ir import Graph, Op, Preprocessing, Value
from mcucompile.ops.border import FlipSign, FromFloat, Preprocess, ToFloat
from tests.fuzz.dice import Dice
from tests.fuzz.elementwise import NAME, shape
from tests.support.graphs import op_graph


def border(dice: Dice) -> Graph:
    full, q = shape(dice), dice.qparams()
    kinds: dict[str, Op] = {"float32": FromFloat(*NAME), "int8": ToFloat(*NAME)}
    dtype = dice.one_of(["float32", "int8", "uint8", "raw"])
    if dtype == "raw":
        axis = dice.number(1, len(full) - 1)
        count = dice.one_of([1, full[axis]])
        scale = tuple(dice.step(0.1, 10.0) * q.scale[0] for _ in range(count))
        mean = tuple(float(dice.rng.uniform(0, 255)) for _ in range(count))
        op: Op = Preprocess(*NAME, preprocessing=Preprocessing(scale, mean, axis))
        return op_graph(op, [Value("x", full, "uint8", q)], q)
    flips = dtype == "uint8" or dice.chance(0.3)
    op = FlipSign(*NAME) if flips and dtype != "float32" else kinds[dtype]
    result = "int8" if dtype != "int8" else "uint8" if flips else "float32"
    return op_graph(op, [Value("x", full, dtype, q)], q, result)
