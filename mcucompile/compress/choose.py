"""Which layers to store in which form, so that a model fits into flash with the least loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mcucompile.compress.forms import Form, LayerForms

Choice = Mapping[str, Form]  # by operator; int8 where it is not named

TRIES = 8
UNITS = 5000  # in which bytes are counted
SLACK = 64  # bytes that are saved beyond what seems to be needed


def least_loss(layers: Sequence[LayerForms], bytes_to_save: int) -> dict[str, Form]:
    """Forms that save so many bytes of weights with the least loss, or as many as can be.

    A knapsack with a choice for each layer, by a dynamic program over the bytes saved, in units.
    """
    if sum(layer.forms[0].size - _smallest(layer).size for layer in layers) <= bytes_to_save:
        return _without_int8({layer.op: _smallest(layer) for layer in layers})
    unit = max(1, bytes_to_save // UNITS)
    goal = -(-bytes_to_save // unit)
    least = np.where(np.arange(goal + 1) == 0, 0.0, np.inf)  # loss, by units still to be saved
    taken = []
    for layer in layers:
        saved = [(layer.forms[0].size - form.size) // unit for form in layer.forms]
        before = [np.maximum(np.arange(goal + 1) - s, 0) for s in saved]
        losses = np.stack([least[b] + f.loss for b, f in zip(before, layer.forms, strict=True)])
        taken.append((layer, before, losses.argmin(axis=0)))
        least = losses.min(axis=0)
    choice, at = {}, goal
    for layer, before, best in reversed(taken):
        choice[layer.op] = layer.forms[best[at]]
        at = int(before[best[at]][at])
    if not np.isfinite(least[goal]):  # by less than a unit for each layer
        choice = {layer.op: _smallest(layer) for layer in layers}
    return _without_int8({layer.op: choice[layer.op] for layer in layers})


def _smallest(layer: LayerForms) -> Form:
    return min(layer.forms, key=lambda form: (form.size, form.loss))


def _without_int8(choice: Choice) -> dict[str, Form]:
    return {name: form for name, form in choice.items() if form.name != "int8"}


def fit(
    layers: Callable[[], Sequence[LayerForms]], limit: int, size_of: Callable[[Choice], int]
) -> tuple[dict[str, Form], int]:
    """A choice with which the model needs at most `limit` bytes, and how many it needs.

    layers: their forms, if they are needed. size_of: builds a choice, and measures it. What code
    costs that decodes weights is learnt from one build to the next. If nothing fits, the choice is
    the smallest one.
    """
    size = size_of({})
    if size <= limit:
        return {}, size
    found, to_save = layers(), size - limit + SLACK
    most = sum(layer.forms[0].size - _smallest(layer).size for layer in found)
    best: tuple[dict[str, Form], int] = {}, size
    for _ in range(TRIES):
        choice = least_loss(found, to_save)
        size = size_of(choice)
        best = min(best, (choice, size), key=lambda built: built[1])
        if size <= limit:
            return choice, size
        if to_save >= most:
            break
        to_save = min(to_save + size - limit + SLACK, most)
    return best
