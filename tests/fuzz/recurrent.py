"""Random recurrent layers, with numbers at the limits of the number contract."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcucompile.ir import Array, Graph, QParams
from mcucompile.ops.gru import Gru
from mcucompile.ops.lstm import Lstm
from mcucompile.ops.recurrent import Activation, Recurrent
from mcucompile.ops.rnn import Rnn
from tests.fuzz.dice import Dice
from tests.support.recurrent import recurrent_graph

NAME = ("op", ("node",))
GATES = (Activation("sigmoid"), Activation("sigmoid"), Activation("hardsigmoid"))
OTHERS = ("tanh", "tanh", "relu", "leakyrelu", "softsign", "softplus", "elu", "sigmoid")


def lstm(dice: Dice) -> Graph:
    activations = (dice.one_of(GATES), _other(dice), _other(dice))
    op = Lstm(
        *NAME,
        **_fields(dice, activations),
        peepholes=dice.chance(0.3),
        with_cell=dice.chance(0.3),
    )
    return _graph(dice, op, 2 if op.with_cell else 1)


def gru(dice: Dice) -> Graph:
    activations = (dice.one_of(GATES), _other(dice))
    return _graph(dice, Gru(*NAME, **_fields(dice, activations), reset_sums=dice.chance(0.5)), 1)


def rnn(dice: Dice) -> Graph:
    return _graph(dice, Rnn(*NAME, **_fields(dice, (_other(dice),))), 1)


def _other(dice: Dice) -> Activation:
    return Activation(dice.one_of(OTHERS))


def _fields(dice: Dice, activations: tuple[Activation, ...]) -> dict[str, Any]:
    return {
        "hidden": dice.size(16),
        "activations": activations,
        "clip": dice.one_of([np.inf, np.inf, dice.logarithmic(0.1, 10)]),
        "reverse": dice.chance(0.3),
        "sequence": dice.chance(0.7),
        "initial": dice.chance(0.3),
        "peaks": (dice.logarithmic(0.1, 50), dice.logarithmic(0.01, 50)),
    }


def _graph(dice: Dice, op: Recurrent, results: int) -> Graph:
    x, y = dice.qparams(0.001, 0.1), dice.qparams(0.002, 0.05)
    width, time = dice.size(20), dice.number(1, 6)
    rows = op.gates * op.hidden
    arrays = [_weights(dice, (rows, width)), _weights(dice, (rows, op.hidden))]
    added = dice.rng.normal(0, dice.logarithmic(0.01, 4), op.added)
    states = [dice.qparams(0.001, 0.5) for _ in range(op.states * op.initial)]
    stored = [y, QParams((dice.step(0.001, 0.5),), dice.zero_point())][:results]
    return recurrent_graph(op, time, x, stored, [*arrays, added], states)


def _weights(dice: Dice, shape: tuple[int, int]) -> Array:
    """Normal ones, extremes that ask for wide sums, rows of very different sizes, or zeros."""
    w = dice.rng.normal(0, dice.logarithmic(0.01, 3), shape)
    kind = dice.number(0, 5)
    if kind == 0:
        w = np.abs(w).max() * dice.rng.choice([-1.0, 1.0], shape)
    elif kind == 1:
        w *= 10.0 ** dice.rng.uniform(-4, 0, (shape[0], 1))
    elif kind == 2:
        w[:: dice.number(1, 3)] = 0
    return np.asarray(w)
