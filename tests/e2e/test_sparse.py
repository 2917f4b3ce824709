"""A network pruned in blocks: the same bits with sparse kernels, fewer instructions, less flash."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcucompile.compiler import compile_model
from mcucompile.measure import measure, profile, report
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.plan.program import Optimize
from mcucompile.quant.samples import load_samples
from mcucompile.report.build import Report
from mcucompile.validate import validate
from tests.support import zoo
from tests.support.tools import needs_qemu

MODEL = "own_blocksparse50_mnist_float"
PIXEL = 1 / 255
CALIBRATION = SampleOptions(str(zoo.ZOO / "data/mnist_calib.npz:x"), PIXEL)
OPTIONS = CompileOptions("nano33ble", calibration=CALIBRATION)


@zoo.needs_zoo
@pytest.mark.parametrize("optimize", ["balanced", pytest.param("time", marks=pytest.mark.slow)])
def test_results_are_those_of_dense_kernels(optimize: Optimize) -> None:
    """Both equal the integer reference, which knows nothing of blocks."""
    options = replace(OPTIONS, optimize=optimize, winograd=False)
    sparse = compile_model(zoo.model(MODEL), options)
    dense = compile_model(zoo.model(MODEL), replace(options, sparse=False))
    kernels = [[s.call.kernel for s in c.plan.steps] for c in (sparse, dense)]
    assert [sum("sparse" in k for k in own) for own in kernels] == [4, 0]
    source = SampleOptions(str(zoo.ZOO / "data/mnist_test.npz:x"), PIXEL, limit=100)
    samples = load_samples(source, sparse.graph.input_ports)
    for compilation in (sparse, dense):
        assert validate(compilation, samples, "host").mismatches_vs_reference == 0


@zoo.needs_zoo
@needs_qemu
def test_fewer_instructions_and_bytes() -> None:
    """Beside Winograd, and more so beside the direct kernels, whose memory it needs."""
    sparse, dense = _measured(None, None), _measured(False, None)
    assert sparse["instructions_total"] < 0.9 * dense["instructions_total"]
    assert sparse["flash"]["total_bytes"] < dense["flash"]["total_bytes"]
    sparse, dense = _measured(None, False), _measured(False, False)
    layers = sparse["sparsity"]
    assert [layer["kept"] / layer["blocks"] for layer in layers] == pytest.approx(
        [0.5] * 4, abs=0.01
    )
    assert all(layer["bytes_saved"] > 0 for layer in layers)
    assert dense["sparsity"] == []
    assert sparse["instructions_total"] < 0.75 * dense["instructions_total"]
    assert sparse["flash"]["total_bytes"] < 0.9 * dense["flash"]["total_bytes"]
    assert sparse["sram"]["total_bytes"] <= dense["sram"]["total_bytes"]


def _measured(sparse: bool | None, winograd: bool | None) -> Report:
    options = replace(OPTIONS, sparse=sparse, winograd=winograd)
    compilation = compile_model(zoo.model(MODEL), options)
    return report(compilation, measure(compilation), profile(compilation))
