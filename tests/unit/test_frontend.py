"""The import: constants are computed, and nodes that stand for others are replaced."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mcucompile.errors import UnsupportedModelError
from mcucompile.frontend.import_graph import import_model
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.onnx_session import OnnxSession
from tests.support.imports import assert_same_numbers, node
from tests.support.models import model_of


def test_shape_arithmetic_is_folded() -> None:
    """Shape -> Gather -> Concat -> Reshape, as PyTorch writes `x.view(x.size(0), -1)`."""
    model = model_of(
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"]),
            node("Unsqueeze", ["n", "axis"], ["n1"]),
            node("Concat", ["n1", "rest"], ["wish"], axis=0),
            node("Reshape", ["x", "wish"], ["y"]),
        ],
        {"x": (1, 3, 4)},
        {"y": (1, 12)},
        {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1])},
    )
    graph = import_model(model)
    assert [op.kind for op in graph.ops()] == ["Reshape"]
    assert not any(v.is_constant for v in graph.values())
    assert_same_numbers(model)


def test_shape_arithmetic_with_given_dimensions() -> None:
    """Positions and masks of a sequence whose length the command line says."""
    model = model_of(
        [
            node("Shape", ["x"], ["s"]),
            node("Size", ["x"], ["size"]),
            node("Gather", ["s", "one"], ["time"]),
            node("Range", ["zero", "time", "one"], ["positions"]),
            node("Cast", ["positions"], ["p"], to=TensorProto.FLOAT),
            node("Unsqueeze", ["p", "last"], ["column"]),
            node("Add", ["x", "column"], ["a"]),
            node("ConstantOfShape", ["s"], ["zeros"]),
            node("Concat", ["a", "zeros"], ["b"], axis=2),
            node("Div", ["size", "time"], ["width"]),
            node("Mul", ["width", "two"], ["double"]),
            node("Unsqueeze", ["double", "last"], ["d"]),
            node("Concat", ["minus", "d"], ["wish"], axis=0),
            node("Reshape", ["b", "wish"], ["c"]),
            node("Unsqueeze", ["c", "first"], ["y"]),
        ],
        {"x": ("N", "T", 4)},  # type: ignore[dict-item]
        {"y": None},  # type: ignore[dict-item]
        {
            "zero": np.array(0),
            "one": np.array(1),
            "two": np.array(2),
            "last": np.array([-1]),
            "first": np.array([0]),
            "minus": np.array([-1]),
        },
    )
    graph = import_model(model, dims={"T": 5})
    assert graph.output_ports[0].shape == (1, 5, 8)
    x = np.random.default_rng(0).normal(size=(1, 5, 4)).astype(np.float32)
    (want,) = OnnxSession(model).run([x])
    np.testing.assert_allclose(run_float(graph, [x])[0].reshape(want.shape), want, rtol=1e-6)


def test_old_opset_attributes_are_folded() -> None:
    """Unsqueeze before opset 13 has its axes as attribute."""
    model = model_of(
        [
            node("Unsqueeze", ["c"], ["c4"], axes=[0, 2]),
            node("Add", ["x", "c4"], ["y"]),
        ],
        {"x": (1, 3, 4)},
        {"y": (1, 3, 4)},
        {"c": np.array([1.0, 2.0, 3.0])},
        opset=11,
    )
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones(3, np.float32), "c"))
    model.graph.node[0].attribute[0].ints[:] = [0, 2]
    assert_same_numbers(model)


def test_constant_nodes() -> None:
    model = model_of(
        [
            node("Constant", [], ["c"], value_float=2.0),
            node("Constant", [], ["wish"], value_ints=[1, 2, 2]),
            node("Add", ["x", "c"], ["z"]),
            node("Reshape", ["z", "wish"], ["y"]),
        ],
        {"x": (1, 4)},
        {"y": (1, 2, 2)},
        {},
    )
    assert_same_numbers(model)


def test_initializers_that_are_also_inputs() -> None:
    """Before IR version 4 every initializer was an input as well."""
    model = model_of(
        [node("Add", ["x", "w"], ["y"])],
        {"x": (1, 4), "w": (1, 4)},
        {"y": (1, 4)},
        {"w": np.arange(4.0).reshape(1, 4)},
    )
    graph = import_model(model)
    assert len(graph.inputs) == len(graph.input_ports) == 1
    assert graph.value("w").is_constant


def test_half_precision_constants_become_float32() -> None:
    model = model_of([node("Add", ["x", "w"], ["y"])], {"x": (1, 2)}, {"y": (1, 2)}, {})
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float16), "w"))
    assert import_model(model).value("w").dtype == "float32"


def if_node(condition: str, x: str, y: str, factor: float) -> onnx.NodeProto:
    """y = factor * x if `condition`, else x / factor; its tensors are always called the same."""
    result = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    constant = numpy_helper.from_array(np.array([factor], np.float32), "factor")
    branches = {
        name: helper.make_graph(
            [node(op, [x, "factor"], ["inner"])], name, [], [result], [constant]
        )
        for name, op in [("then_branch", "Mul"), ("else_branch", "Div")]
    }
    return node("If", [condition], [y], f"if_{y}", **branches)


def test_branches_that_are_known() -> None:
    """`if x.shape[1] > 3`, as PyTorch's tracer leaves it."""
    model = model_of(
        [
            node("Shape", ["x"], ["shape"]),
            node("Gather", ["shape", "one"], ["channels"]),
            node("Greater", ["channels", "three"], ["yes"]),
            node("Not", ["yes"], ["no"]),
            if_node("yes", "x", "a", 3.0),
            if_node("no", "a", "y", 5.0),
        ],
        {"x": (1, 4)},
        {"y": (1, 4)},
        {"one": np.array(1), "three": np.array(3)},
    )
    assert_same_numbers(model)
    assert [op.origin for op in import_model(model).ops()] == [("if_a",), ("if_y",)]


def test_branch_that_is_not_known() -> None:
    model = model_of([if_node("c", "x", "y", 3.0)], {"x": (1, 4), "c": (1,)}, {"y": (1, 4)}, {})
    with pytest.raises(UnsupportedModelError, match=r"MC101: node 'if_y' \(If\)"):
        import_model(model)


def test_operators_that_onnx_defines_by_functions() -> None:
    model = model_of(
        [
            node("CenterCropPad", ["x", "size"], ["a"], "crop", axes=[1, 2]),
            node("CenterCropPad", ["a", "other"], ["y"], "pad", axes=[1, 2]),
        ],
        {"x": (1, 6, 5)},
        {"y": (1, 7, 2)},
        {"size": np.array([3, 8]), "other": np.array([7, 2])},
        opset=18,
    )
    assert_same_numbers(model)
    assert {op.origin for op in import_model(model).ops()} == {("crop",), ("pad",)}


def test_outputs_that_nobody_reads() -> None:
    model = model_of([node("Dropout", ["x"], ["y", "mask"])], {"x": (1, 4)}, {"y": (1, 4)}, {})
    assert_same_numbers(model)
