"""How small displacements move along the gradient flow: the metric, its rate of change and the flow's Jacobian.

Along `w' = phi(w) = -G^{-1} g`, with `c(w, u) = G(w) u + g(w)` and u = phi frozen, differentiating `c(w, phi(w)) = 0`
gives `G J = -dc/dw` for the Jacobian J = dphi/dw, so no inverse is ever differentiated. `dc/dw` is the derivative of
c along every unit vector, and `Gdot = sum_i dG/dw_i phi_i` that of G's columns along phi: both are duals over NumPy,
exact to rounding, and the third-order tensor dG/dw is never formed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from actionopt.action.density.local_model import LocalModel
from actionopt.contraction.smooth import check_smooth
from actionopt.errors import InputError
from actionopt.memory import check_memory
from actionopt.metric.kinds import kind_of
from actionopt.ops import NUMPY, duals_over
from actionopt.problem import Problem

DUALS = duals_over(NUMPY)
BLOCK_NUMBERS = 400_000  # numbers in the widest array of a block of directions: a few megabytes


@dataclass(frozen=True)
class Displacement:
    """What decides how squared distances `d^T G d` of small displacements d change along the flow at one point.

    Attributes
    ----------
    weights : array (n,)
    velocity : array (n,)
        `phi = -G^{-1} g`.
    metric : array (n, n)
        G.
    metric_rate : array (n, n)
        `Gdot`, the derivative of G along the velocity.
    momentum_jacobian : array (n, n)
        `dc/dw = -G J`, row i the derivatives of `c_i = (G u + g)_i` at frozen u = phi; the Hessian of E where G is
        constant.
    """

    weights: np.ndarray
    velocity: np.ndarray
    metric: np.ndarray
    metric_rate: np.ndarray
    momentum_jacobian: np.ndarray

    @property
    def rate_form(self) -> np.ndarray:
        """The symmetric matrix R with `d/dt (d^T G d) = -2 d^T R d`: `R = -(Gdot + G J + J^T G) / 2`."""
        return 0.5 * (self.momentum_jacobian + self.momentum_jacobian.T - self.metric_rate)


def displacement(problem: Problem, w: Any, metric: str = "layerwise") -> Displacement:
    """Differentiate the flow and its metric at `w (n,)`.

    Parameters
    ----------
    problem : Problem
    w : array (n,)
    metric : "layerwise", "joint" or "euclidean"

    Raises
    ------
    InputError
        If the weights or the metric cannot be used, gradient, metric or their derivatives are not finite, or the
        energy has a kink at w.
    """
    model = LocalModel(problem, metric)
    w = problem.check_point(w)
    check_memory("a contraction rate's matrices", 4.0 * float(problem.size) ** 2, "compute it for parts of the system")
    check_smooth(problem, w, output_metric=not model.constant)
    with np.errstate(all="ignore"):
        gradient = _finite("the gradient", problem.gradient(w))
        matrix = np.diag(problem.mass) if model.constant else _finite("the metric", _metric(model, w, gradient))
        velocity = -_solve(matrix, gradient)
        rate = np.zeros_like(matrix) if model.constant else _metric_rate(model, w, gradient, velocity)
        jacobian = _in_blocks(
            model, np.eye(len(w)), lambda along: model.momentum(DUALS, DUALS.dual(w, along), velocity).tangent
        ).T
    _finite("the derivative of the metric", rate)
    _finite("the derivative of the gradient", jacobian)
    return Displacement(w, velocity, matrix, rate, jacobian)


def _metric(model: LocalModel, w: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """G, column by column: `c(w, s e_i) - g = s G e_i`."""
    joint, scale = _joint(model), _scale(model, gradient)
    columns = _in_blocks(model, scale * np.eye(len(w)), lambda u: joint.momentum(NUMPY, w, u))
    return _own_blocks(model, columns - gradient) / scale


def _metric_rate(model: LocalModel, w: np.ndarray, gradient: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Gdot, column by column, from the derivative of the same difference along the flow."""
    joint, scale = _joint(model), _scale(model, gradient)
    moving = DUALS.dual(w, velocity)
    columns = _in_blocks(model, scale * np.eye(len(w)), lambda u: joint.momentum(DUALS, moving, u).tangent)
    rest = joint.momentum(DUALS, moving, np.zeros_like(w)).tangent
    return _own_blocks(model, columns - rest) / scale


def _joint(model: LocalModel) -> LocalModel:
    """Return the model of the joint metric: unit vectors move one module each, so one tangent serves both metrics."""
    return LocalModel(model.problem, "joint")


def _own_blocks(model: LocalModel, joint: np.ndarray) -> np.ndarray:
    """Return the symmetric matrix, for the layerwise metric without its blocks between modules."""
    if not kind_of(model.metric).together:
        sizes = [group.size for group in model.problem.groups]
        owner = np.repeat(np.arange(len(sizes)), sizes)
        joint = np.where(owner[:, None] == owner, joint, 0.0)
    return 0.5 * (joint + joint.T)


def _scale(model: LocalModel, gradient: np.ndarray) -> float:
    """Return a power of two s so large that s G outweighs g: c is affine in u, so the difference loses no digits."""
    ratio = abs(gradient).max(initial=0.0) / model.problem.mass.min(initial=1.0)
    return float(2.0 ** np.ceil(np.log2(max(ratio, 1.0))))


def _in_blocks(model: LocalModel, rows: np.ndarray, function: Callable[[np.ndarray], Any]) -> np.ndarray:
    """Apply a function of stacked directions to blocks of rows, so that memory stays bounded."""
    problem = model.problem
    width = max(place.size for place in problem.nodes)
    block = max(1, BLOCK_NUMBERS // (problem.samples * width * len(problem.modules)))
    found = []
    for i in range(0, len(rows), block):
        moved = function(rows[i : i + block])  # None where nothing moves
        found.append(np.broadcast_to(0.0 if moved is None else moved, rows[i : i + block].shape))
    return np.concatenate(found)


def _solve(matrix: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    try:
        return cho_solve(cho_factor(matrix), gradient)
    except LinAlgError:
        raise InputError(
            f"the metric is singular to rounding: its diagonal reaches {matrix.diagonal().max():.3g} and "
            "the mass is too small beside it; raise the mass"
        ) from None


def _finite(what: str, array: np.ndarray) -> np.ndarray:
    if not np.isfinite(array).all():
        raise InputError(f"{what} is not finite at these weights; there is no contraction rate here")
    return array
