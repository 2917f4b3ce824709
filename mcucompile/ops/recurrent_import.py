"""Import of LSTM, GRU and RNN: directions become operators, and their results one tensor.

ONNX has time first (or, with layout 1, the batch) and an axis of directions; here it is batch
first, and directions side by side as channels. Of a batch of one, what lies between is a view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mcucompile.frontend.node import OnnxNode
from mcucompile.ir import Array, Op, QParams, Value
from mcucompile.ops.concat import Concat
from mcucompile.ops.recurrent import Activation, Recurrent
from mcucompile.ops.reshape import Reshape, view
from mcucompile.ops.slice import take
from mcucompile.ops.transpose import Transpose

# ONNX activation: function, and its arguments as (attribute, default).
_ACTIVATIONS: dict[str, tuple[str, tuple[tuple[str, float], ...]]] = {
    "sigmoid": ("sigmoid", ()),
    "tanh": ("tanh", ()),
    "relu": ("relu", ()),
    "softsign": ("softsign", ()),
    "softplus": ("softplus", ()),
    "leakyrelu": ("leakyrelu", (("alpha", 0.01),)),
    "thresholdedrelu": ("thresholdedrelu", (("alpha", 1.0),)),
    "elu": ("elu", (("alpha", 1.0),)),
    "hardsigmoid": ("hardsigmoid", (("alpha", 0.2), ("beta", 0.5))),
}
_GATES = ("sigmoid", "hardsigmoid")  # functions that keep within [0, 1]


@dataclass(frozen=True)
class Part:
    """The constants of one direction. w_bias, r_bias: (G * H,); peepholes: (3 * H,)."""

    hidden: int
    w_bias: Array
    r_bias: Array
    peepholes: Array


def import_recurrent(
    node: OnnxNode,
    defaults: Sequence[str],
    added: Callable[[Part], Array],
    make: Callable[[tuple[str, tuple[str, ...]], dict[str, Any]], Recurrent],
) -> tuple[Value, ...]:
    """The results Y, Y_h and, of an LSTM, Y_c of `node`.

    defaults: its activations. added: operand 3 of a direction. make: the operator from its name
    and the fields that all have.
    """
    return _Import(node, defaults, added, make).results()


class _Import:
    def __init__(
        self,
        node: OnnxNode,
        defaults: Sequence[str],
        added: Callable[[Part], Array],
        make: Callable[[tuple[str, tuple[str, ...]], dict[str, Any]], Recurrent],
    ) -> None:
        self.node, self.added, self.make = node, added, make
        self.batch_first = bool(node.attrs.get("layout", 0))
        weights = node.operand(2)
        self.directions, self.hidden = weights.shape[0], weights.shape[-1]
        direction = str(node.attrs.get("direction", "forward"))
        self.reversed = {"forward": [0], "reverse": [1], "bidirectional": [0, 1]}.get(direction, [])
        if len(self.reversed) != self.directions:
            node.unsupported(f"its weights do not fit direction '{direction}'", "repair the model")
        self.activations = self._activations(defaults)
        self._check_lengths()

    # -- operands ---------------------------------------------------------------------------

    def _activations(self, defaults: Sequence[str]) -> list[tuple[Activation, ...]]:
        """The activations of each direction."""
        node, count = self.node, len(defaults)
        names = [str(n).lower() for n in node.attrs.get("activations", defaults)]
        names *= self.directions if len(names) == count else 1
        if len(names) != count * self.directions:
            node.unsupported(f"it has {len(names)} activations", "repair the model")
        given = {k: list(node.attrs.get(f"activation_{k}", [])) for k in ("alpha", "beta")}
        found = []
        for i, name in enumerate(names):
            if name not in _ACTIVATIONS:
                node.unsupported(
                    f"its activation {name} has no integer kernel",
                    f"use one of {', '.join(sorted(_ACTIVATIONS))}",
                )
            if count > 1 and i % count == 0 and name not in _GATES:
                node.unsupported(
                    f"the {name} of its gates does not keep within [0, 1]",
                    f"use one of {', '.join(_GATES)} for the gates",
                )
            function, arguments = _ACTIVATIONS[name]
            args = [float(given[k].pop(0)) if given[k] else d for k, d in arguments]
            found.append(Activation(function, tuple(args)))
        return [tuple(found[d * count : (d + 1) * count]) for d in range(self.directions)]

    def _check_lengths(self) -> None:
        """Sequences have the length of the input."""
        if self.node.optional(4) is None:
            return
        lengths = self.node.constant(4, "sequence lengths")
        time = self.node.operand(0).shape[1 if self.batch_first else 0]
        if (lengths != time).any():
            self.node.unsupported(
                f"its sequences have {lengths.tolist()} of {time} steps",
                "give all steps of the input, or an input of that length",
            )

    def _input(self) -> Value:
        """The input, batch first."""
        x = self.node.operand(0)
        if len(x.shape) != 3:
            self.node.unsupported(f"its input has the shape {list(x.shape)}", "give it three axes")
        return x if self.batch_first else self._transpose("batch_first", x, (1, 0, 2))

    def _weights(self, slot: int, direction: int) -> Value:
        """Weights of one direction; integers stay, unless their scales differ by column."""
        value, name = self.node.operand(slot), self.node.graph.fresh_name
        if value.data is None:
            self.node.unsupported("its weights are computed at run time", "export constant weights")
        q = value.qparams
        if q is None or q.axis == 2:
            return self.node.graph.constant(value.name, value.real[direction])
        scale, axis = q.scale, None if q.axis is None else q.axis - 1
        if axis == -1:
            scale, axis = scale[direction : direction + 1], None
        data = np.ascontiguousarray(value.data[direction])
        stored = QParams(scale, q.zero_point, axis)
        return self.node.graph.add_value(
            Value(name(value.name), data.shape, value.dtype, stored, data)
        )

    def _part(self, direction: int, rows: int) -> Part:
        zeros = np.zeros((self.directions, max(2 * rows, 3 * self.hidden)), dtype=np.float32)
        bias = zeros if self.node.optional(3) is None else self.node.constant(3, "bias")
        peep = zeros if self.node.optional(7) is None else self.node.constant(7, "peepholes")
        w, r = bias[direction][:rows], bias[direction][rows : 2 * rows]
        return Part(self.hidden, w, r, peep[direction][: 3 * self.hidden])

    def _states(self, count: int) -> list[list[Value]]:
        """The initial states of each direction, (B, 1, H); none where all are zero."""
        values = [self.node.optional(5 + i) for i in range(count)]
        if all(v is None or (v.is_constant and not v.real.any()) for v in values):
            return [[] for _ in range(self.directions)]
        found: list[list[Value]] = [[] for _ in range(self.directions)]
        for i, v in enumerate(values):
            if v is None:
                shape = (1, self.directions, self.hidden)
                v = self.node.graph.constant(f"{self.node.name}.zeros{i}", np.zeros(shape))
            elif not self.batch_first:
                v = self._transpose(f"state{i}", v, (1, 0, 2))
            for d in range(self.directions):
                found[d].append(take(self.node, v, {1: range(d, d + 1)}, None))
        return found

    # -- results ----------------------------------------------------------------------------

    def results(self) -> tuple[Value, ...]:
        ops = [self._operator(d) for d in range(self.directions)]
        x, states = self._input(), self._states(ops[0].states)
        # With one direction, the results are those of the node.
        names = self.node.outputs[::2] if self.directions == 1 and self.node.outputs[0] else ()
        every = []
        for d, (op, given) in enumerate(zip(ops, states, strict=True)):
            w, r = self._weights(1, d), self._weights(2, d)
            b = self.added(self._part(d, w.shape[0]))
            added = self.node.graph.constant(f"{self.node.name}.added", b)
            op = replace(op, initial=bool(given))
            operands = (x, w, r, added, *given)
            every.append(self.node.graph.append(op, operands, names, onnx=bool(names)))
        sequences = [results[0] for results in every]
        lasts = [self._last(y, bool(r)) for y, r in zip(sequences, self.reversed, strict=True)]
        found = [self._sequence(sequences), self._state(1, lasts)]
        if len(every[0]) > 1:
            found.append(self._state(2, [results[1] for results in every]))
        return tuple(found[: len(self.node.outputs)])

    def _operator(self, direction: int) -> Recurrent:
        """The operator of one direction, without initial states."""
        suffix = "" if self.directions == 1 else ("forward", "reverse")[direction]
        fields = {
            "hidden": self.hidden,
            "activations": self.activations[direction],
            "clip": float(self.node.attrs.get("clip", np.inf)),
            "reverse": bool(self.reversed[direction]),
        }
        return self.make(self.node.fresh(suffix), fields)

    def _last(self, y: Value, reverse: bool) -> Value:
        """h after the last step, (B, 1, H)."""
        step = 0 if reverse else y.shape[1] - 1
        return take(self.node, y, {1: range(step, step + 1)}, None)

    def _sequence(self, parts: Sequence[Value]) -> Value:
        """Y: (T, D, B, H), or (B, T, D, H) batch first."""
        y = self._joined("directions", parts)
        batch, time, _ = y.shape
        y = view(self.node, y, (batch, time, self.directions, self.hidden))
        return self._result(0, y, y.shape if self.batch_first else None, (1, 2, 0, 3))

    def _state(self, output: int, parts: Sequence[Value]) -> Value:
        """Y_h or Y_c: (D, B, H), or (B, D, H) batch first."""
        y = self._joined(f"states{output}", parts)
        y = view(self.node, y, (y.shape[0], self.directions, self.hidden))
        return self._result(output, y, y.shape if self.batch_first else None, (1, 0, 2))

    def _result(
        self, output: int, y: Value, shape: tuple[int, ...] | None, perm: tuple[int, ...]
    ) -> Value:
        """`y` as output `output`: under `shape`, or transposed."""
        node = self.node
        name = node.fresh(f"result{output}")
        op: Op = Transpose(*name, perm=perm) if shape is None else Reshape(*name, shape=shape)
        named = output < len(node.outputs) and bool(node.outputs[output])
        return node.add(op, y, output=output) if named else node.add_inner(op, y)

    def _joined(self, suffix: str, parts: Sequence[Value]) -> Value:
        if len(parts) == 1:
            return parts[0]
        return self.node.add_inner(Concat(*self.node.fresh(suffix), axis=2), *parts)

    def _transpose(self, suffix: str, value: Value, perm: tuple[int, ...]) -> Value:
        return self.node.add_inner(Transpose(*self.node.fresh(suffix), perm=perm), value)
