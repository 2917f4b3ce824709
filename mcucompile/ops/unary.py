"""Functions of one number that have a name in ONNX, or are made of operators that do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from onnx import TensorProto

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, QParams, QuantRule, Value
from mcucompile.ops.qdq import quantized_by, stored_constant, stored_integer, stored_number
from mcucompile.ops.reshape import view
from mcucompile.ops.table import Table

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


def _celu(x: Array, alpha: float = 1.0) -> Array:
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x, 0) / alpha))


def _softplus(x: Array) -> Array:
    return np.logaddexp(x, 0)


def _shrink(x: Array, bias: float = 0.0, lambd: float = 0.5) -> Array:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0))


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
    "celu": _celu,
    "thresholdedrelu": lambda x, alpha=1.0: np.where(x > alpha, x, 0),
    "shrink": _shrink,
    "swish": lambda x, alpha=1.0: x * _sigmoid(alpha * x),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "erf": _erf,
    "gelu": _gelu,
    "not": lambda x: np.where(x == 0, 1.0, 0.0),
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "trunc": np.trunc,
    "nonzero": lambda x: np.where(x != 0, 1.0, 0.0),
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "reciprocal": lambda x: 1 / x,
    "pow": np.power,
    "exponential": lambda x, base=2.0: np.power(base, x),
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}

# Functions with bounds that every quantization tool knows.
FIXED = {"sigmoid": QParams((1 / 256,), -128), "tanh": QParams((1 / 128,), 0)}


@dataclass(frozen=True)
class Unary(Table):
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

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        x = out.real(operands[0])
        if self.function in _SPELLED:
            return _SPELLED[self.function](out, x, *self.args)
        op_type, defaults = _WRITTEN[self.function]
        attributes: dict[str, Any] = dict(zip(defaults, self.args, strict=True))
        return out.add(op_type, x, **attributes)


@dataclass(frozen=True)
class BoundedUnary(Unary):
    """A function whose range is known beforehand."""

    quant_rule: ClassVar[QuantRule] = QuantRule.FIXED

    def fixed_qparams(self) -> QParams:
        return FIXED[self.function]


class StoredClip(Unary):
    """A Clip between QuantizeLinear and DequantizeLinear."""

    quant_rule: ClassVar[QuantRule] = QuantRule.SAME


@dataclass(frozen=True)
class ScaleShift(Table):
    """scale * x + offset."""

    scale: float
    offset: float

    def real(self, x: Array) -> Array:
        return self.scale * x + self.offset

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        y = out.real(operands[0])
        if self.scale != 1.0:
            y = out.add("Mul", y, out.number(self.scale))
        return y if self.offset == 0.0 else out.add("Add", y, out.number(self.offset))


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
    "Celu": ("celu", {"alpha": 1.0}),
    "ThresholdedRelu": ("thresholdedrelu", {"alpha": 1.0}),
    "Shrink": ("shrink", {"bias": 0.0, "lambd": 0.5}),
    "Swish": ("swish", {"alpha": 1.0}),
    "Mish": ("mish", {}),
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
    "Tan": ("tan", {}),
    "Asin": ("asin", {}),
    "Acos": ("acos", {}),
    "Atan": ("atan", {}),
    "Sinh": ("sinh", {}),
    "Cosh": ("cosh", {}),
    "Asinh": ("asinh", {}),
    "Acosh": ("acosh", {}),
    "Atanh": ("atanh", {}),
}


_WRITTEN = {function: (op_type, attributes) for op_type, (function, attributes) in _IMPORTS.items()}


def _write_cast(out: NodeWriter, x: str, to: int) -> str:
    return out.add("Cast", out.add("Cast", x, to=to), to=TensorProto.FLOAT)


def _write_not(out: NodeWriter, x: str) -> str:
    answer = out.add("Not", out.add("Cast", x, to=TensorProto.BOOL))
    return out.add("Cast", answer, to=TensorProto.FLOAT)


def _write_gelu(out: NodeWriter, x: str, tanh: float = 0.0) -> str:
    if tanh:
        cubed = out.add("Mul", out.add("Pow", x, out.number(3.0)), out.number(0.044715))
        inner = out.add("Mul", out.add("Add", x, cubed), out.number(math.sqrt(2 / math.pi)))
        part = out.add("Tanh", inner)
    else:
        part = out.add("Erf", out.add("Mul", x, out.number(1 / math.sqrt(2))))
    half = out.add("Mul", x, out.number(0.5))
    return out.add("Mul", half, out.add("Add", part, out.number(1.0)))


def _write_swish(out: NodeWriter, x: str, alpha: float = 1.0) -> str:
    inner = x if alpha == 1.0 else out.add("Mul", x, out.number(alpha))
    return out.add("Mul", x, out.add("Sigmoid", inner))


# Functions without an ONNX operator, or with one that is newer than the opset that is written.
_SPELLED: dict[str, Callable[..., str]] = {
    "identity": lambda out, x: x,
    "clip": lambda out, x, lo, hi: out.clipped(x, (lo, hi)),
    "pow": lambda out, x, exponent: out.add("Pow", x, out.number(exponent)),
    "exponential": lambda out, x, base=2.0: out.add("Pow", out.number(base), x),
    "mish": lambda out, x: out.add("Mul", x, out.add("Tanh", out.add("Softplus", x))),
    "swish": _write_swish,
    "gelu": _write_gelu,
    "not": _write_not,
    "nonzero": lambda out, x: _write_cast(out, x, TensorProto.BOOL),
    "trunc": lambda out, x: _write_cast(out, x, TensorProto.INT32),
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
    """Bounds among stored integers are such integers, too (the QCDQ format has them)."""
    x = node.operand(0)
    if x.data is not None and x.qparams is not None:
        least, most = (stored_integer(node.constant(slot, "bound")) for slot in (1, 2))
        return stored_constant(node, np.clip(x.data, least, most), x.qparams)
    bounds = _bound(node, 1, "min", -math.inf), _bound(node, 2, "max", math.inf)
    kind = Unary if quantized_by(node.graph, x) is None else StoredClip
    return node.add(kind(*node.fresh(), function="clip", args=bounds), x)


def _bound(node: OnnxNode, slot: int, name: str, default: float) -> float:
    """The real bound of a Clip, an attribute before opset 11 and an input since."""
    if node.optional(slot) is None:
        return float(node.attrs.get(name, default))
    return stored_number(node.graph, node.operand(0), node.constant(slot, name))


@onnx_import("Pow")
def import_pow(node: OnnxNode) -> Value:
    base, exponent = node.operand(0), node.operand(1)
    shape = np.broadcast_shapes(base.shape, exponent.shape)
    if _is_number(exponent) and math.prod(shape) == base.elements:
        power = float(exponent.real.reshape(-1)[0])
        return node.add(unary(node, "pow", (power,)), view(node, base, shape))
    if not _is_number(base) or math.prod(shape) != exponent.elements:
        node.unsupported("it has several bases and exponents", "make one of them a number")
    number = float(base.real.reshape(-1)[0])
    return node.add(unary(node, "exponential", (number,)), view(node, exponent, shape))


def _is_number(value: Value) -> bool:
    """Is `value` a constant whose elements are all equal?"""
    return value.is_constant and float(np.ptp(value.real)) == 0.0
