"""Weights rounded so that sums are close to those of the float model, not each weight to its own.

Method: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020:
which way each weight is rounded follows from the layer's squared error on calibration samples, a
quadratic form in the weights (eq. 13 there). Their relaxation is trained by gradients; here one
weight after the other of every output channel takes the better of its two integers until none
changes, which needs two matrices of moments and no learning rate.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcucompile.ir import Array
from mcucompile.ir.types import QMAX
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.wide_layers import WideConv2d
from mcucompile.quant.refine import Constants, LayerRun

LARGEST = 2048  # weights of a channel; above, the matrix of moments would take too much memory
SWEEPS = 20
# How much each weight is drawn to its own value, as a share of the mean variance of an input.
# Without it a layer with more weights than there are samples would learn these by heart.
PULL = 0.03


def round_weights(run: LayerRun, constants: Constants) -> Constants:
    """Choose between floor and ceiling for every weight of a convolution or dense layer.

    Means are left to the bias (`correct_bias`), so the error is that of centred sums. Transposed
    convolutions, and layers with more than LARGEST weights in a channel, keep theirs.
    """
    weights, bias = constants
    assert weights.data is not None
    depth = weights.data[0].size
    if not isinstance(run.op, Conv2d | WideConv2d | Dense) or depth > LARGEST:
        return constants
    groups = 1 if isinstance(run.op, Dense) else run.op.groups
    scale = weights.q.scale_array(weights.data.ndim)
    ideal = (run.weights.real / scale).reshape(groups, -1, depth)
    stored, mixed = _covariances(run, run.op, groups, depth)
    pull = PULL * np.trace(stored, axis1=1, axis2=2)[:, None, None] / depth * np.eye(depth)
    rounded = _descend(ideal, stored + pull, ideal @ (mixed + pull))
    data = rounded.reshape(weights.shape).astype(np.int8)
    return replace(weights, data=data), bias


def _covariances(
    run: LayerRun, op: Conv2d | WideConv2d | Dense, groups: int, depth: int
) -> tuple[Array, Array]:
    """Of what the weights of a channel meet: quantized with quantized inputs, float with quantized
    ones. Both (groups, depth, depth)."""
    stored, mixed = (np.zeros((groups, depth, depth)) for _ in range(2))
    mean, real_mean = (np.zeros((groups, depth)) for _ in range(2))
    count = 0
    for x, q, _ in run.batches():
        seen = op.unfolded(q.astype(np.float64), run.weights.shape)
        real = op.unfolded(x.astype(np.float64), run.weights.shape)
        stored += seen.transpose(0, 2, 1) @ seen
        mixed += real.transpose(0, 2, 1) @ seen
        mean += seen.sum(axis=1)
        real_mean += real.sum(axis=1)
        count += seen.shape[1]
    mean, real_mean = mean / count, real_mean / count
    return (
        stored / count - mean[:, :, None] * mean[:, None],
        mixed / count - real_mean[:, :, None] * mean[:, None],
    )


def _descend(ideal: Array, moments: Array, target: Array) -> Array:
    """Integers next to `ideal` with a small q @ moments @ q / 2 - q @ target, by coordinates.

    ideal, target: (groups, channels, depth). moments: (groups, depth, depth).
    """
    least = np.clip(np.floor(ideal), -QMAX, QMAX)
    most = np.clip(np.ceil(ideal), -QMAX, QMAX)
    q = np.clip(np.rint(ideal), -QMAX, QMAX)
    slope = q @ moments - target
    for _ in range(SWEEPS):
        before = q.copy()
        for k in range(ideal.shape[2]):
            curvature = np.maximum(moments[:, k, k], np.finfo(np.float64).tiny)[:, None]
            best = np.rint(q[:, :, k] - slope[:, :, k] / curvature)
            move = np.clip(best, least[:, :, k], most[:, :, k]) - q[:, :, k]
            q[:, :, k] += move
            slope += move[:, :, None] * moments[:, None, k]
        if np.array_equal(q, before):
            break
    return q
