"""Reading an ONNX file: everything that can be wrong with it is said here, before the import."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx.external_data_helper import load_external_data_for_model
from onnx.inliner import inline_local_functions

from mcucompile.errors import UnsupportedModelError, UsageError

OLDEST_OPSET = 7
DEFAULT_DOMAINS = ("", "ai.onnx")


def load_model(source: str | Path | onnx.ModelProto) -> onnx.ModelProto:
    """The model in the file `source`, or itself, checked, with its local functions inlined.

    External data is read from the model's folder. Raises UsageError MC001 if the file cannot be
    read, UnsupportedModelError MC102 if it holds no valid ONNX model and MC103 if its operator set
    is not one the compiler knows. Operators without an ONNX definition are left to the import,
    which reports all of them.
    """
    if isinstance(source, onnx.ModelProto):
        where, model = f"model '{source.graph.name}'", source
        _check_content(model, where)
    else:
        path = Path(source)
        where = f"file '{path}'"
        model = _parse(_read(path, where), where)
        _load_external(model, path.parent, where)
    _check_opset(model, where)
    try:
        if model.functions:
            model = inline_local_functions(model)
        if all(_is_defined(model, node) for node in model.graph.node):
            onnx.checker.check_model(model)
    except Exception as error:
        raise _invalid(where, _line(error)) from error
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the default operator set that `model` is written in; 0 if it names none."""
    versions = [o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS]
    return max(versions, default=0)


def _read(path: Path, where: str) -> bytes:
    fix = "check the path"
    if not path.exists():
        raise UsageError("MC001", where, "does not exist", "there is no such file", fix)
    if path.is_dir():
        why = "it is a folder"
        raise UsageError("MC001", where, "cannot be read", why, "name the .onnx file inside it")
    try:
        return path.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError("MC001", where, "cannot be read", why, fix) from error


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    if not data:
        raise _invalid(where, "it is empty")
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's DecodeError
        raise _invalid(where, "its bytes are no ONNX model, or end too early") from error
    _check_content(model, where)  # other formats may happen to parse
    return model


def _check_content(model: onnx.ModelProto, where: str) -> None:
    if not model.graph.node or not model.opset_import:
        raise _invalid(where, "it holds no graph, or ends too early")


def _load_external(model: onnx.ModelProto, folder: Path, where: str) -> None:
    try:
        load_external_data_for_model(model, str(folder))
    except Exception as error:  # onnx raises many kinds; all of them mean the same here
        raise _invalid(where, f"its external data cannot be read: {_line(error)}") from error


def _check_opset(model: onnx.ModelProto, where: str) -> None:
    opset, newest = opset_of(model), onnx.defs.onnx_opset_version()
    if 0 < opset < OLDEST_OPSET:
        raise UnsupportedModelError(
            "MC103",
            where,
            "cannot be compiled",
            f"it is written in ONNX opset {opset}; the oldest supported one is {OLDEST_OPSET}",
            f"convert it: onnx.version_converter.convert_version(model, {OLDEST_OPSET + 6})",
        )
    if opset > newest:
        raise UnsupportedModelError(
            "MC103",
            where,
            "cannot be compiled",
            f"it is written in ONNX opset {opset}; the installed onnx package knows up to {newest}",
            "pip install --upgrade onnx, or export with an older opset",
        )


def _is_defined(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    return node.domain not in DEFAULT_DOMAINS or onnx.defs.has(node.op_type)


def _invalid(where: str, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        "MC102", where, "is not a valid ONNX model", why, "export or download the model again"
    )


def _line(error: Exception) -> str:
    """The first line of a foreign error message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
