"""The float and the integer interpreter: batches, bounded memory, values kept, broken operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from mcucompile.errors import InternalError
from mcucompile.ir import Array, Graph, Op, Port, QParams, Value
from mcucompile.ops.add import Add
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.transpose import Transpose
from mcucompile.ops.unary import Unary
from mcucompile.quant.quantize import quantize
from mcucompile.reference import execute
from mcucompile.reference.float_interpreter import run_float, run_float_all
from mcucompile.reference.integer_interpreter import run_int, run_int_all

X = np.random.default_rng(3).uniform(-1, 1, (7, 2, 3)).astype(np.float32)


def residual() -> Graph:
    """y = relu(x + c) + x, reshaped; two outputs."""
    g = Graph("residual")
    x = g.add_value(Value("x", (1, 2, 3)))
    c = g.constant("c", np.array([0.5, -0.5, 0.25]))
    (a,) = g.append(Add("add1", ()), [x, c], ["a"])
    (r,) = g.append(Unary("relu", (), function="relu"), [a], ["r"])
    (s,) = g.append(Add("add2", ()), [r, x], ["s"])
    (y,) = g.append(Reshape("view", (), shape=(1, 6)), [s], ["y"])
    return with_ports(g, y.name, r.name)


def with_ports(g: Graph, *outputs: str) -> Graph:
    g.inputs, g.outputs = ("x",), outputs
    g.input_ports = tuple(Port(n, g.value(n).shape, "float32") for n in g.inputs)
    g.output_ports = tuple(Port(n, g.value(n).shape, "float32") for n in g.outputs)
    return g


def quantized(graph: Graph) -> Graph:
    every = run_float_all(graph, [X])
    return quantize(graph, {k: (float(v.min()), float(v.max())) for k, v in every.items()})


def moving() -> Graph:
    """A graph in which axis 0 is not the batch all the way."""
    g = Graph("moving")
    x = g.add_value(Value("x", (1, 2, 3)))
    (t,) = g.append(Transpose("t", (), perm=(1, 0, 2)), [x], ["t"])
    (r,) = g.append(Unary("relu", (), function="relu"), [t], ["r"])
    (y,) = g.append(Transpose("back", (), perm=(1, 0, 2)), [r], ["y"])
    return with_ports(g, y.name, r.name)


def test_float_is_the_operators_composed() -> None:
    r = np.maximum(X + np.float32([0.5, -0.5, 0.25]), 0)
    y, again = run_float(residual(), [X])
    assert np.array_equal(y, (r + X).reshape(7, 6))
    assert np.array_equal(again, r)
    assert y.dtype == np.float32


def test_float_keeps_every_activation_when_asked() -> None:
    every = run_float_all(residual(), [X])
    assert set(every) == {"x", "a", "r", "s", "y"}
    assert np.array_equal(every["a"], X + np.float32([0.5, -0.5, 0.25]))


def test_integers_stand_for_the_same_numbers() -> None:
    graph = quantized(residual())
    q = graph.value("x").q.quantize(X)
    real, _ = run_float(residual(), [graph.value("x").q.dequantize(q)])
    got, _ = run_int(graph, [q])
    assert got.dtype == np.int8
    step = graph.value("y").q.scale[0]
    assert np.abs(graph.value("y").q.dequantize(got) - real).max() < 2 * step


def test_batch_equals_samples_one_by_one_and_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = quantized(residual())
    q = graph.value("x").q.quantize(X)
    whole = run_int(graph, [q])
    singles = [run_int(graph, [q[i : i + 1]]) for i in range(len(q))]
    monkeypatch.setattr(execute, "MEMORY_LIMIT", 900)
    assert [len(b[0]) for b in execute.batches(graph, [q])] == [3, 3, 1]
    chunked = run_int(graph, [q])
    for slot, want in enumerate(whole):
        assert np.array_equal(want, np.concatenate([s[slot] for s in singles]))
        assert np.array_equal(want, chunked[slot])


def test_every_integer_value_by_name() -> None:
    graph = quantized(residual())
    q = graph.value("x").q.quantize(X)
    every = run_int_all(graph, [q])
    assert set(every) == {"x", "a", "r", "s", "y"}
    assert np.array_equal(every["y"], run_int(graph, [q])[0])
    assert every["s"].shape == (7, 2, 3)


def test_graph_without_a_batch_axis_runs_sample_by_sample() -> None:
    graph = moving()
    assert not execute.is_batchable(graph)
    y, r = run_float(graph, [X])
    assert np.array_equal(y, np.maximum(X, 0))
    assert r.shape == (7, 2, 1, 3)
    assert np.array_equal(r[:, :, 0], y)


def test_transpose_of_a_batch_of_one_is_noticed() -> None:
    g = Graph("swap")
    x = g.add_value(Value("x", (1, 1, 6)))
    (y,) = g.append(Transpose("t", (), perm=(1, 0, 2)), [x], ["y"])
    with_ports(g, y.name)
    assert run_float(g, [X.reshape(7, 1, 6)])[0].shape == (7, 1, 6)


def test_integers_only() -> None:
    with pytest.raises(TypeError):
        run_int(quantized(residual()), [X])


@dataclass(frozen=True)
class Wrong(Unary):
    """An operator that breaks its contract."""

    how: str = ""

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        (y,) = super().evaluate_int(operands, results, arrays)
        return (y[:, :1],) if self.how == "shape" else (y.astype(np.int32),)


@pytest.mark.parametrize("how", ["shape", "dtype"])
def test_results_of_the_wrong_shape_or_type_are_our_bug(how: str) -> None:
    graph = quantized(residual())
    old = next(iter(graph.ops_of(Unary)))
    graph.set_op(Wrong(old.name, (), function="relu", how=how))
    with pytest.raises(InternalError):
        run_int(graph, [np.zeros((2, 2, 3), np.int8)])


def test_constants_are_read_as_real_numbers() -> None:
    graph = residual()
    c = graph.value("c")
    q = QParams((0.25,), 1)
    data = q.quantize(c.real)
    graph.set_value(replace(c, dtype="int8", qparams=q, data=data))
    assert np.array_equal(run_float(graph, [X])[0], run_float(residual(), [X])[0])


def test_operator_without_integer_reference_says_so() -> None:
    class Odd(Op):
        pass

    assert Odd.__abstractmethods__
    with pytest.raises(TypeError, match="no integer reference"):
        Op.evaluate_int(next(iter(residual().ops())), [], [], [])
