"""Operators as QDQ ONNX: onnxruntime computes what their integers say, and they are read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from mcucompile.compiler import quantize_model
from mcucompile.errors import McuCompileError
from mcucompile.export import qdq_model
from mcucompile.frontend.onnx_model import load_model
from mcucompile.ir import Array, Graph
from mcucompile.options import CompileOptions
from mcucompile.quant.samples import from_model_int8
from mcucompile.reference.integer_interpreter import run_int
from tests.conformance.cases import Case, relevant_cases
from tests.conformance.check import run
from tests.support.exported import steps_by_operator

# Operators that have no form, or not always.
REFUSED = {"Gru", "Lstm", "Normalize", "ReduceLogSumExp", "Resize", "Rnn", "AveragePool", "Pad"}


def _written(graph: Graph) -> onnx.ModelProto | None:
    try:
        return qdq_model(graph)
    except McuCompileError as error:
        if error.id != "MC109":
            raise
        return None


def _check(cases: tuple[Case, ...], tmp_path: Path) -> int:
    """How many of `cases` can be written, all of which compute what they should."""
    written = 0
    for case in cases:
        graph = run(case).integers.graph
        if graph is None:
            continue
        model = _written(graph)
        if model is None:
            assert REFUSED.intersection(op.kind for op in graph.ops()), case.name
            continue
        onnx.checker.check_model(model, full_check=True)
        integers = _integers(graph)
        steps = steps_by_operator(graph, model, _samples(graph, integers))
        assert max(steps.values()) <= 1, (case.name, steps)
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        again = quantize_model(load_model(path), "model", CompileOptions(""), lambda text: None)
        results = (run_int(g, integers) for g in (again.graph, graph))
        for port, have, want in zip(graph.output_ports, *results, strict=True):
            if port.dtype not in ("int32", "int64"):  # whose Cast cuts fractions off first
                assert np.array_equal(have, want), case.name
        written += 1
    return written


def _integers(graph: Graph) -> list[Array]:
    rng = np.random.default_rng(0)
    shapes = [graph.value(name).shape for name in graph.inputs]
    return [rng.integers(-128, 128, shape).astype(np.int8) for shape in shapes]


def _samples(graph: Graph, integers: list[Array]) -> list[Array]:
    """The integers as the model takes them: one sample on axis 0."""
    given = zip(graph.inputs, graph.input_ports, integers, strict=True)
    reals = [(from_model_int8(q, port, graph.value(name).q), port) for name, port, q in given]
    return [x if port.shape[:1] == (1,) else x[None] for x, port in reals]


def test_a_sample_of_the_operators(tmp_path: Path) -> None:
    assert _check(relevant_cases()[5::12], tmp_path) > 30


@pytest.mark.slow
def test_every_operator(tmp_path: Path) -> None:
    assert _check(relevant_cases(), tmp_path) > 400
