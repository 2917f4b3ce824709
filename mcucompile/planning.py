"""Planning: a quantized graph gets its program and its plan, and may be changed to fit them.

With `ram`, expanding 1x1 convolutions are fused with the depthwise ones that read them, so that the
ring of rows between them is not needed (`passes/fuse_expand_depthwise.py`). That pays only where
this ring makes the peak, which nobody knows before there is a plan. So the graph is planned, and
while its arena shrinks one more pair is fused: of those in the segment that needs most, the one
that leaves the smallest peak.
"""

from __future__ import annotations

from mcucompile.ir import Graph
from mcucompile.ir.verify import verify
from mcucompile.lower import lower
from mcucompile.passes.fuse_expand_depthwise import fusable_depthwise, fuse_expand_depthwise
from mcucompile.plan.plan import Plan
from mcucompile.plan.planner import PlanOptions, least_peak, make_plan
from mcucompile.plan.program import Program, Target
from mcucompile.progress import track

MORE_MACS = 0.25  # that fusing may cost, of all
CROWDED = 0.95  # of the most bytes: the placement may make the second worst segment the worst


def plan_graph(graph: Graph, target: Target, options: PlanOptions) -> tuple[Graph, Plan]:
    """The plan of the quantized `graph`, and the graph that it runs: it computes the same bits.

    Deterministic. Raises as `lower` and `make_plan`.
    """
    plan = make_plan(lower(graph, target), options)
    while options.optimize == "ram" and options.schedule != "whole":
        smaller = _fused_once(graph, plan, target, options)
        if smaller is None:
            break
        graph, plan = smaller
    return graph, plan


def _fused_once(
    graph: Graph, plan: Plan, target: Target, options: PlanOptions
) -> tuple[Graph, Plan] | None:
    """`graph` with one more pair fused, and its plan, if that one has a smaller arena."""
    crowded = _crowded_operators(plan)
    found: list[tuple[int, Graph, Program]] = []
    pairs = list(fusable_depthwise(graph))
    for depthwise in track(pairs, "plan fused layers", len(pairs)):
        if depthwise.name in crowded:
            fused = fuse_expand_depthwise(graph, depthwise)
            program = lower(fused, target)
            peak = least_peak(program, options, plan.arena_size)
            if peak is not None:
                found.append((peak, fused, program))
    for _, fused, program in sorted(found, key=lambda f: f[0]):
        better = make_plan(program, options)
        if better.arena_size < plan.arena_size and _is_affordable(better):
            verify(fused, "quantized", "fuse_expand_depthwise")
            return fused, better
    return None


def _crowded_operators(plan: Plan) -> set[str]:
    """The operators of the segments that need the most bytes, or nearly as many."""
    most = CROWDED * max(step.live for step in plan.steps)
    segments = [plan.segment_of(k) for k, step in enumerate(plan.steps) if step.live >= most]
    return {plan.steps[k].call.op for s in segments for k in range(s.first, s.end)}


def _is_affordable(plan: Plan) -> bool:
    """Are few multiply-accumulates formed more than once?"""
    again = sum(step.repeated_macs for step in plan.steps)
    return again <= MORE_MACS * sum(step.call.macs for step in plan.steps)
