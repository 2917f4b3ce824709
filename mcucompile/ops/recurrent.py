"""What LSTM, GRU and RNN share: a walk over the steps, and the import of their directions.

Each direction is an operator of its own, batch first. Its arithmetic is in quant/recurrent.py.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from mcucompile.ir import Array, Op, QParams, Shape, Value
from mcucompile.ops import gemm
from mcucompile.ops.unary import FUNCTIONS
from mcucompile.plan.program import Const, KernelCall, Operand
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.constants import quantize_per_tensor, quantize_weights
from mcucompile.quant.numbers import INT32_LIMIT, Requant, requant
from mcucompile.quant.recurrent import CellRule, Curve, Start, State, Sums, curve

UNKNOWN = 16.0  # a peak that nobody has observed
LARGEST_GATE = 2**30  # |a sum of a gate|, so that twice as much is an int32


@dataclass(frozen=True)
class Activation:
    """One of FUNCTIONS with its arguments."""

    function: str
    args: tuple[float, ...] = ()

    def real(self, x: Array) -> Array:
        """The function on float64 numbers of any shape."""
        return np.asarray(FUNCTIONS[self.function](x, *self.args))


@dataclass(frozen=True)
class Recurrent(Op):
    """One direction of a recurrent layer.

    Operands: x (B, T, I), weights (G * H, I) and (G * H, H), a vector of what is added, and, if
    `initial`, the initial states (1 or B, 1, H). Results: h (B, T, H), or (B, 1, H) without
    `sequence`: that of the last step only.

    activations: in the order of ONNX (f, g, h). clip: operands of the gates' functions keep within
    [-clip, clip]. reverse: steps are walked from the last to the first. stateful: a run goes on
    from the state in which the one before has ended; of a reference run, samples on axis 0 follow
    each other. peaks: the largest operand of a candidate's function, the largest number of a cell.
    """

    hidden: int
    activations: tuple[Activation, ...]
    clip: float = math.inf
    reverse: bool = False
    sequence: bool = True
    initial: bool = False
    stateful: bool = False
    peaks: tuple[float, float] = (UNKNOWN, UNKNOWN)

    gates: ClassVar[int]
    states: ClassVar[int]  # that may be given

    @property
    def is_stateful(self) -> bool:
        return self.stateful

    @property
    def added(self) -> int:
        """Numbers of operand 3."""
        return self.gates * self.hidden

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        x, w, r, b, *given = (v.shape for v in operands)
        rows = self.gates * self.hidden
        fits = len(x) == 3 and w == (rows, x[-1]) and r == (rows, self.hidden)
        if not fits or b != (self.added,) or len(given) != self.states * self.initial:
            raise ValueError(f"weights {w}, {r} and {b} do not fit {x}")
        if any(s[-1] != self.hidden or s[0] not in (1, x[0]) for s in given):
            raise ValueError(f"initial states {given} do not fit")
        return ((x[0], x[1] if self.sequence else 1, self.hidden),)

    # -- reference --------------------------------------------------------------------------

    @abstractmethod
    def step(self, x: Array, state: State, constants: Sequence[Array]) -> State:
        """The next state, float64: h, the cell if there is one, operands of the candidate."""

    def _float_states(self, operands: Sequence[Array]) -> list[Array]:
        x, *constants = (np.asarray(a, dtype=np.float64) for a in operands)
        given = constants[3:]
        batch = 1 if self.stateful else len(x)
        zeros = np.zeros((batch, self.hidden))
        first = tuple(zeros + s[:1, 0] if self.stateful else zeros + s[:, 0] for s in given)
        first = first or (zeros,) * self.states
        return self._walk(x, first, lambda x, state: self.step(x, state, constants[:3]))

    def _walk(self, x: Array, state: State, step: Callable[[Array, State], State]) -> list[Array]:
        """The states after each step (B, T, ...), in the order of time."""
        batch, time = x.shape[:2]
        if self.stateful:
            x = x.reshape(1, batch * time, -1)
        found = []
        for t in range(x.shape[1])[:: -1 if self.reverse else 1]:
            state = step(x[:, t], state)
            found.append(state)
        found = found[::-1] if self.reverse else found
        parts = [np.stack(part, axis=1) for part in zip(*found, strict=True)]
        return [p.reshape(batch, time, *p.shape[2:]) for p in parts]

    def _last(self, states: Array) -> Array:
        """Those after the last step that is walked, (B, 1, H)."""
        return states[:, :1] if self.reverse else states[:, -1:]

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        states = self._float_states(operands)
        return tuple(a.astype(np.float32) for a in self._results(states))

    def _results(self, states: Sequence[Array]) -> list[Array]:
        return [states[0] if self.sequence else self._last(states[0])]

    def internals(self, operands: Sequence[Array]) -> dict[str, Array]:
        """h at every step, which all go into sums, cells, operands of the candidate's function."""
        states = self._float_states(operands)
        return {"result": states[0], "cell": states[-2], "candidate": states[-1]}

    def with_ranges(self, ranges: Mapping[str, tuple[float, float]]) -> Op:
        if not ranges:
            return self
        candidate, cell = (max(map(abs, ranges[name])) for name in ("candidate", "cell"))
        return replace(self, peaks=(candidate, cell))

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        rule = self.rule(operands, results)
        batch = 1 if self.stateful else len(arrays[0])
        given = [a[:1, 0] if self.stateful else a[:, 0] for a in arrays[4:]]
        states = self._walk(arrays[0], rule.first(batch, given), rule.step)
        return tuple(self._stored(self._results(states), results))

    def _stored(self, found: Sequence[Array], results: Sequence[Value]) -> list[Array]:
        """Results as int8."""
        return list(found)

    # -- integers ---------------------------------------------------------------------------

    @abstractmethod
    def rule(self, operands: Sequence[Value], results: Sequence[Value]) -> CellRule:
        """The arithmetic of quantized `operands`. Raises QuantizationError MC201 if it may leave
        32 bits."""

    @abstractmethod
    def units(self) -> Array:
        """What one unit of each number of operand 3 stands for, float64."""

    def curve(self, index: int, peak: float, clip: float = math.inf) -> Curve:
        """The curve of an activation; a sigmoid is made of a tanh."""
        f = self.activations[index]
        half = f.function == "sigmoid"
        return _curve(Activation("tanh") if half else f, half, peak, clip)

    def quantize_constants(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        x, w, r, b, *given = operands
        w, r = (v if _is_symmetric(v) else quantize_weights(v) for v in (w, r))
        units = self.units()
        data = np.rint(b.real.astype(np.float64) / units)
        if np.abs(data).max(initial=0.0) >= LARGEST_GATE:
            raise OverflowError(f"{b.name} is beyond the range of the gates")
        q = QParams(tuple(units.tolist()), 0, 0)
        added = replace(b, dtype="int32", qparams=q, data=data.astype(np.int32))
        states = (quantize_per_tensor(v) if v.is_constant else v for v in given)
        return (x, w, r, added, *states)

    def layer(self, x: Value, weights: Value, units: Array, rows: slice) -> gemm.Layer:
        """The sums of the `rows` of `weights` over `x`, in `units` of gates."""
        assert weights.data is not None
        data = weights.data[rows]
        scales = np.broadcast_to(np.asarray(weights.q.scale), weights.shape[:1]) / units
        w = replace(
            weights, shape=data.shape, data=data, qparams=QParams(tuple(scales[rows]), 0, 0)
        )
        zeros = np.zeros(len(data), dtype=np.int32)
        b = Value("none", zeros.shape, "int32", QParams((1.0,)), zeros)
        gate = Value("gates", (1, len(data)), "int8", QParams((1.0,)))
        return gemm.Layer.of(self, (x, w, b), gate, None)

    def within_gates(self, *parts: Array) -> None:
        """Raise QuantizationError MC201 unless gates, the sums of `parts`, stay below 2^30."""
        if np.sum(np.abs(parts), axis=0).max() >= LARGEST_GATE:
            raise too_coarse(self, "a gate may leave 32 bits")

    def requantized(self, bits: int, bound: int, result: QParams) -> Requant:
        """How numbers of up to `bound` with `bits` bits of fraction become int8."""
        rule = requant([2.0**-bits / result.scale[0]], result)
        if bound << rule.shift >= INT32_LIMIT:
            raise too_coarse(self)
        return rule

    # -- lowering ---------------------------------------------------------------------------

    def macs(self, operands: Sequence[Value], results: Sequence[Value]) -> int:
        _, w, r = operands[:3]
        return operands[0].shape[1] * (w.elements + r.elements)

    def call(
        self,
        kernel: str,
        operands: Sequence[Value],
        results: Sequence[Value],
        params: dict[str, int | Const],
        sums: int,
    ) -> KernelCall:
        """The call of `kernel`. params: those of this family alone. sums: int32 in scratch."""
        x, (_, time, width) = operands[0], operands[0].shape
        cells = 2 * self.hidden if self.states > 1 or self.gates == 3 else 0
        state = 4 + _words(cells) + _words(self.hidden)
        scratch = 4 * sums + (_words(width) if width % 4 else 0)
        given = [Operand(v.name, 1, v.elements) for v in operands[4:]]
        in_tiles = self.sequence and not self.reverse and len(results) == 1 and time > 1
        return KernelCall(
            op=self.name,
            kernel=kernel,
            header=f"mcuc/{kernel.split('_')[1]}.h",
            params={
                "steps": time,
                "input": width,
                "hidden": self.hidden,
                "reverse": int(self.reverse),
                "sequence": int(self.sequence),
                "initial": int(self.initial),
                "stateful": int(self.stateful),
                **params,
            },
            reads=(Operand(x.name, 1, x.elements), *given),
            writes=tuple(Operand(v.name, 1, v.elements) for v in results),
            scratch=scratch + (0 if self.stateful else state),
            state=state if self.stateful else 0,
            tile=(width, self.hidden) if in_tiles else None,
            why=f"{time} steps in a loop, int16 inside",
            macs=self.macs(operands, results),
        )


def _words(size: int) -> int:
    return -(-size // 4) * 4


@lru_cache(64)
def _curve(f: Activation, half: bool, peak: float, clip: float) -> Curve:
    return curve(f.real, half, peak, clip)


def _is_symmetric(v: Value) -> bool:
    return v.qparams is not None and v.q.zero_point == 0 and v.q.axis in (None, 0)


def reach(layer: gemm.Layer) -> Array:
    """The largest |rescaled sum| of each row of `layer`."""
    return np.asarray(layer.bound * 2.0**layer.once.shift * layer.m / 2.0**32 + 1)


def sums_of(layer: gemm.Layer) -> Sums:
    """The arithmetic of `layer`."""
    return Sums(layer.weights, layer.bias, layer.m.astype(np.int64), layer.once.shift)


def stream(name: str, layer: gemm.Layer, wide: bool) -> Const:
    """The weights of `layer` as `mcuc/recurrent.h` reads them."""
    order = gemm.word_order(layer.weights.shape[1])
    return Const(name, gemm.pack_dense(layer, order, False, True, wide))


def curve_params(curves: dict[str, Curve]) -> dict[str, int | Const]:
    """Their tables in one array, each but once; where each begins, and how it is read."""
    tables: list[Array] = []
    params: dict[str, int | Const] = {}
    for name, each in curves.items():
        same = [i for i, t in enumerate(tables) if np.array_equal(t, each.table)]
        at = same[0] if same else len(tables)
        if not same:
            tables.append(each.table)
        params[f"{name}_at"] = at * each.table.size
        params[f"{name}_half"] = int(each.half)
        params[f"{name}_limit"] = each.limit
    return {"curves": Const("curves", np.concatenate(tables)), **params}


def start_params(name: str, given: Start) -> dict[str, int]:
    return {f"{name}_zp": given.zero, f"{name}_m": given.m, f"{name}_shift": given.shift}


NO_START = Start(0, 0, 0)


def requant_params(name: str, rule: Requant) -> dict[str, int]:
    prefix = f"{name}_" if name else ""
    keys: dict[str, Any] = {"m": rule.m[0], "shift": rule.shift, "zp": rule.zero_point}
    return {prefix + key: value for key, value in keys.items()}
