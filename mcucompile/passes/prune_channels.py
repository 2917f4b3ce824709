"""Channels that nobody reads, or that are the same whatever the input is, are removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mcucompile.ir import Array, Graph, Op, Value
from mcucompile.ir.channels import ChannelRange, ChannelRules, channels
from mcucompile.ir.dump import dump
from mcucompile.ir.verify import verify
from mcucompile.passes.remove_dead import remove_dead
from mcucompile.passes.rewrite import erase_unused

WORD = 4  # bytes

Kept = dict[str, Array]  # per activation, a flag for each channel


def prune_channels(graph: Graph) -> Graph:
    """layer(w) -> ... -> layer(v)    =>    fewer channels in between, and the same integers

    For the quantized graph. Intervals are propagated from the inputs, with the actual weights: a
    channel whose interval is one number needs no weights, and becomes part of the bias of those
    who read it. Then the outputs say which channels are needed, from the last operator to the
    first. How channels pass through an operator is said by its `channel_rules`.

    A tensor may keep some channels more, so that its pixels are whole words.
    """
    before = ""
    while dump(graph) != before:  # a tensor of which nothing but a constant is left goes next time
        before = dump(graph)
        graph = graph.copy()
        _fold(graph)
        graph = remove_dead(graph)
        rules = [_rules(graph, op) for op in graph.ops()]
        _select(graph, rules, _needed(graph, rules))
        verify(graph, "quantized", "prune_channels")
    return graph


def _rules(graph: Graph, op: Op) -> ChannelRules:
    return op.channel_rules(graph.operands(op), graph.results(op))


# -- forwards: what is constant ---------------------------------------------------------------


def _fold(graph: Graph) -> None:
    """Let operators read as few channels as they can."""
    ranges: dict[str, ChannelRange] = {}
    for op in graph.ops():
        rules = _rules(graph, op)
        operands = [ranges.get(v.name) or ChannelRange.of(v) for v in rules.operands]
        results = rules.ranges(operands)
        ranges.update({v.name: r for v, r in zip(rules.results, results, strict=True)})
        _set_operands(graph, op, rules.folded(operands, results))


def _set_operands(graph: Graph, op: Op, values: Sequence[Value]) -> None:
    """Let the operands of `op` be `values`: activations as they are by now, and constants, which
    keep their names unless others read them, too."""
    old = graph.operands(op)
    graph.set_operands(op, [_placed(graph, v) for v in values])
    for value in old:
        if value.is_constant:
            erase_unused(graph, value)


def _placed(graph: Graph, value: Value) -> Value:
    there = graph.value(value.name)
    if value is there or not value.is_constant:
        return there
    if there.is_constant and len(graph.users(there)) == 1:
        return graph.set_value(value)
    return graph.add_value(replace(value, name=graph.fresh_name(value.name)))


# -- backwards: what is needed ----------------------------------------------------------------


def _needed(graph: Graph, forwards: Sequence[ChannelRules]) -> Kept:
    """The channels to keep."""
    activations = [v for v in graph.values() if not v.is_constant]
    fixed = (*graph.inputs, *graph.outputs)
    kept = {v.name: np.full(channels(v), v.name in fixed) for v in activations}
    rules = forwards[::-1]
    _close(rules, kept)
    for value in activations:
        flags = _filled(kept[value.name])
        if flags is kept[value.name]:
            continue
        more = kept | {value.name: flags}
        _close(rules, more)
        if _broken_words(more) < _broken_words(kept):  # not at the expense of others
            kept = more
    return kept


def _close(rules: Sequence[ChannelRules], kept: Kept) -> None:
    """Add to `kept` whatever must stay with it."""
    changed = True
    while changed:
        changed = False
        for each in rules:
            values = (*each.operands, *each.results)
            for value, flags in zip(values, each.linked(_flags(each, kept)), strict=True):
                if value.name in kept and (flags & ~kept[value.name]).any():
                    kept[value.name] = kept[value.name] | flags
                    changed = True


def _flags(rules: ChannelRules, kept: Kept) -> list[Array]:
    values = (*rules.operands, *rules.results)
    return [kept.get(v.name, np.zeros(channels(v), dtype=bool)) for v in values]


def _filled(flags: Array) -> Array:
    """`flags` and some more, if that pays, so that their number is a multiple of a word.

    Kernels load by words where all pixels begin with one. Three more channels cost about as much
    as that saves; but without them, a tensor that lost few channels would be slower than before.
    """
    left, missing = int(flags.sum()), _missing(flags)
    free = np.flatnonzero(~flags)
    if left == 0 or missing == 0 or missing > free.size:
        return flags
    if missing > WORD // 2 and left <= flags.size // 2:
        return flags
    filled = flags.copy()
    filled[free[:missing]] = True
    return filled


def _missing(flags: Array) -> int:
    """Channels to the next multiple of a word."""
    return -int(flags.sum()) % WORD


def _broken_words(kept: Kept) -> int:
    """Tensors whose pixels do not end with a whole word."""
    return sum(_missing(flags) > 0 for flags in kept.values())


# -- and without the rest ---------------------------------------------------------------------


def _select(graph: Graph, every: Sequence[ChannelRules], kept: Kept) -> None:
    """Remove all but the `kept` channels, and operators that are left without any."""
    dead = [rules for rules in every if not any(kept[v.name].any() for v in rules.results)]
    for rules in every:
        flags = rules.linked(_flags(rules, kept))
        if rules not in dead and not all(f.all() for f in flags):
            _select_of(graph, rules, flags)
    for rules in reversed(dead):
        erase_unused(graph, rules.results[0])


def _select_of(graph: Graph, rules: ChannelRules, flags: Sequence[Array]) -> None:
    op, operands = rules.selected(flags)
    graph.set_op(op)
    _set_operands(graph, op, operands)
    for value, shape in zip(rules.results, op.result_shapes(graph.operands(op)), strict=True):
        if value.shape != shape:
            graph.set_value(replace(value, shape=shape, onnx_name=""))
