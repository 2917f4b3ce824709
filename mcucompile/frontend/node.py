"""One ONNX node during import, and the registry of importers.

An operator family registers its importer beside the operator itself:

    @onnx_import("Relu")
    def import_relu(node: OnnxNode) -> Value: ...

The importer adds operators to `node.graph` and returns the node's result (or results).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from mcucompile.errors import UnsupportedModelError
from mcucompile.ir import Array, Graph, Op, Value

Importer = Callable[["OnnxNode"], "Value | tuple[Value, ...]"]

IMPORTERS: dict[str, Importer] = {}


def onnx_import(*op_types: str) -> Callable[[Importer], Importer]:
    """Register the decorated function as importer of the ONNX operators `op_types`."""

    def register(importer: Importer) -> Importer:
        for op_type in op_types:
            IMPORTERS[op_type] = importer
        return importer

    return register


@dataclass(frozen=True)
class OnnxNode:
    """A node with its operands resolved.

    name: the ONNX node's name (made up from its output where the file has none).
    inputs: None where an optional input is absent. outputs: tensor names.
    attrs: attributes as Python values (bytes decoded). opset: of the default ONNX domain.
    """

    name: str
    op_type: str
    opset: int
    inputs: tuple[Value | None, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    graph: Graph

    def operand(self, slot: int) -> Value:
        """Input `slot`, which must be there."""
        value = self.optional(slot)
        if value is None:
            self.unsupported(f"input {slot} is missing", "repair the model; ONNX requires it")
        return value

    def optional(self, slot: int) -> Value | None:
        """Input `slot`, or None if it is absent."""
        return self.inputs[slot] if slot < len(self.inputs) else None

    def constant(self, slot: int, what: str) -> Array:
        """Contents of input `slot`, which must be constant; `what` names it in the error."""
        value = self.operand(slot)
        if value.data is None:
            self.unsupported(
                f"{what} is computed at run time", f"export the model with constant {what}"
            )
        return value.real if value.qparams is not None else value.data

    def add(self, op: Op, *operands: Value, output: int = 0) -> Value:
        """Add an operator with one result that holds the numbers of this node's output `output`."""
        (result,) = self.graph.append(op, operands, [self.outputs[output]], onnx=True)
        return result

    def add_inner(self, op: Op, *operands: Value) -> Value:
        """Add an operator whose result is no tensor of the ONNX model."""
        (result,) = self.graph.append(op, operands, (op.name,))
        return result

    def fresh(self, suffix: str = "") -> tuple[str, tuple[str, ...]]:
        """Name and origin for an operator made from this node."""
        name = f"{self.name}.{suffix}" if suffix else self.name
        return self.graph.fresh_name(name), (self.name,)

    def unsupported(self, why: str, fix: str) -> NoReturn:
        """Refuse this node; all refusals of a model are reported together."""
        raise UnsupportedModelError(
            "MC101", f"node '{self.name}' ({self.op_type})", "cannot be compiled", why, fix
        )


def as_results(value: Value | Sequence[Value]) -> tuple[Value, ...]:
    """An importer's answer as a tuple."""
    return (value,) if isinstance(value, Value) else tuple(value)
