"""Channels that change no output go, and every output keeps its integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from mcucompile.ir import Array, Graph, Op, Port, QParams, Value
from mcucompile.ir.dump import dump
from mcucompile.ops.add import Add
from mcucompile.ops.concat import Concat
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.gemm import Layer
from mcucompile.ops.global_pool import GlobalAveragePool
from mcucompile.ops.mul import Mul
from mcucompile.ops.pool import AveragePool, MaxPool
from mcucompile.ops.resampling import Taps
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.resize import Resize
from mcucompile.ops.slice import Slice
from mcucompile.ops.softmax import Softmax
from mcucompile.ops.transpose import Transpose
from mcucompile.ops.unary import Unary
from mcucompile.passes.prune_channels import prune_channels
from mcucompile.reference.integer_interpreter import run_int
from tests.support.ckit import check_graphs, random_inputs

Q = QParams((0.05,), -128)  # of what ends in a Relu
LIVE = 5000  # a bias with which any weight makes a difference


class Net:
    """Builds a quantized graph of values named by the caller."""

    def __init__(self, *shape: int) -> None:
        self.graph = Graph("net")
        self.graph.add_value(Value("x", shape, "int8", Q))

    def __call__(self, kind: type[Op], name: str, *operands: str, q: QParams = Q, **fields) -> None:
        op = kind(f"op_{name}", (name,), **fields)
        (result,) = self.graph.append(op, [self.graph.value(o) for o in operands], [name])
        self.graph.set_value(replace(result, dtype="int8", qparams=q))

    def layer(
        self,
        name: str,
        x: str,
        w: Array,
        bias: Sequence[int] = (),
        scale: Sequence[float] = (),
        **fields,
    ) -> None:
        """A Dense layer of weights (N, K), or a convolution of weights (O, kh, kw, I)."""
        count = len(w)
        scales = tuple(scale) or (0.01,) * count
        b = np.array(bias or [LIVE] * count, dtype=np.int32)
        b_scales = tuple(s * self.graph.value(x).q.scale[0] for s in scales)
        weights = Value(f"{name}_w", w.shape, "int8", QParams(scales, 0, 0), w.astype(np.int8))
        self.graph.add_value(weights)
        self.graph.add_value(Value(f"{name}_b", b.shape, "int32", QParams(b_scales, 0, 0), b))
        kind = Dense if w.ndim == 2 else Conv2d
        self(kind, name, x, f"{name}_w", f"{name}_b", **fields)

    def graph_of(self, *outputs: str) -> Graph:
        self.graph.inputs, self.graph.outputs = ("x",), outputs
        ports = [Port(n, self.graph.value(n).shape, "int8") for n in ("x", *outputs)]
        self.graph.input_ports, self.graph.output_ports = tuple(ports[:1]), tuple(ports[1:])
        return self.graph


def weights(*shape: int, without: Sequence[int] = (), unread: Sequence[int] = ()) -> Array:
    """Random weights, none of them 0 but for the results `without` and the inputs `unread`."""
    rng = np.random.default_rng(sum(shape))
    w = rng.integers(1, 100, shape) * rng.choice([-1, 1], shape)
    w[list(without)] = 0
    w[..., list(unread)] = 0
    return w


def pruned(graph: Graph) -> Graph:
    """`graph` without its dead channels, once all that must hold has been checked."""
    before = dump(graph)
    after = prune_channels(graph)
    assert dump(graph) == before
    inputs = random_inputs(graph, 8, np.random.default_rng(0))
    for want, got in zip(run_int(graph, inputs), run_int(after, inputs), strict=True):
        np.testing.assert_array_equal(got, want)
    assert dump(prune_channels(after)) == dump(after)
    return after


def shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {v.name: v.shape for v in graph.values() if not v.is_constant}


# -- what is constant -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("without", "bias", "number"),
    [
        ([1], 2000, -128 + 20),  # no weights
        ([], -(2**20), -128),  # clamped by the Relu whatever the input is
        ([], 2**20, 127),  # saturated
    ],
)
def test_constant_channel_becomes_part_of_the_bias(
    without: list[int], bias: int, number: int
) -> None:
    net = Net(1, 4, 4, 3)
    net.layer("a", "x", weights(2, 3, 3, 3, without=without), [LIVE, bias])
    w = weights(5, 1, 1, 2)
    net.layer("y", "a", w)
    graph = pruned(net.graph_of("y"))
    assert shapes(graph) == {"x": (1, 4, 4, 3), "a": (1, 2, 2, 1), "y": (1, 2, 2, 5)}
    assert graph.value("y_b").data.tolist() == (LIVE + w[:, 0, 0, 1] * (number + 128)).tolist()


def test_padding_differs_from_a_constant_unless_that_is_the_zero_point() -> None:
    """Channel 0 is live, 1 is the zero-point, 2 another number: a frame of which gets around it."""
    net = Net(1, 4, 4, 3)
    net.layer("a", "x", weights(3, 1, 1, 3, without=[1, 2]), [LIVE, -1000, 3000])
    net.layer("y", "a", weights(5, 3, 3, 3), pads=(1, 1, 1, 1))
    graph = pruned(net.graph_of("y"))
    assert shapes(graph)["a"] == (1, 4, 4, 2)
    assert graph.value("y_w").shape == (5, 3, 3, 2)


def test_border_of_a_depthwise_layer() -> None:
    """A constant inside is another one at the border (channel 1), unless both are clamped (2) or
    it is the zero-point (3)."""
    net = Net(1, 5, 5, 4)
    bias = [LIVE, 3000, 3000, -1000, LIVE, LIVE]
    net.layer("a", "x", weights(6, 1, 1, 4, without=[1, 2, 3]), bias)
    w = np.full((6, 3, 3, 1), 5)
    w[2] = -5
    net.layer("d", "a", w, [LIVE, LIVE, 0, LIVE, LIVE, LIVE], pads=(1, 1, 1, 1), groups=6)
    net.layer("y", "d", weights(2, 1, 1, 6))
    graph = pruned(net.graph_of("y"))
    assert [shapes(graph)[name][-1] for name in "ad"] == [4, 4]
    assert [op.groups for op in graph.ops_of(Conv2d)] == [1, 4, 1]
    assert graph.value("d_w").data[1].tolist() == w[1].tolist()


def test_constant_that_must_stay_needs_no_input() -> None:
    """Channel 1 of `a` is read by a sum, but nothing makes it vary: channels 1 and 2 of `c` go."""
    net = Net(1, 3, 3, 4)
    net.layer("c", "x", weights(3, 1, 1, 4))
    w = weights(2, 1, 1, 3)
    w[0, ..., 1:] = 0
    net.layer("a", "c", w, [LIVE, -(2**20)])
    net.layer("b", "x", weights(2, 1, 1, 4))
    net(Add, "y", "a", "b")
    graph = pruned(net.graph_of("y"))
    assert shapes(graph)["c"] == (1, 3, 3, 1)
    assert shapes(graph)["a"] == (1, 3, 3, 2)
    assert not graph.value("a_w").data[1].any()


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("kind", [Add, Mul])
def test_operand_that_is_constant_as_a_whole(kind: type[Op], swap: bool) -> None:
    net = Net(1, 3, 3, 2)
    net.layer("a", "x", weights(2, 1, 1, 2, without=[0, 1]), [700, 2900])
    net(kind, "y", *(("x", "a") if swap else ("a", "x")))
    graph = pruned(net.graph_of("y"))
    assert [op.kind for op in graph.ops()] == [kind.__name__]
    (constant,) = (v for v in graph.values() if v.is_constant)
    assert constant.shape == (1, 1, 1, 2)
    check_graphs([graph])


def test_constant_image_that_gives_a_sum_its_shape_stays() -> None:
    net = Net(1, 3, 3, 2)
    net.layer("a", "x", weights(2, 1, 1, 2, without=[0, 1]), [700, 2900])
    net(GlobalAveragePool, "g", "x")
    net(Add, "y", "a", "g")
    graph = pruned(net.graph_of("y"))
    assert [op.kind for op in graph.ops()] == ["Conv2d", "GlobalAveragePool", "Add"]


def test_model_whose_output_is_constant() -> None:
    net = Net(1, 4)
    net.layer("a", "x", weights(8, 4, without=range(8)), [500] * 8)
    net(Unary, "u", "a", function="sigmoid", q=QParams((1 / 256,), -128))
    net.layer("y", "u", weights(3, 8))
    graph = pruned(net.graph_of("y"))
    assert shapes(graph) == {"x": (1, 4), "a": (1, 1), "u": (1, 1), "y": (1, 3)}
    assert not graph.value("y_w").data.any()


# -- what is needed ---------------------------------------------------------------------------


def test_unread_channels_go_through_operators_of_single_channels() -> None:
    net = Net(1, 6, 6, 3)
    net.layer("a", "x", weights(7, 3, 3, 3))
    net.layer("d", "a", weights(7, 3, 3, 1), pads=(1, 1, 1, 1), groups=7)
    net(MaxPool, "m", "d", kernel=(2, 2), strides=(1, 1))
    net(Unary, "u", "m", function="hardswish")
    net(AveragePool, "v", "u", kernel=(2, 2), strides=(1, 1), pads=(1, 0, 0, 1))
    net(Transpose, "t", "v", perm=(0, 2, 1, 3))
    net(GlobalAveragePool, "g", "t")
    net(Reshape, "f", "g", shape=(1, 7))
    net.layer("y", "f", weights(4, 7, unread=[0, 3, 4]))
    graph = pruned(net.graph_of("y"))
    left = shapes(graph)
    assert [left[n][-1] for n in "xadmuvtgfy"] == [3, *[4] * 8, 4]
    assert graph.value("y_w").shape == (4, 4)


@pytest.mark.parametrize("weight", [0.25, -0.25])
def test_images_cut_and_resized(weight: float) -> None:
    """Channel 1 is constant, whatever pixels there are; if weights are negative, nobody knows."""
    taps = Taps.of((1 - weight) * np.eye(4)[:3] + weight * np.eye(4)[1:])
    net = Net(1, 4, 6, 3)
    net.layer("a", "x", weights(6, 1, 1, 3, without=[1]))
    net(Slice, "s", "a", parts=(None, None, range(1, 5), None))
    net(Resize, "r", "s", rows=taps, cols=taps)
    net.layer("y", "r", weights(2, 1, 1, 6, unread=[0]))
    left = shapes(pruned(net.graph_of("y")))
    count = 4 if weight > 0 else 5
    assert [left[name][-1] for name in "asr"] == [count] * 3


def test_flattened_channels_go_at_all_pixels_or_at_none() -> None:
    net = Net(1, 2, 3, 4)
    net.layer("a", "x", weights(3, 1, 1, 4))
    net(Reshape, "f", "a", shape=(1, 18))
    w = weights(2, 18)
    w[:, 1::3] = 0  # nobody reads channel 1 at any pixel
    w[:, 2:15:3] = 0  # somebody reads channel 2 at the last one
    net.layer("y", "f", w)
    graph = pruned(net.graph_of("y"))
    assert shapes(graph)["a"] == (1, 2, 3, 2)
    assert shapes(graph)["f"] == (1, 12)


def test_sum_keeps_what_one_of_its_operands_has_to_keep() -> None:
    """Channel 0 of `b` is read besides; channel 1 goes everywhere; channel 2 of the sum is read."""
    net = Net(1, 3, 3, 3)
    net.layer("a", "x", weights(3, 1, 1, 3))
    net.layer("b", "x", weights(3, 1, 1, 3))
    net(Add, "s", "a", "b")
    net.layer("y", "s", weights(2, 1, 1, 3, unread=[0, 1]))
    net.layer("z", "b", weights(2, 1, 1, 3, unread=[1, 2]))
    left = shapes(pruned(net.graph_of("y", "z")))
    assert [left[name][-1] for name in "abs"] == [2, 2, 2]


def test_constants_and_broadcast_operands_follow() -> None:
    net = Net(1, 3, 3, 3)
    net.layer("a", "x", weights(3, 1, 1, 3))
    net.layer("gate", "x", weights(1, 1, 1, 3))
    net.graph.add_value(Value("c", (3,), "int8", Q, np.array([-120, -119, -118], dtype=np.int8)))
    net(Mul, "m", "a", "gate")
    net(Add, "s", "c", "m")
    net.layer("y", "s", weights(2, 1, 1, 3, unread=[0]))
    graph = pruned(net.graph_of("y"))
    assert shapes(graph)["m"] == shapes(graph)["a"] == (1, 3, 3, 2)
    assert shapes(graph)["gate"] == (1, 3, 3, 1)
    assert graph.value("c").data.tolist() == [-119, -118]


def test_concat_leaves_operands_out_and_vanishes_with_the_last_but_one() -> None:
    def net_of(unread: list[int]) -> Graph:
        net = Net(1, 3, 3, 3)
        for name in "abc":
            net.layer(name, "x", weights(3, 1, 1, 3))
        net(Concat, "cat", *"abc", axis=3)
        net.layer("y", "cat", weights(2, 1, 1, 9, unread=unread))
        return pruned(net.graph_of("y"))

    graph = net_of([1, 3, 4, 5, 8])
    assert sorted(shapes(graph)) == ["a", "c", "cat", "x", "y"]
    assert [shapes(graph)[name][-1] for name in ("a", "c", "cat")] == [2, 2, 4]
    graph = net_of([0, 1, 2, 6, 7, 8])
    assert [op.kind for op in graph.ops()] == ["Conv2d", "Reshape", "Conv2d"]


def test_groups_stay_or_go_as_a_whole() -> None:
    net = Net(1, 3, 3, 2)
    net.layer("a", "x", weights(6, 1, 1, 2))
    net.layer("g", "a", weights(6, 1, 1, 2), groups=3)
    net.layer("y", "g", weights(2, 1, 1, 6, unread=[0, 2, 3]))
    graph = pruned(net.graph_of("y"))
    assert [shapes(graph)[n][-1] for n in "ag"] == [4, 4]
    assert list(graph.ops_of(Conv2d))[1].groups == 2


def test_operator_without_rules_needs_everything() -> None:
    net = Net(1, 3, 3, 2)
    net.layer("a", "x", weights(6, 1, 1, 2, without=[0]))
    net(Softmax, "s", "a")
    net.layer("y", "s", weights(2, 1, 1, 6, unread=[1, 2]))
    graph = pruned(net.graph_of("y"))
    assert shapes(graph) == shapes(net.graph)


def test_inputs_and_outputs_stay() -> None:
    net = Net(1, 3, 3, 4)
    net.layer("y", "x", weights(4, 1, 1, 4, without=[0], unread=[1]))
    net.layer("z", "y", weights(2, 1, 1, 4, unread=[2]))
    assert shapes(pruned(net.graph_of("y", "z"))) == shapes(net.graph)


# -- integers ---------------------------------------------------------------------------------


def test_multipliers_stay_when_the_largest_one_goes() -> None:
    """Channel 0 is the reason for a shift. Without it there is none; with the same scales, the
    multipliers of the others would be rounded at another place."""
    net = Net(1, 3)
    net.layer("a", "x", weights(3, 3), [20, LIVE, 300], [3.0, 0.0123, 0.1567])
    net.layer("y", "a", weights(4, 3, unread=[0]))
    before = net.graph_of("y")
    after = pruned(before)

    def rule(graph: Graph) -> Layer:
        op = next(o for o in graph.ops() if o.name == "op_a")
        return Layer.of(op, graph.operands(op), graph.result(op), None)

    old, new = rule(before).rule, rule(after).rule
    assert (old.shift, new.shift) == (3, 0)
    assert new.m == tuple(m << 3 for m in old.m[1:])
    assert new.m != tuple(round(scale * 2.0**32) for scale in (0.0123, 0.1567))


# -- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "read", "left"),
    [
        (32, 31, 32),
        (32, 30, 32),
        (32, 29, 32),  # nothing is saved that would make up for bytes
        (32, 13, 13),  # much is
        (32, 14, 16),
        (32, 12, 12),
        (30, 29, 29),  # 32 there are not
        (3, 1, 1),
    ],
)
def test_words_are_filled_where_that_pays(of: int, read: int, left: int) -> None:
    net = Net(1, 3, 3, 2)
    net.layer("a", "x", weights(of, 1, 1, 2))
    net.layer("y", "a", weights(2, 1, 1, of, unread=range(read, of)))
    assert shapes(pruned(net.graph_of("y")))["a"][-1] == left
