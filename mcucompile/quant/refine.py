"""Better integers for the constants of layers, from what they compute on calibration samples.

Layer by layer, in the order of the graph, the float model and the quantized one run side by side:
what a layer is given in integers has the errors of all layers before it, as refined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mcucompile.ir import Array, Graph, Op, Value
from mcucompile.ir.verify import verify
from mcucompile.ops.binary_conv import BinaryConv2d, BinaryConv2dSign
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.conv_transpose import ConvTranspose2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.float32 import Float
from mcucompile.ops.wide_layers import WideConv2d
from mcucompile.progress import track
from mcucompile.quant.runs import affordable
from mcucompile.quant.samples import Samples, to_model_int8, to_real
from mcucompile.reference.execute import batches
from mcucompile.reference.float_interpreter import saturated

SumOfProducts = Conv2d | WideConv2d | ConvTranspose2d | Dense | BinaryConv2d


@dataclass(frozen=True)
class LayerRun:
    """A layer of sums of products on some samples.

    op: without its clamp. x: its quantized input. weights, bias: before quantization. real: the
    layer's input in the float model, and sums its results, float32. stored: its input in the
    quantized model, int8. All three in batches of samples.
    """

    op: SumOfProducts
    x: Value
    weights: Value
    bias: Value
    real: Sequence[Array]
    sums: Sequence[Array]
    stored: Sequence[Array]

    def batches(self) -> Iterator[tuple[Array, Array, Array]]:
        """For each batch the inputs of the float and the quantized model, and the float sums."""
        for real, stored, sums in zip(self.real, self.stored, self.sums, strict=True):
            yield real, self.x.q.dequantize(stored), sums


Constants = tuple[Value, Value]  # int8 weights and int32 bias
Refinement = Callable[[LayerRun, Constants], Constants]


def refine(
    original: Graph, graph: Graph, samples: Samples, refinements: Sequence[Refinement]
) -> Graph:
    """The quantized `graph` with the constants of its layers as `refinements`, in turn, make them.

    original: the float graph that `graph` is quantized from. Integers that the model itself
    brings along stay as they are. Raises QuantizationError MC201 if a sum may leave 32 bits.
    """
    if not refinements:
        return graph
    graph = graph.copy()
    both = _BothModels(original, graph, samples)
    for op in track(ops := graph.ops(), "refine layers", len(ops)):
        run = both.layer(op)
        if run is not None:
            weights, bias = graph.operands(op)[1:]
            for refinement in refinements:
                weights, bias = refinement(run, (weights, bias))
            _replace(graph, op, 1, weights)
            _replace(graph, op, 2, bias)
        both.run(op, run)
    verify(graph, "quantized", "refine")
    return graph


def _replace(graph: Graph, op: Op, slot: int, new: Value) -> None:
    """Set a constant operand, which other operators may read, too."""
    if len(graph.users(new)) == 1:
        graph.set_value(new)
    elif new is not graph.operands(op)[slot]:
        new = graph.add_value(replace(new, name=graph.fresh_name(new.name)))
        graph.set_operand(op, slot, new)


class _BothModels:
    """What the operators of the float and the quantized graph compute, while it is needed."""

    def __init__(self, original: Graph, graph: Graph, samples: Samples) -> None:
        self.original, self.graph = original, graph
        self.named = {op.name: op for op in original.ops()}
        self.uses = Counter({v.name: len(graph.users(v)) for v in graph.values()})
        count = affordable(original, samples)
        self.real: dict[str, list[Array]] = {}
        self.stored: dict[str, list[Array]] = {}
        qparams = [graph.value(name).q for name in graph.inputs]
        given = list(zip(samples.arrays, graph.input_ports, qparams, strict=True))
        for contents, convert in ((self.real, to_real), (self.stored, to_model_int8)):
            arrays = [convert(array[:count], port, q) for array, port, q in given]
            parts = list(batches(graph, arrays))
            contents.update(zip(graph.inputs, map(list, zip(*parts, strict=True)), strict=True))

    def _floats(self, op: Op) -> Sequence[Value]:
        """The operands of `op` as they were before quantization."""
        whole = self.named.get(op.name)
        return self.graph.operands(op) if whole is None else self.original.operands(whole)

    def _before(self, value: Value) -> Value:
        """`value` as it was before quantization."""
        known = self.original.has_value(value.name)
        return self.original.value(value.name) if known else replace(value, qparams=None)

    def layer(self, op: Op) -> LayerRun | None:
        """The run of `op`, if it is a layer whose constants are ours to choose.

        Those of float32 layers are the model's own. What only a sign is taken of is best left
        alone: its mean does not matter, its zero does.
        """
        if not isinstance(op, SumOfProducts) or isinstance(op, BinaryConv2dSign | Float):
            return None
        if self.graph.only_sign_matters(self.graph.result(op)):
            return None
        x, weights, bias = self._floats(op)
        if not all(v.is_constant and v.qparams is None for v in (weights, bias)):
            return None
        x = self.graph.operands(op)[0]
        bare, real = replace(op, clamp=None), self.real[x.name]
        sums = [bare.evaluate([a, weights.real, bias.real])[0] for a in real]
        return LayerRun(bare, x, weights, bias, real, sums, self.stored[x.name])

    def run(self, op: Op, layer: LayerRun | None) -> None:
        """Compute the results of `op` in both models, and drop what nobody reads any more."""
        operands, results = self.graph.operands(op), self.graph.results(op)
        wholes = [self._before(v) for v in results]
        if layer is not None:
            clamp = getattr(op, "clamp", None) or (None, None)
            sums = [np.clip(a, *clamp) for a in layer.sums]
            self.real[results[0].name] = [saturated(wholes[0], a) for a in sums]
        else:
            constants = [v.real if v.is_constant else None for v in self._floats(op)]

            def evaluate(arrays: Sequence[Array]) -> Sequence[Array]:
                return [saturated(v, a) for v, a in zip(wholes, op.evaluate(arrays), strict=True)]

            _apply(self.real, operands, results, constants, evaluate)
        integers = [v.data for v in operands]
        _apply(
            self.stored,
            operands,
            results,
            integers,
            lambda arrays: op.evaluate_int(operands, results, arrays),
        )
        for value in operands:
            self.uses[value.name] -= 1
            if self.uses[value.name] == 0:
                self.real.pop(value.name, None)
                self.stored.pop(value.name, None)


def _apply(
    contents: dict[str, list[Array]],
    operands: Sequence[Value],
    results: Sequence[Value],
    constants: Sequence[Array | None],
    evaluate: Callable[[Sequence[Array]], Sequence[Array]],
) -> None:
    """Add the results of an operator, batch by batch, to `contents`."""
    count = len(next(iter(contents.values())))
    for value in results:
        contents[value.name] = []
    for i in range(count):
        arrays = [
            contents[v.name][i] if constant is None else constant
            for v, constant in zip(operands, constants, strict=True)
        ]
        for value, array in zip(results, evaluate(arrays), strict=True):
            contents[value.name].append(array)
