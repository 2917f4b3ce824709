"""Static shapes of inputs, and outputs that depend on none."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mcucompile.errors import UnsupportedModelError, UsageError
from mcucompile.frontend.import_graph import import_model
from mcucompile.passes import run_passes
from mcucompile.reference.float_interpreter import run_float
from tests.support.imports import node
from tests.support.models import model_of


def dynamic_model(shape: tuple[int | str | None, ...]) -> onnx.ModelProto:
    model = model_of([node("Add", ["x", "x"], ["y"], "add")], {"x": (1,)}, {"y": (1,)}, {})
    for info in (model.graph.input[0], model.graph.output[0]):
        info.CopyFrom(helper.make_tensor_value_info(info.name, TensorProto.FLOAT, shape))
    return model


@pytest.mark.parametrize("batch", ["N", None, 0, -1, 1])
def test_open_batch_is_one(batch: int | str | None) -> None:
    assert import_model(dynamic_model((batch, 3, 4))).input_ports[0].shape == (1, 3, 4)


def test_named_dimensions() -> None:
    model = dynamic_model(("N", "time", 4, None))
    with pytest.raises(UnsupportedModelError, match=r"MC104: input 'x' has no static") as error:
        import_model(model)
    assert "the model gives no size for time, x:3" in error.value.why
    assert error.value.fix == "--dim time=SIZE --dim x:3=SIZE"
    graph = import_model(model, dims={"time": 7, "x:3": 2})
    assert graph.input_ports[0].shape == (1, 7, 4, 2)


def test_unknown_dimension() -> None:
    with pytest.raises(UsageError, match=r"MC002: dimension 'tine' is unknown\n.*: N, time"):
        import_model(dynamic_model(("N", "time")), dims={"tine": 7})


def test_bad_size() -> None:
    with pytest.raises(UsageError, match="MC002: dimension 'time' is wrong"):
        import_model(dynamic_model(("N", "time")), dims={"time": 0})


@pytest.mark.parametrize("shape", [(8, 3), (640,), ()])
def test_static_batch_must_be_one(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedModelError, match=r"MC105: input 'x' .*\n.*batch dimension of 1"):
        import_model(dynamic_model(shape))


def test_integer_input_is_refused() -> None:
    model = dynamic_model((1, 4))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(UnsupportedModelError, match=r"MC105: input 'x' .*\n.*its type is int64"):
        import_model(model)


def constant_output_model(*outputs: str) -> onnx.ModelProto:
    constant = {"c": np.array([[1.0, 2.0, 3.0]])}
    shapes = dict.fromkeys(outputs)
    return model_of([node("Add", ["x", "x"], ["y"])], {"x": (1, 4)}, shapes, constant)


@pytest.mark.parametrize("where", ["input 'x'", "output 'y'"])
def test_ports_of_many_axes_are_refused(where: str) -> None:
    long, short = (1, 2, 1, 2, 1, 2, 3), (1, 24)
    x, y = (long, short) if where.startswith("input") else (short, long)
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    model = model_of([node], {"x": x}, {"y": y}, {"shape": np.array(y)})
    with pytest.raises(UnsupportedModelError, match="it has 7 axes; 6 are possible") as caught:
        import_model(model)
    assert (caught.value.id, caught.value.where) == ("MC105", where)


def test_constant_output() -> None:
    graph = import_model(constant_output_model("c", "y"))
    c, y = run_float(graph, [np.ones((2, 4))])
    np.testing.assert_array_equal(c, [[1.0, 2.0, 3.0]] * 2)
    np.testing.assert_array_equal(y, np.full((2, 4), 2.0))
    assert [op.kind for op in run_passes(graph).ops()] == ["Formula", "Constant"]


def test_nothing_but_constant_outputs_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match=r"MC105: output 'c' .*\n.* no output depends"):
        import_model(constant_output_model("c"))
