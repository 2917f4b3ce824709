"""Progress on the terminal: lines of text, and bars with the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from mcucompile.progress import Advance, bars

DELAY = 1.0  # seconds after which work is long


def progress(quiet: bool) -> Callable[[str], None]:
    """Shows on stderr what is being done, for the current command; bars on terminals only."""
    if quiet:
        return lambda text: None
    if sys.stderr.isatty():
        click.get_current_context().with_resource(bars(_bar))
    return lambda text: click.echo(f"  {text}", err=True)


@contextmanager
def _bar(label: str, count: int) -> Iterator[Advance]:
    """A bar of `count` pieces, once they have taken a while."""
    began, waiting = time.time(), 0
    shown: Any = None
    with ExitStack() as stack:

        def advance(pieces: int) -> None:
            nonlocal shown, waiting
            waiting += pieces
            if shown is None:
                if time.time() - began < DELAY:
                    return
                bar = click.progressbar(length=count, label=f"  {label}", file=sys.stderr)
                bar.start = bar.last_eta = began  # the time that is left follows from all of it
                shown = stack.enter_context(bar)
            shown.update(waiting)
            waiting = 0

        yield advance
