"""Proof that a sum keeps to 32 bits, and the refusal where it does not."""

from __future__ import annotations

from mcucompile.errors import QuantizationError
from mcucompile.ir import Op
from mcucompile.quant.numbers import INT32_LIMIT, Requant


def within_int32(op: Op, rule: Requant, bound: int) -> Requant:
    """`rule`, once it is sure that accumulators of at most `bound` survive its shift.

    Raises QuantizationError MC206 otherwise.
    """
    if bound << rule.shift >= INT32_LIMIT:
        raise too_coarse(op)
    return rule


def too_coarse(op: Op) -> QuantizationError:
    """The error for operands whose steps are thousands of times those of the result."""
    return QuantizationError(
        "MC206",
        f"node '{(*op.origin, op.name)[0]}' ({op.kind})",
        "cannot be quantized",
        "the range of its result is too small beside that of its operands",
        "give calibration data that resembles real inputs, or correct the model's scales",
    )
