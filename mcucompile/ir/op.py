"""The contract every operator fulfils. The families live in `mcucompile/ops`, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from mcucompile.errors import UnsupportedModelError
from mcucompile.ir.channels import ChannelRules
from mcucompile.ir.types import Array, Box, QParams, RequantRule, Shape, Value

if TYPE_CHECKING:
    from mcucompile.export.writer import NodeWriter
    from mcucompile.plan.program import Inset, KernelCall, RowWindow, Target


class QuantRule(Enum):
    """Where the quantization parameters of an operator's result come from."""

    CALIBRATED = "from the observed range of the result"
    SAME = "those of the first operand: the operator moves or selects stored numbers"
    FIXED = "fixed by the operator's range (softmax, sigmoid, tanh)"


@dataclass(frozen=True)
class Op(ABC):
    """An operator: typed attributes only. Wiring lives in the graph's edges.

    name: unique in its graph.
    origin: names of the ONNX nodes it came from; errors, C comments and the report use them.
    rounding: of the integers, where the operator `rounds_as_tflite`, too.
    """

    name: str
    origin: tuple[str, ...]
    rounding: RequantRule = field(default="once", kw_only=True, repr=False)

    quant_rule: ClassVar[QuantRule] = QuantRule.CALIBRATED
    is_view: ClassVar[bool] = False  # the result is the operand's bytes under another shape
    rounds_as_tflite: ClassVar[bool] = False
    is_rowwise: ClassVar[bool] = False  # a row of the result depends on the same row of operands
    is_pixelwise: ClassVar[bool] = False  # and a pixel on the same pixel
    takes_int16: ClassVar[bool] = False  # activations may be int16; of views they may, too
    takes_float: ClassVar[bool] = False  # activations may be float32; of views they may, too
    takes_sign: ClassVar[bool] = False  # the result depends on nothing but the operand's sign

    @property
    def kind(self) -> str:
        """The operator's name for people, e.g. "Conv2d"."""
        return type(self).__name__

    @property
    def is_stateful(self) -> bool:
        """Does it keep a state from one run to the next?

        Then samples on axis 0 of a reference run are runs that follow each other.
        """
        return False

    @abstractmethod
    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        """The shape rule. Raises ValueError if the operands do not fit the operator."""

    @abstractmethod
    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        """Float reference: float32 arrays in and out. Axis 0 of activations may be any batch."""

    def internals(self, operands: Sequence[Array]) -> dict[str, Array]:
        """What calibration has to see besides the results: float arrays by name.

        "result": numbers that are stored like result 0. The ranges of the others come back by
        `with_ranges`.
        """
        return {}

    def with_ranges(self, ranges: Mapping[str, tuple[float, float]]) -> Op:
        """This operator, which knows the `ranges` of (some of) its internals."""
        return self

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        """Integer reference, which the C code equals bit for bit.

        operands, results: quantized values (qparams set). arrays: their int8 / int32 contents
        (constants included); axis 0 of activations may be any batch. Returns int8 arrays.
        """
        if self.quant_rule is QuantRule.SAME:  # moves and selections mean the same on integers
            return tuple(a.astype(arrays[0].dtype) for a in self.evaluate(arrays))
        raise TypeError(f"{self.kind} has no integer reference")

    def fixed_qparams(self) -> QParams:
        """The result's qparams under QuantRule.FIXED."""
        raise TypeError(f"{self.kind} does not fix the qparams of its result")

    def result_dtype(self, operands: Sequence[Value]) -> str:
        """How the result is stored once quantized: "int8", or "bit" (see storage.py)."""
        return "int8"

    def quantize_constants(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        """The operands with every float constant replaced by an integer one.

        operands: activations have qparams. The default is int8 per tensor, asymmetric.
        """
        from mcucompile.quant.constants import quantize_per_tensor

        return tuple(
            quantize_per_tensor(v) if v.is_constant and v.qparams is None else v for v in operands
        )

    def macs(self, operands: Sequence[Value], results: Sequence[Value]) -> int:
        """Multiply-accumulates of one inference; 0 for operators that are not sums of products."""
        return 0

    def row_window(
        self, operand: int, operands: Sequence[Value], results: Sequence[Value]
    ) -> RowWindow | None:
        """The rows (axis 1 of rank 4) of `operand` that a row of the result is computed from.

        None: it may be all of them.
        """
        from mcucompile.plan.program import RowWindow

        shape, result = operands[operand].shape, results[0].shape
        same = len(shape) == len(result) == 4 and shape[1] == result[1]
        return RowWindow() if self.is_rowwise and same else None

    def patch(
        self, box: Box, operands: Sequence[Value], results: Sequence[Value]
    ) -> tuple[Op, tuple[Box | None, ...]] | None:
        """The operator that computes the pixels `box` of the result, (N, H, W, C), in the same
        integers, and which pixels of each operand it needs; None for one that it needs as it is.

        None if there is no such operator.
        """
        image = results[0].shape
        if not self.is_pixelwise or len(image) != 4:
            return None
        boxes: list[Box | None] = []
        for v in operands:
            same = len(v.shape) == 4 and v.shape[1:3] == image[1:3]
            repeats = v.is_constant or len(v.shape) != 4 or v.shape[1:3] == (1, 1)
            if not same and not repeats:
                return None
            boxes.append(box if same else None)
        return self, tuple(boxes)

    def insets(self, operands: Sequence[Value], results: Sequence[Value]) -> Mapping[str, Inset]:
        """For an operator that only moves bytes: where its result is in its operand, or its
        operands in its result. Where values are stored like that it has nothing to do."""
        return {}

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        """How channels pass through the operator on quantized values. By default, none may go."""
        return ChannelRules(self, tuple(operands), tuple(results))

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        """Write the operator on real numbers to `out`; returns the tensor of its only result.

        Raises UnsupportedModelError MC109 if ONNX cannot say it between quantized tensors.
        """
        raise self.not_in_onnx("there are no tensors for the integers that it keeps inside")

    def not_in_onnx(self, why: str) -> UnsupportedModelError:
        """The error for an operator that has no form in QDQ ONNX."""
        return UnsupportedModelError(
            "MC109",
            f"node '{(*self.origin, self.name)[0]}' ({self.kind})",
            "cannot be written as QDQ ONNX",
            why,
            "compile the model itself; `mcucompile validate` compares it with onnxruntime",
        )

    @abstractmethod
    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        """Kernel choice, weight packing and scratch size, decided together."""
