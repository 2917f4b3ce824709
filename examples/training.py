"""What the examples' train.py share: the training loop, the test, the export."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


def begin(seed: int = 0) -> None:
    """Makes what follows repeatable on one machine."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)


def fit(
    model: nn.Module,
    x: np.ndarray,
    y: np.ndarray,
    epochs: int,
    batch: int,
    augment: Callable[[Tensor], Tensor] = lambda x: x,
    after_step: Callable[[float], None] = lambda progress: None,
) -> None:
    """Minimizes the cross-entropy with AdamW and a one-cycle schedule; the model is left in eval().

    x: float32 samples, y: int64 labels. `augment` maps each batch of samples; `after_step` is
    called with the share of the training that is done.
    """
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    steps = epochs * -(-len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, steps)
    model.train()
    done = 0
    for _ in range(epochs):
        for index in torch.randperm(len(images)).split(batch):
            loss = nn.functional.cross_entropy(model(augment(images[index])), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            done += 1
            after_step(done / steps)
    model.eval()


def report(model: nn.Module, x: np.ndarray, y: np.ndarray) -> None:
    """Prints the number of parameters and the accuracy on test samples."""
    with torch.no_grad():
        predicted = model(torch.from_numpy(x)).argmax(dim=1).numpy()
    size = sum(p.numel() for p in model.parameters())
    print(f"{size} parameters, {np.mean(predicted == y):.2%} of {len(y)} test samples")


def export(model: nn.Module, x: np.ndarray, file: Path) -> None:
    """Writes `model` as ONNX with input x, output scores, and a batch of any size."""
    torch.onnx.export(
        model,
        (torch.from_numpy(x[:1]),),
        str(file),
        input_names=["x"],
        output_names=["scores"],
        dynamic_axes={"x": {0: "batch"}, "scores": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
