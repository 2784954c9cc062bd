"""Lipschitz constants, estimated where a trajectory passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from actionopt.action.density.local_model import LocalModel
from actionopt.action.trajectory import Trajectory
from actionopt.contraction.displacement import DUALS, displacement
from actionopt.errors import InputError
from actionopt.ops import NUMPY
from actionopt.problem import Problem, takes_problem

DENSE_LIMIT = 100  # weights up to which the Hessian is formed


@dataclass(frozen=True)
class Lipschitz:
    """Largest slopes met at some points: lower estimates of the constants over a region around them.

    Attributes
    ----------
    kappa : float
        Largest norm of the gradient in the weights of one sample's loss, without weight decay.
    smoothness : float
        Largest absolute eigenvalue of the Hessian of the energy: a Lipschitz constant of its gradient.
    method : str
        How they were obtained.

    Examples
    --------
    >>> found = ao.estimate_lipschitz(problem, w[None])
    >>> bool(found.kappa > 0)
    True
    """

    kappa: float
    smoothness: float
    method: str


@takes_problem
def estimate_lipschitz(problem: Problem, points: Trajectory | Any) -> Lipschitz:
    """Estimate Lipschitz constants of the loss and of the energy's gradient as maxima over points and samples.

    Parameters
    ----------
    problem : Problem
    points : Trajectory or array (N, n)

    Returns
    -------
    Lipschitz

    Raises
    ------
    InputError
        If the weights cannot be used, or the energy has a kink at a point or overflows there.

    Examples
    --------
    >>> bool(ao.estimate_lipschitz(problem, w[None]).smoothness > 0)
    True
    """
    nodes = points.weights if isinstance(points, Trajectory) else points
    nodes = np.atleast_2d(problem.check_weights(nodes, "points"))
    kappa = max(_finite(k, float(gradient_norms(problem, w).max())) for k, w in enumerate(nodes))
    smoothness = max(_finite(k, _hessian_norm(problem, w)) for k, w in enumerate(nodes))
    method = (
        f"maxima over {len(nodes)} points and {problem.samples} samples of the norm of a sample's gradient and of the "
        "largest absolute eigenvalue of the energy's Hessian; lower estimates of the constants of a region"
    )
    return Lipschitz(kappa, smoothness, method)


def gradient_norms(problem: Problem, w: np.ndarray) -> np.ndarray:
    """Return `|d loss_b / dw|` of each sample `(B,)` at `w (n,)`, weight decay left out."""
    with np.errstate(all="ignore"):
        return np.linalg.norm(sample_gradients(problem, w), axis=-1)


def sample_gradients(problem: Problem, w: np.ndarray) -> np.ndarray:
    """Return `d loss_b / dw (B, n)` at `w (n,)`, weight decay left out: samples run as leading axes, one by one."""
    w = problem.check_point(w)
    network = problem.network.one_by_one()
    pieces = network.split(NUMPY, np.broadcast_to(w, (problem.samples, problem.size)))
    states = network.forward(NUMPY, pieces)
    return NUMPY.concatenate(network.backward(NUMPY, pieces, states, network.slopes(NUMPY, states))[1])


def _finite(point: int, norm: float) -> float:
    if not np.isfinite(norm):
        raise InputError(f"point {point}: the energy overflows there, and its derivatives with it; leave it out")
    return norm


def _hessian_norm(problem: Problem, w: np.ndarray) -> float:
    if problem.size <= DENSE_LIMIT:
        return float(abs(np.linalg.eigvalsh(displacement(problem, w, "euclidean").momentum_jacobian)).max())
    model = LocalModel(problem, "euclidean")
    still = np.zeros_like(w)

    def product(v: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return model.momentum(DUALS, DUALS.dual(w, v.ravel()), still).tangent

    operator = LinearOperator((problem.size, problem.size), matvec=product, dtype=float)
    start = np.random.default_rng(0).standard_normal(problem.size)
    if not np.isfinite(product(start)).all():
        return np.nan
    return float(abs(eigsh(operator, k=1, which="LM", v0=start, tol=1e-6, return_eigenvectors=False)[0]))
