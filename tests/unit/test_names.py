"""Names of a model become C identifiers."""

from __future__ import annotations

import numpy as np

from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.names import c_identifier, unique
from mcucompile.ir.verify import verify
from mcucompile.reference.float_interpreter import run_float
from tests.support.imports import node
from tests.support.models import model_of


def test_c_identifier() -> None:
    assert c_identifier("a/b;c:0") == "a_b_c_0"
    assert c_identifier("1422") == "n1422"
    assert c_identifier("") == "n"
    assert c_identifier("__x__") == "x"
    assert c_identifier("größe") == "gr_e"
    assert c_identifier("layer;" * 100) == "_".join(["layer"] * 6)
    assert c_identifier("x" * 100) == "x" * 40


def test_unique() -> None:
    assert unique(["a/b", "a:b", "A_b", "a_b_1"]) == ["a_b", "a_b_1", "A_b_2", "a_b_1_1"]


def test_odd_names() -> None:
    """Tensor names of converters, no node names, and the same node name twice."""
    model = model_of(
        [
            node("Add", ["a/b;c:0", "a/b;c:0"], ["a/b;c:1"], "same"),
            node("Add", ["a/b;c:1", "a.b.c.0"], ["7"], "same"),
            node("Add", ["7", "7"], ["a b c"]),
        ],
        {"a/b;c:0": (1, 4), "a.b.c.0": (1, 4)},
        {"a b c": (1, 4)},
        {},
    )
    graph = import_model(model)
    verify(graph)
    assert [p.name for p in graph.input_ports] == ["a/b;c:0", "a.b.c.0"]
    assert graph.inputs == ("a_b_c_0", "a_b_c_0_1")
    assert [op.origin for op in graph.ops()] == [("same",), ("same",), ("a b c",)]
    assert graph.value(graph.outputs[0]).onnx_name == "a b c"
    x = np.ones((1, 4))
    np.testing.assert_array_equal(run_float(graph, [x, 3 * x])[0], 2 * (2 * x + 3 * x))
