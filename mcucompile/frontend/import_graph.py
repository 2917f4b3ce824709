"""ONNX model to Graph: one walk over the nodes, each handed to the importer of its operator.

All nodes that cannot be imported are reported at once. After a refused node the walk goes on with
a stand-in for its result, or, where its shape is unknown, leaves out what depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import mcucompile.ops  # noqa: F401  (registers the importers)
from mcucompile.errors import ErrorGroup, McuCompileError, UnsupportedModelError
from mcucompile.frontend import qonnx
from mcucompile.frontend.fold import KEPT, constant_node, fold
from mcucompile.frontend.inline import branch, function_body, names_read
from mcucompile.frontend.layout import input_layout, output_layout
from mcucompile.frontend.names import use_c_names
from mcucompile.frontend.node import IMPORTERS, OnnxNode, as_results
from mcucompile.frontend.onnx_model import DEFAULT_DOMAINS, opset_of
from mcucompile.frontend.qonnx import qonnx_body
from mcucompile.frontend.qoperators import (
    INTEGER_OPERATORS,
    OPERATORS,
    integer_body,
    qoperator_body,
)
from mcucompile.frontend.shapes import input_infos, known_shapes, known_types, with_static_inputs
from mcucompile.frontend.stored import misuses
from mcucompile.ir import Array, Graph, Op, Port, Value
from mcucompile.ops.constant import Constant, storage
from mcucompile.ops.qdq import quantized_by
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.transpose import Transpose
from mcucompile.passes.fold_constants import fold as fold_move

INPUT_TYPES = ("float32", "int8", "uint8")
MOST_AXES = 6  # of inputs and outputs: MCUC_MAX_RANK in mcuc/model.h
OUTPUT_TYPES = (*INPUT_TYPES, "bool", "int32", "int64")  # of comparisons, ArgMax and Cast

NO_KERNEL = (
    "the compiler has no kernel for this operator",
    "replace the operator; `mcucompile ops` lists what is supported",
)
_DYNAMIC = (
    "it quantizes by the data of each run",
    "quantize statically, or compile the float model",
)
_CONTROL = ("what it runs depends on the data", "export the model without control flow")
REFUSED = {
    "DynamicQuantizeLinear": _DYNAMIC,
    "DynamicQuantizeMatMul": _DYNAMIC,
    "If": _CONTROL,
    "Loop": _CONTROL,
    "Scan": _CONTROL,
}  # why, and what to do
CUTTING = {
    "Div": ("it divides integers, which cuts the quotient off", "divide float32 numbers"),
}  # of integers
_INTEGERS = frozenset(
    kind
    for kind in TensorProto.DataType.values()
    if kind and np.dtype(helper.tensor_dtype_to_np_dtype(kind)).kind in "iu"
)


def import_model(
    model: onnx.ModelProto, name: str = "model", dims: Mapping[str, int] | None = None
) -> Graph:
    """The graph `name` of a checked `model` (see load_model), batch 1, all values float32.

    dims: sizes of symbolic dimensions (`--dim`). Raises UnsupportedModelError (an ErrorGroup where
    there are several): MC101 for nodes, MC104 for shapes, MC105 for inputs and outputs.
    """
    walk = _Import(with_static_inputs(model, dims or {}), name)
    for info in input_infos(walk.proto):
        walk.add_input(info)
    for node in walk.proto.node:
        walk.add_node(node)
    if walk.errors:
        raise ErrorGroup.of(walk.errors)
    for info in walk.proto.output:
        walk.add_output(info)
    walk.check_stored()
    if walk.errors:
        raise ErrorGroup.of(walk.errors)
    return use_c_names(walk.finished())


class _Import:
    """The state of one import.

    constants: tensors that are known and not yet values of the graph.
    values: tensors that are. missing: tensors that nothing is known of, after a refused node.
    read: tensors that a node reads, or the caller.
    """

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        self.proto = model.graph
        self.graph = Graph(name)
        self.opset = opset_of(model)
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.proto.initializer}
        self.values: dict[str, Value] = {}
        self.missing: set[str] = {t.values.name for t in self.proto.sparse_initializer}
        self.shapes = known_shapes(model)
        self.types = known_types(model)
        self.read = {*names_read(self.proto.node), *(o.name for o in self.proto.output)}
        self.errors: list[McuCompileError] = [
            _refusal("MC105", f"initializer '{name}'", "it is sparse", "store it as dense tensor")
            for name in sorted(self.missing)
        ]

    # -- inputs and outputs -----------------------------------------------------------------

    def add_input(self, info: onnx.ValueInfoProto) -> None:
        where = f"input '{info.name}'"
        self._check_type(info, where, INPUT_TYPES)
        shape = tuple(d.dim_value for d in info.type.tensor_type.shape.dim)
        if shape[:1] != (1,):
            why = f"its shape {list(shape)} does not begin with a batch dimension of 1"
            fix = "export with a leading batch dimension that is 1 or symbolic"
            self.errors.append(_refusal("MC105", where, why, fix))
        self._check_rank(shape, where)
        value = self.graph.add_value(Value(info.name, shape, onnx_name=info.name))
        self.values[info.name] = value
        self.graph.inputs += (value.name,)

    def add_output(self, info: onnx.ValueInfoProto) -> None:
        where = f"output '{info.name}'"
        self._check_type(info, where, OUTPUT_TYPES)
        value = self._value(info.name)
        assert value is not None
        self._check_rank(value.shape, where)
        name = self.graph.fresh_name(f"{info.name}.copy")
        if value.is_constant:
            computed = [v for o in self.proto.output if (v := self.values.get(o.name))]
            computed = [v for v in computed if not v.is_constant]
            if not computed:
                fix = "compute it once, at build time"
                self.errors.append(_refusal("MC105", where, "no output depends on any input", fix))
                return
            # Reading another result costs nothing: it lives to the end.
            op: Op = Constant(name, (), stored=storage(value))
            (value,) = self.graph.append(op, [value, computed[0]], [info.name], onnx=True)
        elif value.name in (*self.graph.inputs, *self.graph.outputs):  # needs bytes of its own name
            op = Reshape(name, (), shape=value.shape)
            (value,) = self.graph.append(op, [value], [info.name], onnx=True)
        self.graph.outputs += (value.name,)

    def _check_type(self, info: onnx.ValueInfoProto, where: str, types: Sequence[str]) -> None:
        if _dtype(info) not in types:
            fix = f"use one of {', '.join(types)}"
            self.errors.append(_refusal("MC105", where, f"its type is {_dtype(info)}", fix))

    def _check_rank(self, shape: Sequence[int], where: str) -> None:
        if len(shape) > MOST_AXES:
            why, fix = f"it has {len(shape)} axes; {MOST_AXES} are possible", "join some of them"
            self.errors.append(_refusal("MC105", where, why, fix))

    def check_stored(self) -> None:
        """Refuse operators that compute with stored integers."""
        integers = {i.name for i in input_infos(self.proto) if _dtype(i) in ("int8", "uint8")}
        self.errors += misuses(self.graph, {self.values[name].name for name in integers})

    def finished(self) -> Graph:
        """The graph with its ports, without the constants that only importers have read."""
        graph, proto = self.graph, self.proto
        for value in graph.values():
            if value.data is None:
                continue
            if not graph.users(value):
                graph.erase_value(value)
            elif value.qparams is None and value.dtype != "float32":  # used as numbers
                numbers = value.data.astype(np.float32)
                graph.set_value(replace(value, dtype="float32", data=numbers))
        inputs = [graph.value(n) for n in graph.inputs]
        outputs = [graph.value(n) for n in graph.outputs]
        graph.input_ports = tuple(
            Port(info.name, v.shape, _dtype(info), input_layout(graph, v))
            for info, v in zip(input_infos(proto), inputs, strict=True)
        )
        graph.output_ports = tuple(
            Port(info.name, v.shape, _dtype(info), output_layout(graph, v))
            for info, v in zip(proto.output, outputs, strict=True)
        )
        return graph

    # -- nodes ------------------------------------------------------------------------------

    def add_node(self, proto: onnx.NodeProto) -> None:
        outputs = [name for name in proto.output if name]
        folded = self._fold(proto)
        if folded is not None:
            self.constants.update(zip(outputs, folded, strict=True))
            return
        name = proto.name or outputs[0]
        try:
            inner = self._inner(proto)
            if inner:
                self.read.update(names_read(inner))
                for node in inner:
                    self.add_node(node)
                return
            results = self._import(proto, name)
        except UnsupportedModelError as error:
            self.errors.append(error)
        except ValueError as error:  # from a shape rule
            where, fix = f"node '{name}' ({proto.op_type})", "repair the model"
            self.errors.append(_refusal("MC101", where, str(error), fix))
        else:
            self.values.update(zip(proto.output, map(self._settled, results), strict=False))
        for tensor in outputs:
            if tensor not in self.values and tensor in self.read:
                self._stand_in(tensor)

    def _inner(self, proto: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that `proto` stands for, if it does."""
        if proto.op_type in OPERATORS:
            return qoperator_body(proto)
        if proto.op_type in INTEGER_OPERATORS and proto.domain in DEFAULT_DOMAINS:
            return self._of_integers(proto)
        if proto.domain in qonnx.DOMAINS:
            return qonnx_body(proto, self.constants)
        if proto.domain not in DEFAULT_DOMAINS or not onnx.defs.has(proto.op_type):
            return []
        if proto.op_type == "If" and proto.input[0] in self.constants:
            return branch(proto, self.constants[proto.input[0]])
        if proto.op_type in IMPORTERS or proto.op_type in KEPT or self.missing & {*proto.input}:
            return []
        given = {n: self.constants.get(n, self.values.get(n)) for n in proto.input if n}
        types = {n: (str(v.dtype), v.shape) for n, v in given.items() if v is not None}
        return function_body(proto, self.opset, types)

    def _of_integers(self, proto: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that a ConvInteger or MatMulInteger stands for."""
        given = [self.values.get(tensor) for tensor in proto.input[:2]]
        sources = [v and quantized_by(self.graph, v) for v in given]
        scales = [s.qparams.scale[0] if s else 1.0 for s in sources]
        kinds = [self.types.get(tensor) for tensor in proto.input[:2]]
        is_signed = [kind == TensorProto.INT8 for kind in kinds]
        return integer_body(proto, scales, is_signed, proto.input[1] in self.constants)

    def _import(self, proto: onnx.NodeProto, name: str) -> tuple[Value, ...]:
        """The results of a node; none if it depends on something missing."""
        default = proto.domain in DEFAULT_DOMAINS
        known = default or proto.domain in qonnx.DOMAINS
        importer = IMPORTERS.get(proto.op_type) if known else None
        if importer is None:
            kind = proto.op_type if default else f"{proto.domain} {proto.op_type}"
            why, fix = REFUSED.get(proto.op_type, NO_KERNEL)
            raise _refusal("MC101", f"node '{name}' ({kind})", why, fix)
        if any(tensor in self.missing for tensor in proto.input):
            return ()
        attrs = {a.name: _plain(helper.get_attribute_value(a)) for a in proto.attribute}
        inputs = tuple(self._value(tensor) for tensor in proto.input)
        outputs = tuple(proto.output)
        if proto.op_type in CUTTING and self.types.get(outputs[0]) in _INTEGERS:
            raise _refusal("MC101", f"node '{name}' ({proto.op_type})", *CUTTING[proto.op_type])
        node = OnnxNode(name, proto.op_type, self.opset, inputs, outputs, attrs, self.graph)
        results = as_results(importer(node))
        for tensor in outputs[len(results) :]:
            if tensor and tensor in self.read:
                node.unsupported(f"its output '{tensor}' has no kernel", "remove the extra output")
        return results

    def _fold(self, proto: onnx.NodeProto) -> Sequence[Array] | None:
        """The outputs of a node that can be computed now: all its inputs, or all that it asks of
        them, are constants."""
        if proto.domain not in DEFAULT_DOMAINS or proto.op_type in KEPT:
            return None
        if proto.op_type == "Constant":
            return [constant_node(proto)]
        if proto.op_type in ("Shape", "Size") and proto.input[0] in self.values:
            shape = np.array(self.values[proto.input[0]].shape, dtype=np.int64)
            if proto.op_type == "Size":
                return [np.array(shape.prod())]
            attrs = {a.name: a.i for a in proto.attribute}
            return [shape[attrs.get("start", 0) : attrs.get("end", len(shape))]]
        given = [name for name in proto.input if name]
        if not given or any(name not in self.constants for name in given):
            return None
        return fold(proto, self.opset, [self.constants.get(name) for name in proto.input])

    def _value(self, tensor: str) -> Value | None:
        """The value of an ONNX tensor; constants become values when they are first read."""
        if tensor and tensor not in self.values:
            data = self.constants[tensor]
            if data.dtype.kind == "f":
                data = data.astype(np.float32)
            name = self.graph.fresh_name(tensor)
            value = Value(name, data.shape, str(data.dtype), data=data)
            self.values[tensor] = self.graph.add_value(value)
        return self.values[tensor] if tensor else None

    def _settled(self, value: Value) -> Value:
        """`value`, or the constant that it is: importers of weights want to see those that a
        pre-quantized model transposes after dequantizing them."""
        op = self.graph.producer(value)
        if isinstance(op, Transpose | Reshape) and self.graph.operands(op)[0].is_constant:
            (value,) = fold_move(self.graph, op)
        return value

    def _stand_in(self, tensor: str) -> None:
        """Something in the place of a refused node's output, so that the nodes after it can be
        looked at too."""
        if tensor in self.shapes:
            value = Value(self.graph.fresh_name(tensor), self.shapes[tensor])
            self.values[tensor] = self.graph.add_value(value)
        else:
            self.missing.add(tensor)


def _dtype(info: onnx.ValueInfoProto) -> str:
    kind = info.type.tensor_type.elem_type
    return str(helper.tensor_dtype_to_np_dtype(kind)) if kind else info.type.WhichOneof("value")


def _plain(attribute: object) -> object:
    """An attribute in Python's own types."""
    if isinstance(attribute, list):
        return [_plain(item) for item in attribute]
    return attribute.decode() if isinstance(attribute, bytes) else attribute


def _refusal(id: str, where: str, why: str, fix: str) -> UnsupportedModelError:
    return UnsupportedModelError(id, where, "cannot be compiled", why, fix)
