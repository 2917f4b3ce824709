"""Nodes that stand for other nodes: operators that ONNX defines by a function, and If."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper
from onnx.inliner import inline_selected_functions

from mcucompile.ir import Array


def function_body(
    node: onnx.NodeProto, opset: int, types: Mapping[str, tuple[str, Sequence[int]]]
) -> list[onnx.NodeProto]:
    """The nodes that compute what `node` does, by ONNX's own definition; none if it has none.

    types: numpy name of the type and shape of each input that is there.
    """
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        for name, (dtype, shape) in types.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "body", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    names = [("", node.op_type)]
    body = inline_selected_functions(model, names, inline_schema_functions=True).graph.node
    return [] if any(inner.op_type == node.op_type for inner in body) else within(node, body)


def branch(node: onnx.NodeProto, condition: Array) -> list[onnx.NodeProto]:
    """The nodes of the branch that an If with this constant condition takes."""
    name = "then_branch" if condition.reshape(-1)[0] else "else_branch"
    (taken,) = (a.g for a in node.attribute if a.name == name)
    constants = [helper.make_node("Constant", [], [t.name], value=t) for t in taken.initializer]
    results = [
        helper.make_node("Identity", [inner.name], [outer])
        for inner, outer in zip(taken.output, node.output, strict=True)
        if outer
    ]
    return within(node, [*constants, *taken.node, *results])


def within(node: onnx.NodeProto, nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Copies of `nodes`, which compute the outputs of `node`: they are called as it is, and the
    tensors between them as no other tensor."""
    copies = []
    for inner in nodes:
        copies.append(onnx.NodeProto())
        copies[-1].CopyFrom(inner)
        copies[-1].name = node.name or node.output[0]
    made = {name for inner in copies for name in inner.output if name}
    names = {name: f"{node.output[0]}/{name}" for name in sorted(made - {*node.output})}
    _rename(copies, names)
    return copies


def _rename(nodes: Iterable[onnx.NodeProto], names: Mapping[str, str]) -> None:
    """Rename tensors, in place, also where branches read them."""
    for node in nodes:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _rename(attribute.g.node, names)
                for output in attribute.g.output:
                    output.name = names.get(output.name, output.name)


def names_read(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """The names of all tensors that `nodes` read, also within their branches."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from names_read(attribute.g.node)
                yield from (o.name for o in attribute.g.output)
