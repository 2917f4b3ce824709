"""All float passes on random and on real models; what each does has a test file of its own."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.onnx_model import load_model
from mcucompile.passes import run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.reference.float_interpreter import run_float
from tests.support import zoo
from tests.support.passes import kinds, normalized, rng
from tests.support.random_models import random_model


@pytest.mark.parametrize("seed", range(100))
def test_random_models(seed: int) -> None:
    with np.errstate(all="ignore"):
        normalized(random_model(seed))


@zoo.needs_zoo
@pytest.mark.parametrize("name", zoo.MLPERF)
def test_mlperf(name: str) -> None:
    """No Transpose is left, batch normalizations and activations are fused, numbers stay."""
    graph = absorb_qdq(import_model(load_model(zoo.model(name))))
    result = run_passes(graph)
    layers = {"Conv2d", "Dense", "Add", "GlobalAveragePool", "Softmax", "Reshape"}
    assert set(kinds(result)) <= layers
    assert Counter(kinds(result))["Reshape"] <= 1
    if "int8" in name:
        assert all(v.qparams is not None for v in result.values() if not v.is_constant)
    x = rng.normal(size=(1, *graph.input_ports[0].shape[1:]))
    want, got = run_float(graph, [x])[0], run_float(result, [x])[0]
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())


OTHERS = {
    "onnx2c_mnist_cntk": 0,  # transposes that are left
    "own_bnn_mnist_padone_pm1_float": 0,
    "rand_mcunet_in3_176": 1,
    "raw_kws_float_dynbatch": 0,
    "st_har_ign_wisdm24_int8qdq": 0,
    "st_squeezenet11_128_int8qdq": 0,
    "tflm_micro_speech_int8qdq": 0,
    "tflm_mobilenetv2_224_int8qdq": 1,
    "tinymaix_mnist_arduino_float": 0,
    "tt_mcunet_5fps_128_int8qdq": 1,
}


@zoo.needs_zoo
@pytest.mark.parametrize(("name", "transposes"), OTHERS.items())
def test_other_models(name: str, transposes: int) -> None:
    """NCHW models keep the Transpose of their input, which the C API takes as it is."""
    graph = run_passes(absorb_qdq(import_model(load_model(zoo.model(name)))))
    count = Counter(kinds(graph))
    assert (count["Transpose"], count["Pad"]) == (transposes, 0)
