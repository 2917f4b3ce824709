"""Plans of real models, executed in a poisoned byte arena."""

from __future__ import annotations

import numpy as np
import pytest

from mcucompile.compiler import compile_model
from mcucompile.options import CompileOptions
from mcucompile.plan.check import check_plan
from mcucompile.plan.planner import PlanOptions, make_plan
from mcucompile.reference.arena_interpreter import run_plan
from mcucompile.reference.integer_interpreter import run_int
from tests.support import zoo

LARGEST_ARENA = {  # bytes; a little more than is needed, so that a loss is noticed
    "mlperf_ad01_int8qdq": 1_024,
    "mlperf_kws_int8qdq": 9_500,
    "mlperf_resnet8_int8qdq": 51_500,
    "mlperf_sww_int8qdq": 7_500,
    "mlperf_vww96_int8qdq": 56_500,
}


@zoo.needs_zoo
@pytest.mark.parametrize("name", LARGEST_ARENA)
def test_the_arena_gives_the_integer_reference(name: str) -> None:
    compiled = compile_model(zoo.model(name), CompileOptions("stm32f746"))
    graph, plan = compiled.graph, compiled.plan
    assert plan.lower_bound <= plan.arena_size <= LARGEST_ARENA[name]
    shapes = [graph.value(n).shape for n in graph.inputs]
    rng = np.random.default_rng(0)
    inputs = [rng.integers(-128, 128, (2, *s[1:])).astype(np.int8) for s in shapes]
    expected = run_int(graph, inputs)
    for keep_input in (False, True):
        plan = make_plan(plan.program, PlanOptions(keep_input=keep_input))
        check_plan(plan)
        for have, want in zip(run_plan(plan, graph, inputs), expected, strict=True):
            np.testing.assert_array_equal(have, want)
