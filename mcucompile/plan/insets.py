"""Values that are kept among the bytes of others, so that slices and joins move nothing.

A slice of a tensor can be read where it is, and what a Concat joins can be written where it belongs
in the result, if every kernel concerned takes rows that lie further apart than they are long, or if
the rows follow each other anyhow. Then the operator's call goes. Otherwise it stays and copies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from mcucompile.plan.program import Inset, KernelCall, Operand, Program, row_form

Insets = Mapping[str, Inset]


def set_in(program: Program, wishes: Mapping[str, Insets]) -> Program:
    """`program` without the calls of operators that need not move anything.

    wishes: operator -> {value: the inset it would be}; see Op.insets.
    """
    left = {op: wish for op, wish in wishes.items() if wish}
    before = len(left) + 1
    while len(left) < before:  # a slice of a slice has to go first
        before = len(left)
        for op, wish in list(left.items()):
            found = _without(program, op, wish)
            if found is not None:
                program = found
                left.pop(op)
    return program


def _without(program: Program, op: str, wish: Insets) -> Program | None:
    """`program` without the call of `op`; None if one of its values cannot be an inset."""
    (mover,) = (c for c in program.calls if c.op == op)
    joins = mover.writes[0].value not in wish
    if joins and list(wish) != [o.value for o in mover.reads]:  # some occur twice, or do not fit
        return None
    insets: dict[str, Inset] = dict(program.insets)
    for name, found in wish.items():
        if name in insets or not _is_free(program, name, joins):
            return None
        outer = insets.get(found.root) or _all_of(program, found.root)
        own = {n: i for n, i in insets.items() if i.root == name}
        try:
            insets |= {n: i.within(found).within(outer) for n, i in own.items()}
            insets[name] = found.within(outer)
        except ValueError:
            return None
    left = [_fitted(program, c, insets) for c in program.calls if c is not mover]
    calls = tuple(c for c in left if c is not None)
    return replace(program, calls=calls, insets=insets) if len(calls) == len(left) else None


def _all_of(program: Program, name: str) -> Inset:
    """The value `name`, which may be a view, as an inset of the value whose bytes it is."""
    size = math.prod(program.values[name].shape)
    return Inset(program.root(name), 0, 1, size, size)


def _is_free(program: Program, name: str, joins: bool) -> bool:
    """May the value `name` be anywhere? Not if others have to find it where it is."""
    fixed = {*program.outputs, *program.aliases, *program.aliases.values()}
    if joins:
        fixed |= {*program.inputs}
    value = program.values[name]
    return name not in fixed and not value.is_constant and value.dtype == "int8"


def _fitted(program: Program, call: KernelCall, insets: Insets) -> KernelCall | None:
    """`call` in a form that takes its operands and results where they are; None without one."""
    for form in (call, row_form(program, call)):
        operands = (*form.reads, *form.writes)
        if not form.folds and all(_takes(program, form, o, insets) for o in operands):
            return form
    return None


def _takes(program: Program, call: KernelCall, operand: Operand, insets: Insets) -> bool:
    """Can `call` take `operand` where it is?"""
    found = insets.get(operand.value)
    if found is None:
        return True
    if found.is_dense and found.offset % 4 == 0:
        return True
    unit = math.gcd(program.values[operand.value].shape[-1], 4)  # see Place
    same_rows = (operand.rows, operand.row_bytes) == (found.rows, found.row_bytes)
    return call.pitched and same_rows and found.offset % unit == found.pitch % unit == 0
