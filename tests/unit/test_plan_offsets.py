"""The placement core: forbidden base differences, lowest feasible bases, search for an order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations, product

import numpy as np
import pytest

from mcucompile.plan.exact import ExactSearch, LimitError
from mcucompile.plan.offsets import Block, Span, forbidden_differences, live_bytes, place


def box(first: int, last: int, size: int) -> Block:
    return Block((Span(first, last, 0, size),))


def random_blocks(
    rng: np.random.Generator, count: int, ticks: int, life: int, largest: int = 30
) -> list[Block]:
    """Blocks of one or two spans, the second of another size."""
    found = []
    for _ in range(count):
        first = int(rng.integers(ticks))
        last = min(ticks - 1, first + int(rng.integers(life)))
        spans = [Span(first, last, 0, 4 * int(rng.integers(1, largest)))]
        if last > first and rng.random() < 0.3:
            cut = int(rng.integers(first, last))
            hi = 4 * int(rng.integers(1, largest))
            spans = [Span(first, cut, 0, spans[0].hi), Span(cut + 1, last, 0, hi)]
        found.append(Block(tuple(spans)))
    return found


def collisions(blocks: list[Block], bases: tuple[int, ...]) -> list[tuple[int, int]]:
    """Pairs of blocks that have a byte in common at some tick, found byte by byte."""
    owner: dict[tuple[int, int], int] = {}
    bad = []
    for i, (block, base) in enumerate(zip(blocks, bases, strict=True)):
        for s in block.spans:
            for tick in range(s.first, s.last + 1):
                for byte in range(base + s.lo, base + s.hi):
                    if owner.setdefault((tick, byte), i) != i:
                        bad.append((owner[tick, byte], i))
    return bad


def test_live_bytes_counts_what_is_alive_at_each_tick() -> None:
    blocks = [box(0, 2, 8), box(1, 1, 4), Block((Span(0, 0, 4, 8), Span(2, 2, 0, 8)))]
    assert live_bytes(blocks) == [12, 12, 16]


def test_forbidden_differences_of_two_boxes() -> None:
    found = forbidden_differences([box(0, 3, 8), box(3, 4, 20), box(4, 5, 4)])
    assert found[1][0] == ((-20, 8),)  # base(1) - base(0): neither below by < 20 nor above by < 8
    assert found[0][1] == ((-8, 20),)
    assert 2 not in found[0]


def test_a_growing_result_may_follow_the_dying_operand() -> None:
    """Row by row: the operand's first rows are dead before the result's rows are written."""
    operand = Block(tuple(Span(t, t, 8 * t, 32) for t in range(4)))
    result = Block(tuple(Span(t, t, 0, 8 * (t + 1)) for t in range(4)))
    bases = place([operand, result], 4)
    assert not collisions([operand, result], bases.bases)
    assert bases.size == 40  # one row more than the operand, not twice as much


def test_touching_forbidden_intervals_leave_the_difference_between_them() -> None:
    first = Block((Span(0, 0, 0, 8), Span(1, 1, 0, 4)))
    second = Block((Span(0, 0, 8, 12), Span(1, 1, 0, 4)))
    assert forbidden_differences([first, second])[1][0] == ((-12, 4),)
    third = Block((Span(0, 0, 4, 8), Span(1, 1, 8, 12)))
    assert forbidden_differences([box(0, 0, 4), third])[1][0] == ((-8, 0),)
    assert place([box(0, 0, 4), third], 4).bases == (0, 0)


def test_nothing_to_place() -> None:
    assert place([], 4).size == 0


@pytest.mark.parametrize("seed", range(20))
def test_no_collision_aligned_not_below_the_bound_and_repeatable(seed: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = random_blocks(rng, int(rng.integers(1, 40)), 12, 6)
    placed = place(blocks, 4, work=20_000)
    assert max(live_bytes(blocks)) <= placed.bound <= placed.size
    assert not collisions(blocks, placed.bases)
    assert all(base % 4 == 0 for base in placed.bases)
    ends = (base + b.size for base, b in zip(placed.bases, blocks, strict=True))
    assert placed.size == max(ends) >= max(live_bytes(blocks))
    assert place(blocks, 4, work=20_000) == placed


def best_by_brute_force(blocks: list[Block]) -> int:
    """The least height over all orders, each block at the lowest multiple of 4 that is free."""
    least = sum(b.size for b in blocks)
    for order in permutations(range(len(blocks))):
        bases: dict[int, int] = {}
        for i in order:
            base = 0
            while any(_meet(blocks[i], base, blocks[j], bases[j]) for j in bases):
                base += 4
            bases[i] = base
        least = min(least, max(base + blocks[i].size for i, base in bases.items()))
    return least


def _meet(a: Block, base_a: int, b: Block, base_b: int) -> bool:
    return any(
        max(s.first, u.first) <= min(s.last, u.last)
        and max(base_a + s.lo, base_b + u.lo) < min(base_a + s.hi, base_b + u.hi)
        for s in a.spans
        for u in b.spans
    )


@pytest.mark.parametrize("seed", range(12))
def test_small_instances_are_placed_optimally(seed: int) -> None:
    """Any optimal placement, pushed down, is the result of some order: so all orders suffice."""
    blocks = random_blocks(np.random.default_rng(100 + seed), 5, 6, 4)
    placed = place(blocks, 4)
    assert placed.size == placed.bound == best_by_brute_force(blocks)


def drifting(rng: np.random.Generator, count: int) -> list[Block]:
    """Tensors whose rows each take the place of those that the next one is computed from."""
    rows = int(rng.integers(2, 4))
    widths = [4 * int(rng.integers(1, 5)) for _ in range(count + 1)]
    found = []
    for k, width in enumerate(widths[1:]):
        grow = [Span(rows * k + y, rows * k + y, 0, width * (y + 1)) for y in range(rows)]
        shrink = [Span(rows * (k + 1) + y, rows * (k + 1) + y, width * y, width * rows)
                  for y in range(rows)]  # fmt: skip
        found.append(Block((*grow, *shrink)))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_what_the_exact_search_says_of_a_height_is_true(seed: int) -> None:
    """There are bases below a height exactly if trying all of them finds some."""
    rng = np.random.default_rng(seed)
    blocks = drifting(rng, 3) if seed % 2 else random_blocks(rng, 4, 5, 4, 6)
    sizes = [b.size for b in blocks]
    forbidden = {
        (a, b): intervals
        for b, found in enumerate(forbidden_differences(blocks))
        for a, intervals in found.items()
        if a < b
    }
    search = ExactSearch(sizes, forbidden, 4, 1_000_000)
    for height in range(max(sizes), sum(sizes) + 1, 4):
        bases = search.place(height)
        tried = product(*(range(0, height - size + 1, 4) for size in sizes))
        exists = any(_is_placement(blocks, t) for t in tried)
        assert (bases is not None) == exists
        if bases is not None:
            assert _is_placement(blocks, bases)
            assert max(b + s for b, s in zip(bases, sizes, strict=True)) <= height
            break


def _is_placement(blocks: list[Block], bases: Sequence[int]) -> bool:
    return not any(
        _meet(blocks[i], bases[i], blocks[j], bases[j])
        for i, j in combinations(range(len(blocks)), 2)
    )


def test_an_exact_search_that_takes_too_long_gives_up() -> None:
    blocks = random_blocks(np.random.default_rng(0), 30, 6, 6)
    forbidden = {
        (a, b): intervals
        for b, found in enumerate(forbidden_differences(blocks))
        for a, intervals in found.items()
        if a < b
    }
    with pytest.raises(LimitError):
        ExactSearch([b.size for b in blocks], forbidden, 4, 100).place(max(live_bytes(blocks)))


def test_a_gap_that_drift_makes_is_proved() -> None:
    """Each result lies a row below its operand: no sum of live bytes says what that needs."""
    gaps = 0
    for seed in range(20):
        blocks = drifting(np.random.default_rng(seed), 12)
        placed = place(blocks, 4)
        assert not collisions(blocks, placed.bases)
        assert placed.size == placed.bound
        gaps += placed.size > max(live_bytes(blocks))
    assert gaps > 5


def test_large_instances_come_near_the_bound() -> None:
    rng = np.random.default_rng(3)
    for count, ticks, life in ((60, 30, 6), (150, 80, 10), (300, 150, 6)):
        blocks = [Block(b.spans[:1]) for b in random_blocks(rng, count, ticks, life)]
        assert place(blocks, 4).size <= 1.02 * max(live_bytes(blocks))
