"""Train a small 1-D CNN that hears whistled commands in raw audio, and export it.

    pip install torch onnx
    python -m examples.keywords.train

in the root of the project writes, beside this file: keywords.onnx (float32, input x: 1000 samples
at 4 kHz in -1..1), calib.npz (100 training clips in x), test.npz (200 clips in x that training has
not seen, their labels in y) and samples.h (a test clip of each class, for main.c). The clips are
synthetic: chirps and warbles of random pitch, length, loudness and moment, in noise. It takes a
minute on a CPU; the same package versions on the same kind of machine give the same files.
"""

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from examples.training import begin, export, fit, report

HERE = Path(__file__).resolve().parent
CLASSES = ("noise", "rising", "falling", "warble")
RATE, LENGTH = 4000, 1000  # Hz, samples
TRAIN, TEST = 4000, 200
SEED, EPOCHS, BATCH = 0, 25, 50

SAMPLES_H = """\
/* A test clip of each class, 8-bit samples, written by train.py. */
#include <stdint.h>

/* clang-format off */
static const int8_t sample_clips[%d][%d] = {
%s
};
"""


def clip(rng: np.random.Generator, label: int) -> np.ndarray:
    """One clip of class `label`: float32 (LENGTH,) in -1..1, in steps of 1/127."""
    noise = rng.normal(0, rng.uniform(0.01, 0.2), LENGTH)
    if CLASSES[label] == "noise":
        return as_recorded(noise * rng.uniform(0.5, 2))
    size = int(rng.integers(500, 900))
    start = int(rng.integers(0, LENGTH - size))
    t = np.arange(size) / RATE
    low = rng.uniform(300, 700)
    high = low + rng.uniform(400, 800)
    if CLASSES[label] == "warble":
        pitch = np.where(np.sin(2 * np.pi * rng.uniform(12, 20) * t) > 0, low, high)
    else:
        pitch = np.linspace(low, high, size)[:: 1 if CLASSES[label] == "rising" else -1]
    tone = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.hanning(size) ** 0.25
    noise[start : start + size] += rng.uniform(0.05, 0.8) * tone
    return as_recorded(noise)


def as_recorded(x: np.ndarray) -> np.ndarray:
    """What an 8-bit recording has of `x`."""
    return (np.rint(np.clip(x, -1, 1) * 127) / 127).astype(np.float32)


def clips(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Clips, float32 (count, 1, LENGTH), and their labels, int64 (count,), all classes alike."""
    y = np.arange(count) % len(CLASSES)
    return np.stack([clip(rng, int(label)) for label in y])[:, None], y


def conv(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalization, ReLU6."""
    return nn.Sequential(
        nn.Conv1d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm1d(cout),
        nn.ReLU6(),
    )


def separable(cin: int, cout: int, stride: int) -> nn.Sequential:
    """A depthwise convolution over time and one over channels."""
    return nn.Sequential(conv(cin, cin, 9, stride, groups=cin), conv(cin, cout, 1))


class KeywordNet(nn.Module):
    """Raw audio to scores: a learned filter bank, then three separable layers."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = conv(1, 16, 32, stride=8)
        self.layers = nn.Sequential(
            separable(16, 24, 2), separable(24, 32, 2), separable(32, 32, 2)
        )
        self.head = nn.Linear(32, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.filters(x)).mean(dim=2))


def write_samples(file: Path, x: np.ndarray, y: np.ndarray) -> None:
    """A C header with the first clip of each class."""
    rows = []
    for label, name in enumerate(CLASSES):
        values = np.rint(x[y == label][0, 0] * 127).astype(int)
        lines = [", ".join(map(str, values[i : i + 25])) for i in range(0, LENGTH, 25)]
        rows.append("    {" + ",\n     ".join(lines) + f"}}, /* {name} */")
    file.write_text(SAMPLES_H % (len(CLASSES), LENGTH, "\n".join(rows)))


def main() -> None:
    begin(SEED)
    rng = np.random.default_rng(SEED)
    x_train, y_train = clips(rng, TRAIN)
    x_test, y_test = clips(rng, TEST)
    model = KeywordNet()
    fit(model, x_train, y_train, EPOCHS, BATCH)
    report(model, x_test, y_test)
    export(model, x_test, HERE / "keywords.onnx")
    np.savez_compressed(HERE / "calib.npz", x=x_train[:100])
    np.savez_compressed(HERE / "test.npz", x=x_test, y=y_test)
    write_samples(HERE / "samples.h", x_test, y_test)


if __name__ == "__main__":
    main()
