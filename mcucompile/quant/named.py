"""Layers by the names of their ONNX nodes, as options have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mcucompile.errors import UsageError
from mcucompile.ir import Graph


def node_names(text: str) -> list[str]:
    """The names in an option's list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def named_layers(
    graph: Graph,
    nodes: Sequence[str],
    obstacles: Mapping[str, str],
    error: tuple[str, str, str],
    able: str = "",
) -> list[str]:
    """The operators that compute the results of the ONNX `nodes`, alone or fused with others.

    obstacles: why an operator cannot be what is asked for, by its name; "" where it can. error:
    its id, the option, and what cannot be, of the UsageError that is raised where a node has no
    operator without an obstacle. able: which operators have none, for people.
    """
    code, option, what = error
    found = []
    for node in nodes:
        made = [op.name for op in graph.ops() if node in op.origin]
        fit = [name for name in made if not obstacles[name]]
        if not fit:
            why = next((obstacles[name] for name in made), "there is no such node left to compute")
            others = [op.origin[0] for op in graph.ops() if op.origin and not obstacles[op.name]]
            fix = f"name a layer such as '{others[0]}'" if others else f"leave {option} out"
            raise UsageError(code, f"{option}: node '{node}'", what, why, fix + able)
        found += fit
    return found
