"""The forms in which the compiler may take a test: batch 1, weights constant, float or 8 bits.

The tests give weights as inputs, mean batches, or tensors without a batch, by axis 0, and use all
types. Each form is the test's own model with other ports.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mcucompile.ir import Array, Shape
from tests.conformance.cases import Case

PORT_TYPES = (np.float32, np.int8, np.uint8)
OPSET = 13  # the oldest in which all nodes that are added here are what they are


@dataclass(frozen=True)
class Form:
    """A model that the compiler may take.

    samples: per input, samples on axis 0. expected: per output, likewise.
    """

    model: onnx.ModelProto
    samples: tuple[Array, ...]
    expected: tuple[Array, ...]


def forms(case: Case) -> Iterator[Form]:
    """What to try, in this order, until the compiler takes one.

    The tensors as they are, behind a batch axis that a Reshape takes off; or axis 0 as the batch,
    where the test means that. In both, first all data as inputs, then only the first tensor and the
    others as constants.
    """
    counts = dict.fromkeys((_data_inputs(case), min(1, len(case.inputs))))
    for count in counts:
        yield _form(case, count, by_sample=False)
    for count in counts:
        if _has_batch(case, count):
            form = _form(case, count, by_sample=True)
            if _is_per_sample(form):
                yield form


def _data_inputs(case: Case) -> int:
    """How many inputs are data: those at the front that have the type of the first one."""
    types = [a.dtype for a in case.inputs]
    return next((i for i, kind in enumerate(types) if kind != types[0]), len(types))


def _has_batch(case: Case, count: int) -> bool:
    """Is axis 0 of the first `count` inputs and of all outputs of one length?"""
    if count == 0:
        return False
    sizes = {a.shape[:1] for a in (*case.inputs[:count], *case.outputs)}
    return len(sizes) == 1 and sizes != {()} and sizes != {(0,)}


def _is_per_sample(form: Form) -> bool:
    """Does the model compute the expected results sample by sample, as ONNX's reference says?"""
    evaluator = ReferenceEvaluator(form.model)
    names = [i.name for i in form.model.graph.input]
    for s in range(len(form.samples[0])):
        feed = {n: a[s : s + 1] for n, a in zip(names, form.samples, strict=True)}
        try:
            results = evaluator.run(None, feed)
        except Exception:  # the reference raises whatever its Python code runs into
            return False
        for result, want in zip(results, form.expected, strict=True):
            want = want[s : s + 1]
            if result.shape != want.shape or not np.allclose(result, want, rtol=1e-3, atol=1e-6):
                return False
    return True


def _form(case: Case, count: int, by_sample: bool) -> Form:
    """The model with its first `count` inputs as inputs, and the others as constants."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.ir_version = max(model.ir_version, 8)
    _raise_opset(model)
    graph = model.graph
    names = [i.name for i in graph.input]
    nodes, ports, samples = [], [], []
    for i, (name, array) in enumerate(zip(names, case.inputs, strict=True)):
        if i >= count:
            graph.initializer.append(numpy_helper.from_array(array, name))
            continue
        given = array if by_sample else array[None]
        samples.append(given if given.dtype in PORT_TYPES else given.astype(np.float32))
        ports.append(_port(f"in{i}", samples[-1]))
        nodes += _entry(f"in{i}", name, array, None if by_sample else array.shape)
    nodes += graph.node
    del graph.input[:], graph.node[:]
    graph.input.extend(ports)
    graph.node.extend(nodes)
    for info in graph.output:
        if by_sample:
            info.type.tensor_type.shape.dim[0].dim_value = 1
    expected = tuple(a if by_sample else a[None] for a in case.outputs)
    return Form(model, tuple(samples), expected)


def _raise_opset(model: onnx.ModelProto) -> None:
    """To OPSET, where the test's operators have not changed since."""
    (own,) = (o for o in model.opset_import if not o.domain)
    kinds = [node.op_type for node in model.graph.node]
    if own.version < OPSET and all(
        onnx.defs.get_schema(kind, OPSET).since_version <= own.version for kind in kinds
    ):
        own.version = OPSET


def _port(name: str, samples: Array) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(samples.dtype)
    return helper.make_tensor_value_info(name, kind, (1, *samples.shape[1:]))


def _entry(port: str, name: str, array: Array, shape: Shape | None) -> Sequence[onnx.NodeProto]:
    """The nodes from the input `port` to the tensor `name` of the test, `shape` if it changes."""
    nodes, last = [], port
    if array.dtype not in PORT_TYPES:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        nodes.append(helper.make_node("Cast", [last], [f"{port}.cast"], to=kind))
        last = f"{port}.cast"
    if shape is not None:
        wish = numpy_helper.from_array(np.array(shape, np.int64))
        nodes.append(helper.make_node("Constant", [], [f"{port}.shape"], value=wish))
        nodes.append(helper.make_node("Reshape", [last, f"{port}.shape"], [name]))
    else:
        nodes.append(helper.make_node("Identity", [last], [name]))
    return nodes
