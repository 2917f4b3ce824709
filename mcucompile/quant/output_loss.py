"""What the outputs of a model lose by a change of its layers, on calibration samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array


@dataclass(frozen=True)
class OutputLoss:
    """snr: signal over noise of the outputs, in dB. agreement: share of equal predictions, None
    where there are no classes."""

    snr: float
    agreement: float | None

    def __str__(self) -> str:
        text = f"its outputs have {self.snr:.1f} dB of signal over noise on the calibration data"
        if self.agreement is not None:
            text += f", and {100 * self.agreement:.0f} % of its predictions stay"
        return text


def output_loss(before: Sequence[Array], after: Sequence[Array]) -> OutputLoss:
    """Compare the outputs of a float model, arrays (N, ...); classes are those of the first."""
    noise = sum(float(np.square(a - b).sum()) for a, b in zip(before, after, strict=True))
    signal = sum(float(np.square(a).sum()) for a in before)
    snr = 10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30))
    rows = [y[0].reshape(len(y[0]), -1) for y in (before, after)]
    equal = None if rows[0].shape[1] < 2 else float(np.mean(rows[0].argmax(1) == rows[1].argmax(1)))
    return OutputLoss(float(snr), equal)
