"""The report: what its figures add up to, its schema, its text, and the error when nothing fits."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import mcucompile.report
from mcucompile.board import Board, load_board
from mcucompile.cycles import cycle_model
from mcucompile.emulate.code_size import FunctionSize
from mcucompile.emulate.cortex_m4 import Kind
from mcucompile.emulate.work import Work
from mcucompile.errors import DoesNotFitError
from mcucompile.ir import Graph, Port
from mcucompile.plan.plan import Plan
from mcucompile.plan.planner import PlanOptions, make_plan
from mcucompile.report.build import (
    Measured,
    ModelInfo,
    Report,
    build_report,
)
from mcucompile.report.fit import fit_or_raise
from mcucompile.report.text import render_text
from mcucompile.report.timing import Profiled
from tests.support.mixing import Builder, random_graph
from tests.unit.test_fuse_expand_depthwise import network, planned

MODEL = ModelInfo("net", "ab" * 32, 1_234_567, 890)
FUNCTIONS = (
    FunctionSize("common", 700, (1, 3)),
    FunctionSize("net_step1", 300, (1,)),
    FunctionSize("only1", 40, (1,)),
    FunctionSize("net_step0", 30, (0,)),
)
MEASURED = Measured(code_bytes=4000, stack_bytes=600, static_bytes=16, functions=FUNCTIONS)


@cache
def compiled() -> tuple[Graph, Plan]:
    """conv1 -> conv2 with scratch -> residual sum in place -> view -> dense, plus a constant."""
    build = Builder(3000)
    (a,) = build.mix("conv1", build.inputs, 12_000, scratch=500)
    (b,) = build.mix("conv2", [a], 12_000, scratch=300)
    (total,) = build.mix("sum", [a, b], 12_000, in_place=[(0, 0), (1, 0)])
    table = build.constant("table", 100)
    (y,) = build.mix("fc", [build.view("flat", total), table], 10)
    program = build.program(y)
    build.graph.input_ports = (Port("x:0", (1, 3000), "float32"),)
    build.graph.output_ports = (Port("y:0", (1, 10), "float32"),)
    return build.graph, make_plan(program)


def report_of(
    board: str | Board = "stm32f746",
    measured: Measured | None = MEASURED,
    instructions: list[int] | None = None,
    warnings: tuple[str, ...] = (),
) -> Report:
    graph, plan = compiled()
    board = load_board(board) if isinstance(board, str) else board
    profiled = None if instructions is None else _profiled(instructions)
    return build_report(graph, plan, board, MODEL, measured, profiled, warnings)


def _profiled(instructions: list[int]) -> Profiled:
    """A profile in which every fifth instruction is a load from flash."""
    work = [
        Work(
            {k: n // 5 if k is Kind.LOAD else 0 for k in Kind} | {Kind.ALU: n - n // 5},
            7,
            n,
            n // 5,
        )
        for n in instructions
    ]
    return Profiled(instructions, work, sum(instructions) + 30)


def test_sums() -> None:
    report = report_of(instructions=[1000, 2000, 500, 10])
    sram, flash = report["sram"], report["flash"]
    assert sram["arena_bytes"] == 24_300 == sram["lower_bound_bytes"]
    assert sram["scratch_bytes"] == 500
    assert sram["total_bytes"] == 24_300 + 600 + 16
    assert sram["regions"] == [
        {"name": "DTCM+SRAM1+SRAM2", "used_bytes": 24_916, "capacity_bytes": 327_680}
    ]
    assert flash["const_bytes"] == 16 + 100  # four equal tables are one
    assert flash["total_bytes"] == 4116
    assert report["fits"] is True
    assert report["instructions_total"] == 3540
    model = cycle_model(load_board("stm32f746"))
    assert report["cycles_total"] == 30 + sum(step["cycles"] for step in report["steps"])
    assert report["latency_ms"] == pytest.approx(report["cycles_total"] / 216e3)
    assert report["cycles_error"] == model.error
    step = report["steps"][1]
    per_five = 5 * model.per_core_cycle + model.per_flash_read
    assert step["cycles"] == round(400 * per_five)
    assert step["latency_ms"] == pytest.approx(step["cycles"] / 216e3)
    assert sum(step["executed"][kind] for kind in Kind) == step["instructions"] == 2000
    assert step["executed"]["flash_reads"] == 400


def test_code_belongs_to_a_step_or_is_shared() -> None:
    report = report_of()
    assert [step["code_bytes"] for step in report["steps"]] == [30, 340, 0, 0]
    assert report["shared_code"] == [{"function": "common", "bytes": 700, "steps": [1, 3]}]
    assert "700 common, steps 1, 3" in render_text(report)


def test_unmeasured_is_null_and_its_sums_too() -> None:
    report = report_of(measured=None)
    sram, flash = report["sram"], report["flash"]
    assert sram["stack_bytes"] is sram["static_bytes"] is sram["total_bytes"] is None
    assert sram["regions"][0]["used_bytes"] is None
    assert flash["code_bytes"] is flash["total_bytes"] is None
    assert report["fits"] is sram["fits"] is flash["fits"] is None
    assert report["instructions_total"] is report["latency_ms"] is None
    step = report["steps"][0]
    assert step["instructions"] is step["executed"] is step["cycles"] is step["code_bytes"] is None
    assert report["shared_code"] is report["cycles_error"] is None
    small = load_board("stm32f746").with_limits(ram=20_000)
    assert report_of(small, measured=None)["fits"] is False  # known without the stack


def test_steps() -> None:
    step = report_of()["steps"][2]
    assert step["op"] == "Mix"
    assert step["onnx_names"] == ["sum"]
    assert step["shapes"] == {"inputs": [[1, 12_000]] * 2, "outputs": [[1, 12_000]]}
    roles = {(b["role"], b["name"]): (b["offset"], b["end"]) for b in step["buffers"]}
    assert roles["write", "sum"] == roles["read", "conv2"]
    assert step["live_bytes"] == 24_000  # shared bytes count once
    last = report_of()["steps"][3]
    assert [b["name"] for b in last["buffers"]] == ["flat", "fc"]  # the constant is in flash
    assert last["shapes"]["inputs"] == [[1, 1, 12_000]]
    assert last["weight_bytes"] == 100


@pytest.mark.parametrize("seed", range(10))
def test_live_bytes_lie_between_the_operands_and_the_bound(seed: int) -> None:
    _, program = random_graph(np.random.default_rng(seed), 12)
    plan = make_plan(program)
    assert max(s.live for s in plan.steps) <= plan.lower_bound < max(s.live for s in plan.steps) + 4
    for step in plan.steps:
        used = np.zeros(plan.arena_size, dtype=bool)
        for place in (*step.reads, *step.writes):
            if place is not None:
                used[place.region.offset : place.region.end] = True
        assert used.sum() + step.call.scratch <= step.live


def test_two_outputs_that_are_the_same_value() -> None:
    build = Builder(8)
    (y,) = build.mix("y", build.inputs, 8)
    plan = make_plan(build.program(y, y))
    graph = build.graph
    graph.input_ports = (Port("x", (1, 8), "int8"),)
    graph.output_ports = (Port("a", (1, 8), "int8"), Port("b", (1, 8), "int8"))
    report = build_report(graph, plan, load_board("nano33ble"), MODEL)
    assert [p["name"] for p in report["outputs"]] == ["a", "b"]
    assert report["outputs"][0]["offset"] == report["outputs"][1]["offset"]


# -- schema -----------------------------------------------------------------------------------

SCHEMA = json.loads((Path(mcucompile.report.__path__[0]) / "report.schema.json").read_text())


def violations(report: Report) -> list[str]:
    """Where `report` breaks the schema."""
    errors = jsonschema.Draft202012Validator(SCHEMA).iter_errors(report)
    return [f"{error.json_path}: {error.message}" for error in errors]


def test_report_follows_its_schema_and_survives_json() -> None:
    reports = [report_of(), report_of(measured=None), report_of(instructions=[1, 2, 3, 4])]
    for report in reports:
        assert violations(report) == []
        assert json.loads(json.dumps(report)) == report


def test_rows_that_are_computed_again_are_reported() -> None:
    graph, plan = planned(network())
    report = build_report(graph, plan, load_board("nano33ble"), replace(MODEL, macs=500_000))
    assert violations(report) == []
    assert {step["segment"] for step in report["steps"]} >= {"rows"}
    again = report["model"]["macs_repeated"]
    assert again == sum(step.repeated_macs for step in plan.steps) > 0
    assert f"{again:,} MAC more ({again / 5000:.1f}%)" in render_text(report)


def test_schema_requires_and_describes_every_key() -> None:
    def objects(schema: Any) -> list[dict[str, Any]]:
        if isinstance(schema, list):
            return [o for item in schema for o in objects(item)]
        if not isinstance(schema, dict):
            return []
        own = [schema] if schema.get("type") == "object" else []
        return own + [o for item in schema.values() for o in objects(item)]

    for schema in objects(SCHEMA):
        assert schema["additionalProperties"] is False
        assert sorted(schema["required"]) == sorted(schema["properties"])
    broken = report_of()
    broken["sram"]["arena_bytes"] = -1
    broken["flash"]["code_bytes"] = "many"
    del broken["model"]["sha256"]
    broken["extra"] = 1
    assert len(violations(broken)) == 4


# -- text -------------------------------------------------------------------------------------


def test_text_says_the_main_figures() -> None:
    text = render_text(report_of(instructions=[1000, 2000, 500, 10]))
    for expected in (
        "fits       yes",
        "SRAM       24,916 of 327,680 bytes",
        "flash      4,116 of 1,048,576 bytes",
        "lower bound 24,300",
        "3,540 instructions",
        "of published times",
        "weights    code instructions      cycles      ms      uJ",
        "energy     ",
        " pJ a cycle",
        "mcuc_mix_s8: it mixes",
        "read [0, 12000), read [12000, 24000), write [12000, 24000)",
        "2,000  57.0%  step 1, Mix conv2",
        "scratch memory of Mix 'conv2'",
    ):
        assert expected in text
    assert max(map(len, text.splitlines())) <= 96
    unknown = render_text(report_of(measured=None))
    assert "fits       not known" in unknown
    assert unknown.count("not measured") >= 4


@pytest.mark.parametrize(
    ("bound", "proved", "says"),
    [
        (24_300, 24_300, "lower bound 24,300: no placement is smaller"),
        (24_000, 24_300, "24,000: 300 above (1.2%), proved: no placement is smaller"),
        (24_000, 24_100, "24,000: 300 above (1.2%), 100 of them proved"),
        (24_000, 24_000, "24,000: 300 above (1.2%)\n"),
    ],
)
def test_text_says_how_good_the_placement_is(bound: int, proved: int, says: str) -> None:
    report = report_of()
    bounds = {"lower_bound_bytes": bound, "proved_bound_bytes": proved}
    assert says in render_text({**report, "sram": {**report["sram"], **bounds}})


def test_memory_map_shows_every_step() -> None:
    lines = render_text(report_of(), width=91).splitlines()
    rows = [line.split("|")[1] for line in lines if line.count("|") == 2]
    peak = [line.endswith("peak") for line in lines if line.count("|") == 2]
    assert [len(row) for row in rows] == [64] * 4
    assert peak == [False, True, False, False]
    assert set(rows[1]) == {"r", "w"}  # 300 bytes of scratch hide in the slice of its neighbour
    assert rows[2].count("x") == 33
    assert set(rows[3]) == {"r", "w", "."}


def test_kept_values_are_in_the_map() -> None:
    build = Builder(640)
    (a,) = build.mix("a", build.inputs, 640)
    (b,) = build.mix("b", [a], 640)
    (c,) = build.mix("c", [b, *build.inputs], 640)
    plan = make_plan(build.program(c))
    build.graph.input_ports = (Port("x", (1, 640), "int8"),)
    build.graph.output_ports = (Port("c", (1, 640), "int8"),)
    text = render_text(build_report(build.graph, plan, load_board("nano33ble"), MODEL))
    rows = [line.split("|")[1] for line in text.splitlines() if line.count("|") == 2]
    assert sorted(set(rows[1])) == ["-", "r", "w"]
    assert rows[1].count("-") >= 20


def test_warnings_stand_on_top_in_a_frame() -> None:
    warning = "calibrated with synthetic data: accuracy is not to be trusted; " * 3
    lines = render_text(report_of(warnings=(warning,))).splitlines()
    assert lines[0] == "!" * 96
    assert lines[1].startswith("!! WARNING: calibrated with synthetic data")
    assert all(line.startswith("!!") and line.endswith("!!") for line in lines[:4])
    assert "!!" not in "\n".join(lines[5:])


def test_text_of_another_schema_version_is_refused() -> None:
    report = {**report_of(), "schema_version": 99}
    with pytest.raises(ValueError, match="schema version 99"):
        render_text(report)


# -- does not fit -----------------------------------------------------------------------------


def test_a_model_that_fits_or_may_fit_passes() -> None:
    fit_or_raise(report_of())
    fit_or_raise(report_of(measured=None))


def test_too_much_sram() -> None:
    board = load_board("nano33ble").with_limits(ram=24_800)
    fit_or_raise(report_of(board, measured=None))
    with pytest.raises(DoesNotFitError) as caught:
        fit_or_raise(report_of(board))
    error = caught.value
    assert (error.id, error.code) == ("MC301", 4)
    for expected in (
        "model 'net' on board 'nano33ble' does not fit into SRAM",
        "needs 24,916 bytes (arena 24,300, stack 600, statics 16), 24,800 are available",
        "at step 1, Mix 'conv2'",
        "12,000 bytes  result of Mix 'conv1', steps 0 to 2",
        "300 bytes  scratch memory of Mix 'conv2', step 1",
        "raise --ram (the board has 262,144 bytes)",
        "sparkfun-edge (393,216 bytes of SRAM",
    ):
        assert expected in str(error)


def test_advice_is_only_what_helps() -> None:
    nano = load_board("nano33ble")
    memory = replace(nano.ram[0], size=20_000)
    graph, _ = compiled()
    build_plan = make_plan(compiled()[1].program, PlanOptions(keep_input=True))
    report = build_report(graph, build_plan, replace(nano, ram=(memory,)), MODEL, MEASURED)
    with pytest.raises(DoesNotFitError) as caught:
        fit_or_raise(report)
    assert "drop --keep-input" in caught.value.fix
    assert "--ram" not in caught.value.fix  # the board itself is too small
    report["sram"]["arena_bytes"] = 10**9
    with pytest.raises(DoesNotFitError) as caught:
        fit_or_raise(report)
    assert "board" not in caught.value.fix  # none is large enough


def test_too_much_flash() -> None:
    board = load_board("stm32f746").with_limits(flash=4100)
    with pytest.raises(DoesNotFitError) as caught:
        fit_or_raise(report_of(board))
    error = caught.value
    assert error.id == "MC302"
    assert "needs 4,116 bytes (constants 116, code 4,000), 4,100 are available" in str(error)
    assert "100 bytes  step 3, Mix 'fc'" in error.why
    assert "raise --flash (the board has 1,048,576 bytes)" in error.fix
