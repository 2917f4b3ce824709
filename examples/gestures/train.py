"""Train a small 1-D CNN that recognizes gestures in accelerometer data, and export it.

    pip install torch onnx
    python -m examples.gestures.train

in the root of the project writes, beside this file: gestures.onnx (float32, input x: 64 readings of
three axes in g), calib.npz (100 training windows in x), test.npz (400 windows in x that training
has not seen, their labels in y) and samples.h (a test window of each class, for main.c). The
windows are synthetic: each gesture is a motion of random speed, strength and direction, held in
random orientation to gravity, with the noise of the sensor. It takes seconds on a CPU; the same
package versions on the same kind of machine give the same files.
"""

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from examples.training import begin, export, fit, report

HERE = Path(__file__).resolve().parent
CLASSES = ("still", "circle", "shake", "knock")
RATE, LENGTH = 50, 64  # Hz, readings
TRAIN, TEST = 4000, 400
SEED, EPOCHS, BATCH = 0, 20, 50

SAMPLES_H = """\
/* A test window of each class, x y z in 1/1000 g, written by train.py. */
#include <stdint.h>

/* clang-format off */
static const int16_t sample_windows[%d][%d] = {
%s
};
"""


def motion(rng: np.random.Generator, label: int) -> np.ndarray:
    """Acceleration of one gesture without gravity, in g: float64 (LENGTH, 3)."""
    t = np.arange(LENGTH)[:, None] / RATE
    basis = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    strength, phase = rng.uniform(0.08, 1.0), rng.uniform(0, 2 * np.pi)
    if CLASSES[label] == "circle":  # two axes, a quarter of a turn apart
        angle = 2 * np.pi * rng.uniform(1.2, 2.5) * t + phase
        return strength * (np.cos(angle) * basis[0] + np.sin(angle) * basis[1])
    if CLASSES[label] == "shake":  # one axis, fast
        return 1.5 * strength * np.sin(2 * np.pi * rng.uniform(4, 7) * t + phase) * basis[0]
    if CLASSES[label] == "knock":  # two or three short blows
        blows = rng.uniform(0.1, 1.1, int(rng.integers(2, 4)))
        shape = sum(np.exp(-(((t - at) / 0.02) ** 2)) for at in blows)
        return 2 * strength * shape * basis[0]
    return np.zeros((LENGTH, 3))


def windows(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows in g, float32 (count, LENGTH, 3), and labels, int64 (count,), all classes alike.

    Readings are whole thousandths of g within +-4 g, as the sensor gives them.
    """
    y = np.arange(count) % len(CLASSES)
    x = np.stack([motion(rng, int(label)) for label in y])
    gravity = rng.normal(size=(count, 1, 3))
    x += gravity / np.linalg.norm(gravity, axis=2, keepdims=True)
    x += rng.normal(0, 0.05, x.shape)
    return (np.rint(np.clip(x, -4, 4) * 1000) / 1000).astype(np.float32), y


def conv(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalization, ReLU6."""
    return nn.Sequential(
        nn.Conv1d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm1d(cout),
        nn.ReLU6(),
    )


def separable(cin: int, cout: int, stride: int) -> nn.Sequential:
    """A depthwise convolution over time and one over channels."""
    return nn.Sequential(conv(cin, cin, 5, stride, groups=cin), conv(cin, cout, 1))


class GestureNet(nn.Module):
    """Readings, one after the other, to the scores of the classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv(3, 16, 5), separable(16, 24, 2), separable(24, 32, 2))
        self.head = nn.Linear(32, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x.transpose(1, 2)).mean(dim=2))


def write_samples(file: Path, x: np.ndarray, y: np.ndarray) -> None:
    """A C header with the first window of each class."""
    rows = []
    for label, name in enumerate(CLASSES):
        values = np.rint(x[y == label][0] * 1000).astype(int)
        lines = [", ".join(map(str, v)) for v in values.reshape(-1, 12)]
        rows.append("    {" + ",\n     ".join(lines) + f"}}, /* {name} */")
    file.write_text(SAMPLES_H % (len(CLASSES), 3 * LENGTH, "\n".join(rows)))


def main() -> None:
    begin(SEED)
    rng = np.random.default_rng(SEED)
    x_train, y_train = windows(rng, TRAIN)
    x_test, y_test = windows(rng, TEST)
    model = GestureNet()
    fit(model, x_train, y_train, EPOCHS, BATCH)
    report(model, x_test, y_test)
    export(model, x_test, HERE / "gestures.onnx")
    np.savez_compressed(HERE / "calib.npz", x=x_train[:100])
    np.savez_compressed(HERE / "test.npz", x=x_test, y=y_test)
    write_samples(HERE / "samples.h", x_test, y_test)


if __name__ == "__main__":
    main()
