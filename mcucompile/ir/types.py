"""Values: what flows along the edges of a graph."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Box = tuple[range, range]  # rows and columns of an image
RequantRule = Literal["once", "tflite"]  # the number contract's rule, or that of quant/tflite.py
Element = Literal["int8", "uint8", "float32"]  # of the C API

QMIN, QMAX = -128, 127
TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)  # the axes of images, as a Transpose moves them


@dataclass(frozen=True)
class QParams:
    """Affine quantization: real = scale * (q - zero_point).

    scale: one entry (per tensor), or one per index of `axis` (per channel, zero_point 0).
    bits: of the integers of an activation or a weight, 8 or 16; or 32, for numbers that are stored
        as float32 and stand for themselves.
    """

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None
    bits: int = 8

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the largest integer."""
        return -(1 << self.bits - 1), (1 << self.bits - 1) - 1

    @property
    def dtype(self) -> str:
        """Numpy name of the integers."""
        return "float32" if self.bits == 32 else f"int{self.bits}"

    def scale_array(self, rank: int) -> Array:
        """The scales as float64, shaped to broadcast against a tensor of `rank` dimensions."""
        scale = np.asarray(self.scale, dtype=np.float64)
        if self.axis is None:
            return scale.reshape(())
        shape = [1] * rank
        shape[self.axis] = -1
        return scale.reshape(shape)

    def quantize(self, real: Array) -> Array:
        """Nearest integers (ties to even, as ONNX QuantizeLinear), saturated; same shape."""
        if self.bits == 32:
            return np.asarray(real, dtype=np.float32)
        real = np.asarray(real, dtype=np.float64)
        q = np.rint(real / self.scale_array(real.ndim)) + self.zero_point
        return np.asarray(np.clip(q, *self.limits), dtype=self.dtype)

    def dequantize(self, q: Array) -> Array:
        """The real numbers that the integers `q` stand for, float32, same shape."""
        q = np.asarray(q)
        real = (q.astype(np.float64) - self.zero_point) * self.scale_array(q.ndim)
        return real.astype(np.float32)


@dataclass(frozen=True)
class Value:
    """A tensor: exactly one definition, any number of uses.

    name: unique in its graph.
    shape: static; activations are NHWC (or any rank with batch 1 in front) once normalized.
    dtype: numpy name of what is stored. "float32" until quantized, then "int8" ("int16" where 8
        bits are too few, "float32" where integers are, "int32" biases, and at the border "uint8",
        which is the int8 number + 128, or "float32").
        A float32 activation that already has qparams comes from a pre-quantized model.
    qparams: what the stored integers mean; None while unknown.
    data: read-only contents of a constant; None for an activation. Integer data always has
        qparams, float data never.
    onnx_name: the tensor of the original model that holds the same numbers (up to layout), by
        which calibration finds its range; "" where the compiler made the value up.
    """

    name: str
    shape: Shape
    dtype: str = "float32"
    qparams: QParams | None = None
    data: Array | None = field(default=None, repr=False, compare=False)
    onnx_name: str = ""

    def __post_init__(self) -> None:
        if self.data is not None:
            self.data.setflags(write=False)

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def real(self) -> Array:
        """The real numbers of a constant, float32 (dequantized where it is stored in integers)."""
        if self.data is None:
            raise ValueError(f"{self.name} is not a constant")
        if self.qparams is None:
            return np.asarray(self.data, dtype=np.float32)
        return self.qparams.dequantize(self.data)

    @property
    def q(self) -> QParams:
        """The quantization parameters of a value that must have them by now."""
        if self.qparams is None:
            raise ValueError(f"{self.name} has no quantization parameters")
        return self.qparams


@dataclass(frozen=True)
class Preprocessing:
    """What firmware hands over are raw numbers: real = (raw - mean) * scale.

    scale, mean: one for all, or one per index of `axis` of the C API's shape. form: how it is
    computed. "exact": raw numbers are the stored ones + 128. "folded": the first layer does it.
    "table": a table of 256 results, or one per channel, in a step of its own.
    """

    scale: tuple[float, ...]
    mean: tuple[float, ...]
    axis: int
    form: Literal["exact", "folded", "table"] = "table"

    def real(self, raw: Array) -> Array:
        """The model's own numbers for raw ones, float64, same shape."""
        scale, mean = self._shaped(raw.ndim)
        return (np.asarray(raw, dtype=np.float64) - mean) * scale

    def raw(self, real: Array) -> Array:
        """The raw numbers, not rounded, for the model's own, float64, same shape."""
        scale, mean = self._shaped(real.ndim)
        return np.asarray(real, dtype=np.float64) / scale + mean

    def _shaped(self, rank: int) -> tuple[Array, Array]:
        shape = [1] * rank
        shape[self.axis] = -1
        return np.asarray(self.scale).reshape(shape), np.asarray(self.mean).reshape(shape)


@dataclass(frozen=True)
class Port:
    """A model input or output as the ONNX file declares it.

    shape: as the C API has it, batch 1. dtype: numpy name in the model ("float32", "int8",
    "uint8"). layout: "NHWC", "NCHW" or "" where there are no image axes to speak of; what the C
    API uses. model_layout: that of the ONNX file, where the C API was asked to use another one.
    element: numpy name of the numbers in the C API. preprocessing: of an input, if they are raw.
    """

    name: str
    shape: Shape
    dtype: str
    layout: str = ""
    model_layout: str = ""
    element: Element = "int8"
    preprocessing: Preprocessing | None = None

    @property
    def from_model(self) -> tuple[int, ...]:
        """The axes of the ONNX tensor in the order of `shape`."""
        rank = len(self.shape)
        if not self.model_layout:
            return tuple(range(rank))
        if self.layout == "NHWC":  # channels go from the second place to the last
            return (0, *range(2, rank), 1)
        return (0, rank - 1, *range(1, rank - 1))

    @property
    def model_shape(self) -> Shape:
        """Shape of the tensor in the ONNX file, batch 1."""
        sizes = dict(zip(self.from_model, self.shape, strict=True))
        return tuple(sizes[axis] for axis in range(len(self.shape)))
