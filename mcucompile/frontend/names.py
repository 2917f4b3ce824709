"""Names: from what exporters write (`a/b;c:0`, nothing, the same twice) to unique C identifiers.

The import works on the model's own names, because that is what errors must speak. Afterwards every
value and operator gets a C identifier; the words of the model live on in `Value.onnx_name`,
`Op.origin` and `Port.name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from mcucompile.ir import Graph

MAX_LENGTH = 40  # converters join the names of fused layers; nobody reads 200 characters


def c_identifier(text: str) -> str:
    """A C identifier like `text`: letters, digits and single underscores, at most MAX_LENGTH long.

    Of a longer one the end remains, from the first whole word on: what comes first in such names
    is what all of them share. Never empty, never with a leading underscore. Keywords may come out:
    all generated symbols begin with the model's name.
    """
    name = re.sub(r"[^0-9A-Za-z]+", "_", text).strip("_")
    if len(name) > MAX_LENGTH:
        name = name[-MAX_LENGTH:]
        name = name[name.find("_") + 1 :]
    return f"n{name}" if not name or name[0].isdigit() else name


def unique(texts: Iterable[str]) -> list[str]:
    """A C identifier for each of `texts`, all different: the first to come keeps the plain one.

    Identifiers that differ in case only count as equal, since macros are made from them.
    """
    taken: set[str] = set()
    names = []
    for text in texts:
        wish = name = c_identifier(text)
        n = 1
        while name.lower() in taken:
            name, n = f"{wish}_{n}", n + 1
        taken.add(name.lower())
        names.append(name)
    return names


def use_c_names(graph: Graph) -> Graph:
    """The same graph with a C identifier as the name of every value and operator.

    Inputs and outputs come first, so that the C API gets the plain names; then the other values,
    then the operators, each in the order of the model.
    """
    values = [v.name for v in graph.values()]
    ops = [op.name for op in graph.ops()]
    values = list(dict.fromkeys([*graph.inputs, *graph.outputs, *values]))
    names = unique([*values, *ops])
    value_name = dict(zip(values, names, strict=False))
    op_name = dict(zip(ops, names[len(values) :], strict=True))

    new = Graph(graph.name)
    for v in graph.values():
        new.add_value(replace(v, name=value_name[v.name]))
    for op in graph.ops():
        new.add_op(
            replace(op, name=op_name[op.name]),
            [value_name[v.name] for v in graph.operands(op)],
            [value_name[v.name] for v in graph.results(op)],
        )
    new.inputs = tuple(value_name[n] for n in graph.inputs)
    new.outputs = tuple(value_name[n] for n in graph.outputs)
    new.input_ports, new.output_ports = graph.input_ports, graph.output_ports
    return new
