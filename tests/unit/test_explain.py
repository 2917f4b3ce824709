"""What the report says of a schedule is what the planner would get by doing it."""

from __future__ import annotations

import numpy as np
import pytest

from mcucompile.plan.planner import PlanOptions, make_plan
from tests.support.row_mixing import random_row_graph


@pytest.mark.parametrize("seed", range(12))
def test_choices_and_alternatives_hold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, program = random_row_graph(rng, int(rng.integers(2, 9)))
    plans = {
        name: make_plan(program, options)
        for name, options in {
            "ram": PlanOptions("ram"),
            "whole": PlanOptions("time", schedule="whole"),
            "balanced": PlanOptions(),
        }.items()
    }
    fastest, smallest = plans["balanced"].alternatives
    assert fastest.peak == max(c.peak for c in plans["whole"].choices)
    assert fastest.instructions == pytest.approx(
        sum(c.instructions for c in plans["whole"].choices), abs=len(program.calls)
    )
    assert smallest.peak <= plans["balanced"].lower_bound
    for plan in plans.values():
        assert len(plan.choices) == len(plan.segments)
        assert -(-max(c.peak for c in plan.choices) // 4) * 4 == plan.lower_bound
        for segment, choice in zip(plan.segments, plan.choices, strict=True):
            if segment.mode == "rows" and choice.other is not None:
                assert choice.other.peak >= choice.peak


def test_no_other_way_where_there_is_but_one() -> None:
    _, program = random_row_graph(np.random.default_rng(1), 1)
    plan = make_plan(program, PlanOptions("time", schedule="whole"))
    assert all(choice.other is None for choice in plan.choices)
