"""Train a binary and a block-sparse network on the handwritten digits of scikit-learn.

    pip install torch scikit-learn onnx
    python -m examples.compact.train

in the root of the project writes, beside this file, binary.onnx and sparse.onnx (float32, NCHW,
input x in 0..1, as in ../digits, which has samples for calibration and test). It takes two minutes
on a CPU; the same package versions on the same kind of machine give the same files.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from examples.digits.train import load_data, shifted
from examples.training import begin, export, fit, report

HERE = Path(__file__).resolve().parent
EPOCHS, BATCH = 120, 64
SPARSITY = 0.75  # share of the blocks that become zero
PRUNED_FROM, PRUNED_UNTIL = 0.2, 0.6  # of the training


class Sign(torch.autograd.Function):
    """+1 where x >= 0, else -1; gradients pass where |x| <= 1 (the straight-through estimator)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() <= 1)


class BinaryConv(nn.Module):
    """Signs of the input, convolved 3x3 with signs of the weights; batch normalization."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(cout, cin, 3, 3).uniform_(-1, 1))
        self.norm = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        signs = nn.functional.pad(Sign.apply(x), (1, 1, 1, 1), value=1.0)
        return self.norm(nn.functional.conv2d(signs, Sign.apply(self.weight)))


class BinaryNet(nn.Module):
    """An int8 first layer, three binary ones, an int8 last one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32))
        self.layers = nn.Sequential(
            BinaryConv(32, 64), nn.MaxPool2d(2), BinaryConv(64, 64), BinaryConv(64, 64)
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu6(self.layers(self.stem(x)))
        return self.head(x.mean(dim=(2, 3)))


def separable(cin: int, cout: int, stride: int = 1) -> nn.Sequential:
    """A depthwise 3x3 convolution and a pointwise one, as in MobileNet."""
    return nn.Sequential(
        nn.Conv2d(cin, cin, 3, stride, 1, groups=cin, bias=False),
        nn.BatchNorm2d(cin),
        nn.ReLU6(),
        nn.Conv2d(cin, cout, 1, bias=False),
        nn.BatchNorm2d(cout),
        nn.ReLU6(),
    )


class SparseNet(nn.Module):
    """A small MobileNet, wide enough that a quarter of its 1x1 weights suffices."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()
        )
        self.layers = nn.Sequential(
            separable(32, 64), separable(64, 128, stride=2), separable(128, 128)
        )
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.stem(x)).mean(dim=(2, 3)))

    def prune(self, progress: float) -> None:
        """Makes the smallest blocks of 1x4 weights of each 1x1 convolution zero.

        Their share grows with the progress of the training, as in Zhu and Gupta, "To prune, or not
        to prune" (2017): fast at first, slower as fewer weights are left.
        """
        part = (progress - PRUNED_FROM) / (PRUNED_UNTIL - PRUNED_FROM)
        sparsity = SPARSITY * (1 - (1 - min(max(part, 0.0), 1.0)) ** 3)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
                blocks = layer.weight.data.view(-1, 4)
                smallest = blocks.norm(dim=1).argsort()[: round(sparsity * len(blocks))]
                blocks[smallest] = 0


def main() -> None:
    x_train, x_test, y_train, y_test = load_data()
    begin()
    binary = BinaryNet()
    fit(binary, x_train, y_train, EPOCHS, BATCH, shifted)
    report(binary, x_test, y_test)
    export(binary, x_test, HERE / "binary.onnx")

    begin()
    sparse = SparseNet()
    fit(sparse, x_train, y_train, EPOCHS, BATCH, shifted, sparse.prune)
    report(sparse, x_test, y_test)
    export(sparse, x_test, HERE / "sparse.onnx")


if __name__ == "__main__":
    main()
