"""ONNX nodes as they are written: names, constants, and QuantizeLinear around every operator.

    x (int8) -> DequantizeLinear -> the operator on real numbers -> QuantizeLinear -> y (int8)

Tensors go by name. An operator's `to_onnx` reads its operands with `real` and returns the name of
its result, before it is quantized.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mcucompile.ir import Array, Shape, Value
from mcucompile.ir.types import TO_NCHW, TO_NHWC

OPSET = 14  # HardSwish is the newest operator in use
UINT8_SHIFT = 128


class NodeWriter:
    """The nodes and initializers of a graph.

    reserved: names of tensors that are not to be made up. scope: what the names of others begin
    with.
    """

    def __init__(self, reserved: Iterable[str]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.scope = ""
        self._taken = set(reserved)
        self._stored: dict[str, tuple[str, str]] = {}  # value: tensor of integers and its dtype
        self._real: dict[str, str] = {}
        self._scales: dict[str, tuple[str, ...]] = {}

    # -- nodes and constants ----------------------------------------------------------------

    def add(self, op_type: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        """Add a node with one output, the tensor `result` or a new one; returns its name."""
        name = result or self._fresh(f"{self.scope}_{op_type}")
        self.nodes.append(helper.make_node(op_type, inputs, [name], name, **attributes))
        return name

    def initializer(self, wish: str, data: Array) -> str:
        """Add a constant; returns its name."""
        name = self._fresh(wish)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(data), name))
        return name

    def ints(self, numbers: Sequence[int]) -> str:
        """A vector of int64, as shapes and axes are."""
        return self.initializer(f"{self.scope}_ints", np.array(numbers, dtype=np.int64))

    def number(self, real: float) -> str:
        """A float32 scalar."""
        return self.initializer(f"{self.scope}_number", np.array(real, dtype=np.float32))

    # -- stored numbers ---------------------------------------------------------------------

    def stored(self, value: Value, tensor: str, dtype: str = "int8") -> None:
        """Say that `tensor` holds the integers of `value`, as int8, or as uint8 (128 more)."""
        self._stored[value.name] = tensor, dtype

    def quantize(self, value: Value, real: str, to: str = "", dtype: str = "int8") -> None:
        """Store the numbers of the tensor `real` as `value` is stored, in the tensor `to`."""
        to = to or self._fresh(f"{value.name}_stored")
        parameters = self._parameters(value, dtype)
        self.stored(value, self.add("QuantizeLinear", real, *parameters, result=to), dtype)

    def dequantize(self, value: Value, to: str = "") -> str:
        """The numbers of `value` as the tensor `to`, or a new one."""
        tensor, dtype = self._stored[value.name]
        to = to or self._fresh(f"{value.name}_real")
        return self.add("DequantizeLinear", tensor, *self._parameters(value, dtype), result=to)

    def real(self, value: Value) -> str:
        """The tensor of the numbers that `value` stands for; one without parameters is a tensor."""
        if value.qparams is None and not value.is_constant:
            return value.name
        if value.name not in self._real:
            made = self.constant(value) if value.is_constant else self.dequantize(value)
            self._real[value.name] = made
        return self._real[value.name]

    def constant(self, value: Value, perm: Sequence[int] = ()) -> str:
        """The numbers of the constant `value`, with its axes in the order `perm`."""
        q, perm = value.q, tuple(perm) or tuple(range(len(value.shape)))
        assert value.data is not None
        integers = self.initializer(f"{value.name}_stored", value.data.transpose(perm))
        axis: dict[str, Any] = {} if q.axis is None else {"axis": perm.index(q.axis)}
        to = self._fresh(f"{value.name}_real")
        parameters = self._parameters(value, value.dtype)
        return self.add("DequantizeLinear", integers, *parameters, result=to, **axis)

    def _parameters(self, value: Value, dtype: str) -> tuple[str, ...]:
        """Scale and zero-point; int32 has none."""
        if value.name not in self._scales:
            q, name = value.q, value.name
            shape = () if q.axis is None else (len(q.scale),)
            scale = np.array(q.scale, dtype=np.float32).reshape(shape)
            made = [self.initializer(f"{name}_scale", scale)]
            if dtype != "int32":
                zero = q.zero_point + (UINT8_SHIFT if dtype == "uint8" else 0)
                made += [self.initializer(f"{name}_zero_point", np.full(shape, zero, dtype=dtype))]
            self._scales[name] = tuple(made)
        return self._scales[value.name]

    # -- what many operators need -----------------------------------------------------------

    def nchw(self, x: str) -> str:
        """An image as ONNX has them."""
        return self.add("Transpose", x, perm=TO_NCHW)

    def nhwc(self, x: str) -> str:
        """An image as the compiler has them."""
        return self.add("Transpose", x, perm=TO_NHWC)

    def reshaped(self, x: str, shape: Shape) -> str:
        return self.add("Reshape", x, self.ints(shape))

    def clipped(self, x: str, clamp: tuple[float, float] | None) -> str:
        """`x` within the bounds `clamp`, which may be infinite."""
        if clamp is None:
            return x
        if clamp == (0.0, float("inf")):
            return self.add("Relu", x)
        bounds = (self.number(bound) if np.isfinite(bound) else "" for bound in clamp)
        return self.add("Clip", x, *bounds)

    def _fresh(self, wish: str) -> str:
        """`wish`, or `wish` with a number, as a new name."""
        name, n = wish, 1
        while name in self._taken:
            name, n = f"{wish}_{n}", n + 1
        self._taken.add(name)
        return name
