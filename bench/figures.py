"""What a compilation costs, measured with the board's toolchain and under QEMU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import onnx

from mcucompile.board import Board, load_board
from mcucompile.compiler import Compilation
from mcucompile.cycles import cycle_model
from mcucompile.emit import EmitOptions, emit
from mcucompile.ir import Graph
from mcucompile.lower import lower
from mcucompile.measure import measure, profile, report
from mcucompile.options import CompileOptions
from mcucompile.plan.check import check_plan
from mcucompile.plan.planner import make_plan
from mcucompile.quant.post_training import Quantized
from mcucompile.report.build import Report

BOARDS = {"cortex-m4": "nano33ble", "cortex-m7": "stm32f746"}
# A model that is too large for the board has figures as well.
RAM = 3 << 20


@dataclass(frozen=True)
class Figures:
    """Of one inference, or of one call of a layer's kernel.

    work: multiply-accumulates, or elements where there are none. cycles: as `profile` models them.
    core_cycles: those among them in which the core does not wait for data from flash. code, sram,
    flash: bytes, of a model as its report states them (sram: arena with scratch, stack and
    statics); for a layer those of the model that consists of it.
    """

    name: str
    core: str
    kernel: str
    work: int
    instructions: int
    cycles: int
    core_cycles: int
    code: int
    sram: int
    flash: int

    @property
    def work_per_instruction(self) -> float:
        return self.work / self.instructions

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"work_per_instruction": self.work_per_instruction}


def model_figures(name: str, compilation: Compilation) -> Figures:
    content = report(compilation, measure(compilation), profile(compilation))
    return Figures(
        name,
        compilation.board.core,
        "",
        content["model"]["macs"],
        content["instructions_total"],
        content["cycles_total"],
        _core_cycles(compilation.board, content),
        content["flash"]["code_bytes"],
        content["sram"]["total_bytes"],
        content["flash"]["total_bytes"],
    )


def layer_figures(
    name: str, graph: Graph, core: str, work: int, wishes: Mapping[str, Any]
) -> Figures:
    """Of the quantized `graph` of one operator. wishes: fields of the target."""
    compilation = _compile_graph(graph, load_board(BOARDS[core]), wishes)
    content = report(compilation, measure(compilation), profile(compilation))
    (step,) = content["steps"]
    return Figures(
        name,
        core,
        step["kernel"],
        step["macs"] or work,
        step["instructions"],
        step["cycles"],
        _core_cycles(compilation.board, content),
        content["flash"]["code_bytes"],
        content["sram"]["total_bytes"],
        content["flash"]["total_bytes"],
    )


def _core_cycles(board: Board, content: Report) -> int:
    cycles = sum(step["executed"]["core_cycles"] for step in content["steps"])
    return round(cycle_model(board).per_core_cycle * cycles)


def _compile_graph(graph: Graph, board: Board, wishes: Mapping[str, Any]) -> Compilation:
    """The pipeline from lowering on."""
    plan = make_plan(lower(graph, replace(board.target(), **wishes)))
    check_plan(plan)
    files = emit(graph, plan, EmitOptions("layer", board=board.name))
    nothing, options = onnx.ModelProto(), CompileOptions(board.name)
    quantized = Quantized(graph, graph, "model")
    names = ("layer", nothing, "", "layer")
    parts = (board, options, quantized, graph, graph, None, plan)
    return Compilation(*names, *parts, files=files)
