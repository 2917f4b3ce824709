"""Quantized networks of inverted residual blocks: expand, depthwise, project, add."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcucompile.ir import Graph, Op, Port, QParams, Shape, Value
from mcucompile.ops.add import Add
from mcucompile.ops.conv import Conv2d


class MobileBuilder:
    """A graph in the making, with random weights and zero-points.

    image: height, width, channels of the input x. Each method adds operators behind a value and
    returns the result; they are named after `name`.
    """

    def __init__(self, image: Shape, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph("mobile")
        self.x = self.graph.add_value(Value("x", (1, *image), "int8", QParams((0.02,), 5)))

    def conv(
        self,
        name: str,
        x: Value,
        cout: int,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        relu: bool = False,
    ) -> Value:
        """A convolution with padding that keeps the size."""
        depth = 1 if depthwise else x.shape[3]
        w = self.rng.integers(-127, 128, (cout, kernel, kernel, depth)).astype(np.int8)
        b = self.rng.integers(-3000, 3000, cout).astype(np.int32)
        scales = tuple((self.rng.uniform(0.5, 1.0, cout) * 1e-2).tolist())
        w_q, b_q = QParams(scales, 0, 0), QParams(tuple(x.q.scale[0] * s for s in scales), 0, 0)
        op = Conv2d(
            name,
            (name,),
            (stride, stride),
            (kernel // 2,) * 4,
            groups=cout if depthwise else 1,
            clamp=(0.0, float("inf")) if relu else None,
        )
        operands = [
            x,
            self.graph.add_value(Value(f"{name}_w", w.shape, "int8", w_q, w)),
            self.graph.add_value(Value(f"{name}_b", b.shape, "int32", b_q, b)),
        ]
        spread = x.q.scale[0] * 1e-2 * 73.0 * 73.0 * float(np.sqrt(w[0].size)) / 90.0
        return self._add(op, operands, spread)

    def block(
        self, name: str, x: Value, expanded: int, cout: int, kernel: int = 3, stride: int = 1
    ) -> Value:
        """An inverted residual block; x is added where the shapes allow it."""
        y = self.conv(f"{name}_expand", x, expanded, relu=True)
        y = self.conv(f"{name}_dw", y, expanded, kernel, stride, depthwise=True, relu=True)
        y = self.conv(f"{name}_project", y, cout)
        if y.shape != x.shape:
            return y
        return self._add(Add(f"{name}_add", (name,)), [x, y], y.q.scale[0])

    def done(self, *outputs: Value) -> Graph:
        graph = self.graph
        graph.inputs, graph.outputs = ("x",), tuple(v.name for v in outputs)
        graph.input_ports = (Port("x", self.x.shape, "int8"),)
        graph.output_ports = tuple(Port(v.name, v.shape, "int8") for v in outputs)
        return graph

    def _add(self, op: Op, operands: list[Value], scale: float) -> Value:
        (result,) = self.graph.append(op, operands, [op.name])
        q = QParams((scale,), int(self.rng.integers(-100, 100)))
        return self.graph.set_value(replace(result, dtype="int8", qparams=q))
