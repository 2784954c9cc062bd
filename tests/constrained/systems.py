"""Systems of every kind for the tests of the constrained problem; B equals a layer's size in most of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import actionopt as ao


class Gain(ao.Module):
    """A user's module: `a tanh(b z)`, forward alone."""

    in_size, out_size, weight_size = 3, 3, 6

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        a, b = ops.unpack(w, (3,), (3,))
        return a * ops.tanh(b * z)


class Attention(ao.Module):
    """A user's module whose features meet: softmax of an affine score times the input."""

    in_size, out_size, weight_size = 3, 3, 12

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return z * ops.softmax(ops.affine(z, *ops.unpack(w, (3, 3), (3,))))


def data(samples: int, width: int = 3, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((samples, width))


def classes(samples: int, count: int = 3) -> np.ndarray:
    return np.arange(samples) % count


def quartic(ops: Any, y: Any, target: Any) -> Any:
    return ops.sum((y * y - 1.0) * (y * y - 1.0)) + 0.3 * ops.sum(y)


SYSTEMS: dict[str, Callable[[], ao.Problem]] = {
    "dense, B = every width": lambda: ao.Problem(
        [ao.Dense(3, 3, "tanh"), ao.Dense(3, 3)], data(3), data(3, seed=6), ao.SquaredError(), weight_decay=0.1
    ),
    "one sample": lambda: ao.Problem([ao.Dense(3, 2, "tanh"), ao.Dense(2, 1)], data(1), data(1, 1), ao.SquaredError()),
    "one module": lambda: ao.Problem(ao.Dense(3, 2, "sin"), data(4), data(4, 2), ao.SquaredError()),
    "softmax": lambda: ao.Problem(
        [ao.Dense(3, 5, "sigmoid"), ao.Dense(5, 3)], data(5), classes(5), ao.SoftmaxCrossEntropy(), weight_decay=0.01
    ),
    "logistic": lambda: ao.Problem(
        [ao.Dense(3, 4, "softplus"), ao.Dense(4, 1)], data(4), data(4, 1) > 0, ao.Logistic()
    ),
    "users' modules": lambda: ao.Problem([Gain(), Attention(), Gain()], data(3), data(3, seed=6), ao.SquaredError()),
    "composites": lambda: ao.Problem(
        [
            ao.Residual(ao.Chain(ao.Dense(3, 4, "tanh"), ao.Dense(4, 3))),
            ao.Parallel(ao.Dense(2, 2, "sin"), ao.Activation(1, "tanh"), ao.Parameter(1)),
            ao.Activation(4, "softplus"),
            ao.Dense(4, 3),
        ],
        data(4),
        data(4, seed=6),
        ao.SquaredError(),
    ),
    "relu": lambda: ao.Problem([ao.Dense(3, 6, "relu"), ao.Dense(6, 2)], data(6), data(6, 2), ao.SquaredError()),
    "landscape": lambda: ao.Problem(ao.Parameter(2), None, None, ao.CustomLoss(quartic)),
    "landscape of three samples": lambda: ao.Problem(ao.Parameter(3), None, data(3), ao.SquaredError()),
}
