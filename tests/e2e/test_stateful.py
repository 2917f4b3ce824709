"""States that outlive a run: a sequence may come in pieces, and gives the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from mcucompile.compiler import Compilation, compile_model, write_sources
from mcucompile.emit import EmitOptions, emit
from mcucompile.emulate import build, host, qemu
from mcucompile.errors import InternalError
from mcucompile.ir import Array, Graph
from mcucompile.lower import lower
from mcucompile.measure import report
from mcucompile.ops.gru import Gru
from mcucompile.ops.lstm import Lstm
from mcucompile.ops.recurrent import Recurrent
from mcucompile.ops.rnn import Rnn
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.plan.check import check_plan
from mcucompile.plan.plan import Plan, Region
from mcucompile.plan.planner import make_plan
from mcucompile.quant.samples import Samples
from mcucompile.reference.arena_interpreter import run_plan
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.integer_interpreter import run_int
from mcucompile.reference.onnx_session import OnnxSession
from mcucompile.report.text import render_text
from mcucompile.validate import validate
from tests.support.machines import HOST
from tests.support.models import model_of, save
from tests.support.recurrent import constants, one_layer, recurrent_layer
from tests.support.tools import needs_qemu

TIME, WIDTH, HIDDEN = 12, 5, 12


def _plan(graph: Graph) -> Plan:
    plan = make_plan(lower(graph, HOST.target))
    check_plan(plan)
    return plan


def _write(graph: Graph, plan: Plan, folder: Path) -> None:
    for path, text in emit(graph, plan, EmitOptions("net")).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def _sequence(seed: int = 0, time: int = TIME) -> Array:
    return np.random.default_rng(seed).integers(-128, 128, (1, time, WIDTH)).astype(np.int8)


@pytest.mark.parametrize(
    "op",
    [
        recurrent_layer(Lstm),
        replace(recurrent_layer(Lstm), peepholes=True, with_cell=True),
        recurrent_layer(Gru),
        replace(recurrent_layer(Gru), reset_sums=True, initial=True),
        recurrent_layer(Rnn),
    ],
    ids=lambda op: f"{op.kind} {op.added}",
)
@pytest.mark.parametrize("chunk", [1, 3])
def test_pieces_give_what_the_whole_sequence_gives(
    op: Recurrent, chunk: int, tmp_path: Path
) -> None:
    x = _sequence()
    given = [np.full((1, 1, HIDDEN), 9, np.int8)] * (op.states * op.initial)
    want = run_int(one_layer(op, TIME, WIDTH, seed=1), [x, *given])[0]
    graph = one_layer(replace(op, stateful=True), chunk, WIDTH, seed=1)
    plan = _plan(graph)
    assert plan.states.size > HIDDEN
    _write(graph, plan, tmp_path)
    pieces = x.reshape(-1, chunk, WIDTH)
    inputs = [pieces, *(np.repeat(s, len(pieces), axis=0) for s in given)]
    for have in (
        run_int(graph, inputs),
        run_plan(plan, graph, inputs),
        host.run(tmp_path, "net", plan, inputs),
    ):
        np.testing.assert_array_equal(have[0].reshape(want.shape), want)


_MAIN = """
#include "net.h"
#include "program.h"

static net_context a, b;

static void step(net_context *ctx) {
    read_input(net_input(ctx, 0), NET_INPUT0_SIZE);
    net_run(ctx);
    write_output(net_output(ctx, 0), NET_OUTPUT0_SIZE);
}

void test(void) {
    net_init(&a, allocate(NET_ARENA_SIZE));
    net_init(&b, allocate(NET_ARENA_SIZE));
    for (int t = 0; t < 4; t++) {
        step(&a);
    }
    for (int t = 0; t < 4; t++) {
        step(&b);
        step(&a);
    }
    net_reset(&a);
    for (int t = 0; t < 4; t++) {
        step(&a);
        step(&b);
    }
    release(0);
}
"""


@pytest.mark.parametrize("kind", [Lstm, Gru, Rnn])
def test_a_reset_begins_anew_and_contexts_are_independent(
    kind: type[Recurrent], tmp_path: Path
) -> None:
    graph = one_layer(replace(recurrent_layer(kind), stateful=True), 1, WIDTH, seed=1)
    _write(graph, _plan(graph), tmp_path)
    (tmp_path / "main.c").write_text(_MAIN)
    first, second, third = (_sequence(seed, 8).reshape(8, 1, WIDTH) for seed in range(3))
    y1, y2 = (run_int(graph, [x])[0] for x in (first, second))
    y3 = run_int(graph, [third[:4]])[0]
    order = [("a", t) for t in range(4)]
    order += [(who, t + 4 * (who == "a")) for t in range(4) for who in "ba"]
    order += [(who, t + 4 * (who == "b")) for t in range(4) for who in ("c", "b")]
    of = {"a": (first, y1), "b": (second, y2), "c": (third, y3)}
    (tmp_path / "in.bin").write_bytes(b"".join(of[who][0][t].tobytes() for who, t in order))
    HOST.build(tmp_path, sorted(tmp_path.glob("*.c")), tmp_path)
    assert not HOST.run(tmp_path)
    want = b"".join(of[who][1][t].tobytes() for who, t in order)
    assert (tmp_path / "out.bin").read_bytes() == want


# -- a whole model --------------------------------------------------------------------------


def _stack(time: int) -> onnx.ModelProto:
    """LSTM, GRU and a dense layer on each step, as PyTorch exports them batch first."""
    lstm = {f"l{n}": a for n, a in constants("LSTM", 8, WIDTH, seed=1).items()}
    gru = {f"g{n}": a for n, a in constants("GRU", 6, 8, seed=2).items()}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["t", "lW", "lR", "lB"], ["l"], "lstm", hidden_size=8),
        helper.make_node("Squeeze", ["l", "one"], ["ls"]),
        helper.make_node(
            "GRU", ["ls", "gW", "gR", "gB"], ["g"], "gru", hidden_size=6, linear_before_reset=1
        ),
        helper.make_node("Squeeze", ["g", "one"], ["gs"]),
        helper.make_node("Transpose", ["gs"], ["gt"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["gt", "w"], ["y"], "dense"),
    ]
    dense = np.random.default_rng(3).normal(size=(6, 4))
    weights = {**lstm, **gru, "one": np.array([1]), "w": dense}
    return model_of(nodes, {"x": (1, time, WIDTH)}, {"y": (1, time, 4)}, weights)


def _compiled(tmp_path: Path, stateful: bool = True, **options: Any) -> Compilation:
    data = np.random.default_rng(4).normal(size=(1000, 1, WIDTH)).astype(np.float32)
    np.savez(tmp_path / "calib.npz", x=data)
    path = save(_stack(1), tmp_path / "stack.onnx")
    samples = SampleOptions(str(tmp_path / "calib.npz"))
    return compile_model(
        path, CompileOptions("nano33ble", "net", samples, stateful=stateful, **options)
    )


@needs_qemu
def test_a_model_of_several_layers(tmp_path: Path) -> None:
    c = _compiled(tmp_path)
    inputs = [np.random.default_rng(5).integers(-128, 128, (20, 1, WIDTH)).astype(np.int8)]
    want = run_int(c.graph, inputs)
    write_sources(c, tmp_path / "model")
    firmware = build.build_firmware(tmp_path / "model", c.name, c.board, c.plan, tmp_path / "fw")
    for have in (
        run_plan(c.plan, c.graph, inputs),
        host.run(tmp_path / "model", c.name, c.plan, inputs),
        qemu.run(firmware, inputs).outputs,
    ):
        np.testing.assert_array_equal(have[0].reshape(want[0].shape), want[0])


def test_samples_are_one_sequence_for_calibration_and_validation(tmp_path: Path) -> None:
    """Ranges of single steps from a state of zeros would be far too small."""
    c = _compiled(tmp_path)
    x = np.random.default_rng(6).normal(size=(60, 1, WIDTH)).astype(np.float32)
    (want,) = OnnxSession(_stack(60)).run([x.reshape(1, 60, WIDTH)])
    (real,) = run_float(c.quantized.original, [x])
    np.testing.assert_allclose(real.reshape(want.shape), want, atol=1e-5)
    result, (y,) = validate(c, Samples((x,)), "host"), c.graph.outputs
    assert result.mismatches_vs_reference == 0
    assert result.max_abs_error < 5 * c.graph.value(y).q.scale[0]
    alone = _compiled(tmp_path, stateful=False)
    assert alone.graph.value(y).q.scale < c.graph.value(y).q.scale


def test_the_states_are_in_the_header_and_in_the_report(tmp_path: Path) -> None:
    c = _compiled(tmp_path)
    assert c.plan.states.size == (4 + 16 + 8) + (4 + 12 + 8)
    assert f"#define NET_STATE_SIZE {c.plan.states.size} " in c.files["net.h"]
    text = render_text(report(c))
    assert "states   " in text
    alone = _compiled(tmp_path, stateful=False)
    assert "reset" not in alone.files["net.h"]
    assert "states   " not in render_text(report(alone))


def test_limits_of_memory_count_states(tmp_path: Path) -> None:
    c = _compiled(tmp_path, optimize="ram")
    alone = _compiled(tmp_path, stateful=False, optimize="ram")
    assert c.plan.arena_size <= alone.plan.arena_size + c.plan.states.size
    assert c.plan.lower_bound <= c.plan.arena_size


# -- what guards them -----------------------------------------------------------------------


def _moved(plan: Plan, index: int, state: Region | None) -> Plan:
    steps = list(plan.steps)
    steps[index] = replace(steps[index], state=state)
    return replace(plan, steps=tuple(steps))


@pytest.mark.parametrize("offset", [0, 8, 20, 60])
def test_a_state_elsewhere_is_found_out(tmp_path: Path, offset: int) -> None:
    c = _compiled(tmp_path)
    state = c.plan.steps[0].state
    assert state is not None
    wrong = _moved(c.plan, 0, Region(offset, offset + state.size))
    with pytest.raises(InternalError, match="plan: "):
        check_plan(wrong)
    with pytest.raises(InternalError, match="plan: "):
        run_plan(wrong, c.graph, [_sequence(time=1)])


def test_a_missing_or_small_state_is_found_out(tmp_path: Path) -> None:
    c = _compiled(tmp_path)
    state = c.plan.steps[0].state
    assert state is not None
    with pytest.raises(InternalError, match="has no state"):
        check_plan(_moved(c.plan, 0, None))
    with pytest.raises(InternalError, match="smaller than"):
        check_plan(_moved(c.plan, 0, Region(state.offset, state.end - 4)))
    (later,) = (s.state for s in c.plan.steps[1:] if s.state is not None)
    with pytest.raises(InternalError, match="not intact"):
        check_plan(_moved(c.plan, 1, Region(state.offset, state.offset + later.size)))
