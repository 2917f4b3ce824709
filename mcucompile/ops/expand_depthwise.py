"""ExpandDepthwise: a 1x1 convolution whose result is read by a depthwise one, and never stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mcucompile.ir import Array, Op, Shape, Value
from mcucompile.ops import gemm
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.conv_geometry import Geometry
from mcucompile.ops.depthwise import depthwise_call, has_own_kernel
from mcucompile.plan.program import Const, KernelCall, Operand, RowWindow, Target


@dataclass(frozen=True)
class ExpandDepthwise(Op):
    """depthwise(expand(x)), the numbers between the two rounded as where they are apart.

    Operands: x (N, H, W, C); weights (E, 1, 1, C) and bias (E,) of the 1x1 convolution; weights
    (E, k, k, 1) and bias (E,) of the depthwise one; result (N, OH, OW, E). between: the value
    (N, H, W, E) between them, which the graph does not have.
    """

    expand: Conv2d
    depthwise: Conv2d
    between: Value

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        if self.expand.result_shapes(operands[:3]) != (self.between.shape,):
            raise ValueError(f"what is between has not the shape {self.between.shape}")
        return self.depthwise.result_shapes(self._then(operands))

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return self.depthwise.evaluate((*self.expand.evaluate(operands[:3]), *operands[3:]))

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        between = self.expand.evaluate_int(operands[:3], (self.between,), arrays[:3])
        return self.depthwise.evaluate_int(self._then(operands), results, (*between, *arrays[3:]))

    def macs(self, operands: Sequence[Value], results: Sequence[Value]) -> int:
        first = self.expand.macs(operands[:3], (self.between,))
        return first + self.depthwise.macs(self._then(operands), results)

    def row_window(
        self, operand: int, operands: Sequence[Value], results: Sequence[Value]
    ) -> RowWindow | None:
        """A row of what is between is made of the same row of x."""
        if operand > 0:
            return None
        return self.depthwise.row_window(0, self._then(operands), results)

    def _then(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        """The operands of the depthwise convolution."""
        return (self.between, *operands[3:])

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        then = self._then(operands)
        expand = self.expand.layer(operands[:3], self.between)
        depthwise = self.depthwise.layer(then, results[0])
        g = self.depthwise.geometry(then, results[0])
        return expand_depthwise_call(self.name, expand, depthwise, g)


def expand_depthwise_call(
    name: str, expand: gemm.Layer, depthwise: gemm.Layer, g: Geometry
) -> KernelCall:
    """The kernel for one row of `depthwise`, of geometry `g`, that computes what it needs of the
    result of `expand`."""
    call = depthwise_call(depthwise, g, rows=1)
    cin = expand.x.shape[-1]
    order = gemm.word_order(cin) if cin % 4 == 0 else gemm.natural_order(cin)
    wide, rule = gemm.is_wide(expand), expand.rule
    params: dict[str, int | float | Const] = {
        **call.params,
        "cin": cin,
        "wide": int(wide),
        "expand_weights": Const("expand_weights", gemm.pack_pairs(expand, order)),
        "expand_shift": expand.shift,
        "expand_lo": rule.lo,
        "expand_hi": rule.hi,
    }
    plain = expand.is_plain and depthwise.is_plain and not wide
    return replace(
        call,
        op=name,
        kernel=f"mcuc_expand_depthwise_{g.kh}x{g.kw}s{g.sw}{'' if plain else '_any'}_s8",
        header="mcuc/expand_depthwise.h",
        params=params,
        reads=(Operand(expand.x.name, g.in_h, g.in_w * cin),),
        scratch=call.scratch + gemm.tile_bytes(g.in_w, cin),
        in_place=(),
        takes_top=False,
        why="1x1 and depthwise: no rows are kept between them, some are computed again",
        macs=expand.macs + depthwise.macs,
        row_macs=expand.macs // g.in_h,
    )


def is_fusable(g: Geometry) -> bool:
    """Is there a kernel that computes the depthwise convolution `g` after a 1x1?"""
    return has_own_kernel(g) and g.kh == g.kw
