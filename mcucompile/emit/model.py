"""The files of one compiled model: the C sources, their CMakeLists.txt and the runtime headers."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mcucompile import __version__, resources
from mcucompile.emit import ctext
from mcucompile.emit.boundary import shared_kernels
from mcucompile.emit.constants import constants
from mcucompile.emit.schedule import segment_views
from mcucompile.emit.views import (
    TensorView,
    address,
    const_views,
    step_view,
    tensor_view,
    twins,
)
from mcucompile.ir import Graph, Port
from mcucompile.plan.plan import ARENA_ALIGN, Plan, Region
from mcucompile.plan.program import Optimize
from mcucompile.templating import render

RUNTIME_ABI = 1  # MCUC_RUNTIME_ABI of the runtime these templates are written for
_INCLUDE = re.compile(r'#include "(mcuc/[^"]+)"')
_TEMPLATES = {
    "{name}.h": "model.h.j2",
    "{name}.c": "model.c.j2",
    "{name}_weights.c": "weights.c.j2",
    "CMakeLists.txt": "CMakeLists.txt.j2",
}


@dataclass(frozen=True)
class EmitOptions:
    """What the files say of themselves.

    name: C identifier that prefixes every symbol. source, sha256: the model file, for people.
    """

    name: str
    source: str = ""
    sha256: str = ""
    board: str = ""
    optimize: Optimize = "balanced"


def emit(graph: Graph, plan: Plan, options: EmitOptions) -> dict[str, str]:
    """{path relative to the output folder: text}; the same input gives the same bytes."""
    shared = shared_kernels(plan, options.optimize)
    consts = constants(plan)
    steps = [
        step_view(graph, plan, i, options.name, shared[i], consts) for i in range(len(plan.steps))
    ]
    headers = sorted({s.call.header for s in plan.steps} | {"mcuc/mcuc.h", "mcuc/copy.h"})
    context = {
        "options": options,
        "source": ctext.comment(options.source),
        "version": __version__,
        "abi": RUNTIME_ABI,
        "name": options.name,
        "NAME": options.name.upper(),
        "plan": plan,
        "parts": plan.parts,
        "arena_type": "int8_t *const *" if plan.parts else "int8_t *",
        "address": lambda offset: address(plan, offset),
        "pushed": plan.pushed,
        "align": ARENA_ALIGN,
        "states": plan.states if plan.states.size else None,
        "headers": headers,
        "tflite": any(op.rounding == "tflite" for op in graph.ops()),
        "steps": steps,
        "segments": segment_views(plan),
        "shared": sorted({s.kernel for s in steps if s.shared}),
        "twins": twins(steps),
        "consts": const_views(consts, options.name),
        "inputs": _tensors(graph, graph.inputs, graph.input_ports, plan.inputs),
        "outputs": _tensors(graph, graph.outputs, graph.output_ports, plan.outputs),
    }
    files = {
        path.format(name=options.name): render(template, **context)
        for path, template in _TEMPLATES.items()
    }
    files |= _runtime_headers([*headers, "mcuc/model.h"])
    return dict(sorted(files.items()))


def _tensors(
    graph: Graph, names: Sequence[str], ports: Sequence[Port], regions: Mapping[str, Region]
) -> list[TensorView]:
    return [
        tensor_view(port, graph.value(name), regions[name])
        for port, name in zip(ports, names, strict=True)
    ]


def _runtime_headers(headers: Sequence[str]) -> dict[str, str]:
    """The given runtime headers and what they include, so that the folder compiles alone.

    They include each other by relative paths, for compilers without any include path.
    """
    found: dict[str, str] = {}
    todo = list(headers)
    while todo:
        header = todo.pop()
        if header not in found:
            text = (resources.runtime_dir() / header).read_text(encoding="utf-8")
            todo += _INCLUDE.findall(text)
            found[header] = _with_relative_includes(header, text)
    return found


def _with_relative_includes(header: str, text: str) -> str:
    def relative(include: re.Match[str]) -> str:
        return f'#include "{posixpath.relpath(include[1], posixpath.dirname(header))}"'

    return _INCLUDE.sub(relative, text)
