"""Static shapes: every symbolic dimension of a model input gets a size before the import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx

from mcucompile.errors import McuCompileError, UnsupportedModelError, UsageError
from mcucompile.ir import Shape


def input_infos(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """What a caller has to provide: graph inputs that are not also initializers."""
    constants = {t.name for t in graph.initializer}
    return [i for i in graph.input if i.name not in constants]


def with_static_inputs(model: onnx.ModelProto, dims: Mapping[str, int]) -> onnx.ModelProto:
    """A copy of `model` whose inputs have static shapes, with all inner shapes inferred anew.

    A dimension without size is 1 if it is the batch (axis 0), else what `dims` says of its name;
    an anonymous one has the name `input:axis`. Raises UnsupportedModelError MC104 naming the
    dimensions that are left, UsageError MC002 for names in `dims` that the model does not have.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    infos = input_infos(copy.graph)
    names = {name for info in infos for name, _ in _open_dims(info)}
    sizes = {name: 1 for info in infos for name, axis in _open_dims(info) if axis == 0}
    sizes.update(_checked(dims, names))
    missing = sorted(names - sizes.keys())
    if missing:
        raise _no_size(infos, missing)
    for info in infos:
        for axis, d in enumerate(info.type.tensor_type.shape.dim):
            if _is_open(d):
                d.dim_value = sizes[_name(info, axis, d)]
    del copy.graph.value_info[:]
    for info in copy.graph.output:  # declared for the symbolic batch
        info.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(copy, data_prop=True)
    except Exception:  # a malformed node, which the import will name
        return copy


def known_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """The static shapes of inner float tensors, as far as ONNX's shape inference finds them."""
    shapes = {}
    for info in model.graph.value_info:
        tensor = info.type.tensor_type
        dims = [d.dim_value for d in tensor.shape.dim]
        if tensor.elem_type == onnx.TensorProto.FLOAT and tensor.HasField("shape") and all(dims):
            shapes[info.name] = tuple(dims)
    return shapes


def known_types(model: onnx.ModelProto) -> dict[str, int]:
    """The ONNX type of the elements of each tensor, as far as shape inference finds it."""
    graph = model.graph
    infos = [*graph.input, *graph.value_info, *graph.output]
    return {info.name: info.type.tensor_type.elem_type for info in infos}


def _is_open(d: onnx.TensorShapeProto.Dimension) -> bool:
    return not d.HasField("dim_value") or d.dim_value <= 0


def _name(info: onnx.ValueInfoProto, axis: int, d: onnx.TensorShapeProto.Dimension) -> str:
    return d.dim_param or f"{info.name}:{axis}"


def _open_dims(info: onnx.ValueInfoProto) -> Iterator[tuple[str, int]]:
    """Name and axis of each dimension of a model input that has no size."""
    for axis, d in enumerate(info.type.tensor_type.shape.dim):
        if _is_open(d):
            yield _name(info, axis, d), axis


def _checked(dims: Mapping[str, int], names: set[str]) -> Mapping[str, int]:
    for name, size in dims.items():
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            why = f"the model's dimensions without size are: {known}"
            raise UsageError("MC002", f"dimension '{name}'", "is unknown", why, "correct --dim")
        if size < 1:
            why = f"its size is {size}"
            raise UsageError("MC002", f"dimension '{name}'", "is wrong", why, "give a size >= 1")
    return dims


def _no_size(infos: list[onnx.ValueInfoProto], missing: list[str]) -> McuCompileError:
    inputs = [i.name for i in infos if any(name in missing for name, _ in _open_dims(i))]
    return UnsupportedModelError(
        "MC104",
        f"input '{inputs[0]}'",
        "has no static shape",
        f"the model gives no size for {', '.join(missing)}",
        " ".join(f"--dim {name}=SIZE" for name in missing),
    )
