"""The graph: bipartite, values and operators, wired by networkx edges whose key is the slot.

Meaning lives in frozen payloads, wiring lives only in edges, so `Add(x, x)` and operand order are
safe and each fact has one home. This is the only file that imports networkx.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar

import networkx as nx

from mcucompile.ir.op import Op
from mcucompile.ir.types import Array, Port, Value

OpT = TypeVar("OpT", bound=Op)


class Graph:
    """A directed acyclic graph of operators over values.

    inputs, outputs: value names. input_ports, output_ports: the same in the words of the ONNX
    file, in the same order.
    """

    def __init__(self, name: str = "model") -> None:
        self.name = name
        self.inputs: tuple[str, ...] = ()
        self.outputs: tuple[str, ...] = ()
        self.input_ports: tuple[Port, ...] = ()
        self.output_ports: tuple[Port, ...] = ()
        self._nx: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        self._order = count()
        self._sorted: tuple[str, ...] | None = None  # operators' nodes; None after a change

    # -- building ---------------------------------------------------------------------------

    def add_value(self, value: Value) -> Value:
        """Add `value`; raises ValueError if its name is taken."""
        self._add("v:" + value.name, value)
        return value

    def add_op(self, op: Op, operands: Sequence[str], results: Sequence[str]) -> Op:
        """Add `op` between existing values, given by name in slot order."""
        self._add("o:" + op.name, op)
        self._sorted = None
        for slot, name in enumerate(operands):
            self._nx.add_edge("v:" + name, "o:" + op.name, key=slot)
        for slot, name in enumerate(results):
            self._nx.add_edge("o:" + op.name, "v:" + name, key=slot)
        return op

    def append(
        self, op: Op, operands: Sequence[Value], names: Sequence[str] = (), onnx: bool = False
    ) -> tuple[Value, ...]:
        """Add `op` and fresh float32 results shaped by its shape rule; returns the results.

        names: names for the results (made up from the op's name where missing).
        onnx: the results hold the numbers of the ONNX tensors called `names`.
        """
        shapes = op.result_shapes(operands)
        results = []
        for i, shape in enumerate(shapes):
            wish = names[i] if i < len(names) else op.name
            value = Value(self.fresh_name(wish), shape, onnx_name=wish if onnx else "")
            results.append(self.add_value(value))
        self.add_op(op, [v.name for v in operands], [v.name for v in results])
        return tuple(results)

    def constant(self, name: str, data: Array) -> Value:
        """Add a float32 constant holding `data` under a fresh name like `name`."""
        data = data.astype("float32")
        return self.add_value(Value(self.fresh_name(name), data.shape, data=data))

    def fresh_name(self, wish: str) -> str:
        """`wish`, or `wish` with a number, so that neither a value nor an op has the name."""
        name, n = wish, 1
        while "v:" + name in self._nx or "o:" + name in self._nx:
            name, n = f"{wish}_{n}", n + 1
        return name

    def copy(self) -> Graph:
        """A graph that can be changed without changing this one; payloads are shared."""
        new = Graph(self.name)
        new.inputs, new.outputs = self.inputs, self.outputs
        new.input_ports, new.output_ports = self.input_ports, self.output_ports
        new._nx = self._nx.copy()
        new._order = count(self._nx.number_of_nodes() + next(self._order))
        new._sorted = self._sorted
        return new

    def _add(self, node: str, payload: Value | Op) -> None:
        if node in self._nx:
            raise ValueError(f"{node[2:]} is already in the graph")
        self._nx.add_node(node, payload=payload, order=next(self._order))

    # -- reading ----------------------------------------------------------------------------

    def value(self, name: str) -> Value:
        payload = self._nx.nodes["v:" + name]["payload"]
        assert isinstance(payload, Value)
        return payload

    def has_value(self, name: str) -> bool:
        return "v:" + name in self._nx

    def values(self) -> list[Value]:
        """All values, in order of insertion."""
        payloads = [d["payload"] for _, d in self._nx.nodes(data=True)]
        return [p for p in payloads if isinstance(p, Value)]

    def ops(self) -> list[Op]:
        """All operators, topologically sorted; ties in order of insertion."""
        known = self._nx.nodes
        if self._sorted is None:
            nodes = nx.lexicographical_topological_sort(self._nx, key=lambda n: known[n]["order"])
            self._sorted = tuple(n for n in nodes if n.startswith("o:"))
        return [known[n]["payload"] for n in self._sorted]

    def ops_of(self, *kinds: type[OpT]) -> Iterator[OpT]:
        """The operators of the given classes, in topological order; safe while the graph changes:
        erased operators are left out, replaced ones come as they are by then."""
        for op in self.ops():
            now = self._nx.nodes.get("o:" + op.name, {}).get("payload")
            if isinstance(now, kinds):
                yield now

    def operands(self, op: Op) -> tuple[Value, ...]:
        return self._wired(self._nx.pred, op)

    def results(self, op: Op) -> tuple[Value, ...]:
        return self._wired(self._nx.succ, op)

    def _wired(self, neighbours: Mapping[str, Mapping[str, Any]], op: Op) -> tuple[Value, ...]:
        """The values beside `op`, once per slot, in the order of the slots; none of an op that is
        not in the graph (any more)."""
        node, known = "o:" + op.name, self._nx.nodes
        if node not in self._nx:
            return ()
        slots = sorted((slot, v) for v, edges in neighbours[node].items() for slot in edges)
        return tuple(known[v]["payload"] for _, v in slots)

    def result(self, op: Op) -> Value:
        """The only result of `op`."""
        (value,) = self.results(op)
        return value

    def producer(self, value: Value) -> Op | None:
        """The operator that defines `value`; None for constants and graph inputs."""
        for node in self._nx.predecessors("v:" + value.name):
            op = self._nx.nodes[node]["payload"]
            assert isinstance(op, Op)
            return op
        return None

    def users(self, value: Value) -> list[Op]:
        """The operators that read `value`, once per operand slot."""
        edges = self._nx.out_edges("v:" + value.name, keys=True)
        return [self._nx.nodes[op]["payload"] for _, op, _ in edges]

    def only_user(self, value: Value) -> Op | None:
        """The operator that reads `value`, if it is the only one and value is no graph output."""
        users = self.users(value)
        return users[0] if len(users) == 1 and value.name not in self.outputs else None

    @property
    def is_stateful(self) -> bool:
        """Does an operator keep a state from one run to the next?"""
        return any(op.is_stateful for op in self.ops())

    def only_sign_matters(self, value: Value) -> bool:
        """Do the operators that read `value` want to know whether it is negative, and no more?"""
        users = self.users(value)
        read = bool(users) and value.name not in self.outputs
        return read and all(op.takes_sign for op in users)

    # -- what the verifier asks -------------------------------------------------------------

    def is_acyclic(self) -> bool:
        return self._sorted is not None or bool(nx.is_directed_acyclic_graph(self._nx))

    def definitions(self, value: Value) -> int:
        """How many result slots define `value`."""
        return int(self._nx.in_degree("v:" + value.name))

    def slots(self, op: Op) -> tuple[list[int], list[int]]:
        """The operand and the result slots of `op` that are wired, in order."""
        node = "o:" + op.name
        into = sorted(key for _, _, key in self._nx.in_edges(node, keys=True))
        out = sorted(key for _, _, key in self._nx.out_edges(node, keys=True))
        return into, out

    # -- rewriting --------------------------------------------------------------------------

    def set_value(self, value: Value) -> Value:
        """Replace the payload of the value of the same name; the wiring stays."""
        self._nx.nodes["v:" + value.name]["payload"] = value
        return value

    def set_op(self, op: Op) -> None:
        """Replace the payload of the operator of the same name; the wiring stays."""
        if "o:" + op.name not in self._nx:
            raise ValueError(f"no operator {op.name}")
        self._nx.nodes["o:" + op.name]["payload"] = op

    def set_operand(self, op: Op, slot: int, value: Value) -> None:
        """Make operand `slot` of `op` a use of `value`."""
        self._sorted = None
        node = "o:" + op.name
        for old, _, key in list(self._nx.in_edges(node, keys=True)):
            if key == slot:
                self._nx.remove_edge(old, node, key)
        self._nx.add_edge("v:" + value.name, node, key=slot)

    def set_operands(self, op: Op, values: Sequence[Value]) -> None:
        """Make `values`, in slot order, all the operands of `op`."""
        self._sorted = None
        node = "o:" + op.name
        self._nx.remove_edges_from(list(self._nx.in_edges(node, keys=True)))
        for slot, value in enumerate(values):
            self._nx.add_edge("v:" + value.name, node, key=slot)

    def redirect(self, old: Value, new: Value) -> None:
        """Make every use of `old` a use of `new`, as graph output too."""
        self._sorted = None
        for _, op, slot in list(self._nx.out_edges("v:" + old.name, keys=True)):
            self._nx.remove_edge("v:" + old.name, op, slot)
            self._nx.add_edge("v:" + new.name, op, key=slot)
        self.outputs = tuple(new.name if o == old.name else o for o in self.outputs)

    def bypass(self, op: Op) -> None:
        """Erase `op` (one result) and let its first operand take the place of its result."""
        self.redirect(self.result(op), self.operands(op)[0])
        self.erase_op(op)

    def insert_after(self, value: Value, op: Op) -> Value:
        """Add `op` after `value`, and let all who used `value` use its result, which keeps what is
        known of `value`; returns the result."""
        (result,) = self.append(op, [value], [op.name])
        result = self.set_value(replace(value, name=result.name, shape=result.shape))
        self.redirect(value, result)
        self.set_operand(op, 0, value)
        return result

    def merge_into(self, op: Op, user: Op) -> None:
        """Erase `user`, the only reader of `op`'s result, and let `op` define its result."""
        old, new = self.result(op), self.result(user)
        if self.only_user(old) is not user:
            raise ValueError(f"{old.name} has users besides {user.name}")
        self._sorted = None
        self._nx.remove_nodes_from(["o:" + user.name, "v:" + old.name])
        self._nx.add_edge("o:" + op.name, "v:" + new.name, key=0)

    def erase_op(self, op: Op) -> None:
        """Remove `op` and its results; raises ValueError if one of them is still used."""
        self._sorted = None
        for v in self.results(op):
            if self.users(v) or v.name in self.outputs:
                raise ValueError(f"{op.name} defines {v.name}, which is still used")
            self._nx.remove_node("v:" + v.name)
        self._nx.remove_node("o:" + op.name)

    def erase_value(self, value: Value) -> None:
        """Remove an unused constant or value without producer."""
        self._nx.remove_node("v:" + value.name)

    def rename_values(self, names: Mapping[str, str]) -> None:
        """Rename values; `names` maps old to new and must stay free of collisions."""
        self._sorted = None
        renamed = [replace(self.value(old), name=new) for old, new in names.items()]
        self._nx = nx.relabel_nodes(
            self._nx, {"v:" + old: "v:" + new for old, new in names.items()}, copy=True
        )
        for value in renamed:
            self.set_value(value)
        self.inputs = tuple(names.get(n, n) for n in self.inputs)
        self.outputs = tuple(names.get(n, n) for n in self.outputs)
