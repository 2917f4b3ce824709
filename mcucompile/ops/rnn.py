"""RNN: the recurrent layer without gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Value
from mcucompile.ops import gemm
from mcucompile.ops.recurrent import (
    NO_START,
    Recurrent,
    curve_params,
    reach,
    requant_params,
    start_params,
    stream,
    sums_of,
)
from mcucompile.ops.recurrent_import import import_recurrent
from mcucompile.plan.program import Const, KernelCall, Target
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.recurrent import INT16, RnnRule, State, start


@dataclass(frozen=True)
class Rnn(Recurrent):
    """h = f(W x + R h + b)."""

    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1

    def step(self, x: Array, state: State, constants: Sequence[Array]) -> State:
        w, r, b = constants
        new = np.clip(x @ w.T + state[0] @ r.T + b, -self.clip, self.clip)
        return self.activations[0].real(new), new

    def units(self) -> Array:
        return np.full(self.hidden, 2.0 ** -self.curve(0, self.peaks[0], self.clip).operand)

    def _layers(
        self, operands: Sequence[Value], results: Sequence[Value]
    ) -> tuple[gemm.Layer, gemm.Layer]:
        x, w, r, b = operands[:4]
        assert b.data is not None
        units, every = self.units(), slice(0, self.hidden)
        layers = self.layer(x, w, units, every), self.layer(results[0], r, units, every)
        self.within_gates(b.data, *map(reach, layers))
        return layers

    def rule(self, operands: Sequence[Value], results: Sequence[Value]) -> RnnRule:
        layers, y, added = self._layers(operands, results), results[0].q, operands[3].data
        assert added is not None
        f = self.curve(0, self.peaks[0], self.clip)
        try:
            starts = tuple(start(v.q, y) for v in operands[4:])
        except OverflowError as error:
            raise too_coarse(self, str(error)) from error
        return RnnRule(
            x=sums_of(layers[0]),
            h=sums_of(layers[1]),
            bias=added.astype(np.int64),
            f=f,
            out=self.requantized(f.result, INT16, y),
            starts=starts,
        )

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rule, layers = self.rule(operands, results), self._layers(operands, results)
        wide = any(gemm.is_wide(layer) for layer in layers)
        added = operands[3].data
        assert added is not None
        params: dict[str, int | Const] = {
            "wide": int(wide),
            "w": stream("w", layers[0], wide),
            "r": stream("r", layers[1], wide),
            "w_shift": layers[0].once.shift,
            "r_shift": layers[1].once.shift,
            "added": Const("added", added),
            **curve_params({"f": rule.f}),
            **start_params("h0", rule.starts[0] if self.initial else NO_START),
            **requant_params("", rule.out),
        }
        return self.call("mcuc_rnn_s8", operands, results, params, self.hidden)


@onnx_import("RNN")
def import_rnn(node: OnnxNode) -> tuple[Value, ...]:
    return import_recurrent(
        node,
        ("tanh",),
        lambda part: part.w_bias + part.r_bias,
        lambda name, fields: Rnn(*name, **fields),
    )
