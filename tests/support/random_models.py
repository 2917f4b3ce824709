"""Random small ONNX models: chains and branches of supported operators, NCHW or NHWC outside."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper

from tests.support.models import model_of

Shape = tuple[int, ...]
Tensor = tuple[str, Shape]


class RandomModel:
    """A model in the making. Each method adds one kind of node behind `x`, if it fits its shape."""

    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        size = (self.pick.choice([1, 2, 5, 8]), self.pick.choice([1, 3, 6, 8]))
        channels = self.pick.choice([1, 2, 3, 4])
        self.nhwc = self.pick.random() < 0.4
        self.input: Shape = (1, *size, channels) if self.nhwc else (1, channels, *size)
        self.tensors: list[Tensor] = [("x", self.input)]

    def build(self, length: int) -> onnx.ModelProto:
        """A model of at least one and at most `length` nodes, with one or two outputs."""
        if self.nhwc:
            self.transpose(("x", self.input), (0, 3, 1, 2))
        kinds: list[Callable[[Tensor], None]] = [
            *[self.conv] * 4,
            *[self.unary] * 4,
            *[self.binary] * 2,
            *[self.constant] * 4,
            *[self.batchnorm] * 2,
            self.pad,
            self.concat,
            self.slice,
            self.split,
            self.tile,
            self.gather,
            self.resize,
            self.conv_transpose,
            *[self.pool] * 2,
            self.global_pool,
            self.transpose,
            self.softmax,
            self.reshape,
            *[self.dense] * 2,
        ]
        for _ in range(length):
            last = self.pick.random() < 0.8
            self.pick.choice(kinds)(self.tensors[-1] if last else self.pick.choice(self.tensors))
        if len(self.tensors) == 1:
            self.unary(self.tensors[0])
        outputs = [self.tensors[-1]]
        if self.pick.random() < 0.3:
            outputs.append(self.pick.choice(self.tensors[1:]))
        return model_of(self.nodes, {"x": self.input}, dict(outputs), self.weights)

    # -- one method per kind of node --------------------------------------------------------

    def conv(self, x: Tensor) -> None:
        name, shape = x
        if len(shape) != 4:
            return
        depthwise = self.pick.random() < 0.3
        group, cout = (shape[1],) * 2 if depthwise else (1, self.pick.choice([1, 2, 4]))
        kernel = [self.pick.choice([1, 2, 3]), self.pick.choice([1, 3])]
        pads = [self.pick.choice([0, 1]) for _ in range(4)]
        if self.pick.random() < 0.3:
            kernel, pads = [1, 1], [0] * 4
        strides = [self.pick.choice([1, 2]) for _ in range(2)]
        image = self._windows(shape[2:], kernel, pads, strides)
        if min(image) < 1:
            return
        operands = [name, self._weight(cout, shape[1] // group, *kernel)]
        if self.pick.random() < 0.6:
            operands.append(self._weight(cout))
        attrs = {"pads": pads, "strides": strides, "group": group}
        self._add("Conv", operands, (1, cout, *image), **attrs)

    def conv_transpose(self, x: Tensor) -> None:
        name, shape = x
        if len(shape) != 4 or max(shape[2:]) > 8:
            return
        cout, kernel = self.pick.choice([1, 2, 4]), [self.pick.choice([2, 3]) for _ in range(2)]
        operands = [name, self._weight(shape[1], cout, *kernel), self._weight(cout)]
        image = [2 * (d - 1) + k for d, k in zip(shape[2:], kernel, strict=True)]
        self._add("ConvTranspose", operands, (1, cout, *image), strides=[2, 2])

    def resize(self, x: Tensor) -> None:
        name, shape = x
        if len(shape) != 4 or max(shape[2:]) > 8:
            return
        scales = [1, 1, self.pick.choice([1, 2, 3]), self.pick.choice([1, 2])]
        resized = tuple(d * n for d, n in zip(shape, scales, strict=True))
        kind = {"mode": self.pick.choice(["nearest", "linear"])}
        operands = [name, "", self._number(np.array(scales, dtype=np.float64))]
        self._add("Resize", operands, resized, **kind)

    def unary(self, x: Tensor) -> None:
        kind = self.pick.choice(["Relu", "Relu", "Clip", "Sigmoid", "Neg", "Identity"])
        bounds = [self._number(-0.5), self._number(self.pick.choice([0.3, 6.0]))]
        self._add(kind, [x[0], *(bounds if kind == "Clip" else [])], x[1])

    def binary(self, x: Tensor) -> None:
        other = self.pick.choice([name for name, shape in self.tensors if shape == x[1]])
        self._add(self.pick.choice(["Add", "Sub", "Mul"]), [x[0], other], x[1])

    def constant(self, x: Tensor) -> None:
        """A constant for each channel, element or axis, on either side."""
        name, shape = x
        channels = (shape[1],) + (1,) * (len(shape) - 2)
        options = [shape[1:], shape[-1:], channels, (1, *channels), (1,) * len(shape), ()]
        operands = [name, self._weight(*self.pick.choice(options))]
        if self.pick.random() < 0.3:
            operands.reverse()
        self._add(self.pick.choice(["Add", "Mul", "Sub"]), operands, shape)

    def batchnorm(self, x: Tensor) -> None:
        operands = [x[0], *(self._weight(x[1][1]) for _ in range(3))]
        variance = self._number(self.rng.uniform(0.5, 2.0, size=x[1][1]))
        self._add("BatchNormalization", [*operands, variance], x[1])

    def pad(self, x: Tensor) -> None:
        name, shape = x
        if len(shape) != 4:
            return
        pads = [0, *(self.pick.choice([0, 0, 1]) for _ in range(3)), 0, 0]
        pads += [self.pick.choice([0, 1]) for _ in range(2)]
        operands = [name, self._number(np.array(pads, dtype=np.int64))]
        if self.pick.random() < 0.3:
            operands.append(self._number(1.5))
        padded = [d + pads[i] + pads[i + 4] for i, d in enumerate(shape)]
        self._add("Pad", operands, tuple(padded))

    def concat(self, x: Tensor) -> None:
        axis = self.pick.randrange(1, len(x[1]))

        def rest(shape: Shape) -> list[int]:
            return [d for i, d in enumerate(shape) if i != axis]

        fitting = [t for t in self.tensors if rest(t[1]) == rest(x[1]) and len(t[1]) == len(x[1])]
        other, shape = self.pick.choice(fitting)
        joined = [d + shape[axis] if i == axis else d for i, d in enumerate(x[1])]
        self._add("Concat", [x[0], other], tuple(joined), axis=axis)

    def slice(self, x: Tensor) -> None:
        axis = self.pick.randrange(1, len(x[1]))
        size, step = x[1][axis], self.pick.choice([1, 1, 2, -1])
        first, last = sorted(self.pick.choice(range(size)) for _ in range(2))
        part = range(first, last + 1, step) if step > 0 else range(last, first - 1, step)
        bounds = [part.start, part.stop if part.stop >= 0 else -size - 1, axis, step]
        operands = [x[0], *(self._number(np.array([n], dtype=np.int64)) for n in bounds)]
        self._add("Slice", operands, self._resized(x[1], axis, len(part)))

    def split(self, x: Tensor) -> None:
        """Both parts are joined again, the other way round."""
        axis = self.pick.randrange(1, len(x[1]))
        if x[1][axis] == 1:
            return
        first = self.pick.randrange(1, x[1][axis])
        sizes = [first, x[1][axis] - first]
        names = [f"t{len(self.tensors)}", f"t{len(self.tensors) + 1}"]
        operands = [x[0], self._number(np.array(sizes, dtype=np.int64))]
        self.nodes.append(helper.make_node("Split", operands, names, names[0], axis=axis))
        for name, size in zip(names, sizes, strict=True):
            self.tensors.append((name, self._resized(x[1], axis, size)))
        self._add("Concat", names[::-1], x[1], axis=axis)

    def tile(self, x: Tensor) -> None:
        axis = self.pick.randrange(1, len(x[1]))
        if x[1][axis] > 8:
            return
        repeats = [2 if i == axis else 1 for i in range(len(x[1]))]
        operands = [x[0], self._number(np.array(repeats, dtype=np.int64))]
        self._add("Tile", operands, self._resized(x[1], axis, 2 * x[1][axis]))

    def gather(self, x: Tensor) -> None:
        axis = self.pick.randrange(1, len(x[1]))
        picked = [self.pick.randrange(x[1][axis]) for _ in range(self.pick.choice([1, 2, 3, 5]))]
        operands = [x[0], self._number(np.array(picked, dtype=np.int64))]
        self._add("Gather", operands, self._resized(x[1], axis, len(picked)), axis=axis)

    def pool(self, x: Tensor) -> None:
        name, shape = x
        if len(shape) != 4:
            return
        kernel = [min(d, self.pick.choice([1, 2, 3])) for d in shape[2:]]
        pads = [self.pick.choice([0, 0, 1]) if k > 1 else 0 for k in (*kernel, *kernel)]
        attrs = {"kernel_shape": kernel, "pads": pads, "strides": [self.pick.choice([1, 2])] * 2}
        image = self._windows(shape[2:], kernel, pads, attrs["strides"])
        if self.pick.random() < 0.5:
            self._add("MaxPool", [name], (1, shape[1], *image), **attrs)
        else:
            attrs["count_include_pad"] = self.pick.choice([0, 1])
            self._add("AveragePool", [name], (1, shape[1], *image), **attrs)

    def global_pool(self, x: Tensor) -> None:
        if len(x[1]) == 4:
            self._add("GlobalAveragePool", [x[0]], (*x[1][:2], 1, 1))

    def transpose(self, x: Tensor, perm: Shape = ()) -> None:
        axes = list(range(1, len(x[1])))
        self.pick.shuffle(axes)
        perm = perm or (0, *axes)
        self._add("Transpose", [x[0]], tuple(x[1][axis] for axis in perm), perm=perm)

    def softmax(self, x: Tensor) -> None:
        self._add("Softmax", [x[0]], x[1], axis=self.pick.choice([1, -1]))

    def reshape(self, x: Tensor) -> None:
        sizes = x[1][1:]
        total = int(np.prod(sizes))
        options = [(total,), sizes[::-1], (total, 1, 1), (1, total), (sizes[0], total // sizes[0])]
        shape = (1, *self.pick.choice(options))
        self._add("Reshape", [x[0], self._number(np.array(shape, dtype=np.int64))], shape)

    def dense(self, x: Tensor) -> None:
        name, shape = x
        if self.pick.random() < 0.5 and len(shape) > 2:
            self._add("Flatten", [name], (1, int(np.prod(shape))))
            name, shape = self.tensors[-1]
        features = self.pick.choice([1, 3, 5])
        operands = [name, self._weight(shape[-1], features)]
        if len(shape) == 2 and self.pick.random() < 0.5:
            self._add("Gemm", [*operands, self._weight(features)], (1, features))
        else:
            self._add("MatMul", operands, (*shape[:-1], features))

    # -- helpers ----------------------------------------------------------------------------

    def _add(self, kind: str, operands: list[str], shape: Shape, **attrs: object) -> None:
        name = f"t{len(self.tensors)}"
        self.nodes.append(helper.make_node(kind, operands, [name], name, **attrs))
        self.tensors.append((name, shape))

    def _weight(self, *shape: int) -> str:
        return self._number(self.rng.normal(size=shape))

    def _number(self, array: np.ndarray | float) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(array)
        return name

    @staticmethod
    def _resized(shape: Shape, axis: int, size: int) -> Shape:
        return (*shape[:axis], size, *shape[axis + 1 :])

    @staticmethod
    def _windows(size: Shape, kernel: list[int], pads: list[int], strides: list[int]) -> Shape:
        padded = [d + pads[i] + pads[i + 2] - kernel[i] for i, d in enumerate(size)]
        return tuple(p // s + 1 if p >= 0 else 0 for p, s in zip(padded, strides, strict=True))


def random_model(seed: int, length: int = 9) -> onnx.ModelProto:
    """The model number `seed`; the same on every machine."""
    return RandomModel(seed).build(length)
