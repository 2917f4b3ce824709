"""Where ONNX's Resize takes the elements of an axis from: coordinates, kernels, and weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from mcucompile.ir import Array

ONE = 2**11  # of integer weights


@dataclass(frozen=True)
class Taps:
    """Each element of a result is a weighted sum of neighbours on an axis of `size` elements.

    starts: the first neighbour of each. weights: their weights; as many for each, of sum 1.
    """

    size: int
    starts: tuple[int, ...] = field(repr=False)
    weights: tuple[tuple[float, ...], ...] = field(repr=False)

    @classmethod
    def same(cls, size: int) -> Taps:
        """The axis as it is."""
        return cls.of(np.eye(size))

    @classmethod
    def of(cls, matrix: Array) -> Taps:
        """What `matrix`, of shape (elements of the result, elements), does to a vector."""
        size = matrix.shape[1]
        used = matrix != 0
        first, last = used.argmax(axis=1), size - 1 - used[:, ::-1].argmax(axis=1)
        count = int((last - first).max()) + 1
        starts = np.minimum(first, size - count)
        weights = np.take_along_axis(matrix, starts[:, None] + np.arange(count), axis=1)
        rows = tuple(tuple(row) for row in weights.tolist())
        return cls(size, tuple(starts.tolist()), rows)

    @property
    def count(self) -> int:
        """Neighbours per element."""
        return len(self.weights[0])

    def integers(self) -> Array:
        """The weights in units of 1 / ONE, int64 (elements, count); each row still sums to ONE."""
        weights: Array = np.rint(np.asarray(self.weights) * ONE).astype(np.int64)
        largest = weights.argmax(axis=1)
        weights[np.arange(len(weights)), largest] += ONE - weights.sum(axis=1)
        return weights

    def apply(self, x: Array, axis: int, weights: Array) -> Array:
        """The sums on `axis` of x. weights: reals or integers, (elements, count)."""
        shape = [1] * x.ndim
        shape[axis] = -1
        starts = np.asarray(self.starts)
        parts = (
            np.take(x, starts + k, axis=axis) * weights[:, k].reshape(shape)
            for k in range(self.count)
        )
        return np.asarray(sum(parts))


@dataclass(frozen=True)
class Resampling:
    """How an axis is resized.

    size, out: its elements before and after. scale: their ratio, as the model states it. roi: the
    part of the axis that is looked at, for "tf_crop_and_resize".
    """

    size: int
    out: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)

    @property
    def is_identity(self) -> bool:
        same = self.size == self.out and math.isclose(self.scale, 1.0)
        return same and self.roi == (0.0, 1.0)

    def coordinates(self, mode: str) -> Array:
        """The place of each element of the result on the axis, float64. Raises KeyError for an
        unknown `mode` (ONNX's coordinate_transformation_mode)."""
        y = np.arange(self.out, dtype=np.float64)
        last, last_out = self.size - 1, self.scale * self.size - 1
        half = (y + 0.5) / self.scale - 0.5
        begin, end = self.roi
        crop = y / last_out if last_out else np.full(self.out, 0.5)
        return np.asarray(
            {
                "half_pixel": half,
                "half_pixel_symmetric": half + (self.size - self.out / self.scale) / 2,
                "pytorch_half_pixel": half if self.out > 1 else np.zeros(1),
                "align_corners": y * last / last_out if last_out else np.zeros(self.out),
                "asymmetric": y / self.scale,
                "tf_half_pixel_for_nn": half + 0.5,
                "tf_crop_and_resize": (begin + crop * (end - begin)) * last,
            }[mode]
        )

    def nearest(self, x: Array, mode: str) -> Array:
        """The matrix that picks the element nearest to each place `x`. Raises KeyError for an
        unknown `mode` (ONNX's nearest_mode)."""
        picked = {
            "round_prefer_floor": np.ceil(x - 0.5),
            "round_prefer_ceil": np.floor(x + 0.5),
            "floor": np.floor(x),
            "ceil": np.ceil(x),
        }[mode]
        return np.asarray(np.eye(self.size)[np.clip(picked, 0, self.size - 1).astype(int)])

    def filtered(self, x: Array, kernel: Kernel, antialias: bool, inside: bool) -> Array:
        """The matrix that takes a mean around each place `x`, weighted by `kernel`.

        antialias: the kernel is stretched where elements of the result are further apart than those
        of the axis. inside: what lies beyond the ends does not count; else it repeats them.
        """
        shrink = min(self.scale, 1.0) if antialias else 1.0
        beyond = math.ceil(kernel.reach / shrink) + 1
        at = np.arange(-beyond, self.size + beyond)
        weights = kernel.weight((at - x[:, None]) * shrink)
        if inside:
            weights[:, (at < 0) | (at >= self.size)] = 0.0
        if inside or antialias:
            weights /= weights.sum(axis=1, keepdims=True)
        matrix = weights[:, beyond:-beyond].copy()
        matrix[:, 0] += weights[:, :beyond].sum(axis=1)
        matrix[:, -1] += weights[:, -beyond:].sum(axis=1)
        return np.where(np.abs(matrix) < 1e-9, 0.0, matrix)


@dataclass(frozen=True)
class Kernel:
    """A filter kernel. weight: its value at distances; reach: from where on it is 0."""

    weight: Callable[[Array], Array]
    reach: int

    @classmethod
    def named(cls, mode: str, a: float) -> Kernel:
        """ONNX's "linear", or "cubic" with the coefficient `a`."""
        return cls(_linear, 1) if mode == "linear" else cls(partial(_cubic, a=a), 2)


def _linear(t: Array) -> Array:
    return np.maximum(1.0 - np.abs(t), 0.0)


def _cubic(t: Array, a: float) -> Array:
    """Keys, Cubic convolution interpolation for digital image processing, 1981, equation 4."""
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))
