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

from mcucompile.plan.plan import ARENA_ALIGN
from mcucompile.plan.program import KernelCall, RowWindow
from mcucompile.plan.stores import INPUT, Network, Store, Task
from mcucompile.plan.trace import Event, Owner, Recorder, TooMuchError, Trace

ORDERS = 2  # in which operands are asked for: the one written in place first, or last


def stream(
    net: Network, first: int, end: int, turn: int, order: int = 0, limit: int | None = None
) -> Trace | None:
    """Steps [first, end) depth-first, `turn` rows at a time.

    order: 0 to ask first for the operand that is overwritten in place (the main branch of a
    residual block), 1 to ask for it last. limit: in bytes; None is returned as soon as it is
    reached, or if the steps cannot be run this way.
    """
    try:
        heights = _Stream(net, first, end, turn, order, limit, None).run().heights
        return _Stream(net, first, end, turn, order, limit, heights).run()
    except TooMuchError:
        return None


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


class _Stream:
    """One run. heights: of the rings, if they are known; else they are found out."""

    def __init__(
        self,
        net: Network,
        first: int,
        end: int,
        turn: int,
        order: int,
        limit: int | None,
        heights: Mapping[int, int] | None,
    ) -> None:
        self.net, self.first, self.end = net, first, end
        self.turn, self.order, self.given = turn, order, heights
        self.tasks = {t.step: t for t in net.tasks[first:end]}
        self.rows = {k: turn_rows(t, turn) for k, t in self.tasks.items()}
        self.scratch = {k: turn_call(t, turn).scratch for k, t in self.tasks.items()}
        self.feeds = {k: self._feeds(t) for k, t in self.tasks.items()}
        self.done = dict.fromkeys([*self.tasks, INPUT], 0)
        touched = {
            s.index: s for t in self.tasks.values() for s in (*t.reads, *t.writes) if s is not None
        }
        self._check_joined(touched.values())
        self.outlives = {i: s.keeps or s.last >= end for i, s in touched.items()}
        self.is_ring = {i: s.first >= first and not self.outlives[i] for i, s in touched.items()}
        self.readers = {
            i: [
                (r.step, r.window, self.tasks[r.step].rows)
                for r in s.reads
                if first <= r.step < end
            ]
            for i, s in touched.items()
        }
        self.taken = {t.step: w for t in self.tasks.values() if (w := self._taken(t)) is not None}
        self.lodgers = {self._read(self.tasks[k], 0).index: k for k in self.taken}
        self.born = {i: s.rows if s.first < first else 0 for i, s in touched.items()}
        self.dead = dict.fromkeys(touched, 0)
        lodged = {self.tasks[k].writes[0].index for k in self.taken}
        self.heights = {i: 0 for i in touched if self.is_ring[i] and i not in lodged}
        self.events: list[Event] = []
        self.pulls: set[tuple[int, int]] = set()
        waiting = sum(
            s.size for s in net.stores if s.first < first <= s.last and s.index not in touched
        )
        self.record = Recorder(waiting, limit)
        for i, s in touched.items():
            if s.first < first:
                self.record.use(Owner("store", i), 0, s.size)

    def _check_joined(self, touched: Iterable[Store]) -> None:
        """What is written, or read, in parts is whole: the parts cannot be asked for one by one."""
        for store in touched:
            writers = [k for k, t in self.tasks.items() if store in t.writes]
            inside = [r for r in store.reads if r.step in self.tasks]
            if store.joined and writers and (len(writers) > 1 or inside):
                raise TooMuchError
        for task in self.tasks.values():
            if any(task.producers[slot] >= self.first for slot in task.insets):
                raise TooMuchError

    def run(self) -> Trace:
        asked = {p for t in self.tasks.values() for p in t.producers}
        sinks = [k for k in self.tasks if k not in asked]
        most = max(self.tasks[k].rows for k in sinks)
        for t in range(most):
            for k in sinks:
                self._ask(k, (t + 1) * self.tasks[k].rows // most)
        rest = [k for k, t in self.tasks.items() if self._is_left(t)]
        for k in rest:
            self._ask(k, self.tasks[k].rows)
        if not all(self.done[k] for k in self.tasks):  # nobody wants any row of a step
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
            frozenset(self.taken),
            tuple(rest),
            uses=self.record.finish(),
            ticks=self.record.tick,
        )

    def _is_left(self, task: Task) -> bool:
        """Are there rows of `task` that only later segments want?"""
        wanted = any(self.outlives[s.index] for s in task.writes)
        return wanted and self.done[task.step] < task.rows

    def _feeds(self, task: Task) -> list[tuple[int, int, RowWindow | None, int]]:
        """(slot, producer, window, rows of the operand) that `task` asks for, in order."""
        order = asking_order(task, self.order)
        found = []
        for slot in order:
            producer, store = task.producers[slot], task.reads[slot]
            if producer >= self.first:
                found.append((slot, producer, task.windows[slot], self.tasks[producer].rows))
            elif store is not None and store is self.net.pushed and self.first == 0:
                found.append((slot, INPUT, task.windows[slot], store.rows))
        return found

    def _taken(self, task: Task) -> RowWindow | None:
        """The window of `task`, if its result takes the place of its top row.

        That needs a kernel that allows it, one row at a time, a ring that nobody else reads, and a
        single reader of the result, which consumes each row at once.
        """
        call = task.by_rows
        if not (call.takes_top and task.is_steppable and self.rows[task.step] == 1):
            return None
        source, result, window = self._read(task, 0), task.writes[0], task.windows[0]
        if window is None or not (self.is_ring[source.index] and self.is_ring[result.index]):
            return None
        if len(source.values) > 1 or len(result.values) > 1 or task.heir is not None:
            return None
        if len(self.readers[source.index]) != 1 or len(self.readers[result.index]) != 1:
            return None
        reader, seen, _ = self.readers[result.index][0]
        fits = result.row_bytes <= source.row_bytes and self.rows[reader] == 1
        fits &= source.row_bytes % ARENA_ALIGN == 0 or result.row_bytes % ARENA_ALIGN > 0
        return window if fits and seen == RowWindow() else None

    @staticmethod
    def _read(task: Task, slot: int) -> Store:
        store = task.reads[slot]
        assert store is not None
        return store

    def _ask(self, step: int, rows: int) -> None:
        """Compute rows of `step` until there are at least `rows`."""
        while self.done[step] < rows:
            if step == INPUT:
                self._push()
            else:
                self._turn(self.tasks[step])

    def _push(self) -> None:
        """The caller brings the next row of the input."""
        store = self.net.pushed
        assert store is not None
        y = self.done[INPUT]
        self._bear(store, y + 1)
        self._note_height(store)
        self.events.append(Event(INPUT, y, y + 1))
        self.record.step(Owner("scratch", INPUT), 0)
        self.done[INPUT] = y + 1

    def _turn(self, task: Task) -> None:
        """Compute the next rows of `task`."""
        step = task.step
        begin = self.done[step]
        end = min(begin + self.rows[step], task.rows)
        for slot, producer, window, rows in self.feeds[step]:
            need = rows if window is None else window.end(end - 1, rows)
            if self.done[producer] < need:
                self.pulls.add((step, slot))
                self._ask(producer, need)
        if step in self.taken:
            self._lodge(task, begin)
        elif task.by_rows.folds:
            self._fold(task, begin, end)
        elif task.heir is None:
            for store in task.writes:
                self._bear(store, end)
        else:
            self._check_heir(task, end)
        touched = [s for s in (*task.reads, *task.writes) if s is not None]
        for store in touched:
            self._note_height(store)
        self.events.append(Event(step, begin, end))
        self.record.step(Owner("scratch", step), 0 if task.by_rows.folds else self.scratch[step])
        if task.by_rows.folds and end == task.rows:
            self.record.use(Owner("scratch", step), 0, 0)
        self.done[step] = end
        for store in touched:
            self._bury(store)

    def _fold(self, task: Task, begin: int, end: int) -> None:
        """Sums are kept from the first rows on; the result comes with the last ones."""
        if begin == 0:
            self.record.use(Owner("scratch", task.step), 0, self.scratch[task.step])
        if end == task.rows:
            for store in task.writes:
                self._bear(store, store.rows)

    def _lodge(self, task: Task, y: int) -> None:
        """Row y of the result goes where row y * stride - top of the operand is, was or will be."""
        ring, window = self._read(task, 0), self.taken[task.step]
        rows = self.born[ring.index] - (y * window.stride - window.top)
        self.heights[ring.index] = max(self.heights[ring.index], rows)
        if self.given is not None:
            size = self.given[ring.index] * ring.row_bytes
            self.record.use(Owner("ring", ring.index), 0, size)
        self.born[task.writes[0].index] = y + 1

    def _bear(self, store: Store, rows: int) -> None:
        i = store.index
        self.born[i] = store.rows if store.joined else rows
        self._show(store)

    def _show(self, store: Store) -> None:
        """Tell the recorder which bytes `store` uses now."""
        i = store.index
        if not self.is_ring[i]:
            lo = 0 if self.outlives[i] else self.dead[i]
            self.record.use(Owner("store", i), lo * store.row_bytes, self.born[i] * store.row_bytes)
        elif self.given is None:
            live = self.born[i] - self.dead[i]
            self.record.use(Owner("ring", i), 0, live * store.row_bytes)
        else:
            slots = min(self.born[i], self.given[i])
            self.record.use(Owner("ring", i), 0, slots * store.row_bytes)

    def _note_height(self, store: Store) -> None:
        if store.index in self.heights:
            i = store.index
            self.heights[i] = max(self.heights[i], self.born[i] - self.dead[i])

    def _check_heir(self, task: Task, end: int) -> None:
        """Rows are overwritten in place: whoever else reads them must be done with them."""
        assert task.heir is not None
        store = self._read(task, task.heir)
        for step, window, rows in self.readers[store.index]:
            if step < task.step and self.done[step] < rows:
                behind = 0 if window is None else window.begin(self.done[step], store.rows)
                if behind < end and self.tasks[step].heir is None:
                    raise TooMuchError

    def _bury(self, store: Store) -> None:
        """Give away the rows of `store` that no reader needs any more."""
        i = store.index
        if self.outlives[i] or self.dead[i] == store.rows or not self.born[i]:
            return
        dead = store.rows
        for step, window, rows in self.readers[i]:
            if self.done[step] < rows:
                dead = min(dead, 0 if window is None else window.begin(self.done[step], store.rows))
        if i in self.lodgers and dead == store.rows and not self._has_left(self.lodgers[i]):
            return
        if dead < store.rows:
            dead = min(dead, self.born[i])
        if dead > self.dead[i]:
            self.dead[i] = dead
            if dead == store.rows:
                self.record.use(Owner("ring" if self.is_ring[i] else "store", i), 0, 0)
            elif not self.is_ring[i] or self.given is None:
                self._show(store)

    def _has_left(self, step: int) -> bool:
        """Has the reader of the result of `step` consumed its last row?"""
        (reader,) = self.readers[self.tasks[step].writes[0].index]
        return self.done[reader[0]] == reader[2]
