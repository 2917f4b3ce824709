"""Train a small CNN on the handwritten digits of scikit-learn and export it.

    pip install torch scikit-learn onnx
    python -m examples.digits.train

in the root of the project writes, beside this file: digits.onnx (float32, NCHW, input x in 0..1),
calib.npz (100 training images in x), test.npz (the held-out images in x, their labels in y) and
samples.h (a test image of each class, for main.c). It takes seconds on a CPU; the same package
versions on the same kind of machine give the same files.
"""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from examples.training import begin, export, fit, report

HERE = Path(__file__).resolve().parent
SEED = 0
EPOCHS = 60
BATCH = 64

SAMPLES_H = """\
/* A test image of each class, written by train.py. */
#include <stdint.h>

/* clang-format off */
static const uint8_t sample_images[10][64] = {
%s
};
"""


def conv(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalization, ReLU6; the output is ceil(input / stride) pixels wide."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(cout),
        nn.ReLU6(),
    )


def separable(cin: int, cout: int, stride: int = 1) -> nn.Sequential:
    """A depthwise 3x3 convolution and a pointwise one, as in MobileNet."""
    return nn.Sequential(conv(cin, cin, 3, stride, groups=cin), conv(cin, cout, 1))


class DigitsNet(nn.Module):
    """8x8 grey images to the scores of ten classes, with the usual parts of a small CNN."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(1, 16, 3)
        self.down = separable(16, 32, stride=2)
        self.block = separable(32, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(self.stem(x))
        x = x + self.block(x)
        return self.head(x.mean(dim=(2, 3)))


def load_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and test images, float32 (N, 1, 8, 8) in 0..1, and their labels, int64 (N,)."""
    digits = load_digits()
    x = (digits.images[:, None] / digits.images.max()).astype(np.float32)
    y = digits.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=400, random_state=SEED, stratify=y
    )
    return x_train, x_test, y_train, y_test


def shifted(x: Tensor) -> Tensor:
    """Images shifted by up to one pixel."""
    dy, dx = torch.randint(0, 3, (2,)).tolist()
    return nn.functional.pad(x, (1, 1, 1, 1))[..., dy : dy + 8, dx : dx + 8]


def write_samples(file: Path, x: np.ndarray, y: np.ndarray) -> None:
    """A C header with the first image of each class, pixels as the data set has them: 0..16."""
    images = []
    for label in range(10):
        pixels = np.rint(x[y == label][0, 0] * 16).astype(int)
        rows = [", ".join(f"{p:2}" for p in row) for row in pixels]
        images.append("    {" + ",\n     ".join(rows) + f"}}, /* {label} */")
    file.write_text(SAMPLES_H % "\n".join(images))


def main() -> None:
    begin(SEED)
    x_train, x_test, y_train, y_test = load_data()
    model = DigitsNet()
    fit(model, x_train, y_train, EPOCHS, BATCH, shifted)
    report(model, x_test, y_test)
    export(model, x_test, HERE / "digits.onnx")
    np.savez_compressed(HERE / "calib.npz", x=x_train[:100])
    np.savez_compressed(HERE / "test.npz", x=x_test, y=y_test)
    write_samples(HERE / "samples.h", x_test, y_test)


if __name__ == "__main__":
    main()
