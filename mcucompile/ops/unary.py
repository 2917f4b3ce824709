"""Functions of one number, element by element: a table of 256 bytes, whatever the function."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, QParams, QuantRule, Shape, Value
from mcucompile.plan.program import Const, KernelCall, Operand, Target

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))  # overflows for no x


def _gelu(x: Array, tanh: float = 0.0) -> Array:
    if tanh:
        return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _selu(x: Array, alpha: float = 1.6732632, gamma: float = 1.0507010) -> Array:
    return gamma * _elu(x, alpha)


def _hardsigmoid(x: Array, alpha: float = 0.2, beta: float = 0.5) -> Array:
    return np.clip(alpha * x + beta, 0, 1)


# What each function computes on float64 numbers; further arguments are Unary.args.
FUNCTIONS: dict[str, Callable[..., Array]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "clip": lambda x, lo, hi: np.minimum(np.maximum(x, lo), hi),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "hardsigmoid": _hardsigmoid,
    "hardswish": lambda x: x * _hardsigmoid(x, 1 / 6, 0.5),
    "leakyrelu": lambda x, alpha=0.01: np.where(x < 0, alpha * x, x),
    "elu": _elu,
    "selu": _selu,
    "softplus": lambda x: np.logaddexp(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "erf": _erf,
    "gelu": _gelu,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "reciprocal": lambda x: 1 / x,
    "pow": np.power,
    "sin": np.sin,
    "cos": np.cos,
}

# Functions with bounds that every quantization tool knows.
FIXED = {"sigmoid": QParams((1 / 256,), -128), "tanh": QParams((1 / 128,), 0)}


@dataclass(frozen=True)
class _Table(Op):
    """y = f(x) for each element."""

    is_rowwise = True

    @abstractmethod
    def real(self, x: Array) -> Array:
        """f on float64 numbers of any shape."""

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        return (operands[0].shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (self.real(operands[0].astype(np.float64)).astype(np.float32),)

    def table(self, operand: QParams, result: QParams) -> Array:
        """int8 results for the operands 0, 1, ... 127, -128, ... -1, that is by byte, shape (256,).

        Where f has no number for an operand (the logarithm of 0), that of the nearest operand
        which has one stands in; where it has none at all, the zero-point.
        """
        q = np.arange(-128, 128)
        with np.errstate(all="ignore"):
            y = self.real(operand.dequantize(q).astype(np.float64))
        known = np.flatnonzero(~np.isnan(y))
        if known.size == 0:
            y, known = np.zeros(256), np.arange(256)
        nearest = known[np.abs(np.arange(256)[:, None] - known).argmin(axis=1)]
        limit = 1e30  # beyond int8 at any scale, and no infinity
        return np.roll(result.quantize(np.clip(y[nearest], -limit, limit)), 128)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return (self.table(operands[0].q, results[0].q)[arrays[0].view(np.uint8)],)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        size = results[0].elements
        table = self.table(operands[0].q, results[0].q)
        return KernelCall(
            op=self.name,
            kernel="mcuc_lut_s8",
            header="mcuc/lut.h",
            params={"width": size, "table": Const("table", table)},
            reads=(Operand(operands[0].name, 1, size),),
            writes=(Operand(results[0].name, 1, size),),
            in_place=((0, 0),),
            row_unit="width",
            tile=(4, 4),
            why="any function of one byte is a table of 256",
        )


@dataclass(frozen=True)
class Unary(_Table):
    """f(x, *args) with f one of FUNCTIONS."""

    function: str
    args: tuple[float, ...] = ()

    @property
    def kind(self) -> str:
        return self.function.capitalize() if self.function != "identity" else "Requantize"

    def real(self, x: Array) -> Array:
        return FUNCTIONS[self.function](x, *self.args)

    def clamp_bounds(self) -> tuple[float, float] | None:
        """The real interval that the operand is clamped to, if that is what the function does."""
        if self.function == "relu":
            return 0.0, math.inf
        if self.function == "clip":
            lo, hi = self.args
            return lo, hi
        return None


@dataclass(frozen=True)
class BoundedUnary(Unary):
    """A function whose range is known beforehand."""

    quant_rule: ClassVar[QuantRule] = QuantRule.FIXED

    def fixed_qparams(self) -> QParams:
        return FIXED[self.function]


@dataclass(frozen=True)
class ScaleShift(_Table):
    """scale * x + offset."""

    scale: float
    offset: float

    def real(self, x: Array) -> Array:
        return self.scale * x + self.offset


# ONNX operator: function, and its attributes with their defaults, in the order of its arguments.
_IMPORTS: dict[str, tuple[str, dict[str, float]]] = {
    "Relu": ("relu", {}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
    "HardSigmoid": ("hardsigmoid", {"alpha": 0.2, "beta": 0.5}),
    "HardSwish": ("hardswish", {}),
    "LeakyRelu": ("leakyrelu", {"alpha": 0.01}),
    "Elu": ("elu", {"alpha": 1.0}),
    "Selu": ("selu", {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}),
    "Softplus": ("softplus", {}),
    "Softsign": ("softsign", {}),
    "Erf": ("erf", {}),
    "Neg": ("neg", {}),
    "Abs": ("abs", {}),
    "Sign": ("sign", {}),
    "Floor": ("floor", {}),
    "Ceil": ("ceil", {}),
    "Round": ("round", {}),
    "Sqrt": ("sqrt", {}),
    "Exp": ("exp", {}),
    "Log": ("log", {}),
    "Reciprocal": ("reciprocal", {}),
    "Sin": ("sin", {}),
    "Cos": ("cos", {}),
}


def unary(node: OnnxNode, function: str, args: tuple[float, ...] = ()) -> Unary:
    """The operator that computes `function`, made from `node`."""
    kind = BoundedUnary if function in FIXED else Unary
    return kind(*node.fresh(), function=function, args=args)


@onnx_import(*_IMPORTS)
def import_unary(node: OnnxNode) -> Value:
    function, attributes = _IMPORTS[node.op_type]
    args = tuple(float(node.attrs.get(name, default)) for name, default in attributes.items())
    return node.add(unary(node, function, args), node.operand(0))


@onnx_import("Gelu")
def import_gelu(node: OnnxNode) -> Value:
    tanh = float(node.attrs.get("approximate", "none") == "tanh")
    return node.add(unary(node, "gelu", (tanh,)), node.operand(0))


@onnx_import("Clip")
def import_clip(node: OnnxNode) -> Value:
    lo = _bound(node, 1, "min", -math.inf)
    hi = _bound(node, 2, "max", math.inf)
    return node.add(unary(node, "clip", (lo, hi)), node.operand(0))


def _bound(node: OnnxNode, slot: int, name: str, default: float) -> float:
    """A bound of a Clip, an attribute before opset 11 and an input since."""
    if node.optional(slot) is not None:
        return float(node.constant(slot, name).reshape(()))
    return float(node.attrs.get(name, default))


@onnx_import("PRelu")
def import_prelu(node: OnnxNode) -> Value:
    slope = node.constant(1, "slope")
    if slope.size != 1:
        node.unsupported("its slope differs by channel", "use one slope, or LeakyRelu")
    return node.add(unary(node, "leakyrelu", (float(slope.reshape(())),)), node.operand(0))


@onnx_import("Pow")
def import_pow(node: OnnxNode) -> Value:
    exponent = node.constant(1, "exponent")
    if exponent.size != 1:
        node.unsupported("its exponent is a tensor", "use one exponent")
    return node.add(unary(node, "pow", (float(exponent.reshape(())),)), node.operand(0))
