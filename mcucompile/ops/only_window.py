"""Global pools as pools of windows: the whole image is the only one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from mcucompile.ir import Array, Op, Shape, Value
from mcucompile.plan.program import KernelCall, Target


class OnlyWindow(Op):
    """Computes in integers what `window` does."""

    @abstractmethod
    def window(self, image: Shape) -> Op:
        """The pool with the window of an `image`, NHWC."""

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return self.window(operands[0].shape).evaluate_int(operands, results, arrays)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        return self.window(operands[0].shape).lower(operands, results, target)
