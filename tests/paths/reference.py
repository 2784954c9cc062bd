"""Reference systems with their least actions, S = 1/2 int |v - b|^2 in the inverse noise, infimum over the horizon.

Values in closed form where there is one: twice the climb of a gradient flow, Lyapunov equations, quadratures. The rest
(Maier-Stein beyond beta = 4, FitzHugh-Nagumo, the toggle switches) were computed by two independent codes to the digits
shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import solve_continuous_lyapunov

import actionopt as ao


@dataclass(frozen=True)
class Reference:
    """A drift, its ends and the least action between them."""

    what: Callable[[], ao.Drift]
    start: Any
    end: Any
    action: float


def well(ops: Any, x: Any) -> Any:
    return x - x**3


def bent(turn: float) -> Callable[[Any, Any], Any]:
    """A bent double well, and `turn` times its gradient turned by a right angle: the quasipotential stays 2 V."""

    def drift(ops: Any, w: Any) -> Any:
        u, v = ops.columns(w)
        q = v - 1.0 + u * u
        gu, gv = u**3 - u + 8.0 * q * u, 4.0 * q
        return ops.concatenate([-gu - turn * gv, -gv + turn * gu])

    return drift


def maier_stein(beta: float) -> Callable[[Any, Any], Any]:
    def drift(ops: Any, w: Any) -> Any:
        u, v = ops.columns(w)
        return ops.concatenate([u - u**3 - beta * u * v * v, -(1.0 + u * u) * v])

    return drift


def fitzhugh_nagumo(ops: Any, w: Any) -> Any:
    u, v = ops.columns(w)
    return ops.concatenate([(u - u**3 - v) * 10.0, u - 3.0 * v])


def births(ops: Any, w: Any) -> Any:
    u, v = ops.columns(w)
    return ops.concatenate([3.0 / (1.0 + v * v), 3.0 / (1.0 + u * u)])


def toggle(ops: Any, w: Any) -> Any:
    return births(ops, w) - w


def langevin(ops: Any, w: Any) -> Any:
    return births(ops, w) + w


def cycle(ops: Any, w: Any) -> Any:
    u, v = ops.columns(w)
    r = u * u + v * v
    return ops.concatenate([u * (1.0 - r) - v, v * (1.0 - r) + u])


def linear(matrix: np.ndarray) -> Callable[[Any, Any], Any]:
    return lambda ops, w: ops.matmul(w, matrix.T)


def gaussian(matrix: np.ndarray, end: np.ndarray) -> float:
    """`1/2 y . Sigma^{-1} y` with `A Sigma + Sigma A^T + I = 0`."""
    return float(0.5 * end @ np.linalg.solve(solve_continuous_lyapunov(matrix, -np.eye(len(matrix))), end))


NONNORMAL = np.array([[-1.0, 10.0], [0.0, -2.0]])
SHEARED = np.array([[-1.0, 3.0, -2.0], [0.0, -1.5, 4.0], [0.0, 0.0, -2.0]])
RIGHT, UP = ((3 + 5**0.5) / 2, (3 - 5**0.5) / 2), ((3 - 5**0.5) / 2, (3 + 5**0.5) / 2)
EXCITED = np.array([(2 / 3) ** 0.5, (2 / 27) ** 0.5])


def reference(size: int, drift: Any, start: Any, end: Any, action: float, noise: Any = None) -> Reference:
    return Reference(lambda: ao.Drift(size, drift, noise=noise), start, end, action)


SYSTEMS = {
    "double well": reference(1, well, [-1.0], [1.0], 0.5),
    "multiplicative": reference(1, well, [-1.0], [1.0], 2 * np.log(2) - 1, lambda ops, x: 1.0 + x * x),
    "bent well": reference(2, bent(0.0), [-1.0, 0.0], [1.0, 0.0], 0.5),
    "turned well": reference(2, bent(1.0), [-1.0, 0.0], [1.0, 0.0], 0.5),
    "Maier-Stein 1": reference(2, maier_stein(1.0), [-1.0, 0.0], [1.0, 0.0], 0.5),
    "Maier-Stein 5": reference(2, maier_stein(5.0), [-1.0, 0.0], [1.0, 0.0], 0.4830697092),
    "Maier-Stein 10": reference(2, maier_stein(10.0), [-1.0, 0.0], [1.0, 0.0], 0.34004140333),
    "FitzHugh-Nagumo": reference(2, fitzhugh_nagumo, EXCITED, -EXCITED, 0.17978701717),
    "toggle": reference(2, toggle, RIGHT, UP, 0.17675882043),
    "toggle, Langevin": reference(2, toggle, RIGHT, UP, 0.09115307955, langevin),
    "non-normal": reference(2, linear(NONNORMAL), [0.0, 0.0], [1.0, 1.0], gaussian(NONNORMAL, np.ones(2))),
    "sheared": reference(3, linear(SHEARED), np.zeros(3), np.ones(3), gaussian(SHEARED, np.ones(3))),
    "cycle, inward": reference(2, cycle, [1.0, 0.0], [0.4, 0.0], 0.3528),
    "cycle, outward": reference(2, cycle, [1.0, 0.0], [1.5, 0.0], 0.78125),
}
