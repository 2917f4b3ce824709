"""docs/operators.md: what the tests say of each operator."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

import onnx

from tests.conformance.cases import Case
from tests.conformance.check import RTOL, STEPS, Results
from tests.support.zoo import ROOT

FILE = ROOT / "docs" / "operators.md"
COMMAND = "python -m tests.conformance"
KINDS = ("pass", "refused", "fail")


def document(results: Mapping[Case, Results], compiled: int) -> str:
    """The whole file. compiled: how many of the quantized graphs were compared in C."""
    return "\n".join(_lines(results, compiled)) + "\n"


def row(case: Case, result: Results) -> str:
    """The line of a test that is not simply passed; "" if it is."""
    if result.reals.status == result.integers.status == "pass":
        return ""
    why = result.reals.reason or result.integers.reason
    return f"| {case.name} | {result.reals.status} | {result.integers.status} | {why} |"


def _lines(results: Mapping[Case, Results], compiled: int) -> Iterator[str]:
    reals = Counter(r.reals.status for r in results.values())
    integers = Counter(r.integers.status for r in results.values())
    yield from f"""# Conformance with ONNX

The ONNX project's own backend tests of single nodes, of onnx {onnx.__version__}, run through the
compiler. This file is written by `{COMMAND}`; a test compares it.

Relevant are the {len(results)} tests whose operators occur in models for microcontrollers (the list
is in `tests/conformance/cases.py`) and whose inputs and outputs are tensors of float32, of integers
of 8 to 64 bits, or of truth values; without the tests called "expanded", which are the same again
with the nodes of a function in its place.

| | {" | ".join(KINDS)} |
|---|---|---|---|
| real numbers | {" | ".join(str(reals[k]) for k in KINDS)} |
| quantized | {" | ".join(str(integers[k]) for k in KINDS)} |

* **Real numbers**: the graph as imported, and again after all passes, gives the expected outputs
  (relative error {RTOL:g}, as in ONNX's own runner). Here a tensor's first axis may be anything.
* **Quantized**: the inputs of the test calibrate it, and the integer reference computes it. What it
  gives must lie within {STEPS:g} steps of the output of what the model computes from real inputs
  that differ from the test's by no more than their own rounding to 8 bits. "Largest error" is that
  against the expected output, in steps of the output; it is large where a function jumps or is
  steep.
* **C**: all {compiled} quantized graphs compiled for the host give the reference's bytes.

The compiler takes models of batch 1 with constant weights. So a test's tensors come behind a batch
axis of 1 that a Reshape takes off, or, where the test's first axis is a batch, sample by sample;
inputs behind the first one are constants where they have to be; integers of other types than int8
and uint8, and truth values, enter as float32 through a Cast.

## By operator

| operators | tests | real numbers | quantized | largest error |
|---|---|---|---|---|""".splitlines()
    yield from _by_operator(results)
    yield from """
## Refused

| test | real numbers | quantized | why |
|---|---|---|---|""".splitlines()
    yield from filter(None, (row(case, result) for case, result in results.items()))


def _by_operator(results: Mapping[Case, Results]) -> Iterator[str]:
    groups: dict[str, list[Results]] = defaultdict(list)
    for case, result in results.items():
        groups[case.operators].append(result)
    for name, group in sorted(groups.items()):
        reals, integers = (
            sum(outcome.status == "pass" for outcome in outcomes)
            for outcomes in zip(*((r.reals, r.integers) for r in group), strict=True)
        )
        steps = f"{max(r.integers.steps for r in group):.1f}" if integers else "-"
        yield f"| {name} | {len(group)} | {reals} | {integers} | {steps} |"
