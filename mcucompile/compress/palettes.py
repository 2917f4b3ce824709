"""Weights of few values: which ones, and which of them each weight becomes.

Palettes: Han et al., "Deep Compression: Compressing Deep Neural Networks with Pruning, Trained
Quantization and Huffman Coding", ICLR 2016: weights are clustered, and share the cluster's value.
Here the values are int8, all channels of a layer share them, and each channel has a scale of its
own, so that kernels need not know of it. Clusters of numbers on a line can be found exactly, by a
dynamic program (Wang & Song, "Ckmeans.1d.dp", The R Journal 3/2, 2011).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mcucompile.ir import Array
from mcucompile.ir.types import QMAX

Kind = Literal["int4", "palette16", "palette8", "palette4", "palette2"]

SIZES: dict[Kind, int] = {
    "int4": 16,
    "palette16": 16,
    "palette8": 8,
    "palette4": 4,
    "palette2": 2,
}
BINS = 2 * QMAX + 1  # of weights before they are clustered
ROUNDS = 3  # of values for given scales, and scales for given values
SWEEPS = 8
# How much each weight is drawn to its own value, as a share of the mean variance of an input.
# Without it a layer with more weights than there are samples would learn these by heart.
PULL = 0.03
CLIPS = np.linspace(0.4, 1.0, 25)  # of the largest weight, that int4 may reach


@dataclass(frozen=True)
class FewValued:
    """Weights as stored: int8 (channels, elements), and float64 scales of the channels."""

    data: Array
    scale: Array

    @property
    def real(self) -> Array:
        return np.asarray(self.data * self.scale[:, None])


def few_valued(
    weights: Array,
    kind: Kind,
    importance: Array,
    moments: Array | None = None,
    least: Array | float = 0.0,
    zero: bool = False,
) -> FewValued:
    """`weights` (channels, elements; real) by few values, for the least error of their sums.

    importance: of elements, the variance of the input that each meets. moments: the covariances of
    these inputs (elements, elements), by which weights make up for each other's errors; None leaves
    each weight the value that is nearest. least: which scales must not be smaller.
    zero: whether 0 is to be one of the values, as it is among 16: weights that a network has
    switched off stay so.
    """
    w = weights.astype(np.float64)
    h = np.maximum(importance, 1e-6 * max(float(importance.mean()), 1e-30))
    if kind == "int4":
        values, scale = np.arange(-8, 8), _clipped(w, h)
    else:
        values, scale = _clustered(w, h, SIZES[kind], zero or SIZES[kind] == 16)
    scale = np.maximum(scale, least)
    ideal = w / scale[:, None]
    data = _nearest(values, ideal)
    if moments is not None:
        pull = PULL * np.trace(moments) / len(moments) * np.eye(len(moments))
        data = _descend(values, ideal, data, moments + pull)
    return FewValued(data.astype(np.int8), scale)


def _clipped(w: Array, h: Array) -> Array:
    """The scale of each channel with the least error for the integers from -8 to 7."""
    largest = np.maximum(np.abs(w).max(axis=1), 1e-12)
    best, least = largest / 7, np.full(len(w), np.inf)
    for clip in CLIPS:
        scale = clip * largest / 7
        error = (h * (w - np.clip(np.rint(w / scale[:, None]), -8, 7) * scale[:, None]) ** 2).sum(1)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return np.asarray(best)


def _clustered(w: Array, h: Array, size: int, zero: bool) -> tuple[Array, Array]:
    """int8 values, ascending, and the scale of each channel."""
    scale = np.maximum(np.sqrt((h * w**2).sum(axis=1) / h.sum()), 1e-12)
    for _ in range(ROUNDS):
        shape = w / scale[:, None]
        reach = float(np.abs(shape).max())
        centers = _clusters(shape / reach, h * (scale**2)[:, None], size)
        if zero:
            centers[np.abs(centers).argmin()] = 0.0
        peak = max(float(np.abs(centers).max()), 1e-12)
        values = np.unique(np.rint(centers / peak * QMAX).astype(np.int64))
        scale = scale * reach * peak / QMAX
        taken = _nearest(values, w / scale[:, None])
        power = (h * taken**2).sum(axis=1)
        fitted = (h * w * taken).sum(axis=1) / np.maximum(power, 1e-30)
        scale = np.where(fitted > 0.1 * scale, fitted, scale)
    return values, scale


def _clusters(numbers: Array, weights: Array, size: int) -> Array:
    """The centers of at most `size` clusters of `numbers` from -1 to 1 with the least squares.

    Exact for numbers rounded to the middle of BINS bins.
    """
    places = np.rint((numbers + 1) / 2 * (BINS - 1)).astype(np.int64).reshape(-1)
    mass = np.bincount(places, np.broadcast_to(weights, numbers.shape).reshape(-1), BINS)
    x = np.linspace(-1, 1, BINS)
    m0, m1, m2 = (np.concatenate([[0.0], np.cumsum(mass * x**p)]) for p in range(3))
    n0, n1, n2 = (m[None, :] - m[:, None] for m in (m0, m1, m2))  # of bins [i, j)
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = np.where(n0 > 0, n2 - n1**2 / n0, 0.0)
    cost[np.tril_indices(BINS + 1, -1)] = np.inf
    least, cuts = cost[0], []
    for _ in range(size - 1):
        total = least[:, None] + cost
        cuts.append(total.argmin(axis=0))
        least = total.min(axis=0)
    ends = [BINS]
    for cut in reversed(cuts):
        ends.append(int(cut[ends[-1]]))
    ends.append(0)
    runs = [(a, b) for b, a in itertools.pairwise(ends) if n0[a, b] > 0]
    return np.array([n1[a, b] / n0[a, b] for a, b in reversed(runs)])


def _nearest(values: Array, ideal: Array) -> Array:
    """The nearest of the ascending `values` to each number."""
    return np.asarray(values[np.searchsorted((values[1:] + values[:-1]) / 2, ideal)])


def _descend(values: Array, ideal: Array, data: Array, moments: Array) -> Array:
    """`data` changed by coordinates while (data - ideal) @ moments @ (data - ideal) shrinks.

    As `quant/round_weights.py`, but for any values.
    """
    q = data.astype(np.float64)
    slope = (q - ideal) @ moments
    for _ in range(SWEEPS):
        before = q.copy()
        for k in range(q.shape[1]):
            best = _nearest(values, q[:, k] - slope[:, k] / moments[k, k])
            move = best - q[:, k]
            q[:, k] = best
            slope += move[:, None] * moments[k]
        if np.array_equal(q, before):
            break
    return q
