"""The forms in which the weights of each layer can be stored: bytes, and what they cost accuracy.

A layer's error is the noise that few values add to its sums, beside their own power, on samples.
What the outputs lose by it follows from a run of the float model in which this layer alone has few
values: noise of the outputs per error of the layer. Both are small beside the signal as long as a
form is of any use, so that losses of several layers add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mcucompile.compress.palettes import SIZES, FewValued, Kind, few_valued
from mcucompile.compress.requantize import freed, is_packable, moments_of
from mcucompile.ir import Array, Graph, Op
from mcucompile.ops import huffman
from mcucompile.ops.softmax import Softmax
from mcucompile.options import WeightForm
from mcucompile.quant.post_training import Quantized
from mcucompile.quant.refine import Constants, LayerRun, refine
from mcucompile.quant.runs import real_inputs
from mcucompile.quant.samples import Samples
from mcucompile.reference.float_interpreter import run_float

SAMPLES = 16  # that outputs are compared on
PROBE: Kind = "palette4"  # whose effect on the outputs is measured


@dataclass(frozen=True)
class Form:
    """A way to store the weights of a layer.

    size: bytes, tables included. error: noise of the layer's sums beside their power, 0 if nothing
    changes. loss: the same of the model's outputs, predicted.
    """

    name: WeightForm
    size: int
    error: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True)
class LayerForms:
    """A layer whose weights can be packed.

    op, weights: names. uses: of each weight in a run. zero: 0 must be a weight, because there are
    channels that count for nothing. forms: int8 first, others if smaller.
    """

    op: str
    weights: str
    origin: tuple[str, ...]
    uses: int
    zero: bool
    forms: tuple[Form, ...]

    def form(self, name: WeightForm) -> Form:
        """The form called `name`, or int8 if there is none that is smaller."""
        return next((f for f in self.forms if f.name == name), self.forms[0])


@dataclass(frozen=True)
class _Tried:
    """Few values for a layer, and their error."""

    found: FewValued
    error: float


def layer_forms(
    quantized: Quantized, pruned: Graph, kinds: Sequence[Kind], samples: Samples, real: bool
) -> list[LayerForms]:
    """The forms of all layers that can be packed: int8, Huffman codes, and `kinds`.

    pruned: the quantized graph without channels that nobody needs, whose weights are stored.
    samples: random ones unless they are `real`; then errors are relative to one another.
    """
    ops = [op for op in pruned.ops() if is_packable(pruned, op)]
    original = {op.name for op in quantized.original.ops()}
    ops = [op for op in ops if op.name in original]
    tried = _tried(quantized, ops, {*kinds, PROBE} if kinds else set(), samples, real)
    gains = _gains(quantized.original, tried, samples)
    found = []
    for op in ops:
        forms = [*_lossless(pruned, op)]
        for kind in kinds:
            error = tried[op.name][kind].error
            size = _palette_bytes(pruned.operands(op)[1].elements, kind)
            forms.append(Form(kind, size, error, error * gains[op.name]))
        smaller = [f for f in forms[1:] if f.size < forms[0].size]
        weights = pruned.operands(op)[1].name
        y = pruned.result(op)
        uses = y.elements // y.shape[-1]
        forms = [forms[0], *smaller]
        found.append(
            LayerForms(op.name, weights, op.origin, uses, _has_zeros(op, pruned), tuple(forms))
        )
    return found


def _has_zeros(op: Op, graph: Graph) -> bool:
    """Has the layer channels, of the input or the result, with no weights?"""
    w = graph.operands(op)[1].data
    assert w is not None
    used = w.reshape(-1, w.shape[-1]).any(axis=0), w.reshape(len(w), -1).any(axis=1)
    return not all(flags.all() for flags in used)


def _lossless(graph: Graph, op: Op) -> list[Form]:
    """int8 and Huffman codes."""
    weights = graph.operands(op)[1]
    assert weights.data is not None
    table = huffman.LONGEST + len(np.unique(weights.data))
    coded = huffman.coded_bits(weights.data) // 8 + 4 + table
    return [Form("int8", weights.elements), Form("huffman", coded)]


def _palette_bytes(elements: int, kind: Kind) -> int:
    size = SIZES[kind]
    return -(-elements * (size.bit_length() - 1) // 8) + size


def _tried(
    quantized: Quantized, ops: Sequence[Op], kinds: set[Kind], samples: Samples, real: bool
) -> dict[str, dict[Kind, _Tried]]:
    """For each layer and kind the weights and their error."""
    names = {op.name for op in ops}
    found: dict[str, dict[Kind, _Tried]] = {}

    def collect(run: LayerRun, constants: Constants) -> Constants:
        if run.op.name in names:
            weights = run.weights.real.reshape(len(run.weights.real), -1)
            importance, moments = moments_of(run) if real else (np.ones(weights.shape[1]), None)
            each = {k: few_valued(weights, k, importance, moments) for k in sorted(kinds)}
            found[run.op.name] = {
                k: _Tried(f, _error(weights, f.real, importance, moments)) for k, f in each.items()
            }
        return constants

    if kinds:
        refine(freed(quantized.original, names), quantized.graph, samples, [collect])
    return found


def _error(weights: Array, few: Array, importance: Array, moments: Array | None) -> float:
    """Noise of the sums over their power."""

    def power(w: Array) -> float:
        if moments is None:
            return float((importance * w**2).sum())
        return float(np.einsum("ok,kl,ol->", w, moments, w, optimize=True))

    w = weights.astype(np.float64)
    return power(few - w) / max(power(w), 1e-30)


def _gains(
    original: Graph, tried: Mapping[str, Mapping[Kind, _Tried]], samples: Samples
) -> dict[str, float]:
    """Noise of the outputs, beside their power, per error of each layer."""
    if not tried:
        return {}
    graph = _without_softmax(original)
    inputs = real_inputs(graph, samples, slice(None if graph.is_stateful else SAMPLES))
    wanted = run_float(graph, inputs)
    gains = {}
    named = {op.name: op for op in graph.ops()}
    for name, kinds in tried.items():
        changed = graph.copy()
        weights, few = changed.operands(named[name])[1], kinds[PROBE]
        data = few.found.real.reshape(weights.shape).astype(np.float32)
        changed.set_value(replace(weights, dtype="float32", qparams=None, data=data))
        gains[name] = _noise(wanted, run_float(changed, inputs)) / max(few.error, 1e-12)
    return gains


def _noise(wanted: Sequence[Array], have: Sequence[Array]) -> float:
    """Power of the difference over that of what differs between samples."""
    noise = sum(float(np.square(a - b).sum()) for a, b in zip(wanted, have, strict=True))
    signal = sum(float(np.square(a - a.mean(axis=0)).sum()) for a in wanted)
    return noise / max(signal, 1e-30)


def _without_softmax(graph: Graph) -> Graph:
    """`graph` that ends before the Softmax: where one class is sure, it hides all noise."""
    producers = [graph.producer(graph.value(name)) for name in graph.outputs]
    if not all(isinstance(op, Softmax) for op in producers):
        return graph
    graph = graph.copy()
    graph.outputs = tuple(graph.operands(op)[0].name for op in producers if op is not None)
    return graph
