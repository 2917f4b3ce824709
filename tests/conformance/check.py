"""Runs a test through the stages of the compiler and compares the numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcucompile.errors import McuCompileError
from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.onnx_model import load_model
from mcucompile.ir import Array, Graph, Port, QParams
from mcucompile.ir.verify import verify
from mcucompile.passes import FLOAT_PASSES, run_passes
from mcucompile.passes.require_batch import require_batch
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.calibrate import internals, with_results
from mcucompile.quant.constants import range_qparams
from mcucompile.quant.legalize import legalize
from mcucompile.quant.quantize import Range, quantize, uncalibrated
from mcucompile.quant.samples import from_model_int8, to_model_int8, to_real
from mcucompile.reference.float_interpreter import run_float, run_float_all
from mcucompile.reference.integer_interpreter import run_int
from tests.conformance.cases import Case
from tests.conformance.forms import Form, forms
from tests.support.ckit import check_graphs
from tests.support.machines import HOST_UNOPTIMIZED

RTOL, ATOL = 1e-3, 1e-6  # of floats; ONNX's own runner asks for 1e-3 and 1e-7, in float32
PROGRAM = 50  # graphs in one C program
STEPS = 3.0  # by how much quantized results may leave what their inputs explain


@dataclass(frozen=True)
class Outcome:
    """What became of a test in one kind of run.

    status: "pass", "fail" or "refused". reason: why it was refused, or what is wrong.
    steps: the largest error, in steps of the output. graph: what was run.
    """

    status: str
    reason: str = ""
    steps: float = 0.0
    graph: Graph | None = None


@dataclass(frozen=True)
class Results:
    """What became of a test on real numbers, and through quantization."""

    reals: Outcome
    integers: Outcome


def run(case: Case) -> Results:
    """The test as imported and simplified, on whole tensors of any batch; and quantized, where its
    inputs are the calibration data, too."""
    with np.errstate(all="ignore"):  # tests of infinities
        return Results(_first_taken(case, _check_reals), _first_taken(case, _check_integers))


def compare_c(graphs: Sequence[Graph]) -> None:
    """Assert that the C code of quantized graphs gives the integer reference's bytes."""
    for start in range(0, len(graphs), PROGRAM):
        check_graphs(graphs[start : start + PROGRAM], samples=1, machine=HOST_UNOPTIMIZED)


def _first_taken(case: Case, check: Callable[[Form], Outcome]) -> Outcome:
    refusals: list[McuCompileError] = []
    for form in forms(case):
        try:
            return check(form)
        except McuCompileError as error:
            refusals.append(error)
    reasons = [error.why for error in refusals]
    # With weights or indices at run time, any test is refused: what counts is the form without.
    return Outcome("refused", next((r for r in reasons if "at run time" not in r), reasons[0]))


def _imported(form: Form) -> Graph:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.onnx"
        path.write_bytes(form.model.SerializeToString())
        return absorb_qdq(import_model(load_model(path)))


# -- real numbers -----------------------------------------------------------------------------


def _check_reals(form: Form) -> Outcome:
    imported = _imported(form)
    graph = imported
    for run in FLOAT_PASSES:
        if run is not require_batch:
            graph = run(graph)
            verify(graph, "float", run.__name__)
    for each in (imported, graph):
        results = run_float(each, _reals(each, form.samples))
        for name, port, y, want in zip(
            each.outputs, each.output_ports, results, form.expected, strict=True
        ):
            have = _in_domain(y, port, each.value(name).qparams)
            if have.size != want.size or not _is_close(have.reshape(want.shape), want):
                return Outcome("fail", f"output '{port.name}' differs", graph=graph)
    return Outcome("pass", graph=graph)


def _reals(graph: Graph, samples: Sequence[Array]) -> list[Array]:
    """The numbers that samples in the model's domain mean."""
    given = zip(graph.inputs, graph.input_ports, samples, strict=True)
    return [to_real(array, port, graph.value(name).qparams) for name, port, array in given]


def _in_domain(y: Array, port: Port, qparams: QParams | None) -> Array:
    """Real results as the model's output has them."""
    if port.dtype not in ("int8", "uint8"):
        return y
    assert qparams is not None
    return from_model_int8(qparams.quantize(y), port, qparams)


def _is_close(have: Array, want: Array) -> bool:
    return np.allclose(have.astype(np.float64), want.astype(np.float64), RTOL, ATOL, equal_nan=True)


# -- integers ---------------------------------------------------------------------------------


def _check_integers(form: Form) -> Outcome:
    graph = run_passes(_imported(form))
    reals = _reals(graph, form.samples)
    quantized = legalize(quantize(graph, _ranges(graph, reals)))
    ports = zip(quantized.inputs, quantized.input_ports, form.samples, strict=True)
    stored = [to_model_int8(a, port, quantized.value(name).q) for name, port, a in ports]
    results = run_int(quantized, stored)
    bounds = _explained(graph, quantized, reals, stored)
    steps = 0.0
    for name, y, want, (lo, hi) in zip(
        quantized.outputs, results, run_float(graph, reals), bounds, strict=True
    ):
        q = quantized.value(name).q
        have, step = q.dequantize(y).astype(np.float64), q.scale[0]
        lo, hi = (np.clip(b, *q.dequantize(np.array([-128, 127]))) for b in (lo, hi))
        beyond = np.maximum(lo - have, have - hi).max(initial=0.0) / step
        steps = max(steps, float(np.nanmax(np.abs(have - want), initial=0.0)) / step)
        if not beyond <= STEPS:
            return Outcome("fail", f"{beyond:.1f} steps beyond what is explained", steps, quantized)
    return Outcome("pass", "", steps, quantized)


def _ranges(graph: Graph, reals: Sequence[Array]) -> dict[str, Range]:
    """From the smallest to the largest number, also when the inputs are what is stored of them.
    Inputs that are integers of 8 bits get steps of 1."""
    spans, kept = {}, []
    for name, array in zip(graph.inputs, reals, strict=True):
        lo, hi = _span(array)
        if (array == np.rint(array)).all() and hi - lo <= 255 and hi > 1:
            lo, hi = (lo, lo + 255.0) if lo < 0 else (0.0, 255.0)
        spans[name] = (lo, hi)
        q = graph.value(name).qparams or range_qparams(lo, hi)
        kept.append(q.dequantize(q.quantize(array)))
    runs = [run_float_all(graph, inputs) for inputs in (reals, kept)]
    runs = [contents | internals(graph, contents) for contents in runs]
    names = [*(v.name for v in uncalibrated(graph)), *(n for n in runs[0] if "." in n)]
    ranges = {n: _span(np.concatenate([run[n].reshape(-1) for run in runs])) for n in names}
    return with_results(graph, ranges | {n: s for n, s in spans.items() if n in ranges})


def _span(array: Array) -> Range:
    finite = array[np.isfinite(array)]
    return float(finite.min(initial=0.0)), float(finite.max(initial=0.0))


def _explained(
    graph: Graph, quantized: Graph, reals: Sequence[Array], stored: Sequence[Array]
) -> list[tuple[Array, Array]]:
    """The smallest and the largest result, element by element, of real inputs between what the
    test gives and what is stored of it: as they are, and with errors of either sign."""
    rng = np.random.default_rng(0)
    kept = [
        quantized.value(name).q.dequantize(a)
        for name, a in zip(quantized.inputs, stored, strict=True)
    ]
    errors = [np.abs(r - k) for r, k in zip(reals, kept, strict=True)]
    runs = [run_float(graph, reals), run_float(quantized, reals), run_float(quantized, kept)]
    for sign in (1, -1, *[0] * 6):
        near = [
            k + e * (sign or rng.choice([-1, 1], k.shape))
            for k, e in zip(kept, errors, strict=True)
        ]
        runs.append(run_float(quantized, near))
    stacked = [np.stack([r.astype(np.float64) for r in ys]) for ys in zip(*runs, strict=True)]
    return [(np.nanmin(ys, axis=0), np.nanmax(ys, axis=0)) for ys in stacked]
