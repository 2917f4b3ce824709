"""Which functions of a linked image belong to which step of the model."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from mcucompile.emulate.disassembly import symbols
from mcucompile.emulate.stack import Function, call_graph


@dataclass(frozen=True)
class FunctionSize:
    """A function with its literals, in bytes, and the steps that call it, directly or not."""

    name: str
    size: int
    steps: tuple[int, ...]


def function_sizes(elf: Path, name: str) -> tuple[FunctionSize, ...]:
    """The functions that steps of the model called `name` execute, the largest first."""
    graph = call_graph(elf)
    callers: dict[int, set[int]] = defaultdict(set)
    for address, function in graph.items():
        # gcc adds .constprop.0 and the like to the names of functions that it specializes
        if found := re.match(rf"{name}_step(\d+)(\.|$)", function.name):
            for reached in _reached(graph, address):
                callers[reached].add(int(found[1]))
    sizes = [
        FunctionSize(s.name, s.size, tuple(sorted(callers[s.address])))
        for s in symbols(elf)
        if s.is_function and s.address in callers
    ]
    return tuple(sorted(sizes, key=lambda f: (-f.size, f.name)))


def _reached(graph: dict[int, Function], root: int) -> set[int]:
    """Addresses of the functions that `root` calls, directly or not, and its own."""
    reached, frontier = {root}, [root]
    while frontier:
        new = graph[frontier.pop()].callees - reached
        reached |= new
        frontier += new
    return reached
