"""The linear-quadratic regulator: minimise `int 1/2 (x^2 + u^2) dt` with x' = u, the end free.

A first exercise of optimal control (A. E. Bryson and Y.-C. Ho, "Applied Optimal Control", 1975, chapter 5). It is a
Lagrangian whose velocity is the control.

Known answer, from x(0) = 1 with T = 1: J = tanh(1)/2 = 0.3807970780, costate p(0) = -tanh(1) in the sign of
`p = dl/dv = u` (0.7615941560 where the costate is minus that), x(1) = 1/cosh(1) = 0.6480542737, and
x(t) = cosh(T - t)/cosh(T).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import actionopt as ao

POINTS = {"start": (1.0,), "rest": (0.0,)}
HORIZON = 1.0


def build() -> ao.Lagrangian:
    """Return the Lagrangian `1/2 (x^2 + u^2)` with x' = u."""
    return ao.Lagrangian(1, lambda ops, x, u: 0.5 * (x**2 + u**2), name="lqr")


def exact_path(times: Any, horizon: float = HORIZON) -> np.ndarray:
    """Return x at `times` for x(0) = 1."""
    return np.cosh(horizon - np.asarray(times)) / np.cosh(horizon)


def exact_cost(horizon: float = HORIZON) -> float:
    """Return J for x(0) = 1; the costate p(0) is minus twice that."""
    return float(np.tanh(horizon) / 2.0)
