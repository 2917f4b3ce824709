"""One step in one call: the ways to do it, and which bytes each of them needs when.

In place, tile by tile or band by band the result may grow into the bytes of an operand that dies,
as far as the kernel promises that it is done with them.
"""

from __future__ import annotations

from mcucompile.plan.stores import Network, Store, Task
from mcucompile.plan.trace import Event, Owner, Recorder, Trace


def whole(net: Network, step: int) -> Trace:
    """Step `step` in one call, in the way that needs the fewest bytes."""
    task = net.tasks[step]
    ways = [_plain(net, task)]
    if task.heir is None and len(task.writes) == 1 and not task.writes[0].joined:
        ways += [w for w in (_merged(net, task), _tiled(net, task), _banded(net, task)) if w]
    return min(ways, key=lambda w: w.peak)


def _waiting(net: Network, task: Task, *active: Store) -> int:
    """Bytes of the stores that are alive at `task`, those that are `active` aside."""
    return sum(
        s.size
        for s in net.stores
        if s.first <= task.step <= s.last and s not in active and s.first != task.step
    )


def _trace(task: Task, record: Recorder, merged: dict[int, int] | None = None) -> Trace:
    return Trace(
        task.step,
        task.step + 1,
        "whole",
        record.peak,
        events=(Event(task.step, 0, task.whole.writes[0].rows),),
        merged=merged or {},
        uses=record.finish(),
        ticks=record.tick,
    )


def _start(net: Network, task: Task, *moving: Store) -> Recorder:
    """A recorder in which everything that `task` touches is whole, but for the stores `moving`."""
    touched = task.touched
    record = Recorder(_waiting(net, task, *touched), None)
    for store in touched:
        if store not in moving:
            record.use(Owner("store", store.index), 0, store.size)
    return record


def _plain(net: Network, task: Task) -> Trace:
    record = _start(net, task)
    record.step(Owner("scratch", task.step), task.whole.scratch)
    return _trace(task, record)


def _dying(task: Task, slot: int) -> Store | None:
    """The store read through `slot` alone, if nobody needs it after `task`."""
    store = task.reads[slot]
    if store is None or store.keeps or store.last > task.step or task.reads.count(store) > 1:
        return None
    if slot in task.insets:
        return None
    return store


def _merged(net: Network, task: Task) -> Trace | None:
    """The result takes the bytes of an operand from the same base on."""
    pairs = [s for s, w in task.whole.in_place if w == 0]
    found = [(store, s) for s in pairs if (store := _dying(task, s)) is not None]
    if not found:
        return None
    source, _ = max(found, key=lambda f: f[0].size)
    result = task.writes[0]
    record = _start(net, task, source, result)
    record.use(Owner("store", source.index), 0, max(source.size, result.size))
    record.step(Owner("scratch", task.step), task.whole.scratch)
    return _trace(task, record, {result.index: source.index})


def _tiled(net: Network, task: Task) -> Trace | None:
    """Tile by tile: each is read before its results are written.

    What is in use changes by the same amount from tile to tile, so that the first and the last
    tiles say it all.
    """
    source = _dying(task, 0) if task.whole.tile and task.whole.reads[0].rows == 1 else None
    if source is None:
        return None
    assert task.whole.tile is not None
    result, (taken, given) = task.writes[0], task.whole.tile
    tiles = -(-source.size // taken)
    record = _start(net, task, source, result)
    owners = Owner("store", source.index), Owner("store", result.index)
    record.use(owners[0], 0, source.size)
    record.step(Owner("scratch", task.step), task.whole.scratch)
    for t in sorted({1, max(tiles - 1, 1), tiles}):
        record.use(owners[0], min(t * taken, source.size), source.size)
        record.use(owners[1], 0, min(t * given, result.size))
        record.step(Owner("scratch", task.step), task.whole.scratch)
    return _trace(task, record)


def _banded(net: Network, task: Task) -> Trace | None:
    """From top to bottom: rows above the window are given away, rows of the result grow."""
    call = task.whole
    windows = [w for w in task.windows if w is not None]
    if call.band == 0 or not windows or call.writes[0].rows != task.rows:
        return None
    dying = [_dying(task, i) for i, w in enumerate(task.windows) if w is not None]
    moving = [s for s in dying if s is not None]
    result = task.writes[0]
    if not moving:
        return None
    record = _start(net, task, *moving, result)
    if call.reads_once:
        for source in moving:
            record.use(Owner("store", source.index), 0, source.size)
        record.step(Owner("scratch", task.step), call.scratch)
    for begin in range(0, task.rows, call.band):
        end = min(begin + call.band, task.rows)
        for store, window in zip(task.reads, task.windows, strict=True):
            if store in moving and window is not None:
                assert store is not None
                rows = store.rows
                gone = window.end(end - 1, rows) if call.reads_once else window.begin(begin, rows)
                record.use(Owner("store", store.index), gone * store.row_bytes, store.size)
        record.use(Owner("store", result.index), 0, end * result.row_bytes)
        record.step(Owner("scratch", task.step), call.scratch)
    return _trace(task, record)
