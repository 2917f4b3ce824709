"""The intermediate representation: values, operators and the graph that wires them."""

from mcucompile.ir.graph import Graph
from mcucompile.ir.op import Op, QuantRule
from mcucompile.ir.types import (
    QMAX,
    QMIN,
    Array,
    Box,
    Element,
    Port,
    Preprocessing,
    QParams,
    RequantRule,
    Shape,
    Value,
)

__all__ = [
    "QMAX",
    "QMIN",
    "Array",
    "Box",
    "Element",
    "Graph",
    "Op",
    "Port",
    "Preprocessing",
    "QParams",
    "QuantRule",
    "RequantRule",
    "Shape",
    "Value",
]
