"""GRU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, QParams, Value
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
from mcucompile.quant.recurrent import INT16, GruRule, State, fraction, start


@dataclass(frozen=True)
class Gru(Recurrent):
    """Gates z, r, h of H rows each, as ONNX defines them.

    reset_sums: the reset gate multiplies the sums over the state for the candidate (ONNX:
    linear_before_reset), not the state before. Operand 3: biases, then, with `reset_sums`, those
    within these sums.
    """

    reset_sums: bool = False

    gates: ClassVar[int] = 3
    states: ClassVar[int] = 1

    @property
    def added(self) -> int:
        return (4 if self.reset_sums else 3) * self.hidden

    def step(self, x: Array, state: State, constants: Sequence[Array]) -> State:
        w, r, b = constants
        h, n, (f, g) = state[0], self.hidden, self.activations
        z, reset, new = np.split(x @ w.T + b[: 3 * n], 3, axis=-1)
        z, reset = (
            f.real(np.clip(a + h @ rows.T, -self.clip, self.clip))
            for a, rows in ((z, r[:n]), (reset, r[n : 2 * n]))
        )
        if self.reset_sums:
            new = new + reset * (h @ r[2 * n :].T + b[3 * n :])
        else:
            new = new + (reset * h) @ r[2 * n :].T
        new = np.clip(new, -self.clip, self.clip)
        h = (1 - z) * g.real(new) + z * h
        return h, h, new

    # -- integers ---------------------------------------------------------------------------

    @property
    def _cell(self) -> int:
        """Bits of fraction of the state; the candidate has no fewer."""
        return min(fraction(self.peaks[1]), self.curve(1, self.peaks[0], self.clip).result)

    def _rows(self) -> Array:
        """Bits of fraction of each gate."""
        f, g = self.curve(0, self.peaks[0], self.clip), self.curve(1, self.peaks[0], self.clip)
        return np.repeat([f.operand, f.operand, g.operand], self.hidden)

    def units(self) -> Array:
        units = 2.0 ** -self._rows()
        return np.concatenate([units, units[-self.hidden :]]) if self.reset_sums else units

    def _layers(self, operands: Sequence[Value], results: Sequence[Value]) -> list[gemm.Layer]:
        """The sums over the input, and those over the state of z and r, and of the candidate."""
        x, w, r, b = operands[:4]
        assert b.data is not None
        n, units, y = self.hidden, 2.0 ** -self._rows(), results[0]
        layers = [self.layer(x, w, units, slice(0, 3 * n))]
        layers += [self.layer(y, r, units, rows) for rows in (slice(0, 2 * n), slice(2 * n, 3 * n))]
        added = np.abs(b.data[: 3 * n].astype(np.float64))
        added[2 * n :] += np.abs(b.data[3 * n :]).astype(np.float64) if self.reset_sums else 0.0
        self.within_gates(added, reach(layers[0]), np.concatenate([*map(reach, layers[1:])]))
        return layers

    def rule(self, operands: Sequence[Value], results: Sequence[Value]) -> GruRule:
        return self._rule(self._layers(operands, results), operands, results)

    def _rule(
        self, layers: Sequence[gemm.Layer], operands: Sequence[Value], results: Sequence[Value]
    ) -> GruRule:
        added = operands[3].data
        assert added is not None
        n, step = self.hidden, QParams((2.0**-self._cell,))
        try:
            starts = tuple(start(v.q, step) for v in operands[4:])
        except OverflowError as error:
            raise too_coarse(self, str(error)) from error
        return GruRule(
            x=sums_of(layers[0]),
            h=sums_of(layers[1]),
            n=sums_of(layers[2]),
            bias=added[: 3 * n].astype(np.int64),
            n_bias=added[3 * n :].astype(np.int64) if self.reset_sums else None,
            f=self.curve(0, self.peaks[0], self.clip),
            g=self.curve(1, self.peaks[0], self.clip),
            out=self.requantized(self._cell, INT16, results[0].q),
            starts=starts,
            cell=self._cell,
        )

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        layers = self._layers(operands, results)
        rule = self._rule(layers, operands, results)
        wide = any(gemm.is_wide(layer) for layer in layers)
        added = operands[3].data
        assert added is not None
        params: dict[str, int | Const] = {
            "reset_sums": int(self.reset_sums),
            "wide": int(wide),
            "w": stream("w", layers[0], wide),
            "r": stream("r", layers[1], wide),
            "n": stream("n", layers[2], wide),
            "w_shift": layers[0].once.shift,
            "r_shift": layers[1].once.shift,
            "n_shift": layers[2].once.shift,
            "added": Const("added", added),
            **curve_params({"f": rule.f, "g": rule.g}),
            "new_shift": rule.g.result - rule.cell,
            **start_params("h0", rule.starts[0] if self.initial else NO_START),
            **requant_params("", rule.out),
        }
        sums = (4 if self.reset_sums else 3) * self.hidden
        reset = 0 if self.reset_sums else -(-self.hidden // 4)
        return self.call("mcuc_gru_s8", operands, results, params, sums + reset)


@onnx_import("GRU")
def import_gru(node: OnnxNode) -> tuple[Value, ...]:
    def biases(part: Part) -> Array:
        n = part.hidden
        if not reset_sums:
            return part.w_bias + part.r_bias
        both = part.w_bias + part.r_bias * (np.arange(3 * n) < 2 * n)
        return np.concatenate([both, part.r_bias[2 * n :]])

    reset_sums = bool(node.attrs.get("linear_before_reset", 0))
    return import_recurrent(
        node,
        ("sigmoid", "tanh"),
        biases,
        lambda name, fields: Gru(*name, **fields, reset_sums=reset_sums),
    )
