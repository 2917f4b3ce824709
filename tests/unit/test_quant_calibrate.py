"""Ranges from sample data: the observers, and calibration through onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mcucompile.errors import QuantizationError, UnsupportedModelError, UsageError
from mcucompile.ir import Graph, Port, QParams, Value
from mcucompile.ops.add import Add
from mcucompile.ops.unary import Unary
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.quant.calibrate import calibrate, calibration_samples
from mcucompile.quant.observers import (
    BINS,
    Entropy,
    Histogram,
    MeanSquaredError,
    MinMax,
    Observer,
    Percentile,
)
from mcucompile.quant.quantize import Range

RNG = np.random.default_rng(11)

# -- observers --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MinMax, Percentile])
def test_bounds_of_a_few_numbers_are_exact(kind: type[Observer]) -> None:
    observer = kind()
    for chunk in ([0.25, -0.5], [0.0], [3.0, -1.75]):
        observer.update(np.float32(chunk))
    assert observer.range() == (-1.75, 3.0)


@pytest.mark.parametrize("kind", [MinMax, Percentile, MeanSquaredError, Entropy])
def test_nothing_but_zeros(kind: type[Observer]) -> None:
    observer = kind()
    observer.update(np.zeros(10, np.float32))
    assert observer.range() == (0.0, 0.0)


@pytest.mark.parametrize("order", [1, -1], ids=["growing", "shrinking"])
def test_percentile_is_that_of_all_numbers_together(order: int) -> None:
    numbers = RNG.normal(size=(40, 5000)).astype(np.float32) * np.geomspace(0.01, 9, 40)[:, None]
    observer = Percentile(99.9)
    observer.update(np.zeros((1, 3), np.float32))
    for chunk in numbers[::order]:
        observer.update(chunk)
    lo, hi = np.quantile(numbers, [0.001, 0.999])
    resolution = 2 * observer.peak / len(observer.counts)
    assert observer.counts.sum() == numbers.size + 3
    assert np.allclose(observer.range(), (lo, hi), atol=2 * resolution, rtol=0)
    assert resolution < (hi - lo) / 255 / 8


def test_percentile_drops_a_rare_outlier() -> None:
    numbers = RNG.uniform(0, 1, 100_000).astype(np.float32)
    numbers[77] = 50.0
    observer = Percentile()
    observer.update(numbers)
    lo, hi = observer.range()
    assert lo == pytest.approx(0, abs=0.02)
    assert hi == pytest.approx(1, abs=0.02)


def test_relu_output_starts_at_zero() -> None:
    observer = Percentile()
    observer.update(np.maximum(RNG.normal(size=10_000), 0).astype(np.float32))
    assert observer.range()[0] == 0.0


@pytest.mark.parametrize("kind", [MeanSquaredError, Entropy])
@pytest.mark.parametrize("sign", [1, -1])
def test_outlier_is_clipped_where_that_pays(kind: type[Observer], sign: int) -> None:
    """One number at 12 standard deviations among a million."""
    observer = kind()
    for chunk in range(10):
        numbers = RNG.normal(size=100_000).astype(np.float32)
        numbers[77] = 12.0 if chunk == 5 else 0.0
        observer.update(sign * numbers)
    lo, hi = observer.range()
    assert 3 < -lo < 6.5
    assert 3 < hi < 6.5


def test_mean_squared_error_is_the_least_of_a_grid() -> None:
    numbers = np.append(RNG.laplace(size=200_000), [-40, 60]).astype(np.float32)
    observer = MeanSquaredError()
    observer.update(numbers)

    def error(lo: float, hi: float) -> float:
        step = (hi - lo) / 255
        stored = np.clip(np.rint(numbers / step), np.rint(lo / step), np.rint(hi / step))
        return float(np.mean((stored * step - numbers) ** 2))

    shares = np.linspace(0.1, 1, 30)
    least = min(error(-40 * lo, 60 * hi) for lo in shares for hi in shares)
    assert error(*observer.range()) <= 1.02 * least
    assert error(*observer.range()) < 0.7 * error(-40, 60)


def test_zeros_cost_nothing() -> None:
    """Half of the numbers behind a Relu are zero, which is stored exactly at any range."""
    numbers = np.abs(RNG.normal(size=100_000)).astype(np.float32)
    ranges = []
    for zeros in (0, 10_000_000):
        for kind in (MeanSquaredError, Entropy):
            observer = kind()
            observer.update(np.append(numbers, np.zeros(zeros, np.float32)))
            ranges.append(observer.range()[1])
    assert ranges[0] == pytest.approx(ranges[2], rel=0.05)
    assert ranges[1] == pytest.approx(ranges[3], rel=0.05)


def test_entropy_keeps_the_bulk_of_a_normal_distribution() -> None:
    """Between 3 and 5.5 standard deviations; the largest of a million numbers are near 5."""
    observer = Entropy()
    for _ in range(10):
        observer.update(RNG.normal(size=100_000).astype(np.float32))
    lo, hi = observer.range()
    assert 3 < hi < 5.5
    assert 3 < -lo < 5.5


@pytest.mark.parametrize("kind", [Percentile, MeanSquaredError, Entropy])
def test_memory_does_not_grow_with_the_samples(kind: type[Histogram]) -> None:
    observer = kind()
    for scale in (1, 10, 1000):
        observer.update(RNG.normal(size=1000).astype(np.float32) * scale)
        assert observer.counts.nbytes == 8 * BINS
    assert observer.counts.sum() == 3000


# -- calibration ------------------------------------------------------------------------------


def model(batch: int | str = 1, op: str = "Relu") -> onnx.ModelProto:
    """y = op(x + x), with the inner tensor `sum`."""
    nodes = [
        helper.make_node("Add", ["x", "x"], ["sum"], "add"),
        helper.make_node(op, ["sum"], ["y"], "act"),
    ]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, 4]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:])
    opsets = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def graph(qparams: QParams | None = None, names: bool = True) -> Graph:
    g = Graph("g")
    x = g.add_value(Value("x", (1, 4), onnx_name="x", qparams=qparams))
    (s,) = g.append(Add("add", ("add",)), [x, x], ["sum"], onnx=names)
    (y,) = g.append(Unary("act", ("act",), function="relu"), [s], ["y"], onnx=names)
    g.inputs, g.outputs = ("x",), (y.name,)
    g.input_ports = (Port("x", (1, 4), "float32"),)
    g.output_ports = (Port("y", (1, 4), "float32"),)
    return g


def ranges_of(model: onnx.ModelProto, graph: Graph, options: CompileOptions) -> dict[str, Range]:
    return calibrate(model, graph, calibration_samples(graph, options), options)


def options(tmp_path: Path, data: np.ndarray | None, method: str = "minmax") -> CompileOptions:
    source = None
    if data is not None:
        np.savez(tmp_path / "calib.npz", x=data)
        source = SampleOptions(str(tmp_path / "calib.npz"))
    return CompileOptions("b", calibration=source, calibration_method=method)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [1, "N"])
@pytest.mark.parametrize("names", [True, False], ids=["onnx tensors", "made-up values"])
@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_ranges_of_all_activations(
    tmp_path: Path, batch: int | str, names: bool, method: str
) -> None:
    data = np.float32([[1, -2, 0, 0.5], [0.25, 0.5, 3, -1]])
    ranges = ranges_of(model(batch), graph(names=names), options(tmp_path, data, method))
    assert ranges == {"x": (-2.0, 3.0), "sum": (-4.0, 6.0), "y": (0.0, 6.0)}


def test_scale_and_offset_apply_to_calibration_data(tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", x=np.uint8([[0, 255, 0, 51]]))
    source = SampleOptions(str(tmp_path / "c.npz"), scale=1 / 255, offset=-0.5)
    ranges = ranges_of(model(), graph(), CompileOptions("b", calibration=source))
    assert ranges["x"] == pytest.approx((-0.5, 0.5))


@pytest.mark.parametrize("source", [None, SampleOptions("random")])
def test_float_model_without_data_gets_reproducible_ranges(source: SampleOptions | None) -> None:
    some = ranges_of(model(), graph(), CompileOptions("b", calibration=source))
    again = ranges_of(model(), graph(), CompileOptions("b", calibration=source))
    assert some == again
    assert some["x"][0] < -0.5 < 0.5 < some["x"][1]


def test_quantized_model_needs_no_data_and_runs_nothing() -> None:
    whole = graph(QParams((0.5,), 0))
    for name in ("sum", "y"):
        whole.set_value(Value(name, (1, 4), qparams=QParams((0.5,), 0)))
    assert ranges_of(onnx.ModelProto(), whole, CompileOptions("b")) == {}


def test_partly_quantized_model_gets_ranges_only_from_real_data(tmp_path: Path) -> None:
    part = graph(QParams((0.5,), 0))
    assert ranges_of(model(), part, CompileOptions("b")) == {}
    ranges = ranges_of(model(), part, options(tmp_path, np.ones((1, 4), np.float32)))
    assert ranges == {"sum": (2.0, 2.0), "y": (2.0, 2.0)}


def test_model_that_overflows_on_the_data(tmp_path: Path) -> None:
    data = np.full((1, 4), 3e38, np.float32)
    with pytest.raises(QuantizationError, match="MC204"):
        ranges_of(model(), graph(), options(tmp_path, data))


def test_model_that_onnxruntime_cannot_run(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="MC106"):
        ranges_of(model(op="NoSuchOp"), graph(), options(tmp_path, np.ones((1, 4))))


def test_wrong_calibration_data_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="MC014"):
        ranges_of(model(), graph(), options(tmp_path, np.ones((1, 5))))
