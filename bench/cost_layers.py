"""The layers whose instructions are counted for mcucompile.cost: every kernel, odd sizes too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product

from bench.cost_convolutions import dense_weights, depthwise, expand_depthwise
from bench.cost_operators import elementwise, moves, pools, real, recurrent, wide
from bench.cost_parts import by_rows
from bench.cost_weights import binary, dense_sparse, packed, sparse
from mcucompile.cost.features import FAMILIES as COUNTED
from mcucompile.lower import lower
from mcucompile.plan.program import KernelCall, Target
from tests.fuzz.families import FAMILIES, case

RANDOM_CASES = 150  # of each family of the fuzz tests, of which
PER_KERNEL = 8  # of each kernel are taken,
PER_OTHER = 24  # or so many of kernels without layers of their own


def calls() -> Iterator[KernelCall]:
    """Calls of all kernels of the runtime; image layers also with the rows of the image."""
    yield from dense_weights()
    yield from sparse()
    yield from dense_sparse()
    yield from packed()
    yield from depthwise()
    yield from expand_depthwise()
    yield from binary()
    yield from wide()
    yield from real()
    for graph in (*elementwise(), *recurrent(), *pools(), *moves()):
        (call,) = lower(graph, Target()).calls
        yield call
        rows = by_rows(call, graph.value("y").shape[1])
        if rows is not call:
            yield rows
        if call.folding is not None:
            yield call.folding
    yield from _random_calls()


def _random_calls() -> Iterator[KernelCall]:
    """Small cases of the fuzz tests, which reach every kernel."""
    taken: Counter[str] = Counter()
    for family, number in product(FAMILIES, range(RANDOM_CASES)):
        random = case(family, number)
        (call,) = lower(random.graph, Target(**random.wishes)).calls
        if call.header == "mcuc/tflite.h":  # extreme scales, with which all of it folds away
            continue
        taken[call.kernel] += 1
        if taken[call.kernel] <= (PER_KERNEL if call.header in COUNTED else PER_OTHER):
            yield call
