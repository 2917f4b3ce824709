"""What a compilation depends on, written as a rule that Make, Ninja and CMake read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from mcucompile import resources
from mcucompile.board import board_file
from mcucompile.options import CompileOptions
from mcucompile.quant.datafile import DataFile


def depfile(target: Path, model: Path, options: CompileOptions) -> str:
    """The rule `target: files` for a compilation of `model` that has just succeeded.

    The files are the model with its external data, the calibration data, the board file, and the
    compiler itself: its modules, templates and runtime.
    """
    files = [model, *_external_data(model), board_file(options.board), *_compiler()]
    if options.calibration is not None:
        files += _data_files(options.calibration.spec)
    lines = [_escaped(path) for path in sorted({path.absolute() for path in files})]
    return " \\\n  ".join([f"{_escaped(target.absolute())}:", *lines]) + "\n"


def _external_data(path: Path) -> Iterator[Path]:
    """The files beside a model that hold its large tensors."""
    graph = onnx.load(path, load_external_data=False).graph
    tensors = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute)]
    for tensor in tensors:
        if uses_external_data(tensor):
            yield path.parent / ExternalDataInfo(tensor).location


def _data_files(spec: str) -> list[Path]:
    path = DataFile.open(spec).path
    return list(path.glob("*.npy")) if path.is_dir() else [path]


def _compiler() -> Iterator[Path]:
    package = Path(__file__).parent
    loaded = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    for file in loaded:
        if file and package in Path(file).parents:
            yield Path(file)
    yield from resources.templates_dir().rglob("*.j2")
    yield from resources.runtime_dir().rglob("*.h")


def _escaped(path: Path) -> str:
    text = path.as_posix().replace("$", "$$")
    return text.replace("#", "\\#").replace(" ", "\\ ")
