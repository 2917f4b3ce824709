"""Tries out a segment row by row: which rows are computed when, and which bytes are in use then.

Nothing is computed before somebody needs it. The last step of the segment is asked for its rows
one after the other; a step that is asked first asks those whose rows it reads. No row is computed
twice. The rows of a result stay in a ring until its last reader is done with them; how many rows
that are need no formula: it is the most that are there at any time.

A store that exists before the segment gives its rows away from the top as they are consumed; one
that outlives the segment grows row by row. So a result may take the place of an operand that is
still being read, as far as the placement finds offsets that allow it.

The method of row-exact simulation follows no single paper; depth-first execution with ring buffers
is known from StreamNet (NeurIPS 2023), overlap of input and output from vMCU (MLSys 2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from mcucompile.plan.plan import ARENA_ALIGN
from mcucompile.plan.program import KernelCall, RowWindow
from mcucompile.plan.stores import INPUT, Network, Store, Task
from mcucompile.plan.trace import Event, Meter, Owner, Recorder, TooMuchError, Trace

ORDERS = 2  # in which operands are asked for: the one written in place first, or last


def turn_rows(task: Task, turn: int) -> int:
    """Rows of `task` that are computed at a time, if it is asked to do `turn`."""
    if not task.is_steppable:
        return task.rows
    band = max(task.by_rows.band, 1)
    return -(-turn // band) * band


def turn_call(task: Task, turn: int) -> KernelCall:
    """The kernel that does so."""
    if not task.is_steppable:
        return task.whole
    return task.by_rows.turns.get(turn_rows(task, turn), task.by_rows)


def asking_order(task: Task, order: int) -> list[int]:
    """The slots of `task` in the order in which their rows are asked for."""
    slots = list(range(len(task.reads)))
    if task.heir is not None:
        slots.remove(task.heir)
        slots.insert(0 if order == 0 else len(slots), task.heir)
    return slots


class Simulator:
    """Tries out segments of one network."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.alive = [
            sum(s.size for s in net.stores if s.first < k <= s.last)
            for k in range(len(net.tasks) + 1)
        ]
        self.turns: dict[int, list[tuple[int, int]]] = {}

    def stream(
        self, first: int, end: int, turn: int, order: int = 0, limit: int | None = None
    ) -> Trace:
        """Steps [first, end) depth-first, `turn` rows at a time.

        order: 0 to ask first for the operand that is overwritten in place (the main branch of a
        residual block), 1 to ask for it last. Raises TooMuchError as soon as `limit` bytes are
        reached, or if the steps cannot be run this way.
        """
        heights = _Stream(self, first, end, turn, order, limit, None).run().heights
        return _Stream(self, first, end, turn, order, limit, heights).run()

    def turn(self, step: int, turn: int) -> tuple[int, int]:
        """Rows of `step` that are computed at a time, and the scratch memory that needs."""
        if turn not in self.turns:
            tasks = self.net.tasks
            self.turns[turn] = [(turn_rows(t, turn), turn_call(t, turn).scratch) for t in tasks]
        return self.turns[turn][step]


@lru_cache(4096)
def _needs(window: RowWindow | None, rows: int, total: int) -> tuple[int, ...]:
    """Per number of rows of a result, how many of an operand's `rows` there must be for them."""
    if window is None:
        return (rows,) * (total + 1)
    return 0, *(window.end(y, rows) for y in range(total))


@lru_cache(4096)
def _dead(window: RowWindow | None, rows: int, total: int) -> tuple[int, ...]:
    """Per number of rows that a reader has computed of its `total`, how many of an operand's
    `rows` it is done with."""
    begins = (0 if window is None else window.begin(y, rows) for y in range(total))
    return *begins, rows


class _Work:
    """A step of the segment, or the caller who hands over the input: how far it has come."""

    def __init__(self, step: int, task: Task | None, rows: int, turn: int, scratch: int) -> None:
        self.step, self.task, self.rows = step, task, rows
        self.turn, self.scratch = turn, scratch
        self.owner = Owner("scratch", step)
        self.folds = task is not None and task.by_rows.folds
        self.done = 0
        self.feeds: list[tuple[int, _Work, tuple[int, ...]]] = []  # slot, producer, see _needs
        self.touched: list[_Bytes] = []
        self.taken: RowWindow | None = None


class _Bytes:
    """A store that the segment touches: which of its rows there are.

    outlives: it is there after the segment. is_ring: only some of its rows are there at a time.
    born: rows computed so far. dead: rows that nobody needs any more. readers: in the segment, with
    what they are done with; see _dead.
    """

    def __init__(self, store: Store, first: int, end: int) -> None:
        self.store, self.rows, self.row_bytes = store, store.rows, store.row_bytes
        self.outlives = store.keeps or store.last >= end
        self.is_ring = store.first >= first and not self.outlives
        self.owner = Owner("ring" if self.is_ring else "store", store.index)
        self.born = store.rows if store.first < first else 0
        self.dead = 0
        self.readers: list[tuple[_Work, tuple[int, ...]]] = []
        self.lodger: _Work | None = None  # whose result lives in this ring
        self.given: int | None = None  # height of the ring, if it is known


class _Stream:
    """One run. heights: of the rings, if they are known; else they are found out."""

    def __init__(
        self,
        simulator: Simulator,
        first: int,
        end: int,
        turn: int,
        order: int,
        limit: int | None,
        heights: Mapping[int, int] | None,
    ) -> None:
        self.net, self.first, self.end = simulator.net, first, end
        self.turn, self.order, self.given = turn, order, heights
        self.works = {
            t.step: _Work(t.step, t, t.rows, *simulator.turn(t.step, turn))
            for t in self.net.tasks[first:end]
        }
        touched = {s.index: s for t in self.net.tasks[first:end] for s in t.touched}
        self._check_joined(touched.values())
        self.bytes = {i: _Bytes(s, first, end) for i, s in touched.items()}
        self._connect()
        self.heights = {i: 0 for i, b in self.bytes.items() if b.is_ring}
        self._lodge_results()
        self.events: list[Event] = []
        self.pulls: set[tuple[int, int]] = set()
        before = [b for b in self.bytes.values() if b.store.first < first]
        waiting = simulator.alive[first] - sum(b.store.size for b in before)
        self.record = (Meter if heights is None else Recorder)(waiting, limit)
        for b in before:
            self.record.use(b.owner, 0, b.store.size)

    def _connect(self) -> None:
        """Who asks whom for rows, and who reads which bytes."""
        pushed = self.net.pushed if self.first == 0 else None
        self.caller = _Work(INPUT, None, pushed.rows if pushed else 0, 1, 0)
        for work in self.works.values():
            task = work.task
            assert task is not None
            work.touched = [self.bytes[s.index] for s in task.touched]
            for slot in asking_order(task, self.order):
                store, window = task.reads[slot], task.windows[slot]
                producer = self.works.get(task.producers[slot])
                if producer is not None:
                    feed = producer, _needs(window, producer.rows, work.rows)
                    work.feeds.append((slot, *feed))
                elif pushed is not None and store is pushed:
                    feed = self.caller, _needs(window, pushed.rows, work.rows)
                    work.feeds.append((slot, *feed))
        for b in self.bytes.values():
            for r in b.store.reads:
                if self.first <= r.step < self.end:
                    reader = self.works[r.step]
                    b.readers.append((reader, _dead(r.window, b.rows, reader.rows)))
        if pushed is not None:
            self.caller.touched = [self.bytes[pushed.index]]

    def _lodge_results(self) -> None:
        """Find the results that live in the ring of their operand."""
        for work in self.works.values():
            work.taken = self._taken(work)
            if work.taken is not None:
                assert work.task is not None
                ring = self._read(work.task, 0)
                ring.lodger = work
                del self.heights[work.task.writes[0].index]
        if self.given is not None:
            for i in self.heights:
                self.bytes[i].given = self.given[i]

    def _check_joined(self, touched: Iterable[Store]) -> None:
        """What is written, or read, in parts is whole: the parts cannot be asked for one by one."""
        tasks = self.net.tasks[self.first : self.end]
        for store in touched:
            if store.joined:
                writers = [t for t in tasks if store in t.writes]
                inside = any(self.first <= r.step < self.end for r in store.reads)
                if writers and (len(writers) > 1 or inside):
                    raise TooMuchError
        for task in tasks:
            if any(task.producers[slot] >= self.first for slot in task.insets):
                raise TooMuchError

    def run(self) -> Trace:
        asked = {producer.step for w in self.works.values() for _, producer, _ in w.feeds}
        sinks = [w for k, w in self.works.items() if k not in asked]
        most = max(w.rows for w in sinks)
        for t in range(most):
            for work in sinks:
                self._ask(work, (t + 1) * work.rows // most)
        rest = [w for w in self.works.values() if self._is_left(w)]
        for work in rest:
            self._ask(work, work.rows)
        if not all(w.done for w in self.works.values()):  # nobody wants any row of a step
            raise TooMuchError
        return Trace(
            self.first,
            self.end,
            "rows",
            self.record.peak,
            self.turn,
            self.order,
            tuple(self.events),
            self.heights,
            frozenset(self.pulls),
            frozenset(k for k, w in self.works.items() if w.taken is not None),
            tuple(w.step for w in rest),
            uses=self.record.finish(),
            ticks=self.record.tick,
        )

    def _is_left(self, work: _Work) -> bool:
        """Are there rows of a step that only later segments want?"""
        assert work.task is not None
        wanted = any(self.bytes[s.index].outlives for s in work.task.writes)
        return wanted and work.done < work.rows

    def _taken(self, work: _Work) -> RowWindow | None:
        """The window of a step, if its result takes the place of its top row.

        That needs a kernel that allows it, one row at a time, a ring that nobody else reads, and a
        single reader of the result, which consumes each row at once.
        """
        task = work.task
        assert task is not None
        if not (task.by_rows.takes_top and task.is_steppable and work.turn == 1):
            return None
        source, result = self._read(task, 0), self.bytes[task.writes[0].index]
        window = task.windows[0]
        if window is None or not (source.is_ring and result.is_ring):
            return None
        if len(source.store.values) > 1 or len(result.store.values) > 1 or task.heir is not None:
            return None
        if len(source.readers) != 1 or len(result.readers) != 1:
            return None
        seen = next(r.window for r in result.store.reads if r.step in self.works)
        fits = result.row_bytes <= source.row_bytes and result.readers[0][0].turn == 1
        fits &= source.row_bytes % ARENA_ALIGN == 0 or result.row_bytes % ARENA_ALIGN > 0
        return window if fits and seen == RowWindow() else None

    def _read(self, task: Task, slot: int) -> _Bytes:
        store = task.reads[slot]
        assert store is not None
        return self.bytes[store.index]

    def _ask(self, work: _Work, rows: int) -> None:
        """Compute rows of a step until there are at least `rows`."""
        while work.done < rows:
            if work.task is None:
                self._push(work)
            else:
                self._turn(work, work.task)

    def _push(self, caller: _Work) -> None:
        """The caller brings the next row of the input."""
        (b,) = caller.touched
        y = caller.done
        self._bear(b, y + 1)
        if b.is_ring:
            self._note_height(b)
        self.events.append(Event(INPUT, y, y + 1))
        self.record.step(caller.owner, 0)
        caller.done = y + 1

    def _turn(self, work: _Work, task: Task) -> None:
        """Compute the next rows of a step."""
        begin = work.done
        end = min(begin + work.turn, work.rows)
        self._pull(work, end)
        if work.taken is not None:
            self._lodge(task, work.taken, begin)
        elif work.folds:
            self._fold(work, task, begin, end)
        elif task.heir is None:
            for store in task.writes:
                self._bear(self.bytes[store.index], end)
        else:
            self._check_heir(task, task.heir, end)
        for b in work.touched:
            if b.is_ring:
                self._note_height(b)
        self.events.append(Event(work.step, begin, end))
        self.record.step(work.owner, 0 if work.folds else work.scratch)
        if work.folds and end == work.rows:
            self.record.use(work.owner, 0, 0)
        work.done = end
        for b in work.touched:
            self._bury(b)

    def _pull(self, work: _Work, end: int) -> None:
        """Have everything computed that a step needs to go on to row `end`."""
        for slot, producer, needs in work.feeds:
            if producer.done < needs[end]:
                self.pulls.add((work.step, slot))
                self._ask(producer, needs[end])

    def _fold(self, work: _Work, task: Task, begin: int, end: int) -> None:
        """Sums are kept from the first rows on; the result comes with the last ones."""
        if begin == 0:
            self.record.use(work.owner, 0, work.scratch)
        if end == work.rows:
            for store in task.writes:
                self._bear(self.bytes[store.index], store.rows)

    def _lodge(self, task: Task, window: RowWindow, y: int) -> None:
        """Row y of the result goes where row y * stride - top of the operand is, was or will be."""
        ring = self._read(task, 0)
        i = ring.store.index
        self.heights[i] = max(self.heights[i], ring.born - (y * window.stride - window.top))
        if ring.given is not None:
            self.record.use(ring.owner, 0, ring.given * ring.row_bytes)
        self.bytes[task.writes[0].index].born = y + 1

    def _bear(self, b: _Bytes, rows: int) -> None:
        b.born = b.rows if b.store.joined else rows
        self._show(b)

    def _show(self, b: _Bytes) -> None:
        """Tell the recorder which bytes a store uses now."""
        if not b.is_ring:
            lo = 0 if b.outlives else b.dead
            self.record.use(b.owner, lo * b.row_bytes, b.born * b.row_bytes)
        else:
            rows = b.born - b.dead if b.given is None else min(b.born, b.given)
            self.record.use(b.owner, 0, rows * b.row_bytes)

    def _note_height(self, b: _Bytes) -> None:
        i, rows = b.store.index, b.born - b.dead
        if rows > self.heights.get(i, rows):
            self.heights[i] = rows

    def _check_heir(self, task: Task, heir: int, end: int) -> None:
        """Rows are overwritten in place: whoever else reads them must be done with them."""
        for reader, dead in self._read(task, heir).readers:
            assert reader.task is not None
            behind = reader.done < reader.rows and dead[reader.done] < end
            if reader.step < task.step and behind and reader.task.heir is None:
                raise TooMuchError

    def _bury(self, b: _Bytes) -> None:
        """Give away the rows of a store that no reader needs any more."""
        if b.outlives or b.dead == b.rows or not b.born:
            return
        dead = b.rows
        for reader, rows in b.readers:
            if rows[reader.done] < dead:
                dead = rows[reader.done]
        if dead == b.rows and b.lodger is not None and not self._has_left(b.lodger):
            return
        if b.born < dead < b.rows:
            dead = b.born
        if dead > b.dead:
            b.dead = dead
            if dead == b.rows:
                self.record.use(b.owner, 0, 0)
            elif not b.is_ring or b.given is None:
                self._show(b)

    def _has_left(self, lodger: _Work) -> bool:
        """Has the reader of the result of a step consumed its last row?"""
        assert lodger.task is not None
        ((reader, _),) = self.bytes[lodger.task.writes[0].index].readers
        return reader.done == reader.rows
