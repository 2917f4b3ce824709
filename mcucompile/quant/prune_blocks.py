"""Blocks of weights that matter least become zero, for kernels for block-sparse weights.

A share of the blocks of each layer goes, those with the least saliency:

magnitude   the sum of the magnitudes of their weights
activation  of these times the root mean square of the inputs that they meet, as Wanda weighs single
            weights (Sun et al., "A Simple and Effective Pruning Approach for Large Language
            Models", 2023)
taylor      what the mean squared error of the layer's output grows by without them. Its Taylor
            expansion in the weights ends with the second term, w' E[x x'] w of the block, as
            gradients of the error are zero before anything is pruned (LeCun et al., "Optimal Brain
            Damage", 1989; layer by layer: Dong et al., "Learning to Prune Deep Neural Networks via
            Layer-wise Optimal Brain Surgeon", 2017). Products of the inputs within a block count.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcucompile.errors import QuantizationError, UsageError
from mcucompile.ir import Array, Graph, Op
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.options import Block, CompileOptions, Saliency
from mcucompile.passes.rewrite import constant_like, set_operand
from mcucompile.quant.output_loss import output_loss
from mcucompile.quant.runs import real_inputs
from mcucompile.quant.samples import is_random, load_samples
from mcucompile.reference.float_interpreter import run_float, run_float_all

SAMPLES = 64  # whose activations are kept at once

# Output channels and elements of a block, and the layers whose kernels know it.
BLOCKS: dict[Block, tuple[int, int, type[Conv2d] | type[Dense]]] = {
    "1x4": (1, 4, Conv2d),
    "4x4": (4, 4, Dense),
}


def prune_blocks(graph: Graph, options: CompileOptions) -> tuple[Graph, tuple[str, ...]]:
    """The float, normalized `graph` with as many blocks zero as `options.prune` says, and what
    people must know of it.

    Raises UsageError MC044 without real calibration data, on which the loss is measured, and
    QuantizationError MC208 if no layer has such blocks.
    """
    if options.calibration is None or is_random(options.calibration):
        raise UsageError(
            "MC044",
            "--prune",
            "needs calibration data",
            "the loss is measured on it",
            "give real samples with --calib",
        )
    samples = load_samples(options.calibration, graph.input_ports)
    inputs = real_inputs(graph, samples, slice(SAMPLES))
    saliency = options.saliency
    contents = {} if saliency == "magnitude" else run_float_all(graph, inputs)
    new, notes, pruned = graph.copy(), [], []
    for block, share in options.prune.items():
        layers = [op for op in new.ops_of(BLOCKS[block][2]) if _has_blocks(new, op, block)]
        if not layers:
            raise _without_blocks(graph, block)
        counts = [_prune(new, op, block, share, saliency, contents) for op in layers]
        notes.append(f"{sum(counts)} {block} blocks of {len(layers)} layers")
        pruned += layers
    _forget_tensors(new, {op.name for op in pruned})
    loss = output_loss(run_float(graph, inputs), run_float(new, inputs))
    return new, (f"pruned {' and '.join(notes)}: {loss}",)


def _without_blocks(graph: Graph, block: Block) -> QuantizationError:
    where = {"1x4": "convolutions, of a multiple of 4 input channels per group"}
    return QuantizationError(
        "MC208",
        f"model '{graph.name}'",
        f"has no layer with {block} blocks",
        f"they are in {where.get(block, 'dense layers, of a multiple of 4 inputs')}",
        f"leave --prune {block} out",
    )


def _has_blocks(graph: Graph, op: Op, block: Block) -> bool:
    w = graph.operands(op)[1]
    rows, columns, _ = BLOCKS[block]
    return w.is_constant and w.shape[0] >= rows and w.shape[-1] % columns == 0


def _prune(
    graph: Graph,
    op: Op,
    block: Block,
    share: float,
    saliency: Saliency,
    contents: dict[str, Array],
) -> int:
    """Make a share of the blocks of a layer zero; how many.

    contents: of all activations on samples, if they count.
    """
    x, w = graph.operands(op)[:2]
    assert w.data is not None
    rows = w.real.astype(np.float64).reshape(w.shape[0], -1)
    high, wide, _ = BLOCKS[block]
    if saliency == "magnitude":
        each = _sums(np.abs(rows), high, wide)
    else:
        assert isinstance(op, Conv2d | Dense)
        met = op.unfolded(contents[x.name], w.shape)  # (groups, pixels, elements)
        each = (_products if saliency == "activation" else _errors)(rows, met, high, wide)
    zero = _least(each, share).repeat(high, axis=0).repeat(wide, axis=1)
    zero = np.pad(zero, ((0, len(rows) - len(zero)), (0, 0)))
    data = np.where(zero.reshape(w.shape), 0, w.data).astype(w.data.dtype)
    set_operand(graph, op, 1, constant_like(graph, w, data, w.qparams))
    return int(zero.sum()) // (high * wide)


def _sums(weighed: Array, high: int, wide: int) -> Array:
    """Of each whole block of `high` channels and `wide` elements: (channels / high, blocks)."""
    rows, columns = weighed.shape[0] // high, weighed.shape[1] // wide
    blocks = weighed[: rows * high].reshape(rows, high, columns, wide)
    return np.asarray(blocks.sum(axis=(1, 3)))


def _products(weights: Array, met: Array, high: int, wide: int) -> Array:
    rms = np.sqrt(np.square(met, dtype=np.float64).mean(axis=1))
    return _sums(np.abs(weights) * np.repeat(rms, len(weights) // len(rms), axis=0), high, wide)


def _errors(weights: Array, met: Array, high: int, wide: int) -> Array:
    groups, pixels, elements = met.shape
    x = met.reshape(groups, pixels, elements // wide, wide).transpose(0, 2, 3, 1)
    moments = (x @ x.swapaxes(2, 3)).astype(np.float64) / pixels  # (groups, blocks, wide, wide)
    w = weights.reshape(groups, -1, elements // wide, wide)
    errors = np.einsum("gcbi,gbij,gcbj->gcb", w, moments, w)
    return _sums(errors.reshape(len(weights), -1), high, 1)


def _least(saliency: Array, share: float) -> Array:
    """Which are the share of all with the least saliency: bool, same shape."""
    zero = np.zeros(saliency.size, bool)
    zero[np.argsort(saliency, axis=None, kind="stable")[: round(share * saliency.size)]] = True
    return zero.reshape(saliency.shape)


def _forget_tensors(graph: Graph, pruned: set[str]) -> None:
    """What comes after a pruned layer has no longer the numbers of the model's tensors."""
    changed: set[str] = set()
    for op in graph.ops():
        if op.name in pruned or changed.intersection(v.name for v in graph.operands(op)):
            for value in graph.results(op):
                changed.add(value.name)
                graph.set_value(replace(value, onnx_name=""))
