"""Bias correction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcucompile.quant.numbers import INT32_LIMIT
from mcucompile.quant.refine import Constants, LayerRun


def correct_bias(run: LayerRun, constants: Constants) -> Constants:
    """Take the mean error of each channel off its bias.

    Rounded weights, and inputs that are rounded or clipped, shift the mean of what a layer
    computes, and such shifts add up over layers. Method: Nagel et al., "Data-Free Quantization
    Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2, in its empirical
    form: the error is that of the sums before the activation function, over samples and pixels.
    """
    weights, bias = constants
    assert bias.data is not None
    total, count = np.zeros(bias.shape), 0
    for _, stored, sums in run.batches():
        (have,) = run.op.evaluate([stored, weights.real, bias.real])
        gap = (have.astype(np.float64) - sums).reshape(-1, len(total))
        total, count = total + gap.sum(axis=0), count + len(gap)
    corrected = bias.data - np.rint(total / count / np.asarray(bias.q.scale))
    corrected = np.clip(corrected, 1 - INT32_LIMIT, INT32_LIMIT - 1)
    return weights, replace(bias, data=corrected.astype(np.int32))
