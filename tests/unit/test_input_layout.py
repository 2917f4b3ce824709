"""The layout of inputs and outputs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mcucompile.errors import UsageError
from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.layout import set_input_layout
from mcucompile.ir.verify import verify
from mcucompile.reference.float_interpreter import run_float
from tests.support.imports import assert_same_numbers, node
from tests.support.models import model_of


def transposed_model(perm: list[int], shape: tuple[int, ...]) -> onnx.ModelProto:
    out = tuple(shape[p] for p in perm)
    return model_of(
        [node("Add", ["x", "x"], ["a"]), node("Transpose", ["a"], ["y"], perm=perm)],
        {"x": shape},
        {"y": out},
        {},
    )


@pytest.mark.parametrize(
    ("perm", "shape", "layout"),
    [
        ([0, 2, 3, 1], (1, 3, 4, 5), "NCHW"),
        ([0, 3, 1, 2], (1, 4, 5, 3), "NHWC"),
        ([0, 1], (1, 4), ""),
    ],
)
def test_input_layout(perm: list[int], shape: tuple[int, ...], layout: str) -> None:
    graph = import_model(transposed_model(perm, shape))
    assert graph.input_ports[0].layout == layout
    assert graph.input_ports[0].shape == shape


def test_output_layout() -> None:
    graph = import_model(transposed_model([0, 3, 1, 2], (1, 4, 5, 3)))
    assert graph.output_ports[0].layout == "NCHW"


def test_identity_model_has_an_operator() -> None:
    """An output is never an input, nor twice the same value: each needs bytes of its own name."""
    model = model_of(
        [node("Identity", ["x"], ["y"]), node("Identity", ["x"], ["z"])],
        {"x": (1, 4)},
        {"y": (1, 4), "z": (1, 4)},
        {},
    )
    assert_same_numbers(model)


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("own", ["NHWC", "NCHW"])
def test_set_input_layout(own: str, layout: str) -> None:
    """The numbers stay; the input is permuted if the layout is another one."""
    perm, shape = ([0, 2, 3, 1], (1, 3, 4, 5)) if own == "NCHW" else ([0, 3, 1, 2], (1, 4, 5, 3))
    graph = import_model(transposed_model(perm, shape))
    changed = set_input_layout(graph, layout)  # type: ignore[arg-type]
    verify(changed)
    assert changed.input_ports[0].layout == layout.upper()
    assert changed.input_ports[0].model_shape == shape
    assert changed.inputs == graph.inputs
    assert graph.input_ports[0].layout == own
    x = np.random.default_rng(0).normal(size=(2, *shape[1:])).astype(np.float32)
    given = x if layout.upper() == own else x.transpose(perm)
    np.testing.assert_array_equal(run_float(changed, [given])[0], run_float(graph, [x])[0])


def test_set_input_layout_without_images() -> None:
    graph = import_model(transposed_model([0, 1], (1, 4)))
    assert set_input_layout(graph, "") is graph
    with pytest.raises(UsageError, match=r"MC003: --input-layout nhwc does not apply"):
        set_input_layout(graph, "nhwc")
