"""A neural ordinary differential equation: a vector field learns the flow that takes states to where they arrive.

`z' = f(z, w)` in `steps` equal steps of Euler's method or of Runge and Kutta's of order 4, every step a node on the
same weights. Its adjoint is the costate at the end of that step.

| node | features |
|---|---|
| z0 | 2, points of the plane |
| step 1 .. step N | 2 each |

The field is linear, `f = A z`, or with `width` a tanh network of that width. The points are to arrive where a damped
rotation, `A* = [[-damping, -turn], [turn, -damping]]`, takes them in time 1.

Source
------
R. Chen, Y. Rubanova, J. Bettencourt and D. Duvenaud, Neural ordinary differential equations, NeurIPS 2018,
arXiv:1806.07366; E. Weinan, A proposal on machine learning via dynamical systems, Commun. Math. Stat. 5, 1 (2017).

Known answer
------------
Of the linear field with Euler's steps of length h: least energy 0 at `A = (exp(h A*) - 1) / h` (`solution`). There the
costates are those of the differential equation's adjoint, `lam(t) = exp((1 - t) A*^T) lam(1)` (`costates`), exactly;
with Runge and Kutta's steps the field A* itself has the energy O(h^8).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import expm

import actionopt as ao


class Step(ao.Module):
    """One step of `z' = f(z, w)`: `z + h f(z)` of order 1, Runge and Kutta's of order 4."""

    def __init__(self, field: ao.Module, length: float, order: int) -> None:
        super().__init__(field.in_size, field.out_size, field.weight_size, name="step")
        self.field, self.length, self.order = field, length, order

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        def f(z: Any) -> Any:
            return self.field.forward(ops, w, z)

        h, first = self.length, f(z)
        if self.order == 1:
            return z + h * first
        second = f(z + 0.5 * h * first)
        third = f(z + 0.5 * h * second)
        return z + (h / 6.0) * (first + 2.0 * (second + third) + f(z + h * third))

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        return self.field.initial_weights(rng)


def build(
    steps: int = 10,
    samples: int = 16,
    width: int | None = None,
    order: int = 1,
    damping: float = 0.5,
    turn: float = 2.0,
    mass: float = 0.1,
    seed: int = 0,
) -> ao.Problem:
    """Return the problem, with 4 weights or, with a width, `4 width + 2 + width`."""
    if order not in (1, 4) or steps < 1:
        raise ao.InputError(f"order must be 1 or 4 and steps at least 1, got {order!r} and {steps!r}")
    hidden = () if width is None else (ao.Dense(2, width, "tanh"), ao.Dense(width, 2))
    step = Step(ao.Chain(*hidden) if hidden else ao.Dense(2, 2, bias=False), 1.0 / steps, order)
    start = np.random.default_rng(seed).standard_normal((samples, 2))
    z: ao.Node = ao.Input(start, name="z0")
    for k in range(steps):
        z = step(z, name=f"step {k + 1}")
    cost = ao.Cost(z, ao.SquaredError(), start @ expm(generator(damping, turn)).T)
    return ao.Problem([cost], mass=mass, name="neural ode")


def generator(damping: float = 0.5, turn: float = 2.0) -> np.ndarray:
    """Return A*, the damped rotation that is to be learnt."""
    return np.array([[-damping, -turn], [turn, -damping]])


def solution(problem: ao.Problem, damping: float = 0.5, turn: float = 2.0) -> np.ndarray:
    """Return the weights of the linear field whose Euler steps follow the damped rotation exactly."""
    h = problem.modules[0].length
    return ((expm(h * generator(damping, turn)) - np.eye(2)) / h).ravel()


def costates(last: np.ndarray, steps: int, damping: float = 0.5, turn: float = 2.0) -> np.ndarray:
    """Return the adjoint equation's solution at the ends of all steps `(steps, samples, 2)`, given the last."""
    times = np.arange(1, steps + 1) / steps
    return np.stack([last @ expm((1.0 - t) * generator(damping, turn)) for t in times])


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
