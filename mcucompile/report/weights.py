"""How the weights of each layer are stored: bytes, and what it costs accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from math import log10
from typing import Any

from mcucompile.compress.forms import Form
from mcucompile.ir import Graph, Op
from mcucompile.ops.conv import Convolution
from mcucompile.ops.dense import Dense
from mcucompile.plan.plan import Plan
from mcucompile.plan.program import KernelCall
from mcucompile.report.sparsity import CHANNEL_BYTES

Report = dict[str, Any]


def weights(graph: Graph, plan: Plan, forms: Mapping[str, Form]) -> list[Report]:
    """The report's "weights": the form of those of each int8 convolution and dense layer.

    forms: that were chosen, by the name of the weights.
    """
    ops = {op.name: op for op in graph.ops()}
    return [
        {"step": index, **_layer(graph, ops[step.call.op], step.call, forms)}
        for index, step in enumerate(plan.steps)
        if isinstance(ops[step.call.op], Convolution | Dense)
        and graph.operands(ops[step.call.op])[1].dtype == "int8"
    ]


def _layer(graph: Graph, op: Op, call: KernelCall, forms: Mapping[str, Form]) -> Report:
    w = graph.operands(op)[1]
    size = sum(const.data.nbytes for const in call.consts) - CHANNEL_BYTES * w.shape[0]
    form = forms.get(w.name)
    return {
        "form": _form(call, form),
        "weights": w.elements,
        "bytes": size,
        "bytes_saved": w.elements - size,
        "noise": form.error if form else 0.0,
        "output_noise": form.loss if form else 0.0,
    }


def _form(call: KernelCall, chosen: Form | None) -> str:
    if "winograd" in call.kernel:
        return "winograd"
    if "sparse" in call.kernel:
        return "sparse"
    bits = call.params.get("bits")
    if "packed" not in call.kernel or not isinstance(bits, int):
        return "int8"
    if chosen is not None and chosen.name == "int4":  # a palette of equal steps
        return "int4"
    return f"palette{2**bits}" if bits else "huffman"


def weight_lines(report: list[Report]) -> list[str]:
    """The same for people, as lines of the summary."""
    packed = [layer for layer in report if _is_packed(layer)]
    if not packed:
        return []
    saved = sum(layer["bytes_saved"] for layer in packed)
    lost = sum(layer["output_noise"] for layer in packed)
    effect = f"predicted noise of the outputs {decibels(lost)}" if lost else "no result changes"
    return [f"packed     weights of {len(packed)} layers, {saved:,} bytes saved; {effect}"]


def weight_table(report: Report) -> list[str]:
    """A line for each layer with packed or sparse weights."""
    rows = [layer for layer in report["weights"] if _is_packed(layer) or layer["form"] == "sparse"]
    if not rows:
        return []
    lines = [
        "weights in fewer bytes:",
        " step  form          bytes     saved  noise, of the outputs",
    ]
    for layer in rows:
        noise = f"{decibels(layer['noise'])}, {decibels(layer['output_noise'])}"
        lines.append(
            f"{layer['step']:5}  {layer['form']:9} {layer['bytes']:9,} {layer['bytes_saved']:9,}  "
            + (noise if layer["noise"] else "none")
        )
    return lines


def _is_packed(layer: Report) -> bool:
    return str(layer["form"]).startswith(("int4", "palette", "huffman"))


def decibels(noise: float) -> str:
    """Noise beside its signal."""
    return f"{10 * log10(noise):.1f} dB" if noise > 0 else "none"
