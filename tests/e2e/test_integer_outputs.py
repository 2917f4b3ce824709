"""Models that end in ArgMax or in a comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mcucompile.compiler import compile_model
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.quant.samples import from_model_int8, load_samples
from mcucompile.validate import validate
from tests.support import models


def _with_end(nodes: list[onnx.NodeProto], dtype: int, shape: tuple[int, ...]) -> onnx.ModelProto:
    """A small network whose output is what `nodes` make of its scores "y"."""
    model = models.small_cnn()
    model.graph.node.extend(nodes)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("z", dtype, shape))
    return model


CASES = {
    "arg": ([helper.make_node("ArgMax", ["y"], ["z"], axis=1)], TensorProto.INT64, (1, 1)),
    "arg_flat": (
        [
            helper.make_node("ArgMax", ["y"], ["i"], axis=1),
            helper.make_node("Cast", ["i"], ["z"], to=TensorProto.INT32),
        ],
        TensorProto.INT32,
        (1, 1),
    ),
    "compare": ([helper.make_node("Greater", ["y", "fb"], ["z"])], TensorProto.BOOL, (1, 4)),
}


@pytest.mark.parametrize("name", CASES)
def test_numbers_of_the_model_s_own_type(name: str, tmp_path: Path) -> None:
    nodes, dtype, shape = CASES[name]
    path = models.save(_with_end(nodes, dtype, shape), tmp_path / "net.onnx")
    compilation = compile_model(path, CompileOptions(board="stm32f746"))
    samples = load_samples(SampleOptions("random", limit=40), compilation.graph.input_ports)
    result = validate(compilation, samples, "host")
    assert result.mismatches_vs_reference == 0
    assert result.top1_agreement >= 0.9
    (port,) = compilation.graph.output_ports
    q = compilation.graph.value(compilation.graph.outputs[0]).q
    stored = q.quantize(np.zeros(shape))
    assert from_model_int8(stored, port, q).dtype == helper.tensor_dtype_to_np_dtype(dtype)
