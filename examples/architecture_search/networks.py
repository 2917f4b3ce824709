"""MobileNetV2 and a PhiNet-like network of any size, as ONNX models with random weights.

What a network costs does not depend on what its weights are: a search needs no training, and no
framework.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 10
# Expansion, channels, blocks, stride of the first block: Sandler et al., "MobileNetV2", table 2.
MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(width: float, resolution: int, expansion: float = 6) -> onnx.ModelProto:
    """Channels times `width`, an image of `resolution` pixels square, expansions of `expansion`."""
    net = Network(f"mobilenet_v2_{width:g}_{resolution}_{expansion:g}", resolution)
    net.conv(_channels(32 * width), kernel=3, stride=2)
    for factor, channels, blocks, stride in MOBILENET_V2:
        for block in range(blocks):
            ratio = expansion if factor > 1 else 1
            net.inverted_residual(ratio, _channels(channels * width), 1 if block else stride)
    net.conv(_channels(1280 * max(width, 0.25)), kernel=1)
    return net.classifier()


def phinet(
    alpha: float, beta: float, expansion: float, resolution: int, blocks: int = 7
) -> onnx.ModelProto:
    """A network whose needs are scaled one by one (after Paissan et al., "PhiNets", 2022).

    alpha: of the channels, which decides flash. beta: how much more the last block expands than the
    first, which moves computation from where images are large to where they are small.
    expansion: of the first block, which decides SRAM. Channels double where images are halved.
    """
    net = Network(f"phinet_{alpha:.3f}_{beta:g}_{expansion:g}_{resolution}", resolution)
    channels = 24 * alpha
    net.conv(_channels(channels), kernel=3, stride=2)
    for n in range(blocks):
        ratio = expansion * ((beta - 1) * n + blocks) / blocks
        halves = n in (1, 3, 5)
        channels *= 2 if halves else 1
        net.inverted_residual(ratio, _channels(channels), 2 if halves else 1)
    return net.classifier()


def _channels(wish: float) -> int:
    """A multiple of 8 near `wish`, not much smaller, as MobileNets have them."""
    near = max(8, int(wish + 4) // 8 * 8)
    return near + 8 if near < 0.9 * wish else near


@dataclass
class Network:
    """A chain of layers on an image (1, 3, size, size); each method adds to its end."""

    name: str
    resolution: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last, self.channels = "image", 3
        self.rng = np.random.default_rng(1)
        self._constant("zero", np.float32(0))
        self._constant("six", np.float32(6))

    def conv(self, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        """A convolution with a ReLU6."""
        self._linear(channels, kernel, stride, groups)
        self._node("Clip", self.last, "zero", "six")

    def inverted_residual(self, expansion: float, channels: int, stride: int) -> None:
        """Expand, filter each channel, project; with a shortcut where the shapes are equal."""
        start, had = self.last, self.channels
        wide = _channels(had * expansion)
        if wide > had:
            self.conv(wide, kernel=1)
        self.conv(self.channels, kernel=3, stride=stride, groups=self.channels)
        self._linear(channels, kernel=1)
        if stride == 1 and had == channels:
            self._node("Add", start, self.last)

    def classifier(self) -> onnx.ModelProto:
        """The network, closed by an average and a dense layer."""
        self._node("GlobalAveragePool", self.last)
        self._node("Flatten", self.last)
        weights = self.rng.normal(0, self.channels**-0.5, (CLASSES, self.channels))
        self._constant("dense_w", weights)
        self._constant("dense_b", np.zeros(CLASSES))
        self._node("Gemm", self.last, "dense_w", "dense_b", transB=1)
        size = self.resolution
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, size, size))
        scores = helper.make_tensor_value_info(self.last, TensorProto.FLOAT, (1, CLASSES))
        graph = helper.make_graph(self.nodes, self.name, [image], [scores], self.weights)
        opset = helper.make_opsetid("", 13)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8)

    def _linear(self, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        inputs = self.channels // groups
        name, shape = f"w{len(self.nodes)}", (channels, inputs, kernel, kernel)
        deviation = (2 / (inputs * kernel * kernel)) ** 0.5
        self._constant(name, self.rng.normal(0, deviation, shape))
        self._constant(f"{name}_b", self.rng.normal(0, 0.1, channels))
        pad = [kernel // 2] * 4
        attributes = {"strides": [stride, stride], "pads": pad, "group": groups}
        self._node("Conv", self.last, name, f"{name}_b", **attributes)
        self.channels = channels

    def _constant(self, name: str, data: np.ndarray | np.float32) -> None:
        self.weights.append(numpy_helper.from_array(np.asarray(data, np.float32), name))

    def _node(self, kind: str, *inputs: str, **attributes: object) -> None:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        self.last = name
