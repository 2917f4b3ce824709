"""The order of the kernel calls: that in which the least bytes are alive at the worst moment.

A chain has one order, a graph with branches many. What is alive depends only on which calls have
run, not on their order, so a dynamic program over these sets finds the best one: for each set that
can occur, the smallest peak with which it can be reached. Sets are visited by their size. Where
there are more than WIDTH of one size only those with the smallest peaks go on, so that the result
is exact for graphs with few branches and a good guess for others. Of equal orders it is the one
nearest to the file's.

Known from Liberis & Lane, "Neural networks on microcontrollers: saving memory at inference via
operator reordering" (2019), and SERENITY (Ahn et al., MLSys 2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from mcucompile.ir.storage import stored_bytes
from mcucompile.plan.program import KernelCall, Program

WIDTH = 500  # sets of calls of one size


@dataclass(frozen=True)
class Dependencies:
    """What calls read and write, as numbers of values.

    sizes: bytes of each value. given: values that exist before the first call; kept: those that
    must exist after the last. own: bytes that a call needs besides, negative where its result takes
    bytes of an operand that dies.
    """

    sizes: tuple[int, ...]
    reads: tuple[frozenset[int], ...]
    writes: tuple[frozenset[int], ...]
    own: tuple[int, ...]
    given: frozenset[int]
    kept: frozenset[int]

    @cached_property
    def readers(self) -> list[int]:
        """Per value the calls that read it, as bits."""
        return [_bits(c for c, r in enumerate(self.reads) if v in r) for v in self._values]

    @cached_property
    def writers(self) -> list[int]:
        """Per value the calls that write it, or parts of it."""
        return [_bits(c for c, w in enumerate(self.writes) if v in w) for v in self._values]

    @cached_property
    def before(self) -> list[int]:
        """Per call those that have to run first."""
        found = []
        for r in self.reads:
            mask = 0
            for v in r:
                mask |= self.writers[v]
            found.append(mask)
        return found

    @property
    def _values(self) -> range:
        return range(len(self.sizes))

    def live(self, done: int, running: int = 0) -> int:
        """Bytes alive when the calls `done` have run and those in `running` run."""
        total = 0
        for v in self._values:
            born = v in self.given or self.writers[v] & (done | running)
            if born and (v in self.kept or self.readers[v] & ~done or self.writers[v] & ~done):
                total += self.sizes[v]
        return total

    def peak(self, order: Sequence[int]) -> int:
        """Bytes at the worst moment of `order`."""
        done = most = 0
        for c in order:
            most = max(most, self.live(done, 1 << c) + self.own[c])
            done |= 1 << c
        return most

    def ready(self, done: int) -> Iterator[int]:
        for c, before in enumerate(self.before):
            if not done >> c & 1 and before & done == before:
                yield c


def _bits(numbers: Iterator[int]) -> int:
    return sum(1 << n for n in numbers)


def best_order(d: Dependencies, width: int = WIDTH) -> list[int]:
    """The calls in the order with the smallest peak; see the module for what `width` means."""
    peaks: dict[int, int] = {0: 0}
    came: dict[int, tuple[int, int]] = {}  # set of calls -> the set before it, and the last call
    for _ in d.reads:
        following: dict[int, int] = {}
        for done, peak in peaks.items():
            for c in d.ready(done):
                after = done | 1 << c
                reached = max(peak, d.live(done, 1 << c) + d.own[c])
                if after not in following or reached < following[after]:
                    following[after] = reached
                    came[after] = done, c
        best = sorted(following, key=lambda done: following[done])[:width]
        peaks = (
            {done: following[done] for done in best} if len(best) < len(following) else following
        )
    order: list[int] = []
    done = (1 << len(d.reads)) - 1
    while done:
        done, last = came[done]
        order.append(last)
    return order[::-1]


def reordered(program: Program) -> Program:
    """`program` in the order with the smallest peak, or itself if none is better than its own."""
    if program.insets:
        return program  # patches come one after the other as it is, and their sets are too many
    d = dependencies(program)
    own = list(range(len(program.calls)))
    if all(len(list(d.ready((1 << k) - 1))) == 1 for k in own):
        return program  # a chain
    order = best_order(d)
    if d.peak(order) >= d.peak(own):
        return program
    return replace(program, calls=tuple(program.calls[c] for c in order))


def dependencies(program: Program) -> Dependencies:
    """What the calls of `program` need, before it is known where anything is."""
    roots = [n for n, v in program.values.items() if program.root(n) == n and not v.is_constant]
    number = {name: i for i, name in enumerate(roots)}

    def numbers(names: Sequence[str]) -> frozenset[int]:
        found = (number.get(program.root(name)) for name in names)
        return frozenset(n for n in found if n is not None)

    reads = tuple(numbers([o.value for o in c.reads]) for c in program.calls)
    sizes = tuple(stored_bytes(program.values[name]) for name in roots)
    return Dependencies(
        sizes,
        reads,
        tuple(numbers([o.value for o in c.writes]) for c in program.calls),
        tuple(c.scratch - _shared(c, program) for c in program.calls),
        numbers(program.inputs),
        numbers(program.outputs),
    )


def _shared(call: KernelCall, program: Program) -> int:
    """Bytes that the result can share with an operand that no other call reads."""
    slots = [r for r, _ in call.in_place] or ([0] if call.tile else [])
    sizes = [0]
    for slot in slots:
        root = program.root(call.reads[slot].value)
        readers = sum(any(program.root(o.value) == root for o in c.reads) for c in program.calls)
        fixed = root in program.outputs or program.values[root].is_constant
        if readers == 1 and not fixed:
            sizes.append(min(call.reads[slot].size, call.writes[0].size))
    return max(sizes)
