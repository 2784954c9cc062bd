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


def turned_in_space(ops: Any, w: Any) -> Any:
    """A double well in space and a constant turn of its gradient, V = (x^2-1)^2/4 + (y-x^2+1)^2 + 2 (z+x y/2)^2."""
    x, y, z = ops.columns(w)
    p, q = y - x * x + 1.0, z + 0.5 * x * y
    gx, gy, gz = x**3 - x - 4.0 * x * p + 2.0 * q * y, 2.0 * p + 2.0 * q * x, 4.0 * q
    return ops.concatenate([-gx - 1.5 * gy + 0.5 * gz, -gy + 1.5 * gx - 2.0 * gz, -gz - 0.5 * gx + 2.0 * gy])


def uneven(ops: Any, w: Any) -> list[Any]:
    """A full noise that depends on the state."""
    u = ops.columns(w)[0]
    return [[2.0 + u * u, 0.5 * u], [0.5 * u, 1.0 + 0.0 * u]]


def in_uneven_noise(ops: Any, w: Any) -> Any:
    """`-(a - R) grad V` with the noise a and a turn R, of the bent double well: twice the climb."""
    u, v = ops.columns(w)
    q = v - 1.0 + u * u
    gu, gv = u**3 - u + 8.0 * q * u, 4.0 * q
    (a, b), (_, d) = uneven(ops, w)
    return ops.concatenate([-a * gu - (b + 0.7) * gv, -(b - 0.7) * gu - d * gv])


FOCUS = np.array([[-0.2, 5.0], [-5.0, -0.2]])


def three_wells(ops: Any, w: Any) -> Any:
    """Minus the gradient of the three-hole potential of transition path theory: two ways from left to right."""
    x, y = ops.columns(w)
    hill, top = 3.0 * ops.exp(-x * x - (y - 1 / 3) ** 2), 3.0 * ops.exp(-x * x - (y - 5 / 3) ** 2)
    right, left = 5.0 * ops.exp(-((x - 1.0) ** 2) - y * y), 5.0 * ops.exp(-((x + 1.0) ** 2) - y * y)
    gx = 2.0 * (-x * hill + x * top + (x - 1.0) * right + (x + 1.0) * left) + 0.8 * x**3
    gy = 2.0 * (-(y - 1 / 3) * hill + (y - 5 / 3) * top + y * right + y * left) + 0.8 * (y - 1 / 3) ** 3
    return ops.concatenate([-gx, -gy])


def brighter(ops: Any, w: Any) -> Any:
    """Noise that grows with the distance, `1 + r^2`."""
    return 1.0 + ops.sum(w * w, keepdims=True)


def through_noise(r: float) -> float:
    """`int_1^r 2 (s^3 - s) / (1 + s^2) ds`, of the cycle in that noise."""
    return r * r - 1.0 - 2.0 * float(np.log((1.0 + r * r) / 2.0))


WEST, EAST = (-1.0480549928242202, -0.042093666306), (1.0480549928242202, -0.042093666306)
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
    "uneven noise": reference(2, in_uneven_noise, [-1.0, 0.0], [1.0, 0.0], 0.5, uneven),
    "three wells": reference(2, three_wells, WEST, EAST, 5.2205479229),  # twice the climb over the lower saddle
    "cycle, bright": reference(2, cycle, [1.0, 0.0], [0.4, 0.0], through_noise(0.4), brighter),
    "cycle, inward": reference(2, cycle, [1.0, 0.0], [0.4, 0.0], 0.3528),
    "cycle, outward": reference(2, cycle, [1.0, 0.0], [1.5, 0.0], 0.78125),
}
