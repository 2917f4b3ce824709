"""How far long work has come. The library says it, and draws nothing: who wants bars brings them.

Work that is cut into pieces goes through `track`, whatever stands at the bottom of the stack of
calls; so nobody in between has to know of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

Advance = Callable[[int], None]  # so many more pieces are done
Bar = Callable[[str, int], AbstractContextManager[Advance]]  # what is done, and of how many pieces

POLL = 0.2  # seconds between two looks at a file

_bar: ContextVar[Bar | None] = ContextVar("bar", default=None)


@contextmanager
def bars(bar: Bar) -> Iterator[None]:
    """Let `bar` show the work that is done inside."""
    token = _bar.set(bar)
    try:
        yield
    finally:
        _bar.reset(token)


def track(items: Iterable[T], label: str, count: int) -> Iterator[T]:
    """`items`, of which there are `count`; what the caller does with each is a piece of work."""
    bar = _bar.get()
    if bar is None or count < 2:
        yield from items
        return
    with bar(label, count) as advance, _alone():
        for item in items:
            yield item
            advance(1)


@contextmanager
def growing(file: Path, label: str, size: int) -> Iterator[None]:
    """Somebody else writes `size` bytes to `file` meanwhile."""
    bar = _bar.get()
    if bar is None:
        yield
        return
    done = threading.Event()
    with bar(label, size) as advance:
        watcher = threading.Thread(target=_watch, args=(file, advance, done), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def _watch(file: Path, advance: Advance, done: threading.Event) -> None:
    seen = 0
    while not done.wait(POLL):
        now = file.stat().st_size if file.exists() else 0
        if now > seen:
            advance(now - seen)
            seen = now


@contextmanager
def _alone() -> Iterator[None]:
    """One bar at a time: work inside of work shows none."""
    token = _bar.set(None)
    try:
        yield
    finally:
        _bar.reset(token)
