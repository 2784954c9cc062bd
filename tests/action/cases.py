"""Small problems of every kind for the tests of the action: four samples, so that B equals layer sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import actionopt as ao

INPUTS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = np.array([0.0, 1.0, 1.0, 0.0])


class Wave(ao.Module):
    """A user's module: two features to three, `tanh(a x + b sin(c y))`, with nothing but a forward."""

    in_size, out_size, weight_size = 2, 3, 9

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        a, b, c = ops.unpack(w, (3,), (3,), (3,))
        x, y = ops.columns(z)
        return ops.tanh(a * x + b * ops.sin(c * y))


def squared() -> ao.Problem:
    layers = [ao.Dense(2, 4, "tanh"), ao.Dense(4, 1)]
    return ao.Problem(layers, INPUTS, XOR[:, None], ao.SquaredError(), mass=0.1, weight_decay=1e-2)


def softmax() -> ao.Problem:
    layers = [ao.Dense(2, 4, "tanh"), ao.Residual(ao.Dense(4, 4, "sin")), ao.Dense(4, 3)]
    return ao.Problem(layers, INPUTS, np.array([0, 1, 2, 1]), ao.SoftmaxCrossEntropy(), mass=0.1)


def logistic() -> ao.Problem:
    layers = [ao.Dense(2, 3, "softplus"), ao.Dense(3, 1)]
    return ao.Problem(layers, INPUTS, XOR[:, None], ao.Logistic(), mass=[0.2, 0.1])


def users() -> ao.Problem:
    return ao.Problem([Wave(), ao.Dense(3, 1)], INPUTS, XOR[:, None], ao.SquaredError(), mass=0.1)


def users_metric() -> ao.Problem:
    def factor(ops: Any, y: Any, target: Any) -> list[Any]:
        a, b = ops.columns(y)
        return [ops.concatenate([1.0 + a * a, b]), ops.concatenate([b * 0.5, ops.cos(a)])]

    layers = [ao.Dense(2, 3, "tanh"), ao.Dense(3, 2)]
    return ao.Problem(layers, INPUTS, INPUTS[::-1].copy(), ao.SquaredError(), mass=0.3, output_metric=factor)


def massive() -> ao.Problem:
    """No output metric: G is the mass."""
    layers = [ao.Dense(2, 3, "tanh"), ao.Dense(3, 1)]
    return ao.Problem(layers, INPUTS, XOR[:, None], ao.SquaredError(), mass=0.5, output_metric=None)


PROBLEMS: dict[str, Callable[[], ao.Problem]] = {
    f.__name__: f for f in (squared, softmax, logistic, users, users_metric, massive)
}


def quadratic() -> ao.Lagrangian:
    """`w' = -H w`, whose action between fixed ends is known in closed form."""
    hessian = np.array([[2.0, 0.5], [0.5, 1.0]])
    return ao.Drift(2, lambda ops, w: -ops.matmul(w, hessian), name="quadratic")


QUADRATIC_ACTION = 2.0188818570  # (1, -1) -> (0.5, 0.8) in T = 1.5, from the eigenbasis
