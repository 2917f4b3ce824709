"""Pruning channels of random graphs and of real models keeps every output."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from mcucompile.compiler import compile_model
from mcucompile.errors import QuantizationError
from mcucompile.ir import Graph
from mcucompile.ir.channels import ChannelRange
from mcucompile.ir.dump import dump
from mcucompile.measure import report
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.gemm import Layer
from mcucompile.options import CompileOptions
from mcucompile.passes.prune_channels import prune_channels
from mcucompile.reference.integer_interpreter import run_int, run_int_all
from mcucompile.report.pruning import pruning
from mcucompile.report.text import render_text
from tests.support import zoo
from tests.support.ckit import check_graphs, random_inputs
from tests.support.random_channels import random_channels
from tests.support.stages import quantized_graph


@cache
def random_graphs(count: int) -> list[Graph]:
    """Random graphs whose scales keep to the number contract."""
    found: list[Graph] = []
    for seed in range(2 * count):
        with suppress(QuantizationError):
            found.append(random_channels(seed))
    return found[:count]


def test_random_graphs_keep_their_outputs_and_lose_channels() -> None:
    smaller = 0
    for graph in random_graphs(60):
        after = prune_channels(graph)
        inputs = random_inputs(graph, 8, np.random.default_rng(0))
        for want, got in zip(run_int(graph, inputs), run_int(after, inputs), strict=True):
            np.testing.assert_array_equal(got, want)
        assert dump(prune_channels(after)) == dump(after)
        figures = pruning(graph, after)
        smaller += figures["macs"]["after"] < figures["macs"]["before"]
    assert smaller > 30


def test_no_accumulator_grows() -> None:
    for graph in random_graphs(20):
        layers = {op.name: bound(graph, op) for op in graph.ops_of(Conv2d, Dense)}
        after = prune_channels(graph)
        for op in after.ops_of(Conv2d, Dense):
            assert bound(after, op) <= layers[op.name]


def bound(graph: Graph, op: Conv2d | Dense) -> int:
    layer = Layer.of(op, graph.operands(op), graph.result(op), op.clamp)
    return int(layer.bound.max())


def test_ranges_hold_whatever_the_input() -> None:
    tight = 0
    for graph in random_graphs(60):
        inputs = random_inputs(graph, 20, np.random.default_rng(1))
        seen = run_int_all(graph, inputs)
        ranges: dict[str, ChannelRange] = {}
        for op in graph.ops():
            operands = graph.operands(op)
            rules = op.channel_rules(operands, graph.results(op))
            known = [ranges.get(v.name) or ChannelRange.of(v) for v in operands]
            for value, proved in zip(graph.results(op), rules.ranges(known), strict=True):
                ranges[value.name] = proved
                found = ChannelRange.around([seen[value.name]])
                assert (proved.lo <= found.lo).all(), op
                assert (found.hi <= proved.hi).all(), op
                tight += int((proved.hi - proved.lo < 255).sum())
    assert tight > 1000


def test_c_code_of_pruned_graphs() -> None:
    check_graphs([prune_channels(graph) for graph in random_graphs(6)])


# -- real models ------------------------------------------------------------------------------

INT8_MODELS = sorted(p.stem for p in (zoo.ZOO / "models").glob("*_int8qdq.onnx"))


@zoo.needs_zoo
@pytest.mark.parametrize("name", INT8_MODELS)
def test_zoo_model_keeps_its_outputs(name: str) -> None:
    _, graph = quantized_graph(zoo.model(name))
    after = prune_channels(graph)
    macs = pruning(graph, after)["macs"]["before"]
    inputs = random_inputs(graph, 1 if macs > 50e6 else 4, np.random.default_rng(0))
    for want, got in zip(run_int(graph, inputs), run_int(after, inputs), strict=True):
        np.testing.assert_array_equal(got, want)


@zoo.needs_zoo
def test_mlperf_vww() -> None:
    """On every image of the test set; and what has to be gone is gone."""
    _, graph = quantized_graph(zoo.model("mlperf_vww96_int8qdq"))
    after = prune_channels(graph)
    images = (zoo.data("vww01_test")["x"].astype(np.int16) - 128).astype(np.int8)
    np.testing.assert_array_equal(run_int(after, [images])[0], run_int(graph, [images])[0])
    figures = pruning(graph, after)
    assert figures["macs"]["before"] == 7_489_664
    assert figures["macs"]["after"] <= 3_750_000
    assert figures["weights"]["after"] <= 30_000


@zoo.needs_zoo
def test_report_says_what_went() -> None:
    path, options = zoo.model("mlperf_vww96_int8qdq"), CompileOptions("nano33ble")
    pruned = report(compile_model(path, options))
    layers = {layer["name"]: layer for layer in pruned["pruning"]["layers"]}
    assert sum(s["macs"] for s in pruned["steps"]) == pruned["pruning"]["macs"]["after"]
    for step in pruned["steps"]:
        if step["name"] in layers:
            assert step["macs"] == layers[step["name"]]["macs"]["after"]
            assert step["shapes"]["outputs"][0][-1] == layers[step["name"]]["channels"]["after"]
    assert "7,489,664 -> 3,7" in render_text(pruned)
    whole = report(compile_model(path, replace(options, prune_channels=False)))
    assert whole["pruning"]["macs"] == {"before": 7_489_664, "after": 7_489_664}
    assert whole["pruning"]["layers"] == []
    assert "channels, which change no output" not in render_text(whole)
