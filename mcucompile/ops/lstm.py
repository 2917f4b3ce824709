"""LSTM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, QParams, Shape, Value
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
from mcucompile.ops.recurrent_import import Part, import_recurrent
from mcucompile.plan.program import Const, KernelCall, Target
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.numbers import Requant
from mcucompile.quant.recurrent import INT16, LstmRule, State, fraction, start


@dataclass(frozen=True)
class Lstm(Recurrent):
    """Gates i, o, f, c of H rows each, as ONNX defines them.

    Operand 3: biases, then, with `peepholes`, the weights of the cell for i, o and f. with_cell:
    the cell after the last step is a further result, (B, 1, H).
    """

    peepholes: bool = False
    with_cell: bool = False

    gates: ClassVar[int] = 4
    states: ClassVar[int] = 2

    @property
    def added(self) -> int:
        return (7 if self.peepholes else 4) * self.hidden

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        (h,) = super().result_shapes(operands)
        return (h, (h[0], 1, self.hidden)) if self.with_cell else (h,)

    def step(self, x: Array, state: State, constants: Sequence[Array]) -> State:
        w, r, b = constants
        h, c = state[:2]
        n, (f, g, tanh) = self.hidden, self.activations
        i, o, forget, new = np.split(x @ w.T + h @ r.T + b[: 4 * n], 4, axis=-1)
        peep = b[4 * n :].reshape(3, n) if self.peepholes else np.zeros((3, n))
        new = np.clip(new, -self.clip, self.clip)
        kept = f.real(np.clip(forget + peep[2] * c, -self.clip, self.clip)) * c
        c = kept + f.real(np.clip(i + peep[0] * c, -self.clip, self.clip)) * g.real(new)
        gate = f.real(np.clip(o + peep[1] * c, -self.clip, self.clip))
        return gate * tanh.real(c), c, new

    def _results(self, states: Sequence[Array]) -> list[Array]:
        cells = [self._last(states[1])] if self.with_cell else []
        return [*super()._results(states), *cells]

    def _stored(self, found: Sequence[Array], results: Sequence[Value]) -> list[Array]:
        h, *cells = found
        return [h, *(self._cell_rule(results).apply(c) for c in cells)]

    # -- integers ---------------------------------------------------------------------------

    @property
    def _cell(self) -> int:
        """Bits of fraction of the cell; the candidate has no fewer."""
        return min(fraction(self.peaks[1]), self.curve(1, self.peaks[0], self.clip).result)

    def _rows(self) -> Array:
        """Bits of fraction of each gate."""
        f, g = self.curve(0, self.peaks[0], self.clip), self.curve(1, self.peaks[0], self.clip)
        return np.repeat([f.operand, f.operand, f.operand, g.operand], self.hidden)

    def units(self) -> Array:
        units = 2.0 ** -self._rows()
        if not self.peepholes:
            return units
        # A number of the cell times one of these is 2^16 times a gate.
        peeps = np.repeat(units[:1] * 2.0 ** (self._cell - 16), 3 * self.hidden)
        return np.concatenate([units, peeps])

    def _layers(
        self, operands: Sequence[Value], results: Sequence[Value]
    ) -> tuple[gemm.Layer, gemm.Layer]:
        x, w, r, b = operands[:4]
        assert b.data is not None
        units, every = 2.0 ** -self._rows(), slice(0, 4 * self.hidden)
        layers = self.layer(x, w, units, every), self.layer(results[0], r, units, every)
        added = np.abs(b.data[every].astype(np.float64))
        added[: len(b.data) - every.stop] += np.abs(b.data[every.stop :]) / 2.0
        self.within_gates(added, *map(reach, layers))
        return layers

    def _cell_rule(self, results: Sequence[Value]) -> Requant:
        return self.requantized(self._cell, INT16, results[1].q)

    def rule(self, operands: Sequence[Value], results: Sequence[Value]) -> LstmRule:
        layers, y, n = self._layers(operands, results), results[0].q, self.hidden
        tanh, cell = self.curve(2, self.peaks[1]), self._cell
        added = operands[3].data
        assert added is not None
        steps = (y, QParams((2.0**-cell,)))
        try:
            starts = tuple(start(v.q, q) for v, q in zip(operands[4:], steps, strict=False))
        except OverflowError as error:
            raise too_coarse(self, str(error)) from error
        return LstmRule(
            x=sums_of(layers[0]),
            h=sums_of(layers[1]),
            bias=added[: 4 * n].astype(np.int64),
            f=self.curve(0, self.peaks[0], self.clip),
            out=self.requantized(tanh.result + 1, 2 * INT16, y),
            starts=starts,
            peepholes=added[4 * n :].astype(np.int64).reshape(3, n) if self.peepholes else None,
            g=self.curve(1, self.peaks[0], self.clip),
            tanh=tanh,
            cell=cell,
        )

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rule, layers = self.rule(operands, results), self._layers(operands, results)
        wide = any(gemm.is_wide(layer) for layer in layers)
        added = operands[3].data
        assert added is not None
        h, c = rule.starts if self.initial else (NO_START, NO_START)
        down = rule.cell - rule.tanh.operand
        out = self._cell_rule(results) if self.with_cell else replace(rule.out, m=(0,), shift=0)
        params: dict[str, int | Const] = {
            "with_cell": int(self.with_cell),
            "peepholes": int(self.peepholes),
            "wide": int(wide),
            "w": stream("w", layers[0], wide),
            "r": stream("r", layers[1], wide),
            "w_shift": layers[0].once.shift,
            "r_shift": layers[1].once.shift,
            "added": Const("added", added),
            **curve_params({"f": rule.f, "g": rule.g, "h": rule.tanh}),
            "product_shift": rule.g.result - rule.cell,
            "cell_down": max(down, 0),
            "cell_up": max(-down, 0),
            **start_params("h0", h),
            **start_params("c0", c),
            **requant_params("cell", out),
            **requant_params("", rule.out),
        }
        return self.call("mcuc_lstm_s8", operands, results, params, 4 * self.hidden)


@onnx_import("LSTM")
def import_lstm(node: OnnxNode) -> tuple[Value, ...]:
    if node.attrs.get("input_forget", 0):
        node.unsupported(
            "its forget gate is coupled to its input gate", "export without input_forget"
        )
    peepholes = node.optional(7) is not None
    with_cell = len(node.outputs) > 2 and bool(node.outputs[2])

    def added(part: Part) -> Array:
        biases = part.w_bias + part.r_bias
        return np.concatenate([biases, part.peepholes]) if peepholes else biases

    return import_recurrent(
        node,
        ("sigmoid", "tanh", "tanh"),
        added,
        lambda name, fields: Lstm(*name, **fields, peepholes=peepholes, with_cell=with_cell),
    )
