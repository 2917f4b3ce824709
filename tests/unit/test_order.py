"""The order of calls: the best there is, found by trying all of them on small graphs."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from mcucompile.lower import lower
from mcucompile.plan.check import check_plan
from mcucompile.plan.order import Dependencies, best_order, dependencies, reordered
from mcucompile.plan.planner import PlanOptions, make_plan
from mcucompile.plan.program import Target
from tests.support.stacks import Stack, random_stack


def random_dependencies(rng: np.random.Generator, calls: int) -> Dependencies:
    """Value 0 is given; call c writes value c + 1 and reads one or two that exist by then."""
    reads = [frozenset(int(v) for v in rng.integers(0, c + 1, 2)) for c in range(calls)]
    unread = set(range(1, calls + 1)) - {v for r in reads for v in r}
    return Dependencies(
        tuple(int(n) for n in rng.integers(1, 100, calls + 1)),
        tuple(reads),
        tuple(frozenset({c + 1}) for c in range(calls)),
        tuple(int(n) for n in rng.integers(0, 30, calls)),
        frozenset({0}),
        frozenset(unread),
    )


def is_possible(d: Dependencies, order: tuple[int, ...]) -> bool:
    done = 0
    for c in order:
        if d.before[c] & done != d.before[c]:
            return False
        done |= 1 << c
    return True


@pytest.mark.parametrize("seed", range(30))
def test_no_order_has_a_smaller_peak(seed: int) -> None:
    d = random_dependencies(np.random.default_rng(seed), 6)
    orders = [o for o in permutations(range(6)) if is_possible(d, o)]
    found = tuple(best_order(d))
    assert found in orders
    assert d.peak(found) == min(map(d.peak, orders))


def test_a_narrow_search_is_still_an_order() -> None:
    d = random_dependencies(np.random.default_rng(1), 40)
    narrow, wide = (tuple(best_order(d, width)) for width in (2, 500))
    assert is_possible(d, narrow)
    assert is_possible(d, wide)
    assert d.peak(wide) <= d.peak(narrow)


def branches() -> Stack:
    """Two wide branches of the same image, which the file computes side by side."""
    stack = Stack((16, 16, 2))
    x = stack.last
    wide = [stack.conv(x, 16, (1, 1), (1, 1), (0, 0, 0, 0)) for _ in range(2)]
    ends = [stack.conv(w, 2, (3, 3), (2, 2)) for w in wide]
    stack.sum(*ends)
    return stack


def test_branches_run_one_after_the_other() -> None:
    program = lower(branches().done(), Target())
    better = reordered(program)
    d = dependencies(program)
    assert [c.op for c in better.calls] == ["conv", "conv_2", "conv_1", "conv_3", "sum"]
    assert d.peak([0, 2, 1, 3, 4]) < 0.7 * d.peak(range(5))


def test_the_planner_takes_the_better_order() -> None:
    program = lower(branches().done(), Target())
    plan = make_plan(program, PlanOptions(schedule="whole"))
    check_plan(plan)
    assert [s.call.op for s in plan.steps] == ["conv", "conv_2", "conv_1", "conv_3", "sum"]


def test_the_order_of_a_chain_stays() -> None:
    stack = Stack((8, 8, 2))
    stack.conv(stack.conv(stack.last, 4), 4)
    program = lower(stack.done(), Target())
    assert reordered(program) is program


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_same_every_time(seed: int) -> None:
    program = lower(random_stack(np.random.default_rng(seed), 4), Target())
    assert reordered(program) == reordered(program)
