"""Proof that a sum keeps to 32 bits, and the refusal where it does not."""

from __future__ import annotations

from mcucompile.errors import QuantizationError
from mcucompile.ir import Op
from mcucompile.quant.numbers import INT32_LIMIT, Requant


def within_int32(op: Op, rule: Requant, bound: int) -> Requant:
    """`rule`, once it is sure that accumulators of at most `bound` survive its shift.

    Raises QuantizationError MC201 otherwise.
    """
    if rule.shift > 30 or bound << rule.shift >= INT32_LIMIT:
        raise too_coarse(op, f"a sum may reach {bound}, times 2^{rule.shift} for requantization")
    return rule


def too_coarse(
    op: Op, why: str = "the range of its result is too small beside that of its operands"
) -> QuantizationError:
    """The error for operands whose steps are thousands of times those of the result."""
    return QuantizationError(
        "MC201",
        f"node '{(*op.origin, op.name)[0]}' ({op.kind})",
        "cannot be computed in 32 bits",
        why,
        "give calibration data that resembles real inputs, or correct the model's scales",
    )
