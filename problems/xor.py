"""Exclusive or: the smallest task that a single layer cannot solve.

Four samples (the corners of a square), a tanh layer and a linear output, squared error with targets -1 and 1.

Source
------
M. Minsky and S. Papert, Perceptrons, MIT Press 1969; trained by backpropagation in D. Rumelhart, G. Hinton and
R. Williams, Learning representations by back-propagating errors, Nature 323, 533-536 (1986).

Known answer
------------
No linear classifier separates the classes; two hidden units suffice, so the least energy is 0 for width >= 2
(`solution`). The best constant output, 0, has energy 1/2.
"""

from __future__ import annotations

import numpy as np

import actionopt as ao

CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
TARGETS = np.array([[-1.0], [1.0], [1.0], [-1.0]])


def build(width: int = 4, activation: str = "tanh", mass: float = 0.1, weight_decay: float = 0.0) -> ao.Problem:
    """Return the problem with `width` hidden units, `4 width + 1` weights."""
    layers = [ao.Dense(2, width, activation), ao.Dense(width, 1)]
    return ao.Problem(layers, CORNERS, TARGETS, ao.SquaredError(), mass=mass, weight_decay=weight_decay, name="XOR")


def solution(width: int = 4) -> np.ndarray:
    """Return weights of energy 0 (tanh): two units that see x + y -+ 1, the others idle.

    With `s = x + y` in {-2, 0, 2}, `tanh(s + 1) - tanh(s - 1)` is `2 tanh 1` at s = 0 and `tanh 3 - tanh 1`
    at s = -2 and 2; an affine map of it takes the values 1 and -1.
    """
    matrix, offset, out = np.zeros((width, 2)), np.zeros(width), np.zeros(width)
    matrix[:2], offset[:2] = 1.0, (1.0, -1.0)
    high, low = 2 * np.tanh(1), np.tanh(3) - np.tanh(1)
    out[:2] = np.array([1.0, -1.0]) * 2 / (high - low)
    return np.concatenate([matrix.ravel(), offset, out, [1 - 2 * high / (high - low)]])


def known(width: int, weight_decay: float, **options: object) -> dict[str, float]:
    """Return the least energy, where it is known."""
    return {"energy": 0.0} if width >= 2 and weight_decay == 0.0 else {}


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
