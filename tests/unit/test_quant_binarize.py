"""Layers become binary on demand, and the loss is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcucompile.compiler import compile_model
from mcucompile.errors import QuantizationError
from mcucompile.ir import Graph
from mcucompile.ops.binary_conv import BinaryConv2d
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.quant.binarize import binarize
from mcucompile.reference.integer_interpreter import run_int_all
from tests.support import zoo
from tests.support.stages import float_graph

DIGITS = zoo.ROOT / "examples/digits"
OPTIONS = CompileOptions(
    "nano33ble", calibration=SampleOptions(str(DIGITS / "calib.npz")), quantize="binary", force=True
)


def _digits() -> Graph:
    return float_graph(DIGITS / "digits.onnx")[1]


def test_all_layers_between_the_first_and_the_last() -> None:
    layers = [op for op in _digits().ops() if op.kind in ("Conv2d", "Dense")]
    wanted = {op.name for op in layers[1:-1] if getattr(op, "groups", 1) == 1}
    graph, warnings = binarize(_digits(), OPTIONS)
    assert {op.name for op in graph.ops_of(BinaryConv2d)} == wanted != set()
    assert "not trained for binary layers" in warnings[0]
    for op in graph.ops_of(BinaryConv2d):
        weights = np.abs(graph.operands(op)[1].real)
        each = weights.reshape(len(weights), -1)
        np.testing.assert_allclose(each.min(axis=1), each.max(axis=1), rtol=1e-6)


def test_values_after_a_sign_are_calibrated_as_they_are_now() -> None:
    """The integers fill their range, which is not that of the model's tensors."""
    graph = compile_model(DIGITS / "digits.onnx", OPTIONS).graph
    port, q = graph.input_ports[0], graph.value(graph.inputs[0]).q
    x = np.load(DIGITS / "calib.npz")["x"][:20].reshape(-1, *port.shape[1:])
    contents = run_int_all(graph, [q.quantize(x)])
    results = [graph.result(op) for op in graph.ops_of(BinaryConv2d)]
    stored = [contents[v.name].astype(int) for v in results if v.dtype == "int8"]
    assert stored
    assert min(np.ptp(numbers) for numbers in stored) > 60


def test_refused_with_the_loss() -> None:
    with pytest.raises(QuantizationError, match="dB of signal over noise"):
        binarize(_digits(), replace(OPTIONS, force=False))


@zoo.needs_zoo
def test_a_model_trained_for_it_is_not_changed() -> None:
    graph = float_graph(zoo.model("own_bnn_mnist_padone_float"))[1]
    calibration = SampleOptions(str(zoo.ZOO / "data/mnist_calib.npz:x"), 1 / 255)
    options = CompileOptions("nano33ble", calibration=calibration, quantize="binary")
    new, warnings = binarize(graph, options)
    assert warnings == ()
    assert [op.kind for op in new.ops()] == [op.kind for op in graph.ops()]
