"""Regions of RAM, and arenas that are spread over several of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcucompile.errors import BoardError, InternalError
from mcucompile.memory import Memory as Ram
from mcucompile.memory import linker_name, regions
from mcucompile.plan import offsets
from mcucompile.plan.check import check_plan
from mcucompile.plan.memories import Memory, beyond_borders, borders
from mcucompile.plan.plan import Part, Plan, Region
from mcucompile.plan.planner import PlanOptions, make_plan
from mcucompile.reference.arena_interpreter import run_plan
from tests.support.mixing import random_inputs, reference
from tests.support.row_mixing import random_row_graph

RAMS = (
    Ram("CCM", 0x1000_0000, 0x4000),
    Ram("A", 0x2000_0000, 0x8000, access_cycles=2),
    Ram("B", 0x2000_8000, 0x1_0000, access_cycles=3),
    Ram("C", 0x3000_0000, 0x100),
)


def test_all_regions_fastest_and_largest_first() -> None:
    found = regions(RAMS, ["all"], "here")
    assert [m.name for m in found] == ["CCM", "C", "A+B"]
    assert (found[2].usable, found[2].access_cycles) == (0x1_8000, 3)
    assert linker_name("A+B") == "A_B"


def test_named_regions_keep_their_order() -> None:
    assert [m.name for m in regions(RAMS, ["B", "CCM"], "here")] == ["B", "CCM"]
    assert [m.origin for m in regions(RAMS, ["A+B"], "here")] == [0x2000_0000]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["D"], "'D' is none of CCM, A, B, C"),
        (["CCM+A"], "do not follow each other"),
        (["A+B", "B"], "share bytes"),
        (["all", "A"], "'all' is none of"),
    ],
)
def test_no_such_region(names: list[str], why: str) -> None:
    with pytest.raises(BoardError, match=r"MC054[\s\S]*" + why.replace("+", r"\+")):
        regions(RAMS, names, "board 'x'")


def test_borders() -> None:
    memories = (Memory("a", 103), Memory("b", 50), Memory("c", 10))
    assert borders(memories) == [100, 148]
    assert beyond_borders(90, 10, memories) == 90
    assert beyond_borders(92, 12, memories) == 100
    assert beyond_borders(92, 60, memories) == 148


def spread(seed: int, share: float) -> tuple[Plan, object]:
    """A random graph whose arena has only `share` of what it needs in the first memory."""
    rng = np.random.default_rng(seed)
    graph, program = random_row_graph(rng, int(rng.integers(2, 9)))
    alone = make_plan(program, PlanOptions("ram"))
    assert alone.parts == ()
    first = int(alone.arena_size * share)
    memories = (Memory("fast", first), Memory("slow", 1 << 20))
    return make_plan(program, PlanOptions("ram", memories=memories)), graph


@pytest.fixture(autouse=True)
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a plan is right does not depend on how good its placement is."""
    monkeypatch.setattr(offsets, "ROUNDS", 2)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(8))
def test_spread_arenas_are_right(seed: int, share: float) -> None:
    plan, graph = spread(seed, share)
    check_plan(plan)
    for buffer in plan.buffers:
        part = plan.parts[plan.part_of(buffer.region.offset)]
        assert part.region.offset <= buffer.region.offset
        assert buffer.region.end <= part.region.end
    assert plan.arena_bytes == sum(p.region.size for p in plan.parts) >= plan.lower_bound
    inputs = random_inputs(graph, np.random.default_rng(seed), batch=1)  # type: ignore[arg-type]
    expected = reference(graph, inputs)  # type: ignore[arg-type]
    for have, want in zip(run_plan(plan, graph, inputs), expected, strict=True):  # type: ignore[arg-type]
        np.testing.assert_array_equal(have, want)


def test_checker_rejects_what_lies_in_two_memories() -> None:
    plan, _ = spread(3, 0.5)
    middle = next(b.region for b in plan.buffers if b.region.size > 8)
    cut = middle.offset + 4
    halves = (Part("a", Region(0, cut)), Part("b", Region(cut, plan.arena_size)))
    with pytest.raises(InternalError, match="not in one memory"):
        check_plan(replace(plan, parts=halves))
