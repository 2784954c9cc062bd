"""The linear-quadratic regulator: minimise `int 1/2 (x^2 + u^2) dt` with x' = u, the end free.

An optimal control problem as a Lagrangian, whose velocity is the control.

Source
------
A first exercise of optimal control: A. E. Bryson and Y.-C. Ho, Applied Optimal Control, Hemisphere 1975, chapter 5.

Known answer
------------
From x(0) = 1 in T = 1: J = tanh(1)/2 = 0.3807970780 (`exact_cost`), x(1) = 1/cosh(1) = 0.6480542737 and
x(t) = cosh(T - t)/cosh(T) (`exact_path`). The momentum `p = dl/dv = u` is -0.7615941560 at the start; the costate of
the textbooks, with the Hamiltonian `1/2 (x^2 + u^2) + costate u`, is 0.7615941560 = -p.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import actionopt as ao

LABELS = ("x",)
POINTS = {"start": (1.0,), "rest": (0.0,)}
HORIZON = 1.0
RUN = {"start": "start", "horizon": HORIZON}  # what a report shows unless told otherwise


def build() -> ao.Lagrangian:
    """Return the Lagrangian `1/2 (x^2 + u^2)` with x' = u."""
    return ao.Lagrangian(1, lambda ops, x, u: 0.5 * (x**2 + u**2), name="lqr")


def exact_path(times: Any, horizon: float = HORIZON) -> np.ndarray:
    """Return x at `times` for x(0) = 1."""
    return np.cosh(horizon - np.asarray(times)) / np.cosh(horizon)


def exact_cost(horizon: float = HORIZON) -> float:
    """Return J for x(0) = 1; the costate p(0) is minus twice that."""
    return float(np.tanh(horizon) / 2.0)


def known() -> dict[str, float]:
    """Return the cost in the time in `RUN`."""
    return {"path action": exact_cost(RUN["horizon"])}


if __name__ == "__main__":
    from problems._main import main

    main(__file__, "action", "--start", "start", "--horizon", str(HORIZON), "--scheme", "gauss2")
