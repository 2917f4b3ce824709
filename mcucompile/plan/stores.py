"""What the planner places: stores, which are the bytes of one or several values, and who uses them.

Values share a store where one is a view of the other, and where a kernel writes its result in place
of an operand that nobody needs afterwards. A store is seen as rows, those of the call that writes
it, so that it can be kept whole or in a ring of a few rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from mcucompile.errors import InternalError, UnsupportedModelError, UsageError
from mcucompile.ir.storage import stored_bytes
from mcucompile.plan.program import KernelCall, Operand, Program, RowWindow, height, row_form

Heirs = Literal["last", "first"]

INPUT = -1  # "step" that writes the model's inputs: the caller, before step 0


@dataclass(frozen=True)
class Read:
    """Step `step` reads a store through `slot`. window: of rows of the store; None if any."""

    step: int
    slot: int
    window: RowWindow | None


@dataclass(eq=False)
class Store:
    """Bytes that live from step `first` to step `last`, both inclusive, as rows.

    values: those stored here, in order of production, without views. keeps: the store still matters
    after the last step. reads: all of them, in the order of the steps. owners: the steps that
    write it; all but the first do so in place. joined: its value is written in parts, insets, and
    all of its bytes are there from the first on.
    """

    index: int
    rows: int
    row_bytes: int
    first: int
    last: int
    values: list[str]
    keeps: bool = False
    joined: bool = False
    reads: list[Read] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.rows * self.row_bytes


@dataclass(frozen=True)
class Task:
    """One kernel call as the planner sees it.

    whole: the call on whole tensors. by_rows: the same with the rows of its result. reads: per
    operand its store (None for a constant), and the step that writes the value it reads (INPUT for
    the model's inputs). writes: the stores of its results. heir: the read slot whose store the
    result takes over in place, or None. insets: slots of operands that are insets of their store.
    """

    step: int
    whole: KernelCall
    by_rows: KernelCall
    windows: tuple[RowWindow | None, ...]
    reads: tuple[Store | None, ...]
    producers: tuple[int, ...]
    writes: tuple[Store, ...]
    heir: int | None
    insets: frozenset[int] = frozenset()

    @cached_property
    def touched(self) -> tuple[Store, ...]:
        """The stores that it reads or writes, each once."""
        stores = [s for s in (*self.reads, *self.writes) if s is not None]
        return tuple({s.index: s for s in stores}.values())

    @cached_property
    def rows(self) -> int:
        """Rows of the result, or of operand 0 where the kernel folds those."""
        return (self.by_rows.reads if self.by_rows.folds else self.by_rows.writes)[0].rows

    @cached_property
    def is_steppable(self) -> bool:
        """Can it be computed in several calls?"""
        return len(self.writes) == 1 and self.rows > 1 and any(self.windows)


@dataclass(frozen=True)
class Network:
    """A program as tasks and stores."""

    program: Program
    tasks: tuple[Task, ...]
    stores: tuple[Store, ...]
    store_of: dict[str, Store]  # by the name of a value that is no view
    pushed: Store | None = None  # the input whose rows arrive one by one


def build_network(
    program: Program,
    keep_input: bool = False,
    stream_input: bool = False,
    heirs: Heirs = "last",
) -> Network:
    """The stores and tasks of `program`.

    keep_input: the bytes of the model's inputs are never used for anything else.
    stream_input: the rows of the only input arrive one by one when they are asked for.
    heirs: of several operands whose bytes a result may take, the one produced last or first.
    Raises UnsupportedModelError MC105 if a model output is a constant; UsageError MC033 if the
    input cannot arrive in rows.
    """
    network = _Builder(program, keep_input, heirs).build()
    return _with_pushed_input(network) if stream_input else network


def _with_pushed_input(network: Network) -> Network:
    """`network` with an input that exists only from the first step on, row by row."""
    names = list(dict.fromkeys(map(network.program.root, network.program.inputs)))
    store = network.store_of[names[0]]
    cut = any(i.root == names[0] for i in network.program.insets.values())
    reads = [r for r in store.reads if r.window is not None]
    if cut or len(names) > 1 or store.rows == 1 or len(reads) < len(store.reads) or store.keeps:
        name = network.program.values[names[0]].onnx_name or names[0]
        raise UsageError(
            "MC033",
            f"input '{name}'",
            "cannot be taken row by row",
            "that needs a single input, an image in NHWC layout, whose readers work row by row",
            "leave --stream-input out, or add --input-layout nhwc for an image in NCHW layout",
        )
    store.first = 0
    return replace(network, pushed=store)


class _Builder:
    def __init__(self, program: Program, keep_input: bool, heirs: Heirs) -> None:
        self.program = program
        self.keep_input = keep_input
        self.heirs = heirs
        self.end = max(len(program.calls) - 1, 0)
        self.forms = [row_form(program, call) for call in program.calls]
        self.stores: list[Store] = []
        self.store_of: dict[str, Store] = {}
        self.writer: dict[str, int] = {}
        self.last_read = dict(self._last_reads())
        self.outputs = {program.root(name) for name in program.outputs}

    def build(self) -> Network:
        for name in dict.fromkeys(map(self.program.root, self.program.inputs)):
            self._new_store(name, INPUT, *self._input_rows(name))
            self.store_of[name].keeps = self.keep_input
        tasks = [self._task(i) for i in range(len(self.forms))]
        for name in self.program.outputs:
            self._output_store(name)
        for store in self.stores:
            store.last = self.end if store.keeps else max(store.last, 0)
        return Network(self.program, tuple(tasks), tuple(self.stores), self.store_of)

    def _last_reads(self) -> Iterator[tuple[str, int]]:
        for step, call in enumerate(self.program.calls):
            for operand in call.reads:
                yield self.program.root(operand.value), step

    def _input_rows(self, name: str) -> tuple[int, int]:
        """Rows of a model input: those in which its first windowed reader sees it."""
        for call in self.forms:
            for operand, window in zip(call.reads, call.windows, strict=True):
                if window is not None and self.program.root(operand.value) == name:
                    if operand.value in self.program.insets:
                        return self._image_rows(name)
                    return operand.rows, operand.row_bytes
        return 1, stored_bytes(self.program.values[name])

    def _image_rows(self, name: str) -> tuple[int, int]:
        """Rows of a value of which insets are read or written."""
        rows = height(self.program.values[name].shape)
        return rows, stored_bytes(self.program.values[name]) // rows

    def _new_store(self, name: str, step: int, rows: int, row_bytes: int) -> Store:
        store = Store(len(self.stores), rows, row_bytes, step, step, [name])
        self.stores.append(store)
        self._own(store, name, step)
        return store

    def _own(self, store: Store, name: str, step: int) -> None:
        if name in self.store_of or name in self.program.aliases:
            raise InternalError(f"lowering: step {step} writes {name}, which exists")
        self.store_of[name] = store
        self.writer[name] = step
        if step != INPUT:
            store.owners.append(step)

    def _task(self, step: int) -> Task:
        whole, form = self.program.calls[step], self.forms[step]
        roots = [self.program.root(o.value) for o in form.reads]
        reads = tuple(self._read_store(whole, root) for root in roots)
        leads = tuple(self._lead(o, s) for o, s in zip(form.reads, reads, strict=True))
        windows = tuple(
            None if lead is None else form.window(slot) for slot, lead in enumerate(leads)
        )
        for slot, (store, window) in enumerate(zip(reads, windows, strict=True)):
            if store is not None:
                lead = leads[slot]
                if window is not None and lead:
                    window = replace(window, top=window.top - lead)
                store.reads.append(Read(step, slot, window))
                store.last = max(store.last, step)
        heir = self._heir(step, reads)
        writes = []
        for slot, operand in enumerate(form.writes):
            if heir is not None and slot == 0:
                store = reads[heir]
                assert store is not None
                self._own(store, operand.value, step)
                store.values.append(operand.value)
                store.last = max(store.last, step)
            elif operand.value in self.program.insets:
                store = self._joined_store(self.program.root(operand.value), step)
            else:
                store = self._new_store(operand.value, step, operand.rows, operand.row_bytes)
            writes.append(store)
        producers = tuple(self.writer.get(root, INPUT) for root in roots)
        insets = frozenset(s for s, o in enumerate(form.reads) if o.value in self.program.insets)
        return Task(step, whole, form, windows, reads, producers, tuple(writes), heir, insets)

    def _joined_store(self, name: str, step: int) -> Store:
        """The store of value `name`, of which `step` writes a part."""
        if name not in self.store_of:
            store = self._new_store(name, step, *self._image_rows(name))
            store.joined = True
        self.writer[name] = step
        self.store_of[name].last = max(self.store_of[name].last, step)
        return self.store_of[name]

    def _lead(self, operand: Operand, store: Store | None) -> int | None:
        """The row of `store` that is the first of `operand`; None if their rows differ."""
        if store is None:
            return None
        found = self.program.insets.get(operand.value)
        if found is None:
            return 0 if _same_rows(operand, store) else None
        lead, at = divmod(found.offset, store.row_bytes)
        same = (operand.rows, operand.row_bytes) == (found.rows, found.row_bytes)
        inside = at + operand.row_bytes <= store.row_bytes
        return lead if same and inside and found.pitch == store.row_bytes else None

    def _read_store(self, call: KernelCall, root: str) -> Store | None:
        """The store behind an operand; None for a constant."""
        if self.program.values[root].is_constant:
            return None
        if root not in self.store_of:
            raise InternalError(f"lowering: {call.op} reads {root} before it is written")
        return self.store_of[root]

    def _heir(self, step: int, reads: Sequence[Store | None]) -> int | None:
        """The slot whose bytes the result of `step` takes, row by row, if there is one.

        Its value must be dead afterwards. Of the two branches of a residual connection the main one
        was produced last: row by row, its bytes are on top of what has to wait. In those of the
        other one the sums of all blocks stay in the same place, whatever lies beside it.
        """
        form = self.forms[step]
        if len(form.writes) != 1 or form.writes[0].value in self.program.insets:
            return None
        found = [
            slot
            for slot, operand in enumerate(form.reads)
            if self._may_take(step, slot)
            and (form.writes[0].rows == 1 or form.window(slot) == RowWindow())
            and _same_rows(form.writes[0], reads[slot])
            and operand.size == form.writes[0].size
        ]
        choose = max if self.heirs == "last" else min
        writers = {s: self.writer[self.program.root(form.reads[s].value)] for s in found}
        return choose(found, key=writers.__getitem__, default=None)

    def _may_take(self, step: int, slot: int) -> bool:
        """May the result of `step` overwrite what it reads through `slot`?"""
        form = self.forms[step]
        root = self.program.root(form.reads[slot].value)
        store = self.store_of.get(root)
        others = [s for s, o in enumerate(form.reads) if self.program.root(o.value) == root]
        return (
            store is not None
            and self.last_read[root] == step
            and root not in self.outputs
            and not store.keeps
            and form.reads[slot].value not in self.program.insets
            and store.values[-1] == root
            and all((s, 0) in form.in_place for s in others)
        )

    def _output_store(self, name: str) -> None:
        root = self.program.root(name)
        if self.program.values[root].is_constant:
            raise UnsupportedModelError(
                "MC105",
                f"output '{self.program.values[name].onnx_name or name}'",
                "cannot be compiled",
                "it is a constant: it does not depend on the model's input",
                "remove this output from the model",
            )
        if root not in self.store_of:
            raise InternalError(f"lowering: nothing writes the output {name}")
        self.store_of[root].keeps = True


def _same_rows(operand: Operand, store: Store | None) -> bool:
    """Does `operand` have the rows of `store`?"""
    return store is not None and (operand.rows, operand.row_bytes) == (store.rows, store.row_bytes)
