"""What a step costs in executed instructions, as far as the planner needs to know."""

from __future__ import annotations

from mcucompile.plan.program import KernelCall

PER_MAC = 0.9
PER_BYTE = 3.0
PER_CALL = 120.0


def instructions(call: KernelCall, rows: int | None = None) -> float:
    """A rough count for computing all rows of `call`, `rows` of them at a time (None: all)."""
    moved = sum(o.size for o in (*call.reads, *call.writes))
    calls = 1 if rows is None else -(-call.writes[0].rows // rows)
    return call.macs * PER_MAC + moved * PER_BYTE + calls * PER_CALL
