"""Normalization to mean 0 and variance 1: LayerNormalization and its kin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mcucompile.export.writer import OPSET, NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Graph, Op, QParams, Shape, Value
from mcucompile.ops.add import Add
from mcucompile.ops.div import Div
from mcucompile.ops.mul import Mul
from mcucompile.ops.pairwise import add_pairwise
from mcucompile.ops.reduce import ReduceL1, ReduceMean
from mcucompile.ops.reshape import Reshape, reshape, view
from mcucompile.ops.table import Formula
from mcucompile.ops.transpose import Transpose, to_nchw, to_nhwc
from mcucompile.ops.unary import ScaleShift, unary
from mcucompile.plan.program import Const, KernelCall, Operand, Target
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.normalize import NormalizeRule, normalize_rule

BITS = 2.0**30  # the largest gain and the largest bias in integers


@dataclass(frozen=True)
class Normalize(Op):
    """clamp((x - mean) / sqrt(variance + epsilon) * gain + bias) on x of shape (N, R, P, C).

    Of each of the R rows and each of the `groups` groups of C / groups channels side by side, mean
    and variance are those of the group in all P pixels. centered: is there a mean? Without, it is
    taken for 0. Operand 1: a constant (2, C), the gain and the bias of each channel.
    """

    epsilon: float
    groups: int = 1
    centered: bool = True
    clamp: tuple[float, float] | None = None

    is_rowwise = True

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        x, parameters = operands
        if len(x.shape) != 4 or parameters.shape != (2, x.shape[-1]) or x.shape[-1] % self.groups:
            raise ValueError(f"parameters {parameters.shape} do not fit {x.shape}")
        return (x.shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        x, (gain, bias) = operands
        n, r, p, c = x.shape
        grouped = x.astype(np.float64).reshape(n, r, p, self.groups, c // self.groups)
        mean = grouped.mean(axis=(2, 4), keepdims=True) if self.centered else 0.0
        distance = grouped - mean
        variance = (distance * distance).mean(axis=(2, 4), keepdims=True)
        with np.errstate(all="ignore"):
            unit = (distance / np.sqrt(variance + self.epsilon)).reshape(x.shape)
        y = unit * gain + bias
        return ((y if self.clamp is None else np.clip(y, *self.clamp)).astype(np.float32),)

    def quantize_constants(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        x, parameters = operands
        peaks = np.abs(parameters.real.astype(np.float64)).max(axis=1)
        q = QParams(tuple(float(peak) / BITS if peak else 1.0 for peak in peaks), 0, 0)
        data = np.rint(parameters.real / q.scale_array(2)).astype(np.int32)
        return (x, replace(parameters, dtype="int32", qparams=q, data=data))

    def _rule(self, operands: Sequence[Value], results: Sequence[Value]) -> NormalizeRule:
        x, parameters = operands
        gain, bias = parameters.real
        count = x.shape[2] * x.shape[3] // self.groups
        y = results[0].q
        try:
            return normalize_rule(
                x.q, y, count, self.centered, self.epsilon, gain, bias, self.clamp
            )
        except OverflowError as error:
            raise too_coarse(self, str(error)) from error

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return (self._rule(operands, results).apply(arrays[0], self.groups),)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        """As instances of images, or part by part over the last axis: what this opset can say."""
        _, rows, pixels, channels = operands[0].shape
        x = out.real(operands[0])
        gain, bias = (out.initializer(f"{self.name}_parameters", v) for v in operands[1].real)
        if self.centered and self.groups == channels and rows == 1:
            image = out.nchw(x)
            y = out.add("InstanceNormalization", image, gain, bias, epsilon=self.epsilon)
            return out.clipped(out.nhwc(y), self.clamp)
        if self.groups != 1 or pixels != 1:
            raise self.not_in_onnx(f"its groups are newer than opset {OPSET}")
        if self.centered:
            x = out.add("Sub", x, out.add("ReduceMean", x, axes=(-1,), keepdims=1))
        variance = out.add("ReduceMean", out.add("Mul", x, x), axes=(-1,), keepdims=1)
        deviation = out.add("Sqrt", out.add("Add", variance, out.number(self.epsilon)))
        unit = out.add("Mul", out.add("Div", x, deviation), gain)
        return out.clipped(out.add("Add", unit, bias), self.clamp)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rule = self._rule(operands, results)
        _, rows, pixels, channels = operands[0].shape
        params: dict[str, int | Const] = {
            "pixels": pixels,
            "groups": self.groups,
            "width": channels // self.groups,
            "centered": int(rule.centered),
            "zp_in": rule.zero,
            "epsilon_high": rule.epsilon >> 32,
            "epsilon_low": (rule.epsilon & 0xFFFFFFFF ^ 0x80000000) - 0x80000000,
            "half": rule.half,
            "gains": Const("gains", rule.gains),
            "offsets": Const("offsets", rule.offsets),
            "shift": rule.shift,
            "lo": rule.lo,
            "hi": rule.hi,
        }
        return KernelCall(
            op=self.name,
            kernel="mcuc_normalize_s8",
            header="mcuc/normalize.h",
            params=params,
            reads=(Operand(operands[0].name, rows, pixels * channels),),
            writes=(Operand(results[0].name, rows, pixels * channels),),
            in_place=((0, 0),),
            why=f"{rows * self.groups} groups of {rule.count} numbers",
        )


def normalize_axes(
    graph: Graph,
    named: Callable[[str], tuple[str, tuple[str, ...]]],
    x: Value,
    axes: Sequence[int],
    epsilon: float,
    centered: bool = True,
    gain: Array | float = 1.0,
    bias: Array | float = 0.0,
) -> Value:
    """Add a Normalize of `x`, of any shape, over `axes`; returns its result in the shape of `x`.

    named: makes name and origin of an operator from a suffix. gain, bias: numbers that can be
    broadcast to the shape of the `axes`.
    """

    def append(op: Op, *operands: Value) -> Value:
        (result,) = graph.append(op, operands, (op.name,))
        return result

    inner = tuple(x.shape[i] for i in sorted(axes))
    data = [np.broadcast_to(v, inner).reshape(-1) for v in (gain, bias)]
    batch = {0} if x.shape[:1] == (1,) else set()  # one sample at a time
    last = sorted(set(axes) - batch)
    perm = (*(i for i in range(len(x.shape)) if i not in last), *last)
    moved = append(Transpose(*named("to_last"), perm=perm), x)
    count = math.prod(inner)
    rows = append(Reshape(*named("rows"), shape=(1, x.elements // count, 1, count)), moved)
    parameters = graph.constant(named("parameters")[0], np.stack(data))
    y = append(Normalize(*named("normalize"), epsilon, 1, centered), rows, parameters)
    shaped = append(Reshape(*named("shaped"), shape=moved.shape), y)
    return append(Transpose(*named("back"), perm=tuple(int(i) for i in np.argsort(perm))), shaped)


def _normalized(
    node: OnnxNode,
    axes: Sequence[int],
    epsilon: float,
    centered: bool = True,
    gain: Array | float = 1.0,
    bias: Array | float = 0.0,
) -> Value:
    """The result of `node`: its operand 0 normalized over `axes`."""
    x = node.operand(0)
    y = normalize_axes(node.graph, node.fresh, x, axes, epsilon, centered, gain, bias)
    return node.add(Reshape(*node.fresh(), shape=x.shape), y)


@onnx_import("LayerNormalization")
def import_layer_normalization(node: OnnxNode) -> tuple[Value, ...]:
    x = node.operand(0)
    rank = len(x.shape)
    axes = tuple(range(int(node.attrs.get("axis", -1)) % rank, rank))
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    gain = node.constant(1, "scale")
    bias = 0.0 if node.optional(2) is None else node.constant(2, "bias")
    y = _normalized(node, axes, epsilon, True, gain, bias)
    return (y, *_moments(node, x, axes, epsilon))[: len(node.outputs)]


def _moments(node: OnnxNode, x: Value, axes: tuple[int, ...], epsilon: float) -> tuple[Value, ...]:
    """The mean and the reciprocal standard deviation, further outputs of `node`, if it has them."""
    if not any(node.outputs[1:]):
        return ()
    mean = node.add_inner(ReduceMean(*node.fresh("mean"), axes=axes), x)
    distance = node.add_inner(Add(*node.fresh("distance"), sign=-1), x, mean)
    square = node.add_inner(Mul(*node.fresh("square")), distance, distance)
    variance = node.add_inner(ReduceMean(*node.fresh("variance"), axes=axes), square)
    steps = (
        (ScaleShift("", (), scale=1.0, offset=epsilon), (0,)),
        (unary(node, "pow", (-0.5,)), (1,)),
    )
    deviation = node.add_inner(Formula(*node.fresh("deviation"), steps=steps), variance)
    return mean, deviation


@onnx_import("RMSNormalization", "SimplifiedLayerNormalization")
def import_rms_normalization(node: OnnxNode) -> Value:
    rank = len(node.operand(0).shape)
    axes = tuple(range(int(node.attrs.get("axis", -1)) % rank, rank))
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    return _normalized(node, axes, epsilon, False, node.constant(1, "scale"))


@onnx_import("MeanVarianceNormalization")
def import_mean_variance(node: OnnxNode) -> Value:
    rank = len(node.operand(0).shape)
    axes = sorted(int(a) % rank for a in node.attrs.get("axes", [0, 2, 3]))
    return _normalized(node, axes, 0.0)


@onnx_import("LpNormalization")
def import_lp_normalization(node: OnnxNode) -> Value:
    x = node.operand(0)
    axis = int(node.attrs.get("axis", -1)) % len(x.shape)
    if int(node.attrs.get("p", 2)) == 2:
        return _normalized(node, [axis], 0.0, False, 1.0 / math.sqrt(x.shape[axis]))
    total = node.add_inner(ReduceL1(*node.fresh("sum"), axes=(axis,)), x)
    return add_pairwise(node, Div(*node.fresh()), x, total)


@onnx_import("InstanceNormalization", "GroupNormalization")
def import_group_normalization(node: OnnxNode) -> Value:
    x = node.operand(0)
    channels = x.shape[1]
    groups = int(node.attrs.get("num_groups", channels))
    if channels % groups:
        node.unsupported(f"{channels} channels do not make {groups} groups", "repair the model")
    # Of group normalization before opset 21 there is one number per group.
    numbers = [node.constant(slot, what) for slot, what in ((1, "scale"), (2, "bias"))]
    if any(channels % v.size for v in numbers):
        node.unsupported("its scale or bias does not fit its channels", "repair the model")
    parameters = np.stack([np.repeat(v.reshape(-1), channels // v.size) for v in numbers])
    nhwc = to_nhwc(node, x)
    n, h, w, c = nhwc.shape
    rows = view(node, nhwc, (n, 1, h * w, c))
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    op = Normalize(*node.fresh("normalize"), epsilon, groups)
    constant = node.graph.constant(f"{node.name}.parameters", parameters)
    image = view(node, node.add_inner(op, rows, constant), nhwc.shape)
    return reshape(node, to_nchw(node, image, len(x.shape)), x.shape)
