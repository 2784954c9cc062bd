"""Discretisation in time: a trajectory as a piecewise polynomial, its action as a weighted sum over stages.

Every scheme is three things: how the unknowns give the position at the stages (P), the velocity at the stages (Q),
and the quadrature weights. The discrete action is `S_h = sum_q weight_q l((P X)_q, (Q X)_q)`, with X `(K, n)` the
values at the scheme's points; gradient and Hessian products of S_h follow by the transposes of P and Q.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from actionopt.arrays import real_array, real_number
from actionopt.errors import InputError, is_name, unknown_name
from actionopt.memory import check_memory


@dataclass(frozen=True)
class Scheme:
    """A discretisation on a grid of N intervals.

    Attributes
    ----------
    name : str
    order : int
        Order of convergence at the nodes.
    times : array (N+1,)
        The nodes.
    points : array (K,)
        Times of the unknowns X: the nodes, and the interior points of each interval; `nodes` tells which are which.
    nodes : array (N+1,) of int
        Where the nodes lie among the points.
    stages : array (M,)
        Times of the stages, where the Lagrangian is evaluated.
    position, velocity : sparse arrays (M, K)
        P and Q.
    weights : array (M,)
        Quadrature weights; they sum to the horizon.
    """

    name: str
    order: int
    times: np.ndarray
    points: np.ndarray
    nodes: np.ndarray
    stages: np.ndarray
    position: csr_array
    velocity: csr_array
    weights: np.ndarray

    def interpolate(self, times: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Sample a trajectory given at `times` at this scheme's points, linearly: `(K, n)`."""
        return np.stack([np.interp(self.points, times, column) for column in weights.T], axis=-1)

    def up_to(self, points: np.ndarray) -> tuple[Scheme, np.ndarray]:
        """Return the scheme on the intervals that `points (k, n)`, the first of a path, fill, and these points."""
        reached = int(np.searchsorted(self.nodes, len(points) - 1, side="right")) - 1
        if reached == len(self.times) - 1:
            return self, points
        shorter = make_scheme(self.name, self.times[: reached + 1])
        return shorter, points[: shorter.nodes[-1] + 1]


def midpoint(times: np.ndarray) -> Scheme:
    """Linear pieces, one stage in the middle of each: order 2; the flow's minimiser is the implicit midpoint rule."""
    return _piecewise("midpoint", 2, times, np.array([0.0, 1.0]), np.array([0.5]), np.array([1.0]))


def gauss2(times: np.ndarray) -> Scheme:
    """Quadratic pieces, stages at the two Gauss points: order 4 at the nodes (two-stage Gauss collocation)."""
    offset = np.sqrt(3.0) / 6.0
    stages = np.array([0.5 - offset, 0.5 + offset])
    return _piecewise("gauss2", 4, times, np.array([0.0, 0.5, 1.0]), stages, np.array([0.5, 0.5]))


def radau3(times: np.ndarray) -> Scheme:
    """Quadratic pieces, stages at the two Radau points, the last at the right node: order 3 there, L-stable.

    Radau IIA collocation (Hairer and Wanner, Solving Ordinary Differential Equations II, section IV.5): what decays
    much faster than a step is gone after one, where the Gauss schemes let it ring.
    """
    return _radau("radau3", 3, times, np.array([1.0 / 3.0, 1.0]))


def radau5(times: np.ndarray) -> Scheme:
    """Pieces of degree three, stages at the three Radau points: order 5 at the nodes, L-stable as `radau3`."""
    root = np.sqrt(6.0)
    return _radau("radau5", 5, times, np.array([(4.0 - root) / 10.0, (4.0 + root) / 10.0, 1.0]))


def _radau(name: str, order: int, times: np.ndarray, stages: np.ndarray) -> Scheme:
    """Collocation whose stages are the points after the first; the quadrature interpolates at them."""
    powers = np.arange(len(stages))
    quadrature = np.linalg.solve(stages ** powers[:, None], 1.0 / (powers + 1.0))
    return _piecewise(name, order, times, np.append(0.0, stages), stages, quadrature)


SCHEMES: dict[str, Callable[[np.ndarray], Scheme]] = {
    "midpoint": midpoint,
    "gauss2": gauss2,
    "radau3": radau3,
    "radau5": radau5,
}


def make_scheme(name: str, times: np.ndarray) -> Scheme:
    """Look up a scheme by name and lay it on a grid.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if not is_name(name, SCHEMES):
        raise unknown_name("scheme", name, SCHEMES)
    return SCHEMES[name](times)


def make_grid(horizon: Any, steps: Any, times: Any = None) -> np.ndarray:
    """Return the nodes `(N+1,)`: uniform on `[0, horizon]`, or the given ones.

    Raises
    ------
    InputError
        If horizon or steps are not positive, or the times do not increase.
    """
    if times is not None:
        grid = real_array("times", times, "at least two finite numbers that increase")
        if grid.ndim != 1 or len(grid) < 2 or not np.isfinite(grid).all() or (np.diff(grid) <= 0).any():
            raise InputError("times must be at least two finite numbers that increase")
        return grid
    if horizon is None:
        raise InputError(
            "horizon or times must be given: a path whose horizon is free is what least_action_path finds; of a "
            "Lagrangian a horizon is free between bounds, horizon=(shortest, longest)"
        )
    if not 0.0 < real_number(horizon) < np.inf:
        raise InputError(f"horizon must be a positive, finite number, got {horizon!r}")
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise InputError(f"steps must be a whole number >= 1, got {steps!r}")
    check_memory(f"a grid of {steps} steps", 3.0 * steps, "take fewer steps")
    return np.linspace(0.0, float(horizon), int(steps) + 1)


def _piecewise(
    name: str, order: int, times: np.ndarray, local_points: np.ndarray, local_stages: np.ndarray, quadrature: np.ndarray
) -> Scheme:
    """Lay one interval's Lagrange polynomials on every interval of the grid."""
    values, slopes = laws(tuple(local_points.tolist()), tuple(local_stages.tolist()))
    intervals, degree, per_interval = len(times) - 1, len(local_points) - 1, len(local_stages)
    h = np.diff(times)
    interval = np.arange(intervals)[:, None, None]
    rows = np.broadcast_to(
        interval * per_interval + np.arange(per_interval)[:, None], (intervals, per_interval, degree + 1)
    )
    columns = np.broadcast_to(interval * degree + np.arange(degree + 1), rows.shape)
    shape = (intervals * per_interval, intervals * degree + 1)

    def lay(local: np.ndarray, scale: np.ndarray) -> csr_array:
        entries = local[None] * scale[:, None, None]
        return csr_array((entries.ravel(), (rows.ravel(), columns.ravel())), shape=shape)

    points = np.append((times[:-1, None] + h[:, None] * local_points[:-1]).ravel(), times[-1])
    return Scheme(
        name=name,
        order=order,
        times=times,
        points=points,
        nodes=np.arange(intervals + 1) * degree,
        stages=(times[:-1, None] + h[:, None] * local_stages).ravel(),
        position=lay(values, np.ones(intervals)),
        velocity=lay(slopes, 1.0 / h),
        weights=(h[:, None] * quadrature).ravel(),
    )


@lru_cache(maxsize=100)
def laws(points: tuple[float, ...], stages: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return `lagrange` of a few points, remembered."""
    return lagrange(np.array(points), np.array(stages))


def lagrange(points: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values and slopes `(len(at), len(points))` of the Lagrange polynomials of `points`."""
    basis = [np.polynomial.Polynomial.fit(points, row, len(points) - 1) for row in np.eye(len(points))]
    return (
        np.stack([p(at) for p in basis], axis=-1),
        np.stack([p.deriv()(at) for p in basis], axis=-1),
    )


def position_laws(scheme: Scheme, local: np.ndarray) -> np.ndarray:
    """Weights `(C, degree + 1)` of an interval's points in its positions at `local (C,)`, in [0, 1]."""
    return lagrange(_local_points(scheme), local)[0]


def slope_laws(scheme: Scheme, local: np.ndarray) -> np.ndarray:
    """Weights `(C, degree + 1)` of an interval's points in the slopes there, to be divided by the interval's length."""
    return lagrange(_local_points(scheme), local)[1]


def _local_points(scheme: Scheme) -> np.ndarray:
    degree = int(scheme.nodes[1])
    return (scheme.points[: degree + 1] - scheme.points[0]) / (scheme.points[degree] - scheme.points[0])


def times_of(scheme: Scheme, interval: np.ndarray, local: np.ndarray) -> np.ndarray:
    """Times `(C,)` of positions at `local` on the intervals; interval N is the last node."""
    lengths = np.append(np.diff(scheme.times), 0.0)
    return np.asarray(scheme.times[interval] + local * lengths[interval])
