"""The verifier notices every broken invariant, and names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mcucompile.errors import InternalError
from mcucompile.ir import Graph, Port, QParams, Value
from mcucompile.ir.dump import dump
from mcucompile.ir.verify import Stage, verify
from mcucompile.ops.batchnorm import BatchNorm
from mcucompile.ops.dense import Dense
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.unary import Unary
from mcucompile.passes import run_passes


def dense_graph() -> Graph:
    """x -> dense -> y -> relu -> z, float and normalized."""
    graph = Graph("good")
    x = graph.add_value(Value("x", (1, 3), onnx_name="x"))
    w = graph.constant("w", np.arange(6.0).reshape(2, 3))
    b = graph.constant("b", np.ones(2))
    (y,) = graph.append(Dense("dense", ("fc",)), [x, w, b], ["y"])
    graph.append(Unary("relu", ("act",), function="relu"), [y], ["z"], onnx=True)
    graph.inputs, graph.outputs = ("x",), ("z",)
    graph.input_ports = (Port("x", (1, 3), "float32"),)
    graph.output_ports = (Port("z:0", (1, 2), "float32"),)
    return graph


def quantized_graph() -> Graph:
    """The same in integers."""
    graph = dense_graph()
    q = QParams((0.5,), 3)
    for name in ("x", "y", "z"):
        graph.set_value(replace(graph.value(name), dtype="int8", qparams=q))
    w, b = graph.value("w"), graph.value("b")
    channels = QParams((0.25, 2.0), 0, 0)
    assert w.data is not None
    graph.set_value(replace(w, dtype="int8", qparams=channels, data=w.data.astype(np.int8)))
    bias = QParams((0.125, 1.0), 0, 0)
    graph.set_value(replace(b, dtype="int32", qparams=bias, data=np.array([8, 1], np.int32)))
    return graph


def test_good_graphs_pass() -> None:
    verify(dense_graph(), "float")
    verify(dense_graph(), "normalized")
    verify(quantized_graph(), "quantized")


def expect(message: str, graph: Graph, stage: Stage = "float") -> None:
    with pytest.raises(InternalError, match=message):
        verify(graph, stage, "some_pass")


def put(name: str, **changes: object) -> Callable[[Graph], None]:
    """A change of the payload of value `name`."""
    return lambda g: g.set_value(replace(g.value(name), **changes)) and None


def op_named(graph: Graph, name: str) -> Dense | Unary:
    (op,) = (op for op in graph.ops() if op.name == name)
    assert isinstance(op, Dense | Unary)
    return op


def second_producer(graph: Graph) -> None:
    graph.add_op(Unary("again", (), function="relu"), ["x"], ["z"])


def no_producer(graph: Graph) -> None:
    graph.add_value(Value("orphan", (1, 2)))


def produced_input(graph: Graph) -> None:
    graph.inputs = ("x", "y")


def cycle(graph: Graph) -> None:
    graph.set_operand(op_named(graph, "dense"), 0, graph.value("z"))


def slot_gap(graph: Graph) -> None:
    graph.set_operand(op_named(graph, "relu"), 2, graph.value("x"))


def missing_output(graph: Graph) -> None:
    graph.outputs = ("gone",)


def double_output(graph: Graph) -> None:
    graph.outputs, graph.output_ports = ("z", "z"), graph.output_ports * 2


def input_as_output(graph: Graph) -> None:
    graph.outputs, graph.output_ports = ("x", "z"), (graph.input_ports[0], graph.output_ports[0])


def odd_name(graph: Graph) -> None:
    graph.rename_values({"y": "a/b;c:0"})


def odd_op_name(graph: Graph) -> None:
    graph.append(Unary("a.b", (), function="relu"), [graph.value("x")], ["fine"])


def port_shape(graph: Graph) -> None:
    graph.input_ports = (Port("x", (1, 4), "float32"),)


def port_count(graph: Graph) -> None:
    graph.input_ports = ()


def wrong_operands(graph: Graph) -> None:
    graph.set_operand(op_named(graph, "dense"), 2, graph.value("w"))


def test_message_names_pass_stage_and_dump() -> None:
    graph = dense_graph()
    no_producer(graph)
    with pytest.raises(InternalError) as error:
        verify(graph, "float", "some_pass")
    text = str(error.value)
    assert text.startswith("after some_pass: orphan has not exactly one definition (stage float)")
    assert "Dense(x, " in text


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (second_producer, "z has not exactly one definition"),
        (no_producer, "orphan has not exactly one definition"),
        (produced_input, "y has not exactly one definition"),
        (cycle, r"has a cycle .*\ngraph good: cyclic"),
        (slot_gap, r"relu has the slots \[0, 2\]"),
        (missing_output, "gone is an input or output but no value"),
        (double_output, "an output occurs twice"),
        (input_as_output, "an input is an output"),
        (odd_name, "'a/b;c:0' is no C identifier"),
        (odd_op_name, "'a.b' is no C identifier"),
        (port_shape, r"port 'x' has the shape \(1, 4\)"),
        (port_count, "0 ports for"),
        (wrong_operands, "dense: weights"),
        (put("y", shape=(1, 5)), "dense computes"),
        (put("w", dtype="int8"), r"w holds float32\[2, 3\]"),
        (put("w", shape=(3, 2)), r"w holds float32\[2, 3\]"),
        (put("w", qparams=QParams((1.0,))), "w has integers without qparams or"),
        (put("y", qparams=QParams((0.0,))), "y has a scale that is not positive"),
        (put("y", qparams=QParams((float("nan"),))), "y has a scale that is not positive"),
        (put("y", qparams=QParams((1.0,), 128)), "y has the zero-point 128"),
        (put("y", qparams=QParams((1.0, 2.0, 3.0), 0, 1)), "y has 3 scales for 2 channels"),
        (put("y", qparams=QParams((1.0, 2.0))), "y has 2 scales for 1 channels"),
    ],
)
def test_any_stage(breakage: Callable[[Graph], None], message: str) -> None:
    graph = dense_graph()
    breakage(graph)
    expect(message, graph)


def import_operator(graph: Graph) -> None:
    numbers = [graph.constant("n", np.ones(2)) for _ in range(4)]
    graph.insert_after(graph.value("z"), BatchNorm("bn", ()))
    (bn,) = graph.ops_of(BatchNorm)
    graph.set_operands(bn, [graph.value("z"), *numbers])


def constant_operator(graph: Graph) -> None:
    (c,) = graph.append(Unary("cr", (), function="relu"), [graph.value("b")])
    graph.set_operand(op_named(graph, "dense"), 2, c)


def batch(graph: Graph) -> None:
    graph.insert_after(graph.value("y"), Reshape("r", (), shape=(2, 1)))
    graph.insert_after(graph.value("r"), Reshape("r2", (), shape=(1, 2)))


def dead(graph: Graph) -> None:
    graph.append(Unary("unread", (), function="relu"), [graph.value("x")])


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (import_operator, "bn is a BatchNorm"),
        (constant_operator, "cr is constant"),
        (batch, r"r has a batch that is not 1: \(2, 1\)"),
        (dead, "unread is dead"),
        (lambda g: g.constant("spare", np.ones(3)) and None, "spare is dead"),
    ],
)
def test_normalized(breakage: Callable[[Graph], None], message: str) -> None:
    graph = dense_graph()
    breakage(graph)
    verify(graph, "float")
    expect(message, graph, "normalized")


def wide(name: str, dtype: str, number: int) -> Callable[[Graph], None]:
    """Let all entries of a constant be `number`."""
    return lambda g: (
        g.set_value(replace(g.value(name), data=np.full(g.value(name).shape, number, dtype)))
        and None
    )


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (put("y", qparams=None), "y is not quantized"),
        (put("y", dtype="float32"), "y is not quantized"),
        (
            put("y", qparams=QParams((1.0, 2.0), 0, 1)),
            "activation y is not int8, int16 or bits",
        ),
        (put("w", qparams=QParams((0.25,), 1)), "not symmetric per output channel"),
        (put("w", qparams=QParams((1.0, 1.0, 1.0), 0, 1)), "not symmetric per output channel"),
        (put("b", qparams=QParams((0.125, 1.01), 0, 0)), "is not input scale times weight scale"),
        (wide("b", "int32", 2**31 - 700), "dense may leave 32 bits"),
        (wide("b", "int32", -(2**31)), "dense may leave 32 bits"),
    ],
)
def test_quantized(breakage: Callable[[Graph], None], message: str) -> None:
    graph = quantized_graph()
    breakage(graph)
    expect(message, graph, "quantized")


def test_a_pass_is_named() -> None:
    def breaking_pass(graph: Graph) -> Graph:
        graph = graph.copy()
        no_producer(graph)
        return graph

    with pytest.raises(InternalError, match="after breaking_pass: orphan"):
        run_passes(dense_graph(), [lambda g: g, breaking_pass])


def test_dump() -> None:
    graph = quantized_graph()
    graph.input_ports = (replace(graph.input_ports[0], layout="NHWC"),)
    assert dump(graph) == (
        "graph good\n"
        "  input x: int8[1,3] q(0.5, 3) NHWC  # 'x'\n"
        "  y: int8[1,2] q(0.5, 3) = Dense(x, w: const int8[2,3] q(2 scales, 0) on axis 0, "
        "b: const int32[2] q(2 scales, 0) on axis 0)  # 'fc'\n"
        "  z: int8[1,2] q(0.5, 3) = Relu(y, function=relu, args=())  # 'act'\n"
        "  output z: int8[1,2] q(0.5, 3)  # 'z:0'\n"
    )
