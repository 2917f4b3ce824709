"""Planning: a quantized graph gets its program and its plan, and may be changed to fit them.

With `ram`, expanding 1x1 convolutions are fused with the depthwise ones that read them, so that the
ring of rows between them is not needed (`passes/fuse_expand_depthwise.py`). That pays only where
this ring makes the peak, which nobody knows before there is a plan. So the graph is planned, and
while its arena shrinks one more pair is fused: of those in the segment that needs most, the one
that leaves the smallest peak.
"""

from __future__ import annotations

from dataclasses import replace

from mcucompile.cost.steps import step_instructions
from mcucompile.emit.boundary import shared_kernels
from mcucompile.ir import Graph
from mcucompile.ir.verify import verify
from mcucompile.lower import lower
from mcucompile.passes.fuse_expand_depthwise import fusable_depthwise, fuse_expand_depthwise
from mcucompile.plan.plan import Plan
from mcucompile.plan.planner import (
    TOLERANCE,
    PlanOptions,
    fewest_instructions,
    least_peak,
    make_plan,
)
from mcucompile.plan.program import Program, Target
from mcucompile.progress import track

MORE_MACS = 0.25  # that fusing may cost, of all
TRIES = 2  # to leave room for what the planner does not know of
CROWDED = 0.95  # of the most bytes: the placement may make the second worst segment the worst


def plan_graph(graph: Graph, target: Target, options: PlanOptions) -> tuple[Graph, Plan]:
    """The plan of the quantized `graph`, and the graph that it runs: it computes the same bits.

    Deterministic. Raises as `lower` and `make_plan`.
    """
    program = lower(graph, target)
    if options.optimize == "balanced" and options.schedule == "auto":
        return graph, _balanced(graph, program, target, options)
    plan = make_plan(program, options)
    while options.optimize == "ram" and options.schedule != "whole":
        smaller = _fused_once(graph, plan, target, options)
        if smaller is None:
            break
        graph, plan = smaller
    return graph, plan


def _balanced(graph: Graph, program: Program, target: Target, options: PlanOptions) -> Plan:
    """A plan that takes little more instructions than the fastest with the kernels of `-O time`.

    Functions that layers share take more than the planner knows; it is told to save as much.
    """
    fast = lower(graph, replace(target, optimize="time"))
    most = TOLERANCE * fewest_instructions(fast, options)
    plan = make_plan(program, replace(options, instructions=most))
    for _ in range(TRIES):
        count = sum(step_instructions(plan, shared_kernels(plan, "balanced")))
        if count <= most:
            break
        known = sum(step_instructions(plan, [False] * len(plan.steps)))
        plan = make_plan(program, replace(options, instructions=most - (count - known)))
    return plan


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
