"""docs/operators.md is what the tests of the installed onnx package give."""

from __future__ import annotations

import re

import onnx
import pytest

from tests.conformance.cases import relevant_cases
from tests.conformance.check import compare_c, run
from tests.conformance.document import COMMAND, FILE, document, row

TEXT = FILE.read_text(encoding="utf-8")
VERSION = re.search(r"of onnx ([\d.]+),", TEXT)[1]  # type: ignore[index]
LEAST = 450  # tests that must pass on real numbers

needs_version = pytest.mark.skipif(
    onnx.__version__ != VERSION,
    reason=f"docs/operators.md holds for onnx {VERSION}, not {onnx.__version__}",
)


@needs_version
def test_a_sample_of_the_tests() -> None:
    """Every 16th test gives what the document says; some of them are compared in C."""
    cases = relevant_cases()[::16]
    results = {case: run(case) for case in cases}
    said = {line.split(" | ")[0].strip("| "): line for line in TEXT.splitlines() if "|" in line}
    for case, result in results.items():
        assert row(case, result) == said.get(case.name, ""), f"run `{COMMAND}`"
    graphs = [r.integers.graph for r in results.values() if r.integers.graph is not None]
    assert len(graphs) > 20
    compare_c(graphs[::3])


@needs_version
def test_what_the_document_says() -> None:
    counts = {
        name: [int(n) for n in re.findall(r"\d+", line)]
        for line in TEXT.splitlines()
        for name in ("real numbers", "quantized")
        if line.startswith(f"| {name} |")
    }
    for passed, refused, failed in counts.values():
        assert passed + refused == len(relevant_cases())
        assert failed == 0
    assert counts["real numbers"][0] >= LEAST


@needs_version
@pytest.mark.slow
def test_the_whole_document() -> None:
    results = {case: run(case) for case in relevant_cases()}
    graphs = [r.integers.graph for r in results.values() if r.integers.graph is not None]
    assert document(results, len(graphs)) == TEXT, f"run `{COMMAND}`"
    compare_c(graphs)
