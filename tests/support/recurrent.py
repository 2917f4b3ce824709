"""Recurrent layers for tests: ONNX models of one node, and quantized graphs of one operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from mcucompile.ir import Array, Graph, Port, QParams, Value
from mcucompile.ops.gru import Gru
from mcucompile.ops.lstm import Lstm
from mcucompile.ops.recurrent import Activation, Recurrent
from mcucompile.ops.rnn import Rnn
from tests.support.models import model_of

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
RESULTS = ("Y", "Y_h", "Y_c")
NAME = ("op", ("node",))
SIGMOID, TANH = Activation("sigmoid"), Activation("tanh")
X, H, C = QParams((0.02,), 5), QParams((1 / 128,), 0), QParams((0.02,), -3)
_BATCH_FIRST = {"Y": [2, 0, 1, 3], "Y_h": [1, 0, 2], "Y_c": [1, 0, 2]}


def constants(
    kind: str, hidden: int, width: int, directions: int = 1, seed: int = 0, scale: float = 0.5
) -> dict[str, Array]:
    """Random weights W, R and B of an ONNX node."""
    rng = np.random.default_rng(seed)
    rows = GATES[kind] * hidden
    return {
        "W": rng.normal(0, scale, (directions, rows, width)),
        "R": rng.normal(0, scale, (directions, rows, hidden)),
        "B": rng.normal(0, scale, (directions, 2 * rows)),
    }


def recurrent_model(
    kind: str,
    time: int = 7,
    width: int = 5,
    hidden: int = 6,
    results: Sequence[str] = RESULTS,
    weights: dict[str, Array] | None = None,
    more: dict[str, Array] | None = None,
    inputs: dict[str, tuple[int, ...]] | None = None,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node with a batch-first input "x" (1, time, width) and batch-first results.

    weights: W, R, B. more: further constants, by ONNX's names of inputs (initial_h, P...); inputs:
    the same as model inputs.
    """
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    weights = weights or constants(kind, hidden, width, directions)
    names = ["x", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
    given = {**weights, **(more or {})}
    known = {"x", *given, *(inputs or {})}
    tensors = [("t" if n == "x" else n) if n in known else "" for n in names]
    while not tensors[-1]:
        tensors.pop()
    count = 3 if kind == "LSTM" else 2
    outputs = [n if n in results else "" for n in RESULTS[:count]]
    attributes.setdefault("hidden_size", hidden)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node(kind, tensors, outputs, "node", **attributes),
    ]
    for name in filter(None, outputs):
        perm = _BATCH_FIRST[name]
        nodes.append(helper.make_node("Transpose", [name], [f"{name}_first"], perm=perm))
    state = (1, directions, hidden)
    first = {"Y": (1, time, directions, hidden), "Y_h": state, "Y_c": state}
    shapes = {f"{name}_first": first[name] for name in outputs if name}
    return model_of(nodes, {"x": (1, time, width), **(inputs or {})}, shapes, given)


def recurrent_graph(
    op: Recurrent,
    time: int,
    x: QParams,
    results: Sequence[QParams],
    arrays: Sequence[Array],
    states: Sequence[QParams] = (),
) -> Graph:
    """A quantized graph of `op` alone.

    arrays: weights of the input, of the state, and what is added. states: how initial states are
    stored; they are inputs.
    """
    graph = Graph("case")
    width = arrays[0].shape[1]
    operands = [Value("x", (1, time, width), "int8", x)]
    operands += [
        Value(n, a.shape, data=a.astype(np.float32))
        for n, a in zip(("weights", "returning", "added"), arrays, strict=True)
    ]
    for i, q in enumerate(states):
        operands.append(Value(f"s{i}", (1, 1, op.hidden), "int8", q))
    operands = list(op.quantize_constants(operands))
    for value in operands:
        graph.add_value(value)
    found = graph.append(op, operands, ("y", "c"))
    for value, q in zip(found, results, strict=True):
        graph.set_value(replace(value, dtype="int8", qparams=q))
    graph.inputs = tuple(v.name for v in operands if not v.is_constant)
    graph.outputs = tuple(v.name for v in found)
    graph.input_ports = tuple(Port(n, graph.value(n).shape, "int8") for n in graph.inputs)
    graph.output_ports = tuple(Port(n, graph.value(n).shape, "int8") for n in graph.outputs)
    return graph


def recurrent_layer(op: type[Recurrent], **more: Any) -> Any:
    """An operator of class `op` with 12 numbers of state."""
    activations = {Lstm: (SIGMOID, TANH, TANH), Gru: (SIGMOID, TANH), Rnn: (TANH,)}[op]
    return op(*NAME, hidden=12, activations=activations, **more)


def one_layer(op: Recurrent, time: int, width: int, seed: int, scale: float = 0.4) -> Graph:
    """A quantized graph of `op` with random weights of standard deviation `scale`."""
    rng = np.random.default_rng(seed)
    rows = op.gates * op.hidden
    arrays = [rng.normal(0, scale, s) for s in ((rows, width), (rows, op.hidden), (op.added,))]
    with_cell = isinstance(op, Lstm) and op.with_cell
    states = [C, X][: op.states] if op.initial else []
    return recurrent_graph(op, time, X, [H, C][: 1 + with_cell], arrays, states)
