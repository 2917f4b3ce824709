"""The intermediate representation: values, operators and the graph that wires them."""

from mcucompile.ir.graph import Graph
from mcucompile.ir.op import Op, QuantRule
from mcucompile.ir.types import QMAX, QMIN, Array, Port, QParams, Shape, Value

__all__ = ["QMAX", "QMIN", "Array", "Graph", "Op", "Port", "QParams", "QuantRule", "Shape", "Value"]
