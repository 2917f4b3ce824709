"""Plans of real models, executed in a poisoned byte arena."""

from __future__ import annotations

import numpy as np
import pytest

from mcucompile.compiler import compile_model
from mcucompile.options import CompileOptions
from mcucompile.plan.check import check_plan
from mcucompile.plan.planner import PlanOptions, make_plan
from mcucompile.plan.program import Optimize
from mcucompile.reference.arena_interpreter import run_plan
from mcucompile.reference.integer_interpreter import run_int
from tests.support import zoo

LARGEST_ARENA = {  # bytes with -O balanced and ram; a little more than is needed
    "mlperf_ad01_int8qdq": (900, 900),
    "mlperf_kws_int8qdq": (9_000, 5_500),
    "mlperf_resnet8_int8qdq": (22_500, 15_500),
    "mlperf_sww_int8qdq": (4_300, 4_300),
    "mlperf_vww96_int8qdq": (32_000, 30_000),
    "rand_mcunet_in0_48": (18_000, 12_000),
    "tinyengine_mcunet_vww_int8qdq": (24_500, 22_800),
}


@zoo.needs_zoo
@pytest.mark.parametrize("name", LARGEST_ARENA)
def test_the_arena_gives_the_integer_reference(name: str) -> None:
    modes: tuple[Optimize, ...] = ("balanced", "ram")
    for optimize, largest in zip(modes, LARGEST_ARENA[name], strict=True):
        compiled = compile_model(zoo.model(name), CompileOptions("stm32f746", optimize=optimize))
        graph, plan = compiled.graph, compiled.plan
        assert plan.lower_bound <= plan.arena_size <= largest
        assert plan.arena_size <= 1.02 * plan.lower_bound
        shapes = [graph.value(n).shape for n in graph.inputs]
        rng = np.random.default_rng(0)
        inputs = [rng.integers(-128, 128, (2, *s[1:])).astype(np.int8) for s in shapes]
        expected = run_int(compiled.pruned_graph, inputs)
        for keep_input in (False, True):
            plan = make_plan(plan.program, PlanOptions(optimize, keep_input=keep_input))
            check_plan(plan)
            for have, want in zip(run_plan(plan, graph, inputs), expected, strict=True):
                np.testing.assert_array_equal(have, want)
