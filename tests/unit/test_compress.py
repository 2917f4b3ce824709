"""Weights of few values: which ones, and which layers get them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from mcucompile.compress.choose import Choice, fit, least_loss
from mcucompile.compress.forms import Form, LayerForms
from mcucompile.compress.palettes import SIZES, Kind, few_valued
from mcucompile.ir import Array

KINDS: tuple[Kind, ...] = ("int4", "palette16", "palette8", "palette4", "palette2")


def random_weights(seed: int = 3) -> tuple[Array, Array]:
    """Weights of channels of different sizes, and covariances of what they meet."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(12, 40)) * rng.uniform(0.01, 3.0, (12, 1))
    mix = rng.normal(size=(40, 40)) * rng.uniform(0.2, 2.0, (40, 1))
    return weights, mix @ mix.T / 40


def noise(weights: Array, few: Array, moments: Array) -> float:
    d = few - weights
    return float(np.einsum("ok,kl,ol->", d, moments, d))


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_no_more_values_than_asked_for(kind: Kind) -> None:
    weights, moments = random_weights()
    few = few_valued(weights, kind, np.diag(moments), moments)
    assert len(np.unique(few.data)) <= SIZES[kind]
    assert few.data.dtype == np.int8
    if kind == "int4":
        assert few.data.min() >= -8
        assert few.data.max() <= 7


def test_more_values_lose_less_and_a_palette_less_than_equal_steps() -> None:
    weights, moments = random_weights()
    lost = {
        kind: noise(
            weights, few_valued(weights, kind, np.diag(moments)).real, np.diag(np.diag(moments))
        )
        for kind in KINDS
    }
    assert lost["palette16"] < lost["int4"] < lost["palette8"] < lost["palette4"] < lost["palette2"]
    power = noise(weights, np.zeros_like(weights), np.diag(np.diag(moments)))
    assert lost["palette16"] < 0.02 * power


@pytest.mark.parametrize("kind", KINDS)
def test_weights_make_up_for_each_others_errors(kind: Kind) -> None:
    weights, moments = random_weights()
    alone = few_valued(weights, kind, np.diag(moments))
    together = few_valued(weights, kind, np.diag(moments), moments)
    assert noise(weights, together.real, moments) < 0.8 * noise(weights, alone.real, moments)


def test_weights_that_have_few_values_keep_them() -> None:
    """Plus or minus a number per channel, as networks with binary weights have them."""
    rng = np.random.default_rng(5)
    scale = rng.uniform(0.1, 2.0, (6, 1))
    weights = np.where(rng.random((6, 30)) < 0.5, -scale, scale)
    few = few_valued(weights, "palette2", np.ones(30))
    np.testing.assert_allclose(few.real, weights, rtol=1e-6)


def test_channels_without_weights_and_inputs_without_variance() -> None:
    weights, moments = random_weights()
    weights[3], moments[:, 7], moments[7] = 0, 0, 0
    few = few_valued(weights, "palette16", np.diag(moments), moments)
    assert np.isfinite(few.scale).all()
    assert (few.scale > 0).all()
    assert np.abs(few.real[3]).max() < 1e-6


# -- which layers ----------------------------------------------------------------------------------


def layer(name: str, *forms: tuple[int, float]) -> LayerForms:
    """A layer of forms with a size and a loss, the first of which is int8."""
    names = ("int8", "palette16", "palette4", "palette2")
    made = (Form(n, size, loss, loss) for n, (size, loss) in zip(names, forms, strict=False))
    return LayerForms(name, f"{name}_w", (name,), 100, False, tuple(made))


LAYERS = [
    layer("a", (1000, 0.0), (520, 0.02), (260, 0.3)),
    layer("b", (4000, 0.0), (2020, 0.01), (1010, 0.05), (505, 0.9)),
    layer("c", (400, 0.0), (220, 0.5)),
]


def total(choice: Choice) -> tuple[int, float]:
    taken = [choice.get(x.op, x.forms[0]) for x in LAYERS]
    return sum(f.size for f in taken), sum(f.loss for f in taken)


@pytest.mark.parametrize("to_save", [0, 400, 480, 1500, 2400, 3000, 3400])
def test_the_choice_is_the_best(to_save: int) -> None:
    found = least_loss(LAYERS, to_save)
    size, loss = total(found)
    assert 5400 - size >= to_save
    every = [[]]  # type: list[list[tuple[str, Form]]]
    for x in LAYERS:
        every = [[*c, (x.op, f)] for c in every for f in x.forms]
    best = min(total(dict(c))[1] for c in every if 5400 - total(dict(c))[0] >= to_save)
    assert loss == pytest.approx(best)


def test_what_cannot_be_saved_is_not_promised() -> None:
    size, _ = total(least_loss(LAYERS, 10_000))
    assert size == 260 + 505 + 220


def test_code_that_decodes_is_made_up_for() -> None:
    built = []

    def size_of(choice: Choice) -> int:
        built.append(choice)
        return total(choice)[0] + 3000 + (700 if choice else 0)

    assert fit(lambda: LAYERS, 9000, size_of) == ({}, 8400)
    choice, size = fit(lambda: LAYERS, 7400, size_of)
    assert size == size_of(choice) <= 7400
    assert len(built) == 4  # the second time: int8, too large by 700, and right
    _, size = fit(lambda: LAYERS, 4000, size_of)
    assert size == 260 + 505 + 220 + 3700


def test_clusters_are_the_best_there_are() -> None:
    """One channel, equal weights of all numbers: every cut of the sorted numbers is tried."""
    rng = np.random.default_rng(9)
    numbers = np.sort(rng.integers(-120, 121, 14)).astype(np.float64)
    few = few_valued(numbers[None], "palette4", np.ones(14))

    def squares(cuts: tuple[int, ...]) -> float:
        parts = np.split(numbers, cuts)
        return float(sum(((p - p.mean()) ** 2).sum() for p in parts if len(p)))

    best = min(squares(cuts) for cuts in combinations(range(1, 14), 3))
    assert ((few.real[0] - numbers) ** 2).sum() <= 1.05 * best + 10
