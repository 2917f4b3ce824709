"""Where the function boundary is drawn: a function per layer, or one shared by layers.

A kernel is inlined into its wrapper. A wrapper of its own, with constant parameters, lets the C
compiler fold them all (fast, more flash); a wrapper shared by every layer of a kernel reads them
at run time (small).
"""

from __future__ import annotations

from collections import Counter

from mcucompile.plan.plan import Plan
from mcucompile.plan.program import KernelCall, Optimize

COLD_SHARE = 0.005  # layers below this share of the work do not earn code of their own
# A function for any parameters is as large as about four into which they are folded.
LEAST_LAYERS = 5


def shared_kernels(plan: Plan, optimize: Optimize) -> list[bool]:
    """For each step of `plan`: does it run in a function shared with other steps?

    With `time` none does. Otherwise the cold layers of a kernel share a function if there are so
    many of them that it is smaller than their own.
    """
    if optimize == "time":
        return [False] * len(plan.steps)
    work = [_work(step.call) for step in plan.steps]
    cold = [w < COLD_SHARE * sum(work) for w in work]
    kernels = Counter(s.call.kernel for s, c in zip(plan.steps, cold, strict=True) if c)
    shared = {kernel for kernel, count in kernels.items() if count >= LEAST_LAYERS}
    return [c and s.call.kernel in shared for s, c in zip(plan.steps, cold, strict=True)]


def _work(call: KernelCall) -> int:
    """A rough count of instructions: MACs, and what it takes to fetch and store each byte."""
    return call.macs + 4 * sum(o.size for o in (*call.reads, *call.writes))
