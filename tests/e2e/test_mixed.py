"""Models of which some layers have int16 results: exact in C, named in the report."""

from __future__ import annotations

import pytest

from mcucompile.compiler import compile_model
from mcucompile.measure import report
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.quant.samples import load_samples
from mcucompile.validate import Where, validate
from tests.support.tools import needs_qemu
from tests.support.zoo import ZOO, model, needs_zoo

CALIB = SampleOptions(str(ZOO / "data/kws01_calib.npz:x_float"))
NODES = ("Conv__95", "Conv__97")


@needs_zoo
@pytest.mark.parametrize(
    ("where", "count"), [("host", 20), pytest.param("qemu", 3, marks=needs_qemu)]
)
def test_keywords(where: Where, count: int) -> None:
    options = CompileOptions("stm32f746", calibration=CALIB, mixed=",".join(NODES))
    compilation = compile_model(model("mlperf_kws_float"), options)
    samples = load_samples(
        SampleOptions(str(ZOO / "data/kws01_test.npz:x_float"), limit=count),
        compilation.graph.input_ports,
    )
    result = validate(compilation, samples, where)
    assert result.mismatches_vs_reference == 0
    assert result.top1_agreement == 1.0
    content = report(compilation)
    assert content["quantization"]["int16"] == list(NODES)
    reasons = [step["why"] for step in content["steps"]]
    assert reasons.count("mixed precision: int8 in, int16 out") == 2
    assert reasons.count("mixed precision: int16 in, int8 out") == 2
