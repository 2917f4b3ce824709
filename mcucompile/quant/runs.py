"""The float graph on as many calibration samples as take a few seconds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mcucompile.ir import Array, Graph
from mcucompile.progress import track
from mcucompile.quant.samples import Samples, to_real
from mcucompile.reference.float_interpreter import run_float_all

FEWEST, MOST = 8, 64
MACS = 2e9  # multiply-accumulates of all samples together
TOGETHER = 8  # samples whose activations are in memory at a time


def affordable(graph: Graph, samples: Samples) -> int:
    """How many of `samples` to run the interpreters on."""
    macs = sum(op.macs(graph.operands(op), graph.results(op)) for op in graph.ops())
    return min(samples.count, int(np.clip(MACS / max(macs, 1), FEWEST, MOST)))


def real_inputs(graph: Graph, samples: Samples, part: slice) -> list[Array]:
    """What the float `graph` is given for a part of the samples, in the order of its inputs."""
    given = zip(samples.arrays, graph.input_ports, graph.inputs, strict=True)
    return [to_real(array[part], port, graph.value(name).qparams) for array, port, name in given]


def float_runs(graph: Graph, samples: Samples) -> Iterator[dict[str, Array]]:
    """All activations of `graph` by name, a few samples at a time.

    Where a run depends on those before it, all samples are one sequence.
    """
    count = samples.count if graph.is_stateful else affordable(graph, samples)
    step = count if graph.is_stateful else TOGETHER
    for start in track(starts := range(0, count, step), "float model", len(starts)):
        part = slice(start, min(start + step, count))
        yield run_float_all(graph, real_inputs(graph, samples, part))
