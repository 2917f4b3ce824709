"""QONNX: quantizers of any number of bits, as Brevitas and qkeras write them.

Quant rounds to an integer, clamps it and gives back the number that it stands for: what
QuantizeLinear, Clip and DequantizeLinear do one after the other. BipolarQuant knows two numbers; of
activations it is an operator of its own (`mcucompile/ops/bipolar.py`).
(A. Pappalardo et al., "QONNX: Representing Arbitrary-Precision Quantized Neural Networks", 2022.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mcucompile.errors import UnsupportedModelError
from mcucompile.frontend.inline import within
from mcucompile.ir import Array

DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")


def qonnx_body(node: onnx.NodeProto, constants: Mapping[str, Array]) -> list[onnx.NodeProto]:
    """The nodes that compute what a Quant does, or a BipolarQuant of weights; else none.

    constants: the tensors that are known. Raises UnsupportedModelError MC101 for what has no such
    nodes.
    """
    if node.domain not in DOMAINS or node.op_type not in ("Quant", "BipolarQuant", "Trunc"):
        return []
    if node.op_type == "Trunc":
        _unsupported(node, "it cuts bits off an integer sum", "quantize with a Quant instead")
    for name in node.input[1:]:
        if name not in constants:
            _unsupported(node, f"'{name}' is computed at run time", "export it as a constant")
    x = constants.get(node.input[0])
    given = [np.asarray(constants[name]) for name in node.input[1:]]
    if node.op_type == "Quant":
        return within(node, _quant(node, x, *given))
    return [] if x is None else within(node, _bipolar(node, x, *given))


def _bipolar(node: onnx.NodeProto, x: Array, scale: Array) -> Iterator[onnx.NodeProto]:
    """scale where x >= 0, else -scale, stored as the integers 1 and -1."""
    yield _constant("stored", np.where(x >= 0, 1, -1).astype(np.int8))
    yield from _scale(node, x, scale)
    axis = _axis(node, x, scale)
    yield helper.make_node("DequantizeLinear", ["stored", "scale"], [node.output[0]], axis=axis)


def _quant(
    node: onnx.NodeProto, x: Array | None, scale: Array, zero: Array, bits: Array
) -> Iterator[onnx.NodeProto]:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    rounding = attributes.get("rounding_mode", b"ROUND").decode().upper()
    if rounding not in ("ROUND", "HALF_EVEN"):
        _unsupported(node, f"it rounds by {rounding}", "round to the nearest integer (ROUND)")
    if bits.size != 1:
        _unsupported(node, "its channels have different numbers of bits", "use one for all")
    lo, hi = _range(float(bits.reshape(())), attributes)
    if x is not None and hi - lo > 255:  # of a bias: its numbers as they are
        real = (np.clip(np.rint(x / scale + zero), lo, hi) - zero) * scale
        yield helper.make_node("Constant", [], [node.output[0]], value=_tensor(real, np.float32))
        return
    kind = np.int8 if lo >= -128 and hi <= 127 else np.uint8
    limits = np.iinfo(kind)
    if lo < limits.min or hi > limits.max:
        _unsupported(node, f"its integers lie in [{lo}, {hi}]", "quantize to 8 bits or fewer")
    if zero.min() < limits.min or zero.max() > limits.max or (zero != np.rint(zero)).any():
        _unsupported(node, "its zero point is no integer of that range", "round it")
    yield from _scale(node, x, scale)
    yield _constant("zero", zero.astype(kind).reshape(-1)[:1].reshape(()))
    if (zero != zero.reshape(-1)[0]).any():
        _unsupported(node, "its zero points differ by channel", "quantize weights symmetrically")
    axis = _axis(node, x, scale)
    stored, parameters = "all", ["scale", "zero"]
    yield helper.make_node("QuantizeLinear", [node.input[0], *parameters], [stored], axis=axis)
    if (lo, hi) != (limits.min, limits.max):
        yield _constant("lo", np.array(lo, kind))
        yield _constant("hi", np.array(hi, kind))
        yield helper.make_node("Clip", [stored, "lo", "hi"], ["few"])
        stored = "few"
    yield helper.make_node("DequantizeLinear", [stored, *parameters], [node.output[0]], axis=axis)


def _range(bits: float, attributes: Mapping[str, Any]) -> tuple[int, int]:
    """The smallest and the largest integer of `bits` bits."""
    narrow = int(attributes.get("narrow", 0))
    if attributes.get("signed", 1):
        half = int(2 ** (bits - 1))
        return narrow - half, half - 1
    return 0, int(2**bits) - 1 - narrow


def _scale(node: onnx.NodeProto, x: Array | None, scale: Array) -> Iterator[onnx.NodeProto]:
    if x is None and scale.size > 1:
        why = f"an activation has {scale.size} scales"
        _unsupported(node, why, "quantize activations per tensor")
    flat = scale.astype(np.float32).reshape(-1)
    yield _constant("scale", flat if flat.size > 1 else flat.reshape(()))


def _axis(node: onnx.NodeProto, x: Array | None, scale: Array) -> int:
    """The axis of `x` along which scales differ; any if they do not."""
    if x is None or scale.size == 1:
        return 0
    long = [axis - scale.ndim for axis, size in enumerate(scale.shape) if size > 1]
    if len(long) > 1 or x.ndim < scale.ndim or x.shape[long[0]] != scale.size:
        _unsupported(node, f"{scale.size} scales do not belong to one axis", "quantize per channel")
    return long[0] + x.ndim


def _constant(name: str, data: Array) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(data))


def _tensor(data: Array, kind: type) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(data, kind))


def _unsupported(node: onnx.NodeProto, why: str, fix: str) -> NoReturn:
    where = f"node '{node.name or node.output[0]}' ({node.domain} {node.op_type})"
    raise UnsupportedModelError("MC101", where, "cannot be compiled", why, fix)
